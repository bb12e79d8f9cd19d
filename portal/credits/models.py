"""The ledger's tables. Amounts are whole credits; times come from the shared clock.

A grant is a lot of credits with a life: `waiting` for its start, `live`, `used` up, or `ended` (expired or ended
early). What moves the balance is an entry, and nothing else; which lots an entry drew on are its consumptions. Only
`ledger.py` writes here. Every row carries the team, and every reference between two rows includes it, so that one
team's row can never point at another's.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, UtcDateTime
from portal.credits import watch_models  # noqa: F401  more of this feature's tables

# Tables that tell history: the app role may only add to them, and triggers refuse everybody else too.
APPEND_ONLY = ("credit_entries", "credit_consumptions", "credit_reversals")

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
    """

    __tablename__ = "credit_accounts"
    __table_args__ = (
        CheckConstraint("available >= 0", name="available"),
        CheckConstraint("reserved >= 0", name="reserved"),
        CheckConstraint("debt >= 0", name="debt"),
        CheckConstraint("debt = 0 or available = 0", name="debt_is_repaid_first"),
        # The row changes with every spend: free space on its page keeps those updates out of the indexes.
        {"postgresql_with": {"fillfactor": 50}},
    )

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"), primary_key=True)
    available: Mapped[int] = mapped_column(BigInteger, server_default="0")
    reserved: Mapped[int] = mapped_column(BigInteger, server_default="0")
    debt: Mapped[int] = mapped_column(BigInteger, server_default="0")
    version: Mapped[int] = mapped_column(BigInteger, server_default="0")
    as_of: Mapped[UtcDateTime] = mapped_column(server_default=app_now())


class CreditGrant(Model):
    """A lot of credits: given once for one cause, usable from `effective_at` until just before `expires_at`.

    Only `remaining` (which never grows) and `state` (which only moves on) ever change.
    """

    __tablename__ = "credit_grants"
    __table_args__ = (
        UniqueConstraint("team_id", "cause_key"),
        UniqueConstraint("team_id", "id"),
        CheckConstraint("kind in ('subscription', 'bundle', 'gift', 'adjustment')", name="kind"),
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("remaining between 0 and amount", name="remaining"),
        CheckConstraint("expires_at >= effective_at", name="expires_at"),
        CheckConstraint(
            "case state when 'waiting' then remaining = amount when 'live' then remaining > 0"
            " when 'used' then remaining = 0 when 'ended' then remaining = 0 else false end",
            name="state",
        ),
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
    effective_at: Mapped[UtcDateTime]
    expires_at: Mapped[UtcDateTime | None]
    state: Mapped[str]
    cause_key: Mapped[str]
    source: Mapped[str]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())


class CreditEntry(Model):
    """One change of the balance, for ever. `grant_id` is the lot it is about; a spend is about none.

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
            " when 'expired' then amount < 0 when 'reversed' then amount < 0 else false end",
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


class FreePeriod(Model):
    """When to look next whether a team is to have a month of the free plan. For the schedule, and no fact of its own."""

    __tablename__ = "free_periods"
    __table_args__ = (Index("ix_free_periods_due_at", "due_at"),)

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"), primary_key=True)
    due_at: Mapped[UtcDateTime]
