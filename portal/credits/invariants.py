"""The ledger's invariants as SQL: what each means, and the query that finds its violations."""

from __future__ import annotations

from dataclasses import dataclass

from portal.credits.book import THAWED_AT_END
from portal.credits.hold_invariants import (
    HELD_ALLOCATION,
    HELD_CAUSES,
    HELD_EXPIRY,
    HELD_FIFO,
    HELD_ISOLATION,
    HELD_SUMS,
    HOLD_VIEWS,
)
from portal.credits.models import APPEND_ONLY, KIND_RANK, STEP_BACK


@dataclass(frozen=True)
class Invariant:
    """`query` selects `team_id` and `detail` of every violation, from the views below."""

    id: str
    meaning: str
    query: str


# The triggers that guard the tables, as the migration names them.
_TRIGGERS = [(table, f"{table}_{guard}") for table in APPEND_ONLY for guard in ("append_only", "no_truncate")] + [
    (table, f"{table}_{guard}")
    for table in ("credit_accounts", "credit_grants", "credit_holds", "credit_hold_lots")
    for guard in ("guard", "no_delete", "no_truncate")
]

_KIND_RANK = "case g.kind " + " ".join(f"when '{kind}' then {rank}" for kind, rank in KIND_RANK.items()) + " end"

# What the checks read, of one team or (`:team_id` null) of all. `taken` adds up the consumptions of each grant by
# version; `changes` is all but holds that changed what could be spent of each grant, and `emptied` from which version on,
# and until which, nothing could; `replay` derives the debt after every entry: what a reversal could not take is owed, and
# what a grant lost at its start, or when it was thawed, was repaid, as was what a hold gave back (these rows of it have no
# version).
BASE_VIEWS = f"""
with accounts as (
    select * from credit_accounts where cast(:team_id as text) is null or team_id = :team_id
), grants as (
    select g.*,
        row_number() over (partition by g.team_id order by g.expires_at nulls last, {_KIND_RANK}, g.id) as by_expiry,
        row_number() over (partition by g.team_id order by {_KIND_RANK}, g.expires_at nulls last, g.id) as by_kind
    from credit_grants g where cast(:team_id as text) is null or g.team_id = :team_id
), entries as (
    select * from credit_entries where cast(:team_id as text) is null or team_id = :team_id
), taken as (
    select e.team_id, c.grant_id, c.amount, e.id as entry_id, e.version, e.kind, e.at, e.spend_order,
        e.grant_id as about_id, sum(c.amount) over (partition by c.grant_id order by e.version) as so_far
    from credit_consumptions c join entries e on e.id = c.entry_id
), by_entry as (
    select entry_id, sum(amount) as amount from taken group by entry_id
), by_grant as (
    select grant_id, sum(amount) as amount from taken group by grant_id
), starts as (
    select grant_id, min(version) as version from entries where kind in ('granted', 'adjusted') group by grant_id
), changes as (
    select grant_id, version, -amount as amount from taken
    union all select grant_id, version, amount from entries where kind in ('frozen', 'thawed')
), emptied as (
    select grant_id, version, until from (
        select m.grant_id, m.version, g.amount + sum(m.amount) over life as spendable,
            lead(m.version) over (partition by m.grant_id order by m.version) as until
        from changes m join grants g on g.id = m.grant_id window life as (partition by m.grant_id order by m.version)
    ) m where spendable <= 0
), frozen as (
    select grant_id, -sum(amount) as amount from entries where kind in ('frozen', 'thawed') group by grant_id
)
"""  # noqa: S608 - built from this package's own constants

REPLAY = """
, steps as (
    select e.team_id, 3 * e.version as place, e.version, e.balance_after,
        case when e.kind = 'reversed' then -e.amount - coalesce(b.amount, 0)
            when e.kind in ('granted', 'adjusted', 'thawed') then -coalesce(b.amount, 0) else 0 end as owed
    from entries e left join by_entry b on b.entry_id = e.id
    union all
    select team_id, 3 * closed_version + 2, null, null, -sum(repaid)
    from parts where repaid > 0 group by team_id, closed_version
), replay as (
    select team_id, version, balance_after, sum(owed) over (partition by team_id order by place) as debt from steps
)
"""

VIEWS = BASE_VIEWS + HOLD_VIEWS + REPLAY

