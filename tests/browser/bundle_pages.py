"""What a bundle's checkout looks like in its states: rows as Stripe's news would leave them, and the pages of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update

from portal.accounts.models import User
from portal.billing.card_testing import OPEN_OR_DECLINED_MAX
from portal.billing.models import Checkout
from portal.catalog.models import Bundle
from portal.catalog.queries import bundle_price_for
from portal.core.clock import app_now
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.credits.bundle_grants import grant_for_checkout
from tests.browser.people import Person
from tests.browser.visitor import Visitor

BUNDLE = "credits_5000"


def checkout_of(someone: Visitor, person: Person, bundle: str = BUNDLE, **values: Any) -> str:
    """A checkout of a bundle that the person's team has begun; its id."""
    with someone.stack.portal.app_context(), unit_of_work() as session:
        price = bundle_price_for(bundle)
        assert price is not None
        user_id = session.execute(select(User.id).where(User.email == person.email)).scalar_one()
        row = Checkout(
            id=new_id("chk"), team_id=person.team_id, user_id=user_id, purpose="bundle",
            bundle_key=bundle, price_id=price.price_id, credits=price.credits, amount_cents=price.unit_amount_cents,
            currency=price.currency, order_key=new_id("ord"), params={}, stripe_id=new_id("cs"),
            **{"state": "open", **values},
        )  # fmt: skip
        session.add(row)
        session.flush()
        grant_for_checkout(row)
        return row.id


def bundle_page(person: Callable[[Any], Person], query: str = "", **values: Any) -> Callable[[Visitor, Any], None]:
    """The return page of a bundle's checkout in a state."""

    def play(someone: Visitor, company: Any) -> None:
        buyer = person(company)
        checkout_id = checkout_of(someone, buyer, **values)
        someone.go(f"/teams/{buyer.team_id}/checkout/{checkout_id}{query}")
        with someone.stack.portal.app_context(), unit_of_work() as session:
            # What is only to be looked at is no try of anybody's.
            session.execute(select(Checkout).where(Checkout.id == checkout_id)).scalar_one().created_at -= timedelta(
                hours=2
            )

    return play


def limited(person: Callable[[Any], Person]) -> Callable[[Visitor, Any], None]:
    """Bundles that may be bought so often in a month: one has been, one may be just now, of another one some are left."""

    def play(someone: Visitor, company: Any) -> None:
        buyer = person(company)
        made = [
            checkout_of(someone, buyer, state="complete", completed_at=app_now(), payment_status="unpaid"),
            checkout_of(someone, buyer, "credits_10000", url=f"{someone.stack.sandbox_url}/c/pay/cs_test_open"),
        ]
        with someone.stack.portal.app_context():
            _set_limits(credits_1000=3, credits_5000=1, credits_10000=1)
            try:
                someone.go(f"/teams/{buyer.team_id}/credits")
            finally:
                _set_limits(credits_1000=None, credits_5000=None, credits_10000=None)
                with unit_of_work() as session:
                    session.execute(delete(Checkout).where(Checkout.id.in_(made)))

    return play


def _set_limits(**limits: int | None) -> None:
    with unit_of_work() as session:
        for key, limit in limits.items():
            session.execute(update(Bundle).where(Bundle.key == key).values(limit_per_month=limit))


def too_many(person: Callable[[Any], Person]) -> Callable[[Visitor, Any], None]:
    """The button of somebody whose last five checkouts came to nothing."""

    def play(someone: Visitor, company: Any) -> None:
        buyer = person(company)
        for _ in range(OPEN_OR_DECLINED_MAX):
            checkout_of(someone, buyer, state="expired")
        someone.go(f"/pricing?team={buyer.team_id}")
        someone.plan_button("Business").click()
        someone.page.get_by_text("Too many checkouts were begun").wait_for()

    return play


DONE: dict[str, Any] = {"state": "complete", "payment_status": "paid", "paid_at": app_now(), "amount_total": 8_000}
PENDING: dict[str, Any] = {"state": "complete", "payment_status": "unpaid"}
FAILED: dict[str, Any] = {"state": "complete", "payment_status": "failed"}
