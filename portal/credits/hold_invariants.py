"""The part of the invariants that is about holds: views for the checks of `invariants.py`, and checks of their own.

A hold makes no entry. So that it can still be told which entries it stood beside, its row keeps the account's versions
when it was opened and closed. A *place* is a version and what was done at that version in order: 3v is entry v itself,
3v+1 the holds opened and the lots lapsed after it, 3v+2 the holds closed after it. Of several holds opened and closed
at one version the order is not known; then less seems free than was, so that nothing sound is found at fault.
"""

from __future__ import annotations

# `lines` has for each lot that was ever held of, as arrays by place, what was free of it and what was fenced: what is
# held of a live lot, or all that remains of one that has lapsed.
HOLD_VIEWS = """
, holds as (
    select * from credit_holds where cast(:team_id as text) is null or team_id = :team_id
), parts as (
    select p.hold_id, p.grant_id, p.team_id, p.amount, p.repaid, h.state, h.opened_version, h.closed_version,
        h.spend_order, h.entry_id, coalesce(t.amount, 0) as settled
    from credit_hold_lots p join holds h on h.id = p.hold_id
    left join taken t on t.entry_id = h.entry_id and t.grant_id = p.grant_id
), repaid as (
    select grant_id, sum(repaid) as amount from parts group by grant_id
), moves as (
    select s.grant_id, 3 * s.version as place, g.amount as remaining, 0 as held, 0 as frozen, 0 as lapsed
    from starts s join grants g on g.id = s.grant_id
    union all
    select grant_id, 3 * version, -amount, 0, 0, 0 from taken
    union all
    select grant_id, 3 * version, 0, 0, -amount, 0 from entries where kind in ('frozen', 'thawed')
    union all
    select grant_id, 3 * opened_version + 1, 0, amount, 0, 0 from parts
    union all
    select p.grant_id, 3 * e.version, 0, -p.settled, 0, 0 from parts p join entries e on e.id = p.entry_id
    union all
    select grant_id, 3 * closed_version + 2, -repaid, settled - amount, 0, 0 from parts where state <> 'open'
    union all
    select id, 3 * lapsed_version + 1, 0, 0, 0, 1 from grants where lapsed_version is not null
), lines as (
    select m.grant_id, g.team_id, array_agg(place order by place) as places,
        array_agg(cast(case when lapsed = 0 then m.remaining - m.held - m.frozen else 0 end as bigint) order by place) as free,
        array_agg(cast(case when lapsed = 0 then m.held else m.remaining end as bigint) order by place) as fenced
    from (
        select grant_id, place, sum(sum(remaining)) over by_place as remaining, sum(sum(held)) over by_place as held,
            sum(sum(frozen)) over by_place as frozen, sum(sum(lapsed)) over by_place as lapsed
        from moves where grant_id in (select grant_id from parts)
        group by grant_id, place window by_place as (partition by grant_id order by place)
    ) m join grants g on g.id = m.grant_id
    group by m.grant_id, g.team_id
)
"""

HELD_SUMS = """
union all
select a.team_id, format('the account has %s available, its live grants %s free', a.available, coalesce(g.free, 0))
from accounts a left join (
    select team_id, sum(remaining - held - frozen) filter (where state = 'live') as free from grants group by team_id
) g using (team_id)
where a.available <> coalesce(g.free, 0)
union all
select g.team_id, format('of grant %s %s are held, its open holds keep %s', g.id, g.held, coalesce(p.amount, 0))
from grants g
left join (select grant_id, sum(amount) as amount from parts where state = 'open' group by grant_id) p on p.grant_id = g.id
where g.held <> coalesce(p.amount, 0)
"""

HELD_CAUSES = """
union all
select h.team_id, format('%s holds have the cause %s', count(*), h.cause_key)
from holds h group by h.team_id, h.cause_key having count(*) > 1
union all
select h.team_id, format('hold %s has the cause of something else', h.id)
from holds h where exists (select from entries e where e.team_id = h.team_id and e.cause_key = h.cause_key)
    or exists (select from grants g where g.team_id = h.team_id and g.cause_key = h.cause_key)
    or exists (select from credit_reversals r where r.team_id = h.team_id and r.cause_key = h.cause_key)
    or exists (select from credit_freezes f where f.team_id = h.team_id and f.cause_key = h.cause_key)
union all
select h.team_id, format('entry %s settled %s holds', h.entry_id, count(*))
from holds h where h.entry_id is not null group by h.team_id, h.entry_id having count(*) > 1
"""