CONSERVATION = """
select a.team_id, format('the account says %s, its entries %s', a.available + a.reserved - a.debt, e.total) as detail
from accounts a left join (select team_id, sum(amount) as total from entries group by team_id) e using (team_id)
where a.available + a.reserved - a.debt <> coalesce(e.total, 0)
union all
select a.team_id, format('the account holds %s, its live grants %s', a.available + a.reserved, g.total)
from accounts a
left join (
    select team_id, sum(remaining - frozen) as total from grants where state in ('live', 'ended') group by team_id
) g using (team_id)
where a.available + a.reserved <> coalesce(g.total, 0)
union all
select e.team_id, format('entry %s belongs to no account', e.version)
from entries e left join accounts a using (team_id) where a.team_id is null
"""

NON_NEGATIVE = """
select a.team_id, format('available %s, reserved %s, debt %s', a.available, a.reserved, a.debt) as detail
from accounts a where least(a.available, a.reserved, a.debt) < 0 or (a.debt > 0 and a.available > 0)
union all
select g.team_id, format('grant %s: %s of %s remain', g.id, g.remaining, g.amount)
from grants g where g.remaining < 0 or g.remaining > g.amount
union all
select g.team_id, format('grant %s: %s of %s are frozen', g.id, g.frozen, g.remaining)
from grants g where g.frozen < 0 or g.frozen > g.remaining - g.held
union all
select r.team_id, format('after entry %s: balance %s, debt %s', r.version, r.balance_after, r.debt)
from replay r where r.debt < 0 or r.balance_after + r.debt < 0 or (r.debt > 0 and r.balance_after + r.debt > (
    select coalesce(sum(l.fenced[width_bucket(3 * r.version, l.places)]), 0) from lines l where l.team_id = r.team_id))
union all
select a.team_id, format('the account says debt %s, its entries and holds %s', a.debt, coalesce(s.debt, 0))
from accounts a left join (select team_id, sum(owed) as debt from steps group by team_id) s using (team_id)
where a.debt <> coalesce(s.debt, 0)
"""

ONE_CAUSE = """
select e.team_id, format('%s entries have the cause %s', count(*), e.cause_key) as detail
from entries e group by e.team_id, e.cause_key having count(*) > 1
union all
select g.team_id, format('%s grants have the cause %s', count(*), g.cause_key)
from grants g group by g.team_id, g.cause_key having count(*) > 1
union all
select e.team_id, format('entry %s is not what its grant %s is', e.version, g.id)
from entries e join grants g on g.id = e.grant_id
where e.kind in ('granted', 'adjusted') and (e.cause_key <> g.cause_key or e.amount <> g.amount
    or (e.kind = 'adjusted') <> (g.kind = 'adjustment'))
union all
select g.team_id, format('grant %s is %s and was posted %s times', g.id, g.state, count(e.id))
from grants g left join entries e on e.grant_id = g.id and e.kind in ('granted', 'adjusted')
group by g.team_id, g.id, g.state
having not case g.state when 'waiting' then count(e.id) = 0 when 'ended' then count(e.id) <= 1 else count(e.id) = 1 end
union all
select e.team_id, format('spend %s has the cause of a grant, a reversal or a freeze', e.version)
from entries e where e.kind = 'spent' and (
    exists (select from grants g where g.team_id = e.team_id and g.cause_key = e.cause_key)
    or exists (select from credit_reversals r where r.team_id = e.team_id and r.cause_key = e.cause_key)
    or exists (select from credit_freezes f where f.team_id = e.team_id and f.cause_key = e.cause_key))
union all
select e.team_id, format('entry %s takes back what nobody ordered', e.version)
from entries e left join credit_reversals r
    on r.team_id = e.team_id and r.cause_key = e.cause_key and r.grant_id = e.grant_id and r.amount >= -e.amount
where e.kind = 'reversed' and r.id is null
union all
select e.team_id, format('entry %s froze or thawed what nobody ordered', e.version)
from entries e left join credit_freezes f on f.team_id = e.team_id and f.cause_key = e.cause_key
    and f.grant_id = e.grant_id and abs(f.amount) >= abs(e.amount) and sign(f.amount) = -sign(e.amount)
where e.kind in ('frozen', 'thawed') and f.id is null and not (
    e.kind = 'thawed' and e.cause_key = '__AT_END__' || e.grant_id)
""".replace("__AT_END__", THAWED_AT_END)

