"""The ledger's tables. Amounts are whole credits; times come from the shared clock.

A grant is a lot of credits with a life: `waiting` for its start, `live`, `used` up, or `ended` (expired or ended
early). What moves the balance is an entry, and nothing else; which lots an entry drew on are its consumptions. Only
`ledger.py` writes here. Every row carries the team, and every reference between two rows includes it, so that one
team's row can never point at another's.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Interval,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, PrimaryId, UtcDateTime
from portal.credits import purchase_models, watch_models  # noqa: F401  more of this feature's tables

# Tables that tell history: the app role may only add to them, and triggers refuse everybody else too.
APPEND_ONLY = (
    "credit_entries",
    "credit_consumptions",
    "credit_reversals",
    "credit_freezes",
    "auto_purchase_consents",
)

# Where the expiry is equal, lots are spent by kind: what the plan gave first, what was bought last.
KIND_RANK = {"subscription": 0, "gift": 1, "adjustment": 1, "bundle": 2}

SPEND_ORDERS = ("expiry", "kind")

# How far the clock may be put back without an account's time following it.
STEP_BACK = "1 hour"

# What can still be spent or started; partial indexes keep exactly these at hand.
OPEN_STATES = ("waiting", "live")


class CreditAccount(Model):
    """A team's balance. `available + reserved - debt` is the sum of its entries; debt only while nothing is available.

    `version` counts the entries, `as_of` is the time of the last one: the account does not go back behind it.
    `purchase_below` is the threshold of an auto-purchase that waits to be begun, None while none does; it stands here so
    that a spend need not look elsewhere (`auto_purchase_rules.py` keeps it in line with the rule).
    """

    __tablename__ = "credit_accounts"
    __table_args__ = (
        CheckConstraint("available >= 0", name="available"),
        CheckConstraint("reserved >= 0", name="reserved"),
        CheckConstraint("debt >= 0", name="debt"),
        CheckConstraint("debt = 0 or available = 0", name="debt_is_repaid_first"),
        CheckConstraint("purchase_counts in ('total', 'subscription')", name="purchase_counts"),
        CheckConstraint("(purchase_below is null) = (purchase_counts is null)", name="purchase_below"),
        # The row changes with every spend: free space on its page keeps those updates out of the indexes.
        {"postgresql_with": {"fillfactor": 50}},
    )

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"), primary_key=True)
    available: Mapped[int] = mapped_column(BigInteger, server_default="0")
    reserved: Mapped[int] = mapped_column(BigInteger, server_default="0")
    debt: Mapped[int] = mapped_column(BigInteger, server_default="0")
    version: Mapped[int] = mapped_column(BigInteger, server_default="0")
    as_of: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    purchase_below: Mapped[int | None] = mapped_column(BigInteger)
    purchase_counts: Mapped[str | None]


class CreditGrant(Model):
    """A lot of credits: given once for one cause, usable from `effective_at` until just before `expires_at`.

    Only `remaining` (which never grows), `held` (how much of it open holds keep), `frozen` (how much of it cannot be spent,
    because the payment that bought it is disputed), `state` (which only moves on) and `lapsed_version` ever change. A lot
    that ends while some of it is held has `ended` at that version of the account, and its rest remains until the last
    hold is closed.
    """

    __tablename__ = "credit_grants"
    __table_args__ = (
        UniqueConstraint("team_id", "cause_key"),
        UniqueConstraint("team_id", "id"),
        CheckConstraint("kind in ('subscription', 'bundle', 'gift', 'adjustment')", name="kind"),
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("remaining between 0 and amount", name="remaining"),
        CheckConstraint("frozen between 0 and remaining - held and (frozen = 0 or state = 'live')", name="frozen"),
        CheckConstraint("expires_at >= effective_at", name="expires_at"),
        CheckConstraint(
            "case state when 'waiting' then remaining = amount when 'live' then remaining > 0"
            " when 'used' then remaining = 0 when 'ended' then remaining = 0 or held > 0 else false end",
            name="state",
        ),
        CheckConstraint("held between 0 and remaining and (state <> 'waiting' or held = 0)", name="held"),
        CheckConstraint("lapsed_version is null or state = 'ended'", name="lapsed_version"),
        Index("ix_credit_grants_open", "team_id", postgresql_where=text("state in ('waiting', 'live')")),
        Index("ix_credit_grants_starting", "effective_at", postgresql_where=text("state = 'waiting'")),
        Index("ix_credit_grants_expiring", "expires_at", postgresql_where=text("state = 'live'")),
        {"postgresql_with": {"fillfactor": 50}},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("credit_accounts.team_id"))
    kind: Mapped[str]
    amount: Mapped[int] = mapped_column(BigInteger)
    remaining: Mapped[int] = mapped_column(BigInteger)
    frozen: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    effective_at: Mapped[UtcDateTime]
    expires_at: Mapped[UtcDateTime | None]
    state: Mapped[str]
    cause_key: Mapped[str]
    source: Mapped[str]
    held: Mapped[int] = mapped_column(BigInteger, server_default="0")
    lapsed_version: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())


class CreditEntry(Model):
    """One change of the balance, for ever. `grant_id` is the lot it is about; a spend is about none.

    `frozen` puts a part of a lot out of reach and `thawed` gives it back: the lot keeps it, the balance does not count it.

    `spend_order` is the rule by which a spend or a reversal chose its lots, so that the choice can be proved later.
    """

    __tablename__ = "credit_entries"
    __table_args__ = (
        UniqueConstraint("team_id", "cause_key"),
        UniqueConstraint("team_id", "version"),
        UniqueConstraint("team_id", "id"),
        ForeignKeyConstraint(["team_id", "grant_id"], ["credit_grants.team_id", "credit_grants.id"]),
        CheckConstraint(
            "case kind when 'granted' then amount > 0 when 'adjusted' then amount > 0 when 'spent' then amount < 0"
            " when 'expired' then amount < 0 when 'reversed' then amount < 0 when 'frozen' then amount < 0"
            " when 'thawed' then amount > 0 else false end",
            name="amount",
        ),
        CheckConstraint("(kind = 'spent') = (grant_id is null)", name="grant_id"),
        CheckConstraint("spend_order in ('expiry', 'kind')", name="spend_order"),
        CheckConstraint("(kind in ('spent', 'reversed')) = (spend_order is not null)", name="ordered"),
        # All that is not a spend is rare: a period's spends are counted from the few entries in here.
        Index(
            "ix_credit_entries_of_grants",
            "team_id",
            "grant_id",
            "version",
            postgresql_where=text("grant_id is not null"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("credit_accounts.team_id"))
    version: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str]
    amount: Mapped[int] = mapped_column(BigInteger)
    balance_after: Mapped[int] = mapped_column(BigInteger)
    cause_key: Mapped[str]
    grant_id: Mapped[int | None] = mapped_column(BigInteger)
    spend_order: Mapped[str | None]
    at: Mapped[UtcDateTime]


class CreditConsumption(Model):
    """How much of which lot an entry used up: a spend's credits, an expired rest, a reversal, or debt repaid."""

    __tablename__ = "credit_consumptions"
    __table_args__ = (
        ForeignKeyConstraint(["team_id", "entry_id"], ["credit_entries.team_id", "credit_entries.id"]),
        ForeignKeyConstraint(["team_id", "grant_id"], ["credit_grants.team_id", "credit_grants.id"]),
        CheckConstraint("amount > 0", name="amount"),
    )

    entry_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    grant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    team_id: Mapped[str] = mapped_column(PrefixedId)
    amount: Mapped[int] = mapped_column(BigInteger)


