"""Explain in pages: each number opens what it is made of, from invoice and payment to grant, entries and use."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.billing.models import Payment
from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits.lot_days import count_lot_days
from portal.credits.models import CreditGrant
from tests.cast import Cast
from tests.stage import Stage
from tests.web.usage.uses import give, plain, use, words

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