HELD_ALLOCATION = """
union all
select h.team_id, format('hold %s of %s keeps %s of its grants', h.id, h.amount, coalesce(p.amount, 0))
from holds h left join (select hold_id, sum(amount) as amount from parts group by hold_id) p on p.hold_id = h.id
where h.amount <> coalesce(p.amount, 0)
union all
select h.team_id, format('hold %s was settled with %s, its entry is %s %s', h.id, h.settled, e.kind, e.amount)
from holds h left join entries e on e.id = h.entry_id
where h.state = 'settled' and (e.kind = 'spent' and e.amount = -h.settled) is not true
union all
select h.team_id, format('entry %s settled hold %s and took %s of grant %s, of which %s were held',
    t.version, h.id, t.amount, t.grant_id, coalesce(p.amount, 0))
from holds h join taken t on t.entry_id = h.entry_id
left join parts p on p.hold_id = h.id and p.grant_id = t.grant_id
where t.amount > coalesce(p.amount, 0)
union all
select p.team_id, format('hold %s is %s: of %s, %s were settled and %s repaid', p.hold_id, p.state, p.amount, p.settled, p.repaid)
from parts p where p.settled + p.repaid > p.amount or (p.state = 'open' and p.repaid > 0)
"""

_RANK_A = "case when p.spend_order = 'kind' then a.by_kind else a.by_expiry end"
_RANK_B = "case when p.spend_order = 'kind' then own.by_kind else own.by_expiry end"

# A hold takes as a spend would; what settles it takes from its own lots in order.
HELD_FIFO = f"""
union all
select p.team_id, format('hold %s kept grant %s while grant %s came first', p.hold_id, p.grant_id, a.id)
from parts p
join grants own on own.id = p.grant_id
join grants a on a.team_id = p.team_id and a.id <> p.grant_id
join starts s on s.grant_id = a.id and s.version <= p.opened_version
left join lines l on l.grant_id = a.id
where {_RANK_A} < {_RANK_B} and case when l.grant_id is null then not exists (
    select from emptied e
    where e.grant_id = a.id and e.version <= p.opened_version and (e.until is null or e.until > p.opened_version))
    else l.free[width_bucket(3 * p.opened_version + 1, l.places)] > 0 end
union all
select p.team_id, format('hold %s was settled from grant %s while grant %s came first', p.hold_id, p.grant_id, a.id)
from parts p join grants own on own.id = p.grant_id
join parts other on other.hold_id = p.hold_id and other.settled < other.amount
join grants a on a.id = other.grant_id
join entries e on e.id = p.entry_id
where p.settled > 0 and case when e.spend_order = 'kind' then a.by_kind else a.by_expiry end
    < case when e.spend_order = 'kind' then own.by_kind else own.by_expiry end
"""  # noqa: S608 - built from this module's own constants

HELD_EXPIRY = """
union all
select h.team_id, format('hold %s was settled when it was over', h.id)
from holds h join entries e on e.id = h.entry_id where e.at >= h.expires_at
union all
select h.team_id, format('hold %s expired before its time', h.id)
from holds h where h.state = 'expired' and h.closed_at < h.expires_at
union all
select p.team_id, format('hold %s keeps grant %s, which was over', p.hold_id, g.id)
from parts p join holds h on h.id = p.hold_id join grants g on g.id = p.grant_id
where h.created_at >= g.expires_at or h.opened_version > g.lapsed_version
union all
select t.team_id, format('spend %s took from grant %s, which had lapsed', t.version, g.id)
from taken t join grants g on g.id = t.grant_id
where t.kind = 'spent' and t.version > g.lapsed_version
    and not exists (select from parts p where p.entry_id = t.entry_id and p.grant_id = t.grant_id)
union all
select g.team_id, format('grant %s has ended, is held by nobody, and %s remain', g.id, g.remaining)
from grants g where g.state = 'ended' and g.held = 0 and g.remaining > 0
"""

HELD_ISOLATION = """
union all
select h.team_id, format('a part of hold %s is of %s, its grant %s of %s', h.id, p.team_id, p.grant_id, g.team_id)
from holds h join credit_hold_lots p on p.hold_id = h.id left join credit_grants g on g.id = p.grant_id
where (p.team_id = h.team_id and g.team_id = h.team_id) is not true
union all
select p.team_id, format('a part of grant %s is of no hold %s', p.grant_id, p.hold_id)
from credit_hold_lots p left join credit_holds h on h.id = p.hold_id
where cast(:team_id as text) is null and h.id is null
union all
select h.team_id, format('hold %s was settled by an entry of %s', h.id, e.team_id)
from holds h left join credit_entries e on e.id = h.entry_id
where h.entry_id is not null and (e.team_id = h.team_id) is not true
"""
