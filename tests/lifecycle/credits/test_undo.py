"""The rule of refunds as a property: any partition of a refund, in any order and grouping, some of it failing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from flask import Flask
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from portal.billing.dispute_models import Dispute
from portal.billing.models import PaidPeriod, Payment, Refund
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger
from portal.credits.bought import Lot
from portal.credits.models import CreditGrant
from portal.credits.plan_months import cause_key
from portal.credits.queries import balance
from portal.credits.undo import reversed_credits, share_of, undo_invoice
from portal.credits.verify import verify
from tests.lifecycle.credits.account import new_team

AMOUNTS = st.integers(1, 10**9)


@given(AMOUNTS, AMOUNTS, st.integers(0, 2 * 10**9), st.integers(0, 10**9))
@example(granted=100, paid=100, refunded=29, more=0)  # 28.999… in floating point
def test_the_rule_is_monotone_and_exact_at_both_ends(granted: int, paid: int, refunded: int, more: int) -> None:
    taken = reversed_credits(granted, refunded, paid)
    assert 0 <= taken <= reversed_credits(granted, refunded + more, paid) <= granted
    assert taken * paid <= granted * min(refunded, paid) < (taken + 1) * paid or taken == granted
    assert reversed_credits(granted, 0, paid) == 0
    assert reversed_credits(granted, paid, paid) == granted


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=12), st.integers(0, 12_000))
def test_the_last_months_go_first_and_the_shares_are_the_total(amounts: list[int], total: int) -> None:
    lots = [Lot(str(place), amount) for place, amount in enumerate(amounts)]
    shares = [share_of(lots, place, total) for place in range(len(lots))]
    assert sum(shares) == min(total, sum(amounts))
    touched = [place for place, share in enumerate(shares) if share]
    assert touched == list(range(len(lots) - len(touched), len(lots)))
    assert all(shares[place] == amounts[place] for place in touched[1:])


@dataclass
class Year:
    """A paid year of a team with its months granted one after another, and refunds of it."""

    paid: int
    monthly: int
    team_id: str = field(default_factory=new_team)
    start: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1))
    granted: int = 0

    def __post_init__(self) -> None:
        self.subscription, self.invoice, self.intent = new_id("sub"), new_id("in"), new_id("pi")
        with unit_of_work() as session:
            session.add(
                PaidPeriod(
                    id=new_id("paid"), team_id=self.team_id, subscription_stripe_id=self.subscription,
                    invoice_stripe_id=self.invoice, kind="plan", plan_key="business", interval="year",
                    period_start=self.start, period_end=self.start + timedelta(days=365), credits_monthly=self.monthly,
                )
            )  # fmt: skip
            session.add(
                Payment(
                    id=new_id("pay"), stripe_id=self.intent, gen=1, synced_at=self.start, team_id=self.team_id,
                    type="subscription_payment", status="succeeded", amount=self.paid, currency="usd", description="A year",
                    invoice_stripe_id=self.invoice, payment_intent_stripe_id=self.intent, occurred_at=self.start,
                )
            )  # fmt: skip

    def grant_month(self) -> None:
        """All months begin now: what is tested is the order of grants and refunds, not the calendar."""
        if self.granted == 12:
            return
        with unit_of_work():
            ledger.grant(
                self.team_id, kind="subscription", amount=self.monthly, cause_key=self._month(self.granted),
                source="Business", expires_at=self.start + timedelta(days=400),
            )  # fmt: skip
            undo_invoice(self.team_id, self.invoice)
        self.granted += 1

    def _month(self, place: int) -> str:
        year, month = divmod(self.start.month - 1 + place, 12)
        day = self.start
        while True:
            try:
                begins = day.replace(year=self.start.year + year, month=month + 1)
                return cause_key(self.subscription, "plan", begins)
            except ValueError:
                day -= timedelta(days=1)

    def refund(self, amounts: list[int]) -> None:
        """These refunds become known at once."""
        with unit_of_work() as session:
            for amount in amounts:
                refund_id = new_id("re")
                session.add(
                    Refund(
                        id=new_id("ref"), stripe_id=refund_id, gen=1, synced_at=self.start, team_id=self.team_id,
                        payment_intent_stripe_id=self.intent, amount=amount, currency="usd", status="succeeded",
                        created_at=self.start,
                    )
                )  # fmt: skip
            session.flush()
            undo_invoice(self.team_id, self.invoice)

    def fail(self, number: int) -> None:
        with unit_of_work() as session:
            query = select(Refund).where(Refund.team_id == self.team_id, Refund.status == "succeeded")
            standing = session.execute(query.order_by(Refund.id)).scalars().all()
            if standing:
                standing[number % len(standing)].status = "failed"
                session.flush()
                undo_invoice(self.team_id, self.invoice)

    def dispute(self, amounts: list[int]) -> None:
        """The bank disputes so much."""
        with unit_of_work() as session:
            for amount in amounts:
                session.add(
                    Dispute(
                        id=new_id("dsp"), stripe_id=new_id("du"), gen=1, synced_at=self.start, team_id=self.team_id,
                        payment_intent_stripe_id=self.intent, amount=amount, currency="usd", status="needs_response",
                        withdrawn=amount, created_at=self.start, effect="none",
                    )
                )  # fmt: skip
            session.flush()
            undo_invoice(self.team_id, self.invoice)

    def decide(self, number: int, verdict: str) -> None:
        with unit_of_work() as session:
            query = select(Dispute).where(Dispute.team_id == self.team_id, Dispute.status == "needs_response")
            undecided = session.execute(query.order_by(Dispute.id)).scalars().all()
            if undecided:
                undecided[number % len(undecided)].status = verdict
                session.flush()
                undo_invoice(self.team_id, self.invoice)

    def frozen(self) -> tuple[int, int]:
        """What is frozen, and at most how much the disputes that are open are about."""
        asked = select(func.coalesce(func.sum(Dispute.amount), 0))
        undecided = db.session.execute(
            asked.where(Dispute.team_id == self.team_id, Dispute.status == "needs_response")
        ).scalar_one()
        frozen = db.session.execute(
            select(func.coalesce(func.sum(CreditGrant.frozen), 0)).where(CreditGrant.team_id == self.team_id)
        ).scalar_one()
        return int(frozen), self.shares(self.back() + int(undecided)) - self.shares(self.back())

    def back(self) -> int:
        """The money that went back: refunds that stand and disputes that are lost."""
        refunded = select(func.coalesce(func.sum(Refund.amount), 0)).where(
            Refund.team_id == self.team_id, Refund.status == "succeeded"
        )
        lost = select(func.coalesce(func.sum(Dispute.amount), 0)).where(
            Dispute.team_id == self.team_id, Dispute.status == "lost"
        )
        return int(db.session.execute(refunded).scalar_one()) + int(db.session.execute(lost).scalar_one())

    def expected(self) -> int:
        """What the rule says of the money that went back, for the months that were granted."""
        return self.shares(self.back())

    def shares(self, back: int) -> int:
        lots = [Lot(self._month(place), self.monthly) for place in range(12)]
        taken = reversed_credits(12 * self.monthly, back, self.paid)
        return sum(share_of(lots, place, taken) for place in range(self.granted))

    def taken(self) -> int:
        """What was taken back so far, less what was given back."""
        entries = text("select coalesce(-sum(amount), 0) from credit_entries where team_id = :t and kind = 'reversed'")
        back = select(func.coalesce(func.sum(CreditGrant.amount), 0))
        mine = (CreditGrant.team_id == self.team_id) & (CreditGrant.kind == "adjustment")
        taken = db.session.execute(entries, {"t": self.team_id}).scalar_one()
        return int(taken) - int(db.session.execute(back.where(mine)).scalar_one())


STEPS = st.lists(
    st.one_of(
        st.just(("grant", [])),
        st.tuples(st.just("refund"), st.lists(st.integers(1, 400), min_size=1, max_size=3)),
        st.tuples(st.just("fail"), st.lists(st.integers(0, 9), min_size=1, max_size=1)),
        st.tuples(st.just("spend"), st.lists(st.integers(1, 60), min_size=1, max_size=1)),
        st.tuples(st.just("dispute"), st.lists(st.integers(1, 400), min_size=1, max_size=2)),
        st.tuples(st.sampled_from(["won", "lost"]), st.lists(st.integers(0, 9), min_size=1, max_size=1)),
    ),
    min_size=2,
    max_size=9,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(paid=st.integers(50, 1500), monthly=st.integers(1, 100), steps=STEPS)
def test_any_history_of_grants_refunds_disputes_and_failures_ends_where_the_rule_says(
    app: Flask, paid: int, monthly: int, steps: list[tuple[str, list[int]]]
) -> None:
    year, left, spent = Year(paid, monthly), paid, 0
    year.grant_month()
    for number, (act, amounts) in enumerate(steps):
        if act == "grant":
            year.grant_month()
        elif act == "refund":
            fitting = [min(amount, left) for amount in amounts if left > 0]
            fitting = [amount for amount in fitting if (left := left - amount) >= 0]
            year.refund(fitting)
        elif act == "fail":
            year.fail(amounts[0])
        elif act == "dispute":
            year.dispute(amounts)
        elif act in ("won", "lost"):
            year.decide(amounts[0], act)
        elif spend(year.team_id, amounts[0], number):
            spent += amounts[0]
        assert year.taken() == year.expected(), f"after step {number}, {act}"
        frozen, disputed = year.frozen()
        assert frozen <= disputed, f"after step {number}, {act}"
        stands = balance(year.team_id)
        # Nothing is lost or made on the way: what was granted is spent, taken back, frozen or there.
        assert stands.available - stands.debt + frozen == year.granted * monthly - spent - year.taken()
    assert [finding for finding in verify(year.team_id) if finding.violations] == []
    db.session.rollback()


def spend(team_id: str, amount: int, number: int) -> bool:
    """Whether there was enough."""
    with unit_of_work():
        try:
            ledger.spend(team_id, amount, f"usage:{number}")
        except ledger.InsufficientCredits:
            return False
    return True
