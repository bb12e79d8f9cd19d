"""Explain in pages: each number opens what it is made of, from invoice and payment to grant, entries and use."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts.audit import SYSTEM
from portal.billing.models import Payment
from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits import holds, ledger
from portal.credits.lot_days import count_lot_days
from portal.credits.models import CreditGrant
from portal.usage.budget_settings import set_budget
from tests.auto_buyers import AutoBuyer
from tests.cast import Cast
from tests.stage import Stage
from tests.web.api.backend import backend_of
from tests.web.usage.uses import give, make_key, plain, use, words

HTMX = {"HX-Request": "true"}


@pytest.fixture
def team(cast: Cast, stage: Stage) -> str:
    """A team with a plan and a bundle that were paid for, and some use."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    stage.buy_bundle(cast.owner, cast.team_id, "credits_5000")
    stage.deliver_all()
    use(cast.team_id, "send_email", 30, key="mail-1")
    return cast.team_id


def links(page: str, part: str) -> list[str]:
    return [link.replace("&amp;", "&") for link in re.findall(r'href="([^"#]*)', page) if part in link]


def test_from_the_balance_one_gets_to_grant_invoice_and_charge(cast: Cast, team: str) -> None:
    page = cast.owner.client.get(f"/teams/{team}/credits").get_data(as_text=True)
    (explain, *_rest) = links(page, "/explain/balance")
    balance = cast.owner.client.get(explain).get_data(as_text=True)
    assert "Why 24,970 are available" in plain(balance)
    assert "Usage By feature -30" in plain(balance)
    bundle = next(link for link in links(balance, "/explain/grant") if "bundle" in link)
    plan = next(link for link in links(balance, "/explain/grant") if "period" in link)

    grant = cast.owner.client.get(plan).get_data(as_text=True)
    shown = plain(grant)
    assert "A month of the plan, paid for." in shown
    assert "Granted 20,000 Used -30 Left 19,970" in shown
    (invoice,) = links(grant, "/invoices/inv_")
    assert cast.owner.client.get(invoice).status_code == 200
    charge = cast.owner.client.get(links(grant, "/explain/charge/")[0]).get_data(as_text=True)
    assert "Plan credits" in plain(charge)
    assert any("period" in link for link in links(charge, "/explain/grant"))

    bought = cast.owner.client.get(bundle).get_data(as_text=True)
    assert "A bundle of 5,000 credits that was bought." in plain(bought)
    charge = cast.owner.client.get(links(bought, "/explain/charge/")[0]).get_data(as_text=True)
    assert "$80.00 USD" in plain(charge)
    assert "Bundle of 5,000 credits 5,000 5,000" in plain(charge)


def test_an_entry_tells_its_lots_its_use_and_the_balance_around_it(cast: Cast, team: str) -> None:
    page = cast.owner.client.get(f"/teams/{team}/credits?kind=usage").get_data(as_text=True)
    (link,) = links(page, "/explain/entry")
    shown = words(cast.owner, link)
    assert "Usage: -30" in shown
    assert "Balance before 25,000 Used -30 Balance after 24,970" in shown
    assert "30 Used 30 What ends first is spent first." in shown
    assert "mail-1" in shown
    assert "E-mails sent, 30 units" in shown


def test_an_entry_that_settled_a_hold_names_it(app: Flask, cast: Cast) -> None:
    """And says nothing of a use where there never was one."""
    backend = backend_of(app, cast.team_id, cast.owner)
    backend.give(100)
    plain_hold = backend.hold(amount=50).get_json()["id"]
    of_meter = backend.hold(meter="send_email", quantity=10).get_json()["id"]
    backend.settle(plain_hold, key="settled-1", amount=30)
    backend.settle(of_meter, key="settled-2", quantity=4)
    address = f"/teams/{cast.team_id}/credits/explain/entry?version="
    shown = words(cast.owner, f"{address}2")
    assert f"Reported as settled-1 The hold {plain_hold} 30 of 50 held credits were used, for no feature" in shown
    assert "Not kept any more" not in shown
    shown = words(cast.owner, f"{address}3")
    assert f"The hold {of_meter} 4 of 10 held credits were used The use E-mails sent, 4 units" in shown


