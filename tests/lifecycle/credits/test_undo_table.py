"""Refunds and disputes of a bundle as a table: every order in which their news may come, however much was spent.

What must stand in the end, and after each piece of news, is said by the few lines of `Expected`, which are written from the
rule and share nothing with the portal's code. Everything is tried in one transaction, from savepoint to savepoint, so
that the many orders share their beginnings.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count, permutations
from random import Random

import pytest
from flask import Flask

from portal.billing.dispute_models import Dispute
from portal.billing.models import Invoice, Payment, Refund
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger
from portal.credits.queries import balance
from portal.credits.undo import undo_page, undo_purchase
from portal.credits.verify import verify
from tests.lifecycle.credits.account import new_team

PAID, GRANTED = 1_900, 1_000
PARTS = {"part one": 190, "part two": 701, "part three": 19}
REST = PAID - sum(PARTS.values())
NEWS = ("payment", *PARTS, "rest", "opened", "decided")
# Of the 5,040 orders of each cell so many are tried, chosen by the cell; all of them with `UNDO_ORDERS=all`.
ORDERS = os.environ.get("UNDO_ORDERS", "6")
NOW = datetime.now(UTC).replace(microsecond=0)
PROVED_EVERY = 97


@dataclass(frozen=True)
class Cell:
    """`spend` is wanted as soon as the bundle is there; `disputed` is what the bank wants back."""

    verdict: str
    spend: int
    disputed: int


CELLS = [
    Cell(verdict, spend, disputed)
    for verdict in ("won", "lost")
    for spend in (0, 400, GRANTED)
    for disputed in (PAID, 951)
]


@dataclass(frozen=True)
class Expected:
    """The formula. Money that went back takes as large a part of the bundle, rounded down; what the bank has not decided
    on keeps its part out of reach; what was spent of what is taken is owed.
    """

    granted: bool = False
    refunded: int = 0
    disputed: int = 0
    undecided: int = 0
    spent: int = 0

    @property
    def stands(self) -> tuple[int, int, int]:
        """What can be spent, what is frozen, what is owed."""
        if not self.granted:
            return 0, 0, 0
        taken = part_of(self.refunded + self.disputed)
        left = GRANTED - self.spent - taken
        frozen = min(part_of(self.refunded + self.disputed + self.undecided) - taken, max(left, 0))
        return max(left, 0) - frozen, frozen, max(-left, 0)


def part_of(money: int) -> int:
    return GRANTED * min(money, PAID) // PAID


@dataclass
class Story:
    """One bundle of one team."""

    cell: Cell
    team_id: str = field(default_factory=new_team)
    page: str = field(default_factory=lambda: new_id("cs"))
    intent: str = field(default_factory=lambda: new_id("pi"))
    numbers: Iterator[int] = field(default_factory=count)

    def hear(self, news: str, before: Expected) -> Expected:
        """What one piece of news does, in the portal and by the formula. Like an event, it brings all that is true now."""
        after = before
        if news == "payment":
            self._pay()
            after = replace(before, granted=True)
        elif news in ("opened", "decided"):
            after = self._dispute(news, before)
        else:
            amount = PARTS.get(news, REST)
            self._refund(amount)
            after = replace(before, refunded=before.refunded + amount)
        granted = undo_page(self.team_id, self.page)
        assert granted is after.granted, "what is told before its payment waits"
        if news == "payment":
            can = after.stands[0]
            after = replace(after, spent=min(self.cell.spend, can))
            if after.spent:
                ledger.spend(self.team_id, after.spent, "usage:1")
        return after

    def _pay(self) -> None:
        db.session.add(
            Payment(
                id=new_id("pay"), stripe_id=self.intent, gen=1, synced_at=NOW, team_id=self.team_id, type="top_up",
                status="succeeded", amount=PAID, currency="usd", description="Bundle", checkout_stripe_id=self.page,
                payment_intent_stripe_id=self.intent, occurred_at=NOW,
            )
        )  # fmt: skip
        db.session.flush()
        ledger.grant(
            self.team_id, kind="bundle", amount=GRANTED, cause_key=f"bundle:{self.page}", source="Bundle of 1,000"
        )

    def _refund(self, amount: int) -> Refund:
        refund = Refund(
            id=new_id("ref"), stripe_id=f"re_{next(self.numbers)}_{self.intent}", gen=1, synced_at=NOW,
            team_id=self.team_id, payment_intent_stripe_id=self.intent, amount=amount, currency="usd",
            status="succeeded", created_at=NOW,
        )  # fmt: skip
        db.session.add(refund)
        db.session.flush()
        return refund

    def _dispute(self, news: str, before: Expected) -> Expected:
        """News that it was opened may come when it is decided already: then that is what is true."""
        lost, won = self.cell.verdict == "lost", self.cell.verdict == "won"
        row = db.session.query(Dispute).filter_by(team_id=self.team_id).one_or_none()
        if row is None:
            row = Dispute(
                id=new_id("dsp"), stripe_id=f"du_{self.intent}", gen=1, synced_at=NOW, team_id=self.team_id,
                payment_intent_stripe_id=self.intent, amount=self.cell.disputed, currency="usd",
                status="needs_response", withdrawn=0, created_at=NOW, effect="none",
            )  # fmt: skip
            db.session.add(row)
        if news == "decided":
            row.status = self.cell.verdict
        db.session.flush()
        amount = self.cell.disputed
        if row.status == "needs_response":
            return replace(before, undecided=amount)
        assert lost or won
        return replace(before, undecided=0, disputed=amount if lost else 0)


@pytest.mark.parametrize(
    "cell", CELLS, ids=lambda cell: f"{cell.verdict}, {cell.spend} spent, {cell.disputed} disputed"
)
def test_every_order_of_refunds_and_disputes_stands_where_the_formula_says(app: Flask, cell: Cell) -> None:
    every = list(permutations(NEWS))
    orders = every if ORDERS == "all" else Random(repr(cell)).sample(every, int(ORDERS))
    story, done = Story(cell), count()
    with unit_of_work() as session:
        _tell(story, orders, Expected(), (), done)
        session.rollback()
    db.session.remove()
    assert next(done) == len(orders)


def _tell(
    story: Story, orders: list[tuple[str, ...]], before: Expected, heard: tuple[str, ...], done: Iterator[int]
) -> None:
    """Tell the news in all of these orders, which begin with what was heard; after each piece the account is held up."""
    if len(heard) == len(NEWS):
        undo_page(story.team_id, story.page)  # told again it changes nothing
        _hold(story, before, heard)
        if next(done) % PROVED_EVERY == 0:
            assert [finding.details for finding in verify(story.team_id) if finding.violations] == [], heard
        return
    for news in sorted({order[len(heard)] for order in orders}):
        with db.session.begin_nested() as savepoint:
            after, told = story.hear(news, before), (*heard, news)
            _hold(story, after, told)
            _tell(story, [order for order in orders if order[len(heard)] == news], after, told, done)
            savepoint.rollback()
        db.session.expire_all()


def test_what_an_intent_alone_has_paid_for_is_undone_alike(app: Flask) -> None:
    """As an auto-purchase: its grant has a cause of its own, and there is neither page nor invoice."""
    story = Story(Cell("lost", 400, PAID))
    with unit_of_work() as session:
        assert undo_purchase(story.team_id, "auto:1", story.intent) is False
        story._pay()
        ledger.grant(story.team_id, kind="bundle", amount=GRANTED, cause_key="auto:1", source="Auto-purchase")
        story._dispute("opened", Expected())
        assert undo_purchase(story.team_id, "auto:1", story.intent) is True
        found = balance(story.team_id)
        assert (found.available, found.frozen) == (GRANTED, GRANTED), "the other bundle is another purchase's"
        story._dispute("decided", Expected())
        undo_purchase(story.team_id, "auto:1", story.intent)
        found = balance(story.team_id)
        assert (found.available, found.frozen, found.debt) == (GRANTED, 0, 0)
        session.rollback()
    db.session.remove()


def test_what_went_with_the_rest_of_a_plan_is_not_taken_again(app: Flask) -> None:
    """Half of it was given back, and is paid out: a refund before that is none of it, and its failure gives only its own back."""
    story = Story(Cell("won", 0, PAID))
    with unit_of_work() as session:
        story._pay()
        early = story._refund(190)
        early.created_at = NOW - timedelta(hours=1)
        _stands(story, 900)
        invoice = Invoice(
            id=new_id("inv"), stripe_id=new_id("in"), gen=1, synced_at=NOW, team_id=story.team_id, status="paid",
            currency="usd", total=-950, amount_due=0, amount_paid=0, description="The rest", lines=[], created_at=NOW,
        )  # fmt: skip
        session.add(invoice)
        lot = f"bundle:{story.page}"
        ledger.reverse(story.team_id, lot, 500, f"given_back:{invoice.stripe_id}:{lot}")
        _stands(story, 400)
        late = story._refund(950)
        _stands(story, 400)
        dispute = Dispute(
            id=new_id("dsp"), stripe_id=new_id("du"), gen=1, synced_at=NOW, team_id=story.team_id, status="needs_response",
            payment_intent_stripe_id=story.intent, amount=190, currency="usd", withdrawn=0, created_at=NOW, effect="none",
        )  # fmt: skip
        session.add(dispute)
        _stands(story, 300, 100)
        dispute.status = "won"
        _stands(story, 400)
        early.status = "failed"
        _stands(story, 500)
        late.status = "failed"
        _stands(story, 500)
        session.rollback()
    db.session.remove()


def _stands(story: Story, available: int, frozen: int = 0) -> None:
    """Bring the credits in line, twice."""
    for _ in range(2):
        db.session.flush()
        undo_page(story.team_id, story.page)
        found = balance(story.team_id)
        assert (found.available, found.frozen, found.debt) == (available, frozen, 0)


def _hold(story: Story, expected: Expected, heard: tuple[str, ...]) -> None:
    found = balance(story.team_id)
    assert (found.available, found.frozen, found.debt) == expected.stands, " then ".join(heard)