class CreditReversal(Model):
    """The order to take back up to `amount` of a grant; the entry of the same cause says how much it came to.

    It stands apart from the entry because it may have to wait for the grant's start, and may come to nothing.
    """

    __tablename__ = "credit_reversals"
    __table_args__ = (
        UniqueConstraint("team_id", "cause_key"),
        ForeignKeyConstraint(["team_id", "grant_id"], ["credit_grants.team_id", "credit_grants.id"]),
        CheckConstraint("amount > 0", name="amount"),
        Index("ix_credit_reversals_team_id_grant_id", "team_id", "grant_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    team_id: Mapped[str] = mapped_column(PrefixedId)
    grant_id: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(BigInteger)
    cause_key: Mapped[str]
    ordered_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())


class CreditHold(Model):
    """Credits kept for a use under way, from `created_at` until just before `expires_at`; closed once and for ever.

    `opened_version` and `closed_version` are the account's versions then: the entries between were made beside the hold.
    `entry_id` is the spend that settled it; what is not `settled` of it was given back. `meter` and `quantity` say what
    for, if a meter is to be counted. `api_key_id` is the key of the API it came with, and `user_id` the member it is for, if
    the reporter said so: it counts towards the budgets of both.
    """

    __tablename__ = "credit_holds"
    __table_args__ = (
        UniqueConstraint("team_id", "cause_key"),
        UniqueConstraint("team_id", "id"),
        UniqueConstraint("team_id", "entry_id"),
        ForeignKeyConstraint(["team_id", "entry_id"], ["credit_entries.team_id", "credit_entries.id"]),
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("(meter is null) = (quantity is null) and quantity > 0", name="quantity"),
        CheckConstraint("expires_in > interval '0' and expires_at > created_at", name="expires_at"),
        CheckConstraint("spend_order in ('expiry', 'kind')", name="spend_order"),
        CheckConstraint(
            "case state when 'open' then settled = 0 and entry_id is null and closed_at is null and closed_version is null"
            " when 'settled' then settled between 1 and amount and entry_id is not null and closed_at is not null"
            " and closed_version > opened_version"
            " when 'released' then settled = 0 and entry_id is null and closed_at is not null"
            " and closed_version >= opened_version"
            " when 'expired' then settled = 0 and entry_id is null and closed_at is not null"
            " and closed_version >= opened_version else false end",
            name="state",
        ),
        Index("ix_credit_holds_open", "team_id", "expires_at", postgresql_where=text("state = 'open'")),
        Index("ix_credit_holds_expiring", "expires_at", postgresql_where=text("state = 'open'")),
        Index("ix_credit_holds_team_id_created_at", "team_id", "created_at"),
        Index(
            "ix_credit_holds_plain_of_key",
            "api_key_id",
            "closed_at",
            postgresql_include=["settled"],
            postgresql_where=text("meter is null and api_key_id is not null"),
        ),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("credit_accounts.team_id"))
    cause_key: Mapped[str]
    amount: Mapped[int] = mapped_column(BigInteger)
    meter: Mapped[str | None]
    quantity: Mapped[int | None] = mapped_column(BigInteger)
    expires_in: Mapped[timedelta] = mapped_column(Interval)
    created_at: Mapped[UtcDateTime]
    expires_at: Mapped[UtcDateTime]
    state: Mapped[str]
    settled: Mapped[int] = mapped_column(BigInteger, server_default="0")
    entry_id: Mapped[int | None] = mapped_column(BigInteger)
    closed_at: Mapped[UtcDateTime | None]
    spend_order: Mapped[str]
    opened_version: Mapped[int] = mapped_column(BigInteger)
    closed_version: Mapped[int | None] = mapped_column(BigInteger)
    api_key_id: Mapped[str | None] = mapped_column(PrefixedId, ForeignKey("api_keys.id"))
    user_id: Mapped[str | None] = mapped_column(PrefixedId, ForeignKey("users.id"))


class CreditHoldLot(Model):
    """How much of which lot a hold keeps; `repaid` is what of it went to the debt when the hold was closed."""

    __tablename__ = "credit_hold_lots"
    __table_args__ = (
        ForeignKeyConstraint(["team_id", "hold_id"], ["credit_holds.team_id", "credit_holds.id"]),
        ForeignKeyConstraint(["team_id", "grant_id"], ["credit_grants.team_id", "credit_grants.id"]),
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("repaid between 0 and amount", name="repaid"),
    )

    hold_id: Mapped[str] = mapped_column(PrefixedId, primary_key=True)
    grant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    team_id: Mapped[str] = mapped_column(PrefixedId)
    amount: Mapped[int] = mapped_column(BigInteger)
    repaid: Mapped[int] = mapped_column(BigInteger, server_default="0")


class CreditFreeze(Model):
    """The order to freeze (`amount` above 0) or to thaw (below 0) so many credits of a grant; the entry of the same cause
    says how much it came to. It stands apart from the entry for the reasons that a reversal does.
    """

    __tablename__ = "credit_freezes"
    __table_args__ = (
        UniqueConstraint("team_id", "cause_key"),
        ForeignKeyConstraint(["team_id", "grant_id"], ["credit_grants.team_id", "credit_grants.id"]),
        CheckConstraint("amount <> 0", name="amount"),
        Index("ix_credit_freezes_team_id_grant_id", "team_id", "grant_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    team_id: Mapped[str] = mapped_column(PrefixedId)
    grant_id: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(BigInteger)
    cause_key: Mapped[str]
    ordered_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())


class FreePeriod(Model):
    """When to look next whether a team is to have a month of the free plan. For the schedule, and no fact of its own."""

    __tablename__ = "free_periods"
    __table_args__ = (Index("ix_free_periods_due_at", "due_at"),)

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"), primary_key=True)
    due_at: Mapped[UtcDateTime]