def test_what_was_spent_of_a_grant_is_told_by_day_counted_or_not(cast: Cast) -> None:
    give(cast.team_id, 100)
    use(cast.team_id, "send_email", 10)
    address = f"/teams/{cast.team_id}/credits/explain/grant?cause=gift:test"
    assert "Just now, not counted by day yet 10 Used 10" in words(cast.owner, address)
    with unit_of_work():
        count_lot_days(cast.team_id)
    first = clock.now()
    with unit_of_work():
        clock.advance(timedelta(days=1))
    use(cast.team_id, "send_email", 7)
    shown = words(cast.owner, address)
    assert f"{first.day} {first:%b %Y} 10 Just now, not counted by day yet 7 Used 17" in shown
    assert "Granted 100 Used -17 Left 83" in shown


def test_the_history_is_narrowed_to_days_and_keeps_that_in_its_pages(cast: Cast) -> None:
    give(cast.team_id, 1_000)
    first = clock.now()
    for number in range(3):
        use(cast.team_id, "send_email", number + 1, key=f"day-{number}")
        with unit_of_work():
            clock.advance(timedelta(days=1))
    address = f"/teams/{cast.team_id}/credits"
    second = (first + timedelta(days=1)).date()
    shown = words(cast.owner, f"{address}?since={second}&until={second}")
    assert "day-1" in shown
    assert "day-0" not in shown
    assert "day-2" not in shown
    until = words(cast.owner, f"{address}?until={second}&kind=usage")
    assert "day-0" in until
    assert "day-1" in until
    assert "A gift" not in until.partition("History")[2]
    nothing = words(cast.owner, f"{address}?since={second + timedelta(days=60)}")
    assert "Nothing that fits" in nothing
    assert cast.owner.client.get(f"{address}?since=yesterday").status_code == 422


def test_a_swap_brings_the_explanation_beside_the_number(cast: Cast) -> None:
    give(cast.team_id, 10)
    address = f"/teams/{cast.team_id}/credits/explain/balance"
    part = cast.owner.client.get(address, headers=HTMX).get_data(as_text=True)
    assert "<html" not in part
    assert 'id="explained"' in part
    assert "Why 10 are available" in plain(part)
    page = cast.owner.client.get(f"/teams/{cast.team_id}/credits").get_data(as_text=True)
    assert '<div id="explained"' in page
    assert f'hx-get="{address}"' in page


def test_what_does_not_exist_or_is_another_teams_is_404(cast: Cast, team: str) -> None:
    give(cast.other_team_id, 5, "gift:theirs")
    base = f"/teams/{team}/credits/explain"
    for path in (
        "/grant?cause=gift:theirs", "/grant?cause=", "/entry?version=999", "/entry?version=0",
        "/entry?version=-1", "/entry?version=1e2", "/entry?version=" + "9" * 40, "/charge/pay_none",
    ):  # fmt: skip
        assert cast.owner.client.get(base + path).status_code == 404, path
    for path in ("/grant", "/entry"):
        assert cast.owner.client.get(base + path).location == f"{base}/balance"
    payment = db.session.execute(select(Payment.id).where(Payment.team_id == team).limit(1)).scalar_one()
    cause = db.session.execute(select(CreditGrant.cause_key).where(CreditGrant.team_id == team).limit(1)).scalar_one()
    db.session.rollback()
    theirs = f"/teams/{cast.other_team_id}/credits/explain"
    assert cast.outsider.client.get(f"{theirs}/charge/{payment}").status_code == 404
    assert cast.outsider.client.get(f"{theirs}/grant?cause={cause}").status_code == 404


