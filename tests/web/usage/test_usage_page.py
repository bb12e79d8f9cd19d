"""The usage page: what it shows of a time, how it is narrowed, and what each figure is made of."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask

from portal.accounts.models import Team
from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits import holds, ledger
from portal.credits.periods import period_containing
from portal.usage import settled_holds
from portal.usage.periods import usage_month
from tests.cast import Cast
from tests.exporting import exported
from tests.stage import Stage
from tests.web.api.backend import backend_of, key_id_of
from tests.web.usage.uses import give, make_key, midnight, plain, use, words

DAY = timedelta(days=1)


@pytest.fixture
def address(cast: Cast) -> str:
    return f"/teams/{cast.team_id}/usage"


@pytest.fixture
def used(cast: Cast) -> Cast:
    """Some use of two meters within the last three days, by a key and without one, for a member and for nobody."""
    give(cast.team_id, 10_000)
    key_id = make_key(cast, "Nightly jobs")
    for back, emails in ((2, 30), (1, 50), (0, 20)):
        use(cast.team_id, "send_email", emails, ago=back * DAY, api_key_id=key_id)
    use(cast.team_id, "generate_campaign", 4, user_id=cast.member.user_id, key="campaign-1")
    use(cast.team_id, "api_calls", 700)
    return cast


def row(page: str, table: str, name: str) -> list[str]:
    """The cells of the row `name` in the table with this caption."""
    found = next(part for part in page.split("<table") if table in part.partition("</caption>")[0])
    lines = [
        line for line in found.split("<tr")[1:] if 'scope="row"' in line and name in plain(line.partition("</th>")[0])
    ]
    assert lines, plain(found)
    line = lines[0]
    return [plain(cell) for cell in re.findall(r"<t[dh].*?</t[dh]>", line, re.DOTALL)]


def test_the_figures_of_a_time_are_the_sums_of_what_was_reported(used: Cast, address: str) -> None:
    page = used.owner.client.get(f"{address}?period=30").get_data(as_text=True)
    shown = plain(page)
    assert "Credits used 120" in shown
    assert "Reports 5" in shown
    assert row(page, "Use by feature", "E-mails")[1:5] == ["3", "100", "33.33", "100"]
    assert row(page, "Use by feature", "Campaigns")[1:5] == ["1", "4", "20.00", "20"]
    assert row(page, "Use by feature", "All")[1] == "5"
    assert row(page, "By API key", "Nightly jobs")[1:] == ["3", "E-mails sent 100", "100 83.3 %"]
    assert row(page, "By API key", "Without a key")[1:] == ["2", "Campaigns generated 4 API calls 700", "20 16.7 %"]
    assert row(page, "By member", "member")[1:] == ["1", "Campaigns generated 4", "20 16.7 %"]
    assert row(page, "By member", "Nobody named")[1:] == ["4", "E-mails sent 100 API calls 700", "100 83.3 %"]


@pytest.mark.parametrize(
    ("place", "headers"),
    [("", {}), ("?period=30&meter=send_email", {"HX-Request": "true"}), ("/explain?period=30", {})],
)
@pytest.mark.parametrize("some", [True, False])
def test_the_figures_say_as_of_when_they_are(
    request: pytest.FixtureRequest, cast: Cast, address: str, place: str, headers: dict[str, str], some: bool
) -> None:
    """Also those that a choice of another time brings."""
    if some:
        request.getfixturevalue("used")
    before = clock.now().replace(microsecond=0)
    db.session.rollback()
    page = cast.member.client.get(f"{address}{place}", headers=headers).get_data(as_text=True)
    [told] = re.findall(r'As of <time datetime="([^"]+)"', page)
    assert before <= datetime.fromisoformat(told) <= clock.now()
    db.session.rollback()


def test_where_nothing_costs_credits_the_units_say_who_used_how_much(used: Cast, address: str) -> None:
    use(used.team_id, "api_calls", 50, user_id=used.member.user_id)
    page = used.owner.client.get(f"{address}?period=30&meter=api_calls").get_data(as_text=True)
    assert row(page, "By API key", "Without a key")[1:] == ["2", "API calls 750"]
    assert row(page, "By member", "member")[1:] == ["1", "API calls 50"]


def test_the_last_period_of_a_new_subscriber_is_the_teams_own_month(cast: Cast, stage: Stage, address: str) -> None:
    """In which its days were counted, to the instant: not a month back from the subscription, at which none was divided."""
    with unit_of_work() as session:
        now = clock.now()
        session.get_one(Team, cast.team_id).created_at = now - 70 * DAY
    began = period_containing(now - 70 * DAY, "month", now)[0]
    minute = timedelta(minutes=1)
    for quantity, at in ((1, began - 5 * DAY), (2, began - minute), (3, began + minute), (5, now - 2 * DAY)):
        use(cast.team_id, "api_calls", quantity, ago=now - at, key=f"use-{quantity}")
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    html = cast.owner.client.get(f"{address}?period=last").get_data(as_text=True)
    assert re.findall(r">(use-\d)<", html) == ["use-5", "use-3"]
    assert "8 of 1,000 included" in plain(html), "by the free plan, which it was on"


def test_an_exact_time_in_a_link_is_kept_and_counts_days_that_it_cuts_whole(used: Cast, address: str) -> None:
    since = midnight(clock.now()) - DAY + timedelta(hours=1)
    query = urlencode(
        {"period": "own", "since": since.isoformat(), "until": (since + DAY - timedelta(hours=2)).isoformat()}
    )
    page = used.owner.client.get(f"{address}/explain?{query}").get_data(as_text=True)
    assert "E-mails sent 1 50 50" in plain(page)
    backwards = urlencode({"period": "own", "since": since.isoformat(), "until": (since - DAY).isoformat()})
    assert "must not lie before" in words(used.owner, f"{address}?{backwards}", 422)
    without_zone = urlencode({"period": "own", "since": "2026-11-01T10:00:00", "until": "2026-11-02"})
    assert "A day is written like" in words(used.owner, f"{address}?{without_zone}", 422)


def test_what_a_call_costs_is_written_as_other_figures_are(cast: Cast, address: str) -> None:
    give(cast.team_id, 10_000)
    use(cast.team_id, "generate_campaign", 250)
    page = cast.owner.client.get(f"{address}?period=30").get_data(as_text=True)
    assert row(page, "Use by feature", "Campaigns")[1:5] == ["1", "250", "1,250.00", "1,250"]


def test_every_chart_has_a_table_with_its_numbers(used: Cast, address: str) -> None:
    page = used.owner.client.get(f"{address}?period=30").get_data(as_text=True)
    charts = re.findall(r'data-chart-table="([^"]+)"', page)
    assert charts == ["credits-numbers", "units-api_calls-numbers"]
    for table in charts:
        assert f'id="{table}"' in page
    today = midnight(clock.now())
    numbers = page.partition('id="credits-numbers"')[2].partition("</table>")[0]
    line = next(part for part in numbers.split("<tr") if plain(part).startswith(f"> {today.day} {today:%b} "))
    assert re.findall(r'data-value="(\d+)"', line) == ["20", "0", "20"]
    assert plain(numbers.partition("<tfoot")[2]).endswith("All 100 0 20 120")
    assert 'src="/static/vendor/chart.umd.min.js' in page
    assert "chart.umd" not in used.owner.client.get(f"/teams/{used.team_id}/invoices").get_data(as_text=True)


def test_what_settled_holds_took_stands_beside_what_features_did(app: Flask, cast: Cast, address: str) -> None:
    """Together they are what the balance says was used; a hold for a meter is a use, and what is given back is nothing."""
    backend = backend_of(app, cast.team_id, cast.owner)
    backend.give(1_000)

    def settle(used: dict[str, Any], **fields: Any) -> None:
        assert backend.settle(backend.hold(**fields).get_json()["id"], **used).status_code == 200

    settle({"amount": 30}, amount=50)
    page = words(cast.owner, address)
    assert "Credits used 0" in page
    assert "and 30 by settled holds" in page
    settle({"amount": 7}, amount=7)
    settle({"quantity": 2}, meter="generate_campaign", quantity=3)
    backend.release(backend.hold(amount=9).get_json()["id"])
    backend.hold(amount=11)
    backend.use(quantity=100)
    page = cast.owner.client.get(address).get_data(as_text=True)
    assert "Credits used 110" in plain(page)
    assert "and 37 by settled holds" in plain(page)
    assert row(page, "Use by feature", "All")[4] == "110"
    assert row(page, "Use by feature", "Settled holds")[1::3] == ["2", "37"]
    assert row(page, "Use by feature", "With them")[4] == "147"
    assert "Usage By feature -147" in words(cast.owner, f"/teams/{cast.team_id}/credits/explain/balance")
    key_id = key_id_of(cast.team_id)
    assert "and 37 by settled holds" in words(cast.owner, f"{address}?key={key_id}")
    for narrow in ("meter=send_email", f"member={cast.member.user_id}", "key=none", "period=last"):
        assert "settled holds" not in words(cast.owner, f"{address}?{narrow}")


def test_no_more_settled_holds_are_read_than_can_be(
    app: Flask, cast: Cast, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = backend_of(app, cast.team_id, cast.owner)
    backend.give(1_000)
    for _time in range(4):
        assert backend.settle(backend.hold(amount=5).get_json()["id"], amount=5).status_code == 200
    monkeypatch.setattr(settled_holds, "HOLDS_MAX", 4)
    assert "and 20 by settled holds" in words(cast.owner, address)
    monkeypatch.setattr(settled_holds, "HOLDS_MAX", 2)
    page = words(cast.owner, address)
    assert "and over 15 by settled holds" in page
    assert "more than can be added up here" in page


def test_the_page_is_narrowed_to_a_meter_a_key_and_a_member(used: Cast, address: str) -> None:
    key_id = re.search(r'value="(key_[^"]+)"', used.owner.client.get(f"{address}?period=30").get_data(as_text=True))
    assert key_id
    assert "Credits used 100" in words(used.owner, f"{address}?period=30&meter=send_email")
    assert "Credits used 100" in words(used.owner, f"{address}?period=30&key={key_id[1]}")
    assert "Credits used 20" in words(used.owner, f"{address}?period=30&key=none&meter=generate_campaign")
    member = words(used.owner, f"{address}?period=30&member={used.member.user_id}")
    assert "Credits used 20" in member
    assert "campaign-1" in member
    nothing = words(used.owner, f"{address}?period=30&meter=analyze_lead")
    assert "Nothing was used that fits" in nothing
    assert "Show everything" in nothing


def test_days_are_whole_days_in_utc(used: Cast, address: str) -> None:
    yesterday = (midnight(clock.now()) - DAY).date()
    assert "Credits used 50" in words(used.owner, f"{address}?period=own&since={yesterday}&until={yesterday}")
    two = words(used.owner, f"{address}?period=own&since={yesterday - DAY}&until={yesterday}")
    assert "Credits used 80" in two
    year = used.owner.client.get(f"{address}?period=year").get_data(as_text=True)
    assert "Credits a month" in plain(year)
    months = year.partition('id="credits-numbers"')[2].partition("</tbody>")[0]
    assert len(re.findall(r'<th scope="row"', months)) == 12


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("period=decade", "There is no such period."),
        ("period=own&since=yesterday", "A day is written like"),
        ("period=own&since=0001-01-01", "A day is written like"),
        ("period=own&since=2026-05-02&until=2026-05-01", "must not lie before"),
        ("period=own&since=2024-01-01&until=2026-01-01", "At most 366 days"),
        ("meter=<b>", "There is no such meter."),
        ("member=a%20b", "There is no such member."),
    ],
)
def test_what_the_page_does_not_offer_is_refused_in_words(cast: Cast, address: str, query: str, reason: str) -> None:
    use(cast.team_id, "api_calls", 5)
    page = words(cast.owner, f"{address}?{query}", 422)
    assert reason in page
    assert "This period is shown instead." in page
    assert "5 of 1,000 included" in page
    assert reason in words(cast.owner, f"{address}/explain?{query}", 422)


def test_without_use_it_says_what_would_be_here(cast: Cast, address: str) -> None:
    page = words(cast.owner, address)
    assert "Nothing was used" in page
    assert "stands here by day" in page
    assert "data-chart" not in cast.owner.client.get(address).get_data(as_text=True)


def test_a_swap_gets_the_region_that_the_page_has(used: Cast, address: str) -> None:
    region = used.owner.client.get(f"{address}?period=30", headers={"HX-Request": "true"}).get_data(as_text=True)
    whole = used.owner.client.get(f"{address}?period=30").get_data(as_text=True)
    assert region.startswith('\n<div class="tp-stack" id="usage-region"') or 'id="usage-region"' in region[:400]
    assert "<html" not in region
    without_time = re.compile(r"<time.*?</time>|\d{2}:\d{2}:\d{2}", re.DOTALL)
    assert without_time.sub("", region).strip() in without_time.sub("", whole)


def test_the_month_under_way_has_a_forecast_with_its_basis_and_range(cast: Cast, address: str) -> None:
    give(cast.team_id, 2_000)
    for day in range(1, 8):
        use(cast.team_id, "send_email", 100 + day)
        with unit_of_work():
            clock.advance(DAY)
    page = words(cast.owner, address)
    assert "104 is the mean of the last 7 full days." in page
    found = re.search(r"Likely between ([\d,]+) and ([\d,]+)\.", page)
    assert found
    low, high = (int(number.replace(",", "")) for number in found.groups())
    shown = re.search(r"Forecast to [\w ]+ about ([\d,]+) likely", page)
    assert shown
    assert 728 < low <= int(shown[1].replace(",", "")) <= high < 104 * 31 + 728
    assert "Credits last about 12 days 1,272 at 104 a day" in page
    assert "Forecast" not in words(cast.owner, f"{address}?period=30")
    assert "Lasts about 12 days at 104 a day" in words(cast.owner, f"/teams/{cast.team_id}/credits")


def test_credits_that_nobody_can_spend_do_not_last(cast: Cast, address: str) -> None:
    """Those that a dispute has frozen, and those that ended while they were held."""
    give(cast.team_id, 1_400)
    give(cast.team_id, 600, "gift:disputed")
    with unit_of_work():
        at = clock.now() + DAY
        ledger.grant(cast.team_id, kind="gift", amount=500, cause_key="gift:ends", source="A gift", expires_at=at + DAY)
        holds.hold(cast.team_id, 300, "job:1", timedelta(days=7))
    with unit_of_work():
        ledger.spend(cast.team_id, 200, "usage:the rest of what ends")
        clock.advance(DAY)
    for _day in range(2):
        with unit_of_work():
            clock.advance(DAY)
        use(cast.team_id, "send_email", 100)
    with unit_of_work():
        ledger.freeze(cast.team_id, "gift:disputed", 600, "dispute:1")
        clock.advance(DAY)
    # 200 were used in the first, nothing in the second, 100 in each of two: a mean of 100 a day.
    assert "Credits last about 12 days 1,200 at 100 a day" in words(cast.owner, address)


def test_what_is_foreseen_is_in_no_sum_with_what_was_used(cast: Cast, address: str) -> None:
    give(cast.team_id, 2_000)
    for _day in range(3):
        use(cast.team_id, "send_email", 100)
        with unit_of_work():
            clock.advance(DAY)
    page = cast.owner.client.get(address).get_data(as_text=True)
    assert "Credits used 300" in plain(page)
    numbers = page.partition('id="credits-numbers"')[2].partition("</table>")[0]
    sums = [plain(cell) for cell in re.findall(r"<td.*?</td>", numbers.partition("<tfoot")[2], re.DOTALL)]
    assert (sums[0], sums[-1]) == ("300", "300")
    foreseen = sums[-2]
    assert int(foreseen.replace(",", "")) > 1_000, "its own sum stands beneath it"
    for line in numbers.partition("<tbody>")[2].partition("</tbody>")[0].split("<tr")[1:]:
        values = re.findall(r'data-value="(\d+)"', line)
        assert plain(line).split()[-1] == values[0], "a day has what was used in it"


def test_included_use_is_told_against_what_goes_on_top(cast: Cast, stage: Stage, address: str) -> None:
    use(cast.team_id, "api_calls", 700)
    page = words(cast.owner, address)
    assert "700 of 1,000 included" in page
    assert "Left 300" in page
    assert "Beyond 0" in page
    assert "is not sold with this plan" in page
    stage.subscribe(cast.owner, cast.team_id, "starter")
    stage.deliver_all()
    use(cast.team_id, "api_calls", 21_500)
    page = words(cast.owner, address)
    assert "of 20,000 included" in page
    assert "Left 0" in page
    assert re.search(r"On top (1,500|2,200) ", page)
    assert "is charged on top" in page


def test_uses_are_shown_in_pages_newest_first_each_once(cast: Cast, address: str) -> None:
    give(cast.team_id, 1_000)
    for number in range(60):
        use(cast.team_id, "send_email", 1, ago=number * timedelta(hours=7), key=f"mail-{number:02}")
    use(cast.team_id, "analyze_lead", 1, ago=10 * DAY, key="rare")
    seen: list[str] = []
    link = f"{address}?period=30"
    while link:
        page = cast.owner.client.get(link).get_data(as_text=True)
        seen += re.findall(r"<code class=\"text-break\">([\w-]+)</code>", page)
        older = re.search(r'href="([^"]+)"[^>]*>Older</a>', page)
        link = older[1].replace("&amp;", "&").partition("#")[0] if older else ""
    assert sorted(seen) == sorted([f"mail-{number:02}" for number in range(60)] + ["rare"])
    assert seen.index("rare") > seen.index("mail-34")
    rare = cast.owner.client.get(f"{address}?period=30&meter=analyze_lead").get_data(as_text=True)
    assert re.findall(r"<code class=\"text-break\">([\w-]+)</code>", rare) == ["rare"]
    tampered = cast.owner.client.get(f"{address}?period=30&before=99999999999999999-x")
    assert tampered.status_code == 200


def test_a_figure_is_taken_apart_into_days_that_add_up_to_it(used: Cast, address: str) -> None:
    page = used.owner.client.get(f"{address}/explain?period=30").get_data(as_text=True)
    body, _, foot = page.partition("<tbody>")[2].partition("<tfoot>")
    rows = [
        [plain(cell) for cell in re.findall(r"<t[dh].*?</t[dh]>", line, re.DOTALL)] for line in body.split("<tr")[1:]
    ]
    sums = [
        [plain(cell) for cell in re.findall(r"<t[dh].*?</t[dh]>", line, re.DOTALL)] for line in foot.split("<tr")[1:]
    ]
    assert {line[1]: line[4] for line in sums} == {"E-mails sent": "100", "Campaigns": "20", "API calls": "0"} or sums
    for line in sums:
        mine = [one for one in rows if one[1] == line[1]]
        for column in (2, 3, 4):
            assert sum(int(one[column].replace(",", "")) for one in mine) == int(line[column].replace(",", ""))
    links = re.findall(r'href="([^"]*period=own[^"]*)"', body)
    assert len(links) == len(rows) == 5
    day = used.owner.client.get(links[0].replace("&amp;", "&").partition("#")[0])
    assert day.status_code == 200


def test_the_uses_are_exported_as_the_page_is_narrowed(used: Cast, address: str) -> None:
    page = used.owner.client.get(f"{address}?period=30&meter=send_email").get_data(as_text=True)
    link = re.search(r'href="([^"]*/exports\?of=usage[^"]*)"', page)
    assert link
    form = used.owner.client.get(link[1].replace("&amp;", "&")).get_data(as_text=True)
    assert 'name="meter" value="send_email"' in form
    rows = exported(used.owner, used.team_id, "usage", meter="send_email")
    assert [line["Credits"] for line in rows] == ["20", "50", "30"]
    assert {line["API key"].split(" …")[0] for line in rows} == {"Nightly jobs"}
    everything = exported(used.owner, used.team_id, "usage")
    assert len(everything) == 5
    assert {line["Member"] for line in everything} == {"member", "Nobody named"}


@pytest.mark.parametrize("choice", ["last", "this"])
def test_the_export_of_a_month_of_the_plan_has_what_the_page_counts(cast: Cast, address: str, choice: str) -> None:
    """It begins and ends within a day: of the uses around its beginning, those that are in it and no others."""
    give(cast.team_id, 1_000)
    with unit_of_work():
        clock.advance(usage_month(cast.team_id, clock.now())[1] - clock.now() - timedelta(minutes=1))
    use(cast.team_id, "send_email", 30, key="before")
    with unit_of_work():
        clock.advance(timedelta(minutes=2))
    use(cast.team_id, "send_email", 5, key="after")
    page = cast.owner.client.get(f"{address}?period={choice}").get_data(as_text=True)
    shown = {"this": 5, "last": 30}[choice]
    assert f"Credits used {shown}" in plain(page)
    link = re.search(r'href="([^"]*/exports\?of=usage[^"]*)"', page)
    assert link
    form = cast.owner.client.get(link[1].replace("&amp;", "&")).get_data(as_text=True)
    assert re.search(r"from \d+ \w+ \d{4}, [\d:]{8} UTC, until just before", plain(form))
    asked = dict(re.findall(r'name="(begin|end)" value="([^"]+)"', form))
    rows = exported(cast.owner, cast.team_id, "usage", **asked)
    assert [int(line["Credits"]) for line in rows] == [shown]
    wrong = {"of": "usage", "format": "csv", "begin": "yesterday"}
    assert cast.owner.client.post(f"/teams/{cast.team_id}/exports", data=wrong).status_code == 422


def test_what_is_chosen_without_any_use_has_its_name(cast: Cast, address: str) -> None:
    for name, label in (("key", "Without a key"), ("member", "Nobody named")):
        page = cast.owner.client.get(f"{address}?{name}=none").get_data(as_text=True)
        chosen = re.search(r'<option value="none"[^>]*>([^<]*)</option>', page)
        assert chosen
        assert chosen[1].strip() == label


def test_another_teams_use_is_in_no_figure(used: Cast, address: str) -> None:
    give(used.other_team_id, 500)
    use(used.other_team_id, "send_email", 77, user_id=used.outsider.user_id, key="of-others")
    page = words(used.owner, f"{address}?period=30")
    assert "Credits used 120" in page
    assert "of-others" not in page
    narrowed = words(used.owner, f"{address}?period=30&member={used.outsider.user_id}")
    assert "outsider@example.com" not in narrowed


def test_every_role_sees_use_and_the_way_to_it(app: Flask, used: Cast, address: str) -> None:
    for person in used.by_role().values():
        page = person.client.get(address)
        assert page.status_code == 200
        assert f'href="{address}" aria-current="page"' in page.get_data(as_text=True)
    db.session.remove()
