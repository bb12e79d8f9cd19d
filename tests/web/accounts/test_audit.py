"""The page of the audit trail: plain words, filters, pages, and a file that is safe to open."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from portal.accounts import audit, audit_log
from portal.accounts.audit_words import action_words, detail_words
from portal.core import clock
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.exports import making
from tests.cast import Cast
from tests.exporting import exported


def page(cast: Cast, **query: Any) -> str:
    answer = cast.owner.client.get(f"/teams/{cast.team_id}/audit", query_string=query)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def names_on(text: str) -> list[str]:
    """The numbered entries that a page shows, in its order."""
    return re.findall(r"name: (entry \d+)", text)


def fill(cast: Cast, number: int, **more: Any) -> None:
    with unit_of_work():
        for each in range(number):
            audit.record(
                audit.by_user(cast.owner.user_id), "plan.changed", team_id=cast.team_id, name=f"entry {each}", **more
            )


def lines(cast: Cast, **query: str) -> list[dict[str, str]]:
    return exported(cast.owner, cast.team_id, "audit", **query)


def test_s78_what_people_do_stands_there_in_plain_words(app: Flask, cast: Cast) -> None:
    keys = f"/teams/{cast.team_id}/api-keys"
    cast.admin.client.post(
        keys, data={"name": "Production", "scopes": ["credits:read"]}, environ_base={"REMOTE_ADDR": "192.0.2.8"}
    )
    key_id = re.search(r"key_[0-9A-Z]{26}", cast.admin.client.get(keys).get_data(as_text=True))
    assert key_id is not None
    cast.owner.client.post(f"{keys}/{key_id.group()}/revocation")
    cast.owner.client.post(f"{keys}/{key_id.group()}/revocation")
    with unit_of_work():
        audit.record(audit.by_key(key_id.group()), "usage.reported", team_id=cast.team_id)
        audit.record(audit.SYSTEM, "payment.refunded", team_id=cast.team_id, before="open", after="paid")
    text = page(cast)
    assert "Created an API key" in text
    assert text.count("Revoked an API key") == 2, "once as an entry, once among the filters"
    assert "Key “Production”" in text
    assert "Payment refunded" in text
    assert "open → paid" in text
    assert "192.0.2.8" in text
    assert [row["actor"] for row in lines(cast)] == ["Turnpike", "Key “Production”", "owner", "admin"]


def test_entries_of_another_team_and_personal_ones_are_not_shown(app: Flask, cast: Cast) -> None:
    with unit_of_work():
        audit.record(audit.by_user(cast.owner.user_id), "user.signed_in")
        audit.record(audit.by_user(cast.outsider.user_id), "plan.changed", team_id=cast.other_team_id)
    assert "Nothing yet" in page(cast)
    assert lines(cast) == []


def test_entries_come_in_pages_and_one_gets_back(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "PAGE", 3)
    fill(cast, 8)
    seen: list[list[str]] = []
    text, way = page(cast), []
    while True:
        seen.append(names_on(text))
        older = re.search(r"before=(audit_[0-9A-Z]+)", text)
        if older is None:
            break
        way.append(text)
        text = page(cast, before=older.group(1))
    assert [name for names in seen for name in names] == [f"entry {number}" for number in range(7, -1, -1)]
    assert [len(names) for names in seen] == [3, 3, 2]
    newer = re.search(r"after=(audit_[0-9A-Z]+)", text)
    assert newer is not None
    back = page(cast, after=newer.group(1))
    assert names_on(back) == seen[1]
    assert "after=" not in page(cast)


def test_filters_by_what_who_and_when(app: Flask, cast: Cast) -> None:
    fill(cast, 1)
    with unit_of_work():
        clock.advance(timedelta(days=3))
    with unit_of_work():
        audit.record(audit.by_user(cast.admin.user_id), "team.name_changed", team_id=cast.team_id, name="entry 9")
        today = f"{clock.now():%Y-%m-%d}"
        before = f"{clock.now() - timedelta(days=1):%Y-%m-%d}"
    assert names_on(page(cast)) == ["entry 9", "entry 0"]
    assert names_on(page(cast, action="plan.changed")) == ["entry 0"]
    assert names_on(page(cast, actor=cast.admin.user_id)) == ["entry 9"]
    assert names_on(page(cast, since=today)) == ["entry 9"]
    assert names_on(page(cast, until=before)) == ["entry 0"]
    assert names_on(page(cast, since=today, until=today)) == ["entry 9"]
    assert "Nothing matches" in page(cast, actor="system")
    assert [row["action"] for row in lines(cast, action="plan.changed")] == ["plan.changed"]


@pytest.mark.parametrize(
    "query",
    [
        {"before": "audit_1"}, {"after": "team_01JDXXXXXXXXXXXXXXXXXXXXXX"}, {"before": "' or 1=1"},
        {"since": "yesterday"}, {"until": "2026-13-01"}, {"since": "9999-99-99"},
    ],
)  # fmt: skip
def test_s82_a_cursor_or_day_that_is_none_is_refused(app: Flask, cast: Cast, query: dict[str, str]) -> None:
    assert cast.owner.client.get(f"/teams/{cast.team_id}/audit", query_string=query).status_code in (400, 422)


def test_s82_a_cursor_of_nowhere_shows_no_more_than_is_the_teams(app: Flask, cast: Cast) -> None:
    fill(cast, 2)
    with unit_of_work():
        audit.record(audit.SYSTEM, "plan.changed", team_id=cast.other_team_id, name="entry 77")
    assert names_on(page(cast, before=new_id("audit"))) == ["entry 1", "entry 0"]


def test_until_the_last_day_there_is(app: Flask, cast: Cast) -> None:
    fill(cast, 1)
    answer = cast.owner.client.get(f"/teams/{cast.team_id}/audit", query_string={"until": "9999-12-31"})
    assert answer.status_code in (200, 422)


def test_s59_the_file_holds_all_entries_and_no_formula(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "ROWS_A_STEP", 3)
    fill(cast, 7)
    cast.owner.client.post(
        f"/teams/{cast.team_id}/settings",
        data={"name": '=HYPERLINK("http://evil.example")', "time_zone": "UTC"},
    )
    with unit_of_work():
        audit.record(audit.SYSTEM, "plan.changed", team_id=cast.team_id, before="=1+1", after="@x")
    rows = lines(cast)
    assert len(rows) == 9
    assert rows[0]["detail"] == "'=1+1 → @x"
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["time"]) for row in rows)


def test_s55_what_people_wrote_is_shown_and_not_run(app: Flask, cast: Cast) -> None:
    fill(cast, 1, note="<script>alert(1)</script>")
    text = page(cast, actor='"><script>x</script>')
    assert "<script>alert" not in text
    assert "<script>x" not in text


@pytest.mark.parametrize(
    ("action", "words"),
    [("team.name_changed", "Renamed the team"), ("nobody_yet.did_this", "Nobody yet did this")],
)
def test_every_action_has_words(action: str, words: str) -> None:
    assert action_words(action) == words


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        ({}, ""),
        ({"before": "A", "after": "B"}, "A → B"),
        ({"amount_cents": 9900, "currency": "usd", "plan_key": "pro"}, "$99.00 USD, plan key: pro"),
        ({"scopes": ["usage:write", "credits:read"], "left_out": None}, "scopes: usage:write, credits:read"),
    ],
)
def test_details_are_told_in_words(detail: dict[str, Any], words: str) -> None:
    assert detail_words(detail) == words


def test_a_person_who_is_gone_from_the_team_keeps_a_name_in_it(app: Flask, cast: Cast) -> None:
    with unit_of_work():
        audit.record(audit.by_user(cast.outsider.user_id), "plan.changed", team_id=cast.team_id)
        audit.record(audit.by_user(new_id("user")), "plan.changed", team_id=cast.team_id)
    assert [row["actor"] for row in lines(cast)] == ["A former person", "outsider"]