def test_the_balance_day_by_day_has_its_table(cast: Cast) -> None:
    """From the day on which there was something; one day is no line."""
    give(cast.team_id, 100)
    assert "Left, day by day" not in words(cast.owner, f"/teams/{cast.team_id}/credits")
    with unit_of_work():
        clock.advance(timedelta(days=2))
    use(cast.team_id, "send_email", 40)
    page = cast.owner.client.get(f"/teams/{cast.team_id}/credits").get_data(as_text=True)
    table = page.partition('id="left-numbers"')[2].partition("</table>")[0]
    last = table.split("<tr")[-1]
    assert re.findall(r'data-value="(\d+)"', last) == ["60", "0", "40", "0"]
    assert len(re.findall(r'<th scope="row"', table)) == 3
    assert 'data-chart="line"' in page


def test_what_is_frozen_is_neither_added_nor_taken_back(cast: Cast) -> None:
    """A lot that ends while it is frozen is thawed for that, and has added nothing by it."""
    give(cast.team_id, 100)
    with unit_of_work():
        ends = clock.now() + timedelta(days=2)
        ledger.grant(cast.team_id, kind="gift", amount=50, cause_key="gift:disputed", source="A gift", expires_at=ends)
        clock.advance(timedelta(days=1))
    with unit_of_work():
        ledger.freeze(cast.team_id, "gift:disputed", 50, "dispute:1")
        clock.advance(timedelta(days=1))
    use(cast.team_id, "send_email", 1)
    page = cast.owner.client.get(f"/teams/{cast.team_id}/credits").get_data(as_text=True)
    table = page.partition('id="left-numbers"')[2].partition("</table>")[0]
    assert "Left at its end Added Used Ended or taken back Frozen, less what was set free" in plain(table)
    rows = [re.findall(r'data-value="(-?\d+)"', line) for line in table.partition("<tbody>")[2].split("<tr")[1:]]
    assert rows == [["150", "150", "0", "0", "0"], ["100", "0", "0", "0", "50"], ["99", "0", "1", "50", "-50"]]


def test_an_automatic_purchase_leads_to_what_it_has_bought(cast: Cast, stage: Stage) -> None:
    """Whoever may see it, may see that."""
    buyer = AutoBuyer.subscribed(stage, cast.owner, cast.team_id)
    buyer.turn_on()
    buyer.spend_down_to(100)
    buyer.settle()
    page = cast.member.client.get(f"/teams/{cast.team_id}/credits/auto-purchase").get_data(as_text=True)
    (explain,) = set(links(page, "/explain/charge/"))
    shown = words(cast.member, explain)
    assert "Credits it bought" in shown
    assert f"{buyer.newest().credits:,}" in shown


def test_what_is_included_and_what_a_budget_counts_lead_to_their_days(cast: Cast) -> None:
    key_id = make_key(cast, "Nightly jobs")
    give(cast.team_id, 1_000)
    with unit_of_work():
        for subject in (f"key:{key_id}", f"member:{cast.member.user_id}"):
            set_budget(cast.team_id, subject, 500, "warn", SYSTEM)
        held = holds.hold(cast.team_id, 40, "usage:hold", timedelta(hours=1), api_key_id=key_id)
        holds.settle(cast.team_id, held.id, 25, "usage:settle")
    use(cast.team_id, "send_email", 30, api_key_id=key_id)
    use(cast.team_id, "send_email", 7, user_id=cast.member.user_id)
    use(cast.team_id, "api_calls", 12)
    for address, part, told in (
        ("usage", "meter=api_calls", "API calls 1 12 0"),
        ("usage/budgets", f"key={key_id}", "Settled holds credits that were held for no feature 1 25"),
        ("usage/budgets", f"key={key_id}", "E-mails sent 1 30 30"),
        ("usage/budgets", f"member={cast.member.user_id}", "E-mails sent 1 7 7"),
    ):
        page = cast.member.client.get(f"/teams/{cast.team_id}/{address}").get_data(as_text=True)
        found = [link for link in links(page, "/usage/explain") if part in link]
        assert found, (address, part)
        assert all(told in words(cast.member, link) for link in found)
