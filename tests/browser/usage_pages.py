"""What usage and credits look like after three busy weeks, and each number of them taken apart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from portal.accounts.api_keys import create_key
from portal.accounts.audit import SYSTEM
from portal.accounts.models import ApiKey, Membership, User
from portal.billing.models import Checkout, Payment
from portal.core import clock
from portal.core.authz import Role
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger
from portal.credits.lot_days import count_lot_days
from portal.credits.models import CreditGrant
from portal.usage.budget_settings import set_budget
from portal.usage.metering import Use, record_all
from portal.usage.models import UsageEvent
from tests.browser.bundle_pages import DONE, checkout_of
from tests.browser.people import Person, days_ago
from tests.browser.visitor import Visitor
from tests.cast import make_user

DAYS = 21
# Weekends are quiet.
DAILY = {"send_email": (14, 38), "analyze_lead": (9, 31), "generate_campaign": (3, 14), "api_calls": (15, 44)}


def heavy(company: Any) -> Person:
    person: Person = company.heavy
    return person


def fill_for(someone: Visitor, person: Person) -> None:
    """Three weeks of use by two keys and for two people, of gifts and of a bundle that was bought; made once.

    The person's team is `DAYS` old.
    """
    with someone.stack.portal.app_context():
        with unit_of_work() as session:
            if session.execute(select(UsageEvent.id).where(UsageEvent.team_id == person.team_id).limit(1)).scalar():
                return
            owner = session.execute(select(User).where(User.email == person.email)).scalar_one()
            colleague = make_user(name="Ada Marsh")
            session.add(Membership(user_id=colleague.id, team_id=person.team_id, role=Role.MEMBER))
            with days_ago(DAYS):
                for name in ("Production backend", "Nightly jobs"):
                    create_key(person.team_id, owner, name, livemode=False)
                session.flush()
            keys = session.execute(select(ApiKey.id).where(ApiKey.team_id == person.team_id)).scalars().all()
            now = clock.now()
            with days_ago(DAYS):
                _gift(person.team_id, 400, "For the import delay", now + timedelta(days=9))
                _gift(person.team_id, 6_000, "Moved from the old plan", None)
            people = (owner.id, colleague.id)
        for back in range(DAYS - 1, 0, -1):
            _day(person.team_id, back, keys, people)
        checkout = checkout_of(someone, person, **DONE)
        with unit_of_work() as session:
            page = session.execute(select(Checkout.stripe_id).where(Checkout.id == checkout)).scalar_one()
            session.add(
                Payment(
                    id=new_id("pay"), stripe_id=new_id("pi"), gen=1, synced_at=now, team_id=person.team_id, type="top_up",
                    status="succeeded", amount=8_000, currency="usd", description="Bundle of 5,000 credits",
                    checkout_stripe_id=page, brand="visa", last4="4242", occurred_at=now,
                )
            )  # fmt: skip
        _day(person.team_id, 0, keys, people)
        with unit_of_work():
            count_lot_days(person.team_id)


def _gift(team_id: str, amount: int, source: str, ends: datetime | None) -> None:
    ledger.grant(team_id, kind="gift", amount=amount, cause_key=f"gift:{amount}", source=source, expires_at=ends)


def _day(team_id: str, back: int, keys: Any, people: tuple[str, str]) -> None:
    with unit_of_work(), days_ago(back):
        at = clock.now() - timedelta(minutes=5)
        outcomes = record_all(team_id, _uses(team_id, at, back, keys, people), lambda recorded: recorded.id)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)], outcomes


def _uses(team_id: str, at: datetime, back: int, keys: Any, people: tuple[str, str]) -> list[Use]:
    weekend = at.astimezone(UTC).weekday() >= 5
    return [
        Use(
            team_id,
            f"{meter.split('_')[-1]}-{back:02}-{number}",
            meter,
            quantity,
            keys[number % 2],
            people[number % 2] if number else None,
            at - timedelta(minutes=7 * number),
        )
        for meter, (few, many) in DAILY.items()
        for number, quantity in enumerate([few if weekend else many - back % 5, 1 + back % 3])
    ]


def filled(path: str) -> Callable[[Visitor, Any], None]:
    """A page of the busy team; GRANT, ENTRY and CHARGE stand for the bundle, the newest use and its payment."""

    def play(someone: Visitor, company: Any) -> None:
        person = heavy(company)
        fill_for(someone, person)
        with someone.stack.portal.app_context(), unit_of_work() as session:
            of_team = (CreditGrant.team_id == person.team_id) & (CreditGrant.kind == "bundle")
            cause = session.execute(select(CreditGrant.cause_key).where(of_team)).scalar_one()
            charge = session.execute(select(Payment.id).where(Payment.team_id == person.team_id)).scalar_one()
        address = path.replace("TEAM", person.team_id).replace("GRANT", cause).replace("CHARGE", charge)
        someone.go(address)

    return play


def budgets(someone: Visitor, company: Any) -> None:
    """One that stops, one that tells, and one of units."""
    person = heavy(company)
    fill_for(someone, person)
    with someone.stack.portal.app_context(), unit_of_work() as session:
        of_team = select(ApiKey.id).where(ApiKey.team_id == person.team_id).order_by(ApiKey.name)
        first, second = session.execute(of_team).scalars().all()
        for key_id, credits_a_month, action in ((first, 300, "stop"), (second, 4_000, "warn")):
            set_budget(person.team_id, f"key:{key_id}", credits_a_month, action, SYSTEM)
        set_budget(person.team_id, f"key:{first}", 50_000, "stop", SYSTEM, meter="api_calls")
    someone.go(f"/teams/{person.team_id}/usage/budgets")


def refused_budget(someone: Visitor, company: Any) -> None:
    budgets(someone, company)
    values = {"subject": "member:nobody", "units": "credits", "limit": "0", "action": "stop"}
    someone.send(f"/teams/{heavy(company).team_id}/usage/budgets", values)
    someone.page.get_by_text("From 1 to").wait_for()


def explained_beside(someone: Visitor, company: Any) -> None:
    """The balance explained on its own page, where it stands."""
    filled("/teams/TEAM/credits")(someone, company)
    someone.page.get_by_role("link", name="Explain").first.click()
    someone.page.get_by_role("heading", name="are available").wait_for()