# What an entry used up of the lots: a spend and an expiry all of their amount, a reversal what it did not make debt of,
# a start and a thaw what they repaid, a freeze nothing. And the other way round: what remains of a lot is what no entry
# used up and no hold repaid, and what is frozen of it was frozen and not thawed.
ALLOCATION = """
select e.team_id, format('entry %s (%s %s) used up %s', e.version, e.kind, e.amount, coalesce(b.amount, 0)) as detail
from entries e left join by_entry b on b.entry_id = e.id
where case when e.kind in ('spent', 'expired') then coalesce(b.amount, 0) <> -e.amount when e.kind = 'frozen' then b.amount > 0
    else b.amount > abs(e.amount) end
union all
select t.team_id, format('entry %s (%s) is about grant %s and used up grant %s', t.version, t.kind, t.about_id, t.grant_id)
from taken t where t.kind in ('granted', 'adjusted', 'expired', 'thawed') and t.about_id <> t.grant_id
union all
select g.team_id, format('grant %s: %s of %s remain, %s were used up', g.id, g.remaining, g.amount, coalesce(b.amount, 0))
from grants g left join starts s on s.grant_id = g.id left join by_grant b on b.grant_id = g.id
left join repaid p on p.grant_id = g.id
where case when s.grant_id is null then coalesce(b.amount, 0) <> 0
    else g.remaining <> g.amount - coalesce(b.amount, 0) - coalesce(p.amount, 0) end
union all
select g.team_id, format('grant %s: %s are frozen, its entries say %s', g.id, g.frozen, coalesce(f.amount, 0))
from grants g left join frozen f on f.grant_id = g.id where g.frozen <> coalesce(f.amount, 0)
"""

# A reversal takes from its own grant before all others; after that, and for a spend, the entry's rule gives the rank.
# A lot has something free after an entry if it had started before it and was not empty then, nor all frozen; of a lot
# that was ever held of, its line says so too.
FIFO = """
select b.team_id, format('entry %s took from grant %s while grant %s came first', b.version, b.grant_id, a.id) as detail
from taken b
join grants own on own.id = b.grant_id
join grants a on a.team_id = b.team_id and a.id <> b.grant_id
join starts s on s.grant_id = a.id and s.version < b.version
left join lines l on l.grant_id = a.id
where b.kind in ('spent', 'reversed') and not exists (
    select from emptied e
    where e.grant_id = a.id and e.version <= b.version and (e.until is null or e.until > b.version))
and case when l.grant_id is null then true else l.free[width_bucket(3 * b.version, l.places)] > 0 end
and b.entry_id not in (select h.entry_id from holds h where h.entry_id is not null)
and case when b.kind = 'reversed' and a.id = b.about_id then 0 when b.spend_order = 'kind' then a.by_kind
    else a.by_expiry end
  < case when b.kind = 'reversed' and own.id = b.about_id then 0 when b.spend_order = 'kind' then own.by_kind
    else own.by_expiry end
"""

# A step back further than the ledger holds out against is a clock set right, and no fault of the ledger.
VERSIONS = f"""
select e.team_id, format('entry %s follows entry %s', e.version, e.before) as detail
from (select *, lag(version, 1, 0::bigint) over (partition by team_id order by version) as before from entries) e
where e.version <> e.before + 1
union all
select e.team_id, format('entry %s: %s and %s do not make %s', e.version, e.before, e.amount, e.balance_after)
from (select *, lag(balance_after, 1, 0::bigint) over (partition by team_id order by version) as before from entries) e
where e.balance_after <> e.before + e.amount
union all
select e.team_id, format('entry %s is of an earlier time than the one before it', e.version)
from (select *, lag(at) over (partition by team_id order by version) as before from entries) e
where e.at < e.before and e.at >= e.before - interval '{STEP_BACK}'
union all
select a.team_id, format('the account is at version %s, its last entry at %s', a.version, e.version)
from accounts a
left join (select team_id, max(version) as version from entries group by team_id) e using (team_id)
where a.version <> coalesce(e.version, 0)
union all
select a.team_id, format('the account is as of %s, its last entry of %s', a.as_of, e.at)
from accounts a join entries e using (team_id, version)
where a.as_of <> e.at
"""  # noqa: S608 - built from this package's own constants

