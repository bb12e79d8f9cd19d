"""Add-ons from the button to the right that the API names: bought, counted, removed, kept and dropped by a change of plan."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from portal.accounts.models import AuditEntry
from portal.billing.change_models import ChangePreview, PendingChange
from portal.billing.entitlements import effective, has_feature, limit_of
from portal.billing.models import Subscription
from portal.core.database import db
from portal.core.money import money_words
from portal.notifications.models import OutboxItem
from tests.cast import Cast
from tests.plan_changes import Changer, lookup_key
from tests.purchases import violations
from tests.stage import Stage
from tests.web.api.backend import backend_of

PAST_TRIAL = timedelta(days=25)
HISTORY, YEAR_MORE = 365, 365


def on(stage: Stage, cast: Cast, plan: str = "pro", interval: str = "month", wait: timedelta = PAST_TRIAL) -> Changer:
    return Changer.on(stage, cast.owner, cast.team_id, plan, interval, wait=wait)


def have(changer: Changer, addon: str, quantity: int = 1) -> tuple[ChangePreview, PendingChange]:
    """So many of an add-on, from the form to the invoice, which must be what was shown."""
    before = changer.invoices()
    preview, change = changer.finish(changer.shown(changer.ask_addon(addon, quantity)))
    assert change.state == "done", (change.state, change.failure_code)
    made = [one for one in changer.invoices() if one not in before]
    if preview.amount_due:
        assert [(one["amount_paid"], one["billing_reason"]) for one in made] == [
            (preview.amount_due, "subscription_update")
        ]
        shown = sorted(line["amount"] for line in preview.shown["lines"])
        assert sorted(line["amount"] for line in made[0]["lines"]["data"]) == shown
    else:
        assert made == []
    changer.assert_mirrored()
    return preview, change


def held(changer: Changer) -> dict[str, int]:
    """The add-ons at Stripe, by the lookup keys of their prices."""
    items = {lookup_key(item["price"]["id"]): item.get("quantity", 0) for item in changer.live()["items"]["data"]}
    return {key.removeprefix("turnpike_addon_"): number for key, number in items.items() if "_addon_" in key}


def planned(changer: Changer) -> dict[str, int] | None:
    found = db.session.execute(select(Subscription.scheduled_addons).where(Subscription.team_id == changer.team_id))
    addons = found.scalar_one()
    db.session.remove()
    return addons


def right(changer: Changer, key: str) -> tuple[bool, int | None, str]:
    found = effective(changer.team_id).feature(key)
    db.session.remove()
    assert found is not None
    return found.enabled, found.limit, found.source


def test_a_switch_is_on_with_the_add_on_and_off_without(stage: Stage, cast: Cast) -> None:
    changer = on(stage, cast)
    backend = backend_of(stage.app, cast.team_id, cast.owner)
    before = backend.call("GET", "/entitlements")
    assert before.get_json()["features"]["audit_log"]["enabled"] is False
    preview, _ = have(changer, "audit_log")
    assert 0 < preview.amount_due < 1_900
    assert preview.shown["recurring_total"] == preview.shown["next_total"] == 9_900 + 1_900
    assert held(changer) == {"audit_log_month": 1}
    etag = {"If-None-Match": before.headers["ETag"], "Authorization": f"Bearer {backend.secret}"}
    now = backend.call("GET", "/entitlements", headers=etag)
    found = now.get_json()["features"]["audit_log"]
    assert (now.status_code, found["enabled"], found["source"]) == (200, True, "addon")
    changer.pass_period()
    assert changer.invoices()[0]["total"] == preview.shown["next_total"]
    changer.stage.advance(timedelta(days=10))
    preview, _ = have(changer, "audit_log", 0)
    assert preview.amount_due == 0
    assert held(changer) == {}
    assert right(changer, "audit_log") == (False, None, "none")
    changer.pass_period()
    assert changer.invoices()[0]["total"] == preview.shown["next_total"] < 9_900
    assert violations() == []


def test_what_is_paid_by_the_year_stands_beside_a_plan_that_is_paid_by_the_month(stage: Stage, cast: Cast) -> None:
    changer = on(stage, cast)
    preview, _ = have(changer, "longer_history", 2)
    assert (preview.shown["next_total"], preview.shown["recurring_total"]) == (9_900, 9_900)
    assert [line["amount"] for line in preview.shown["yearly"]] == [12_000]
    assert held(changer) == {"longer_history_year": 2}
    assert right(changer, "usage_history") == (True, HISTORY + 2 * YEAR_MORE, "addon")
    ends = {item.get("quantity"): item["current_period_end"] for item in changer.live()["items"]["data"]}
    assert ends[2] > ends[1]
    changer.pass_period()
    assert changer.invoices()[0]["total"] == 9_900
    more, _ = have(changer, "longer_history", 5)
    assert 0 < more.amount_due < 3 * 6_000
    less, _ = have(changer, "longer_history", 1)
    assert less.amount_due == 0
    assert right(changer, "usage_history") == (True, HISTORY + YEAR_MORE, "addon")
    changer.pass_period()
    assert changer.invoices()[0]["total"] == less.shown["next_total"] <= 0
    for _ in range(11):
        changer.pass_period()
    assert 9_900 + 6_000 in [invoice["total"] for invoice in changer.invoices()]
    changer.assert_mirrored()


def test_in_a_trial_it_costs_nothing_until_the_first_payment(stage: Stage, cast: Cast) -> None:
    changer = on(stage, cast, wait=timedelta(days=3))
    preview, _ = have(changer, "longer_history")
    assert (preview.amount_due, preview.shown["next_total"]) == (0, 9_900 + 6_000)
    assert limit_of(cast.team_id, "usage_history") == HISTORY + YEAR_MORE
    db.session.remove()
    changer.pass_period()
    assert changer.invoices()[0]["total"] == preview.shown["next_total"]


@pytest.mark.parametrize("by_the_year", [False, True])
def test_a_trial_announces_all_that_its_first_invoice_bills(stage: Stage, cast: Cast, by_the_year: bool) -> None:
    changer = on(stage, cast, wait=timedelta(days=3))
    changer.change_seats(14)
    have(changer, "audit_log")
    if by_the_year:
        have(changer, "longer_history", 2)
    stage.advance(timedelta(days=9))
    stage.deliver_all()
    a_month = 9_900 + 4 * 1_200 + 1_900
    price = f"{money_words(a_month, 'usd')} a month"
    price += f" and {money_words(12_000, 'usd')} a year for 2 \u00d7 Another year of history" if by_the_year else ""
    overview = " ".join(cast.owner.client.get(f"/teams/{cast.team_id}/billing").get_data(as_text=True).split())
    assert f"Then Pro costs {price}, before taxes and discounts, charged to the card below." in overview
    card = re.sub(r"<[^>]*>", "", overview.partition('id="plan-card"')[2])
    assert f"{money_words(a_month, 'usd')} a month" in " ".join(card.split())
    found = [
        one for one in db.session.execute(select(OutboxItem.payload)).scalars() if one["message"] == "trial_will_end"
    ]
    db.session.remove()
    assert found
    for mail in found:
        for kind in ("text", "html"):
            assert f"costs {price}, before taxes and discounts, charged" in " ".join(mail[kind].split())
    changer.pass_period()
    assert changer.invoices()[0]["subtotal"] == a_month + (12_000 if by_the_year else 0)


def upgrade(changer: Changer) -> ChangePreview:
    preview, change = changer.change("business")
    assert change.state == "done"
    assert changer.invoices()[0]["amount_paid"] == preview.amount_due
    return preview


def downgrade(changer: Changer) -> ChangePreview:
    preview, change = changer.change("starter")
    assert change.state == "done"
    assert planned(changer) is not None
    changer.pass_period()
    assert changer.invoices()[0]["total"] == preview.shown["next_total"]
    return preview


def to_a_year(changer: Changer) -> ChangePreview:
    preview, change = changer.change("pro", "year")
    assert change.state == "done"
    assert changer.invoices()[0]["amount_paid"] == preview.amount_due
    return preview


# What is done with both add-ons on Pro by the month, what ends by that, and what there is afterwards.
CHANGES: dict[str, tuple[Callable[[Changer], ChangePreview], list[str], dict[str, int]]] = {
    "a larger plan includes one": (upgrade, ["audit_log"], {"longer_history_year": 2}),
    "a smaller plan does not sell one": (downgrade, ["audit_log"], {"longer_history_year": 2}),
    "a year instead of months": (to_a_year, [], {"audit_log_year": 1, "longer_history_year": 2}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_plan_keeps_what_the_plan_sells_and_says_what_ends(stage: Stage, cast: Cast, what: str) -> None:
    change, ends, after = CHANGES[what]
    changer = on(stage, cast)
    have(changer, "audit_log")
    have(changer, "longer_history", 2)
    preview = change(changer)
    assert preview.shown["addons_ending"] == ends
    assert held(changer) == after
    assert limit_of(cast.team_id, "usage_history") == (1_095 if change is upgrade else HISTORY) + 2 * YEAR_MORE
    db.session.remove()
    changer.assert_mirrored()
    assert violations() == []


def test_the_preview_says_which_add_on_ends(stage: Stage, cast: Cast) -> None:
    changer = on(stage, cast)
    have(changer, "audit_log")
    page = changer.person.client.get(changer.ask("business").location).get_data(as_text=True)
    assert "Audit log ends, since Business is sold without it; what is left of it is credited." in page
    page = changer.person.client.get(changer.ask("starter").location).get_data(as_text=True)
    assert "Audit log ends, since Starter is sold without it." in page


def test_a_planned_change_survives_and_brings_the_add_on_along(stage: Stage, cast: Cast) -> None:
    changer = on(stage, cast)
    changer.change("starter")
    assert planned(changer) == {}
    preview, _ = have(changer, "longer_history", 3)
    assert changer.mirrored().scheduled_plan_key == "starter"
    assert planned(changer) == {"longer_history": 3}
    refused = changer.ask_addon("audit_log")
    assert refused.status_code == 422
    assert "is sold without it. Undo the planned change first" in refused.get_data(as_text=True)
    have(changer, "longer_history", 1)
    assert planned(changer) == {"longer_history": 1}
    changer.pass_period()
    assert changer.mirrored().plan_key == "starter"
    assert held(changer) == {"longer_history_year": 1}
    assert preview.shown["yearly"]
    changer.assert_mirrored()


def test_a_change_of_seats_forgets_no_add_on_that_is_planned(stage: Stage, cast: Cast) -> None:
    changer = on(stage, cast, "business", wait=timedelta(days=12))
    have(changer, "longer_history")
    changer.change("pro")
    preview, change = changer.change_seats(27)
    assert change.state == "done"
    assert planned(changer) == {"longer_history": 1}
    changer.pass_period()
    assert changer.invoices()[0]["total"] == preview.shown["next_total"]
    assert held(changer) == {"longer_history_year": 1}
    changer.assert_mirrored()


def test_a_year_that_is_to_become_months_keeps_what_is_paid_by_the_year(stage: Stage, cast: Cast) -> None:
    changer = on(stage, cast, "pro", "year")
    have(changer, "audit_log")
    have(changer, "longer_history")
    changer.change("pro", "month")
    assert planned(changer) == {"audit_log": 1, "longer_history": 1}
    preview, _ = changer.change_seats(11)
    assert preview.shown["recurring_total"] == 9_900 + 1_200 + 1_900
    assert [line["amount"] for line in preview.shown["yearly"]] == [6_000]
    changer.pass_period()
    assert held(changer) == {"audit_log_month": 1, "longer_history_year": 1}
    assert changer.invoices()[0]["total"] == preview.shown["next_total"] == 9_900 + 1_200 + 1_900 + 6_000
    changer.assert_mirrored()


def test_a_canceled_plan_takes_its_add_ons_with_it(stage: Stage, cast: Cast) -> None:
    changer = on(stage, cast)
    have(changer, "audit_log")
    stripe_id = changer.mirrored().stripe_id
    stage.stripe("POST", f"/v1/subscriptions/{stripe_id}", cancel_at_period_end="true")
    stage.deliver_all()
    assert has_feature(cast.team_id, "audit_log")
    db.session.remove()
    assert changer.ask_addon("longer_history").status_code == 409
    changer.pass_period()
    assert right(changer, "audit_log") == (False, None, "none")


WRONG: dict[str, tuple[str, int | str, int, str]] = {
    "unknown": ("audit_lag", 1, 422, "This add-on is not sold with your plan"),
    "a NUL": ("audit\x00log", 1, 422, "This add-on is not sold with your plan"),
    "none of none": ("audit_log", 0, 409, "Nothing would change"),
    "too many": ("longer_history", 6, 422, "Another year of history: 5 at most"),
    "two of what there is one": ("audit_log", 2, 422, "Audit log: 1 at most"),
    "no number": ("longer_history", "many", 422, "Enter a whole number."),
    "less than none": ("longer_history", -1, 422, "Enter a whole number."),
}


def test_a_wish_that_cannot_be_is_refused_with_the_reason(stage: Stage, cast: Cast) -> None:
    changer = on(stage, cast)
    for what, (addon, quantity, status, words) in WRONG.items():
        answer = changer.ask_addon(addon, quantity)
        assert (answer.status_code, words in answer.get_data(as_text=True)) == (status, True), what
    assert held(changer) == {}


def test_a_declined_card_changes_nothing(stage: Stage, cast: Cast) -> None:
    changer = on(stage, cast)
    changer.switch_card("pm_card_chargeCustomerFail")
    _, change = changer.finish(changer.shown(changer.ask_addon("longer_history", 5)))
    assert change.state == "failed"
    assert held(changer) == {}
    assert right(changer, "usage_history") == (True, HISTORY, "plan")
    changer.assert_mirrored()


def test_pages_trail_and_mail_name_it(stage: Stage, cast: Cast) -> None:
    changer = on(stage, cast)
    page = cast.owner.client.get(f"/teams/{cast.team_id}/addons").get_data(as_text=True)
    assert "Another year of history" in page
    have(changer, "longer_history", 2)
    have(changer, "audit_log")
    overview = cast.owner.client.get(f"/teams/{cast.team_id}/billing").get_data(as_text=True)
    assert "2 \u00d7 Another year of history" in overview
    assert "$118.00" in overview  # Pro with the audit log; the other one is paid by the year
    assert "$120.00" in overview
    mails: list[dict[str, Any]] = list(db.session.execute(select(OutboxItem.payload)).scalars())
    subjects = [mail["subject"] for mail in mails if mail["to"] == "owner@example.com"]
    assert "Your team has 2 \u00d7 Another year of history now" in subjects
    entry = db.session.execute(
        select(AuditEntry).where(AuditEntry.action == "addons.changed").order_by(AuditEntry.id).limit(1)
    ).scalar_one()
    assert (entry.detail["addon"], entry.detail["quantity"]) == ("longer_history", 2)


def test_an_exception_for_the_team_stands_above_what_it_bought(stage: Stage, cast: Cast) -> None:
    changer = on(stage, cast)
    have(changer, "longer_history")
    run = stage.app.test_cli_runner().invoke
    done = run(args=["entitlements", "override", cast.team_id, "usage_history", "--limit", "10", "--reason", "Tests"])
    assert done.exit_code == 0, done.output
    assert right(changer, "usage_history") == (True, 10, "override")
