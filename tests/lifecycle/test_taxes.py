"""A catalog that asks for automatic tax: the page asks where the buyer is, and our rows hold what was charged."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import requests
from sqlalchemy import select

from portal.billing.models import Checkout, Invoice, Payment
from portal.billing.subscriptions import live_subscription
from portal.catalog.current import catalog
from portal.catalog.definition import Catalog
from portal.core.database import db
from portal.credits.queries import balance
from tests.cast import Cast
from tests.plan_changes import Changer
from tests.purchases import violations
from tests.stage import Stage


@pytest.fixture(autouse=True)
def automatic_tax(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_tax() -> Catalog:
        known = catalog()
        return replace(known, checkout=replace(known.checkout, automatic_tax=True))

    monkeypatch.setattr("portal.billing.checkout.catalog", with_tax)


def pay_in_germany(stage: Stage, address: str) -> None:
    assert stage.pay(address).status_code == 422
    place = {"place": "set", "country": "DE"}
    assert requests.post(address, data=place, allow_redirects=False, timeout=20).status_code == 303
    assert stage.pay(address).status_code == 303


def totals(team_id: str) -> list[int]:
    query = select(Invoice.total).where(Invoice.team_id == team_id).order_by(Invoice.created_at)
    return list(db.session.execute(query).scalars())


def test_plan_renewal_and_bundle_are_charged_with_their_tax(cast: Cast, stage: Stage) -> None:
    team = cast.team_id
    pay_in_germany(stage, stage.begin_checkout(cast.owner, team, "business"))
    stage.deliver_all()
    assert totals(team) == [35_581]  # $299.00 and 19 %
    assert balance(team).available == 20_000

    stage.advance(timedelta(days=31))
    stage.deliver_all()
    assert totals(team) == [35_581, 35_581]

    # Where the team is is known by now, and may be corrected on the page.
    assert stage.pay(stage.begin_bundle(cast.owner, team)).status_code == 303
    stage.deliver_all()
    bought = db.session.execute(select(Checkout).where(Checkout.purpose == "bundle")).scalar_one()
    assert (bought.amount_cents, bought.amount_total, bought.payment_status) == (1_800, 2_142, "paid")
    paid = db.session.execute(select(Payment.amount).where(Payment.team_id == team)).scalars()
    assert sorted(paid) == [2_142, 35_581, 35_581]
    assert violations() == []


def test_what_is_given_back_with_its_tax_ends_the_plan_here_too(cast: Cast, stage: Stage) -> None:
    """An invoice below 0 has its tax below 0. It is kept as it is; to refuse it would keep the team on a plan that is over."""
    team = cast.team_id
    pay_in_germany(stage, stage.begin_checkout(cast.owner, team, "business"))
    stage.deliver_all()
    changer = Changer(stage, cast.owner, team)
    stage.advance(timedelta(days=12))
    preview, change = changer.leave("cancel_now")
    assert change.state == "done", change.failure_code
    given = changer.invoices()[0]
    assert given["total"] == preview.shown["total"] < 0
    row = db.session.execute(select(Invoice).where(Invoice.stripe_id == given["id"])).scalar_one()
    assert (row.total, row.tax) == (given["total"], preview.shown["tax"])
    assert row.tax < 0
    db.session.remove()
    changer.assert_mirrored()
    assert changer.mirrored().status == "canceled"
    assert live_subscription(team) is None
    for path in ("invoices", f"invoices/{row.id}", "payments"):
        assert cast.owner.client.get(f"/teams/{team}/{path}").status_code == 200, path
    assert violations() == []