IMMUTABILITY = f"""
select cast(null as text) as team_id, format('trigger %s is missing or off', required.name) as detail
from (values {", ".join(f"('{table}', '{trigger}')" for table, trigger in _TRIGGERS)})
    as required (relation, name)
left join pg_trigger t on t.tgrelid = to_regclass(required.relation) and t.tgname = required.name
    and t.tgenabled in ('O', 'A')
where t.oid is null
"""  # noqa: S608 - built from this package's own constants

# A reversal that waited for its grant's start is posted with it, which may be when the grant is over already.
EXPIRY = """
select t.team_id, format('spend %s took from grant %s when it was over', t.version, t.grant_id) as detail
from taken t join grants g on g.id = t.grant_id where t.kind = 'spent' and t.at >= g.expires_at
    and not exists (select from parts p where p.entry_id = t.entry_id and p.grant_id = t.grant_id)
union all
select t.team_id, format('entry %s took from grant %s before it was granted', t.version, t.grant_id)
from taken t join starts s on s.grant_id = t.grant_id where t.version < s.version
union all
select e.team_id, format('grant %s was granted before its time', g.id)
from entries e join grants g on g.id = e.grant_id where e.kind in ('granted', 'adjusted') and e.at < g.effective_at
union all
select t.team_id, format('entry %s took from grant %s after its expiry', t.version, t.grant_id)
from taken t join entries e on e.grant_id = t.grant_id and e.kind = 'expired' where t.version > e.version
union all
select e.team_id, format('grant %s expired %s times', e.grant_id, count(*))
from entries e where e.kind = 'expired' group by e.team_id, e.grant_id having count(*) > 1
union all
select g.team_id, format('grant %s has expired and is %s', g.id, g.state)
from entries e join grants g on g.id = e.grant_id where e.kind = 'expired' and g.state <> 'ended'
union all
select e.team_id, format('the expiry of grant %s has the cause %s', e.grant_id, e.cause_key)
from entries e where e.kind = 'expired' and e.cause_key <> 'expire:grant:' || e.grant_id
"""

ISOLATION = """
select e.team_id, format('a consumption of %s ties entry %s to grant %s of %s', c.team_id, e.version, c.grant_id, g.team_id)
    as detail
from entries e join credit_consumptions c on c.entry_id = e.id left join credit_grants g on g.id = c.grant_id
where (c.team_id = e.team_id and g.team_id = e.team_id) is not true
union all
select c.team_id, format('a consumption of grant %s has no entry %s', c.grant_id, c.entry_id)
from credit_consumptions c left join credit_entries e on e.id = c.entry_id
where cast(:team_id as text) is null and e.id is null
union all
select e.team_id, format('entry %s is about grant %s of %s', e.version, e.grant_id, g.team_id)
from entries e left join credit_grants g on g.id = e.grant_id
where e.grant_id is not null and (e.team_id = g.team_id) is not true
union all
select r.team_id, format('reversal %s is of grant %s of %s', r.cause_key, r.grant_id, g.team_id)
from credit_reversals r left join credit_grants g on g.id = r.grant_id
where (r.team_id = g.team_id) is not true and (cast(:team_id as text) is null or r.team_id = :team_id)
union all
select f.team_id, format('freeze %s is of grant %s of %s', f.cause_key, f.grant_id, g.team_id)
from credit_freezes f left join credit_grants g on g.id = f.grant_id
where (f.team_id = g.team_id) is not true and (cast(:team_id as text) is null or f.team_id = :team_id)
"""

INVARIANTS = (
    Invariant("I1", "balances are the sums of their entries and of their live grants", CONSERVATION + HELD_SUMS),
    Invariant("I2", "nothing is below zero, and nobody owes while something is available", NON_NEGATIVE),
    Invariant("I3", "every entry has one cause, and every cause one effect", ONE_CAUSE + HELD_CAUSES),
    Invariant("I4", "every credit that left came from a grant", ALLOCATION + HELD_ALLOCATION),
    Invariant("I5", "grants were spent in their order", FIFO + HELD_FIFO),
    Invariant("I6", "versions are gapless, balances follow one from another, time does not run back", VERSIONS),
    Invariant("I7", "triggers keep history from being changed", IMMUTABILITY),
    Invariant(
        "I10", "nothing was spent outside of its time, and every grant expired once at most", EXPIRY + HELD_EXPIRY
    ),
    Invariant("I14", "no row of one team refers to another team's", ISOLATION + HELD_ISOLATION),
)
