"""Exports: asked for, made step by step, watched and fetched; who may, how often, and what is in the file."""

from __future__ import annotations

import csv
import io
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, text, update
from sqlalchemy.event import listens_for, remove

from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.exports import making
from portal.exports.asking import PER_DAY
from portal.exports.models import Export, ExportPart
from portal.exports.registry import sources
from portal.worker import drain, tasks
from tests import switches
from tests.cast import Cast, Person
from tests.conftest import owner_engine
from tests.exporting import ask, exported, fetch, newest, workbook_rows
from tests.web.billing.test_history import HOSTILE, NOON, invoice, keep, payment
from tests.web.notifications.news import entries_of
from tests.web.usage.uses import use

HTMX = {"HX-Request": "true"}


def page(person: Person, team_id: str, query: str = "") -> str:
    answer = person.client.get(f"/teams/{team_id}/exports{query}")
    assert answer.status_code == 200
    return str(answer.get_data(as_text=True))


def watch(person: Person, export: Export) -> str:
    """What a page that watches the export gets."""
    answer = person.client.get(f"/teams/{export.team_id}/exports/{export.id}/progress", headers=HTMX)
    assert answer.status_code == 200
    return str(answer.get_data(as_text=True))


def payments_of(cast: Cast, count: int) -> None:
    keep(*[payment(cast.team_id, occurred_at=NOON - timedelta(minutes=n), amount=100 + n) for n in range(count)])


def test_an_export_shows_how_far_it_has_come_until_the_file_is_there(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "ROWS_A_STEP", 10)
    payments_of(cast, 25)
    assert ask(cast.owner, cast.team_id, "payments") == 303
    export = newest()
    assert "Counting the rows" in watch(cast.owner, export)
    seen = []
    for _ in range(3):
        making.drain(1)
        row = watch(cast.owner, export)
        seen.append(re.findall(r"(\d+) of 25 rows", row)[:1])
        assert 'hx-trigger="every 2s"' in row
        assert cast.owner.client.get(f"/teams/{cast.team_id}/exports/{export.id}/file").status_code == 404
    assert seen == [["0"], ["10"], ["20"]]
    assert making.drain(100) == 1
    row = watch(cast.owner, export)
    assert "hx-trigger" not in row.partition("</tr>")[0]
    assert "Download" in row
    assert 'id="toasts"' in row
    assert len(fetch(cast.owner, newest()).splitlines()) == 26
    [entry] = entries_of(cast.owner.user_id)
    assert (entry.title, entry.words) == ("Your export is ready: Payments", "25 rows as CSV.")
    assert entry.link == f"/teams/{cast.team_id}/exports"
    assert entries_of(cast.admin.user_id) == [], "only who asked is told"


@pytest.mark.parametrize("file_format", ["csv", "xlsx"])
@pytest.mark.parametrize("rows", [0, 1, 9, 10, 11])
def test_every_row_is_in_the_file_once_whatever_the_steps(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, rows: int, file_format: str
) -> None:
    """Also rows that came meanwhile are not in it, so that it has an end."""
    monkeypatch.setattr(making, "ROWS_A_STEP", 5)
    payments_of(cast, rows)
    assert ask(cast.billing, cast.team_id, "payments", file_format) == 303
    making.drain(2)
    keep(payment(cast.team_id, amount=1_000_000, occurred_at=newest().created_at + timedelta(days=1)))
    making.drain(100)
    data = fetch(cast.billing, newest())
    amounts = (
        [row["Amount"] for row in csv.DictReader(io.StringIO(data.decode(), newline=""))]
        if file_format == "csv"
        else [f"{row[4]:.2f}" for row in workbook_rows(data)[1:]]
    )
    assert amounts == [f"{(100 + n) / 100:.2f}" for n in range(rows)]
    assert newest().rows_done == newest().rows_total == rows


def test_a_workbook_has_numbers_dates_and_text_that_is_no_formula(cast: Cast) -> None:
    keep(
        payment(
            cast.team_id,
            description=HOSTILE,
            receipt_url="https://pay.example/1\x01\uffff",
            amount=-1_250,
            type="refund",
        ),
        payment(cast.team_id, description="A" * 40_000, amount=1_250, currency="jpy"),
    )
    assert ask(cast.owner, cast.team_id, "payments", "xlsx") == 303
    making.drain(100)
    answer = cast.owner.client.get(f"/teams/{cast.team_id}/exports/{newest().id}/file")
    assert answer.mimetype == "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    head, *rows = workbook_rows(fetch(cast.owner, newest()))
    assert head[:5] == ["Date (UTC)", "Type", "Status", "Description", "Amount"]
    by_currency = {row[6]: row for row in rows}
    assert by_currency["USD"][3] == HOSTILE, "as it is: a cell of text is never worked out"
    assert by_currency["USD"][4] == -12.5
    assert by_currency["JPY"][4] == 1_250
    assert len(by_currency["JPY"][3]) == 32_767
    assert by_currency["USD"][0] == pytest.approx(46_344.5), "noon of 18 November 2026, in Excel's days"


def test_each_list_can_be_exported(cast: Cast) -> None:
    keep(invoice(cast.team_id), payment(cast.team_id))
    drain()
    use(cast.team_id, "send_email", 1)
    for name, source in sources().items():
        for file_format in ("csv", "xlsx"):
            assert ask(cast.owner, cast.team_id, name, file_format) == 303
            making.drain(100)
            data = fetch(cast.owner, newest())
            if file_format == "xlsx":
                head, *rows = workbook_rows(data)
                assert len(head) == len(source.columns)
            else:
                first = data.decode().splitlines()[0]
                assert first == ",".join(column.title for column in source.columns)
                rows = [list(line) for line in data.decode().splitlines()[1:]]
            assert rows, name


def test_credits_are_narrowed_by_kind_and_days(cast: Cast) -> None:
    drain()
    rows = exported(cast.owner, cast.team_id, "credits", kind="grants")
    assert [(row["What"], row["Change"], row["Balance"]) for row in rows] == [("Plan credits", "100", "100")]
    assert exported(cast.owner, cast.team_id, "credits", kind="usage") == []
    assert exported(cast.owner, cast.team_id, "credits", until="2020-01-01") == []
    for wrong in ({"kind": "gold"}, {"since": "soon"}):
        assert ask(cast.owner, cast.team_id, "credits", **wrong) == 422


def test_uses_from_before_their_time_of_record_was_kept_are_in_it(app: Flask, cast: Cast) -> None:
    """Old rows have none. Of them the time of the use says whether they were there when the file was asked for."""
    use(cast.team_id, "api_calls", 7, key="old")
    use(cast.team_id, "api_calls", 1, key="new")
    db.session.remove()
    with owner_engine(app.config["SETTINGS"].database_owner_url).begin() as owner:
        owner.execute(text("alter table usage_events disable trigger usage_events_append_only"))
        changed = owner.execute(text("update usage_events set recorded_at = null where key = 'old'"))
        owner.execute(text("alter table usage_events enable trigger usage_events_append_only"))
        assert changed.rowcount == 1
    rows = exported(cast.owner, cast.team_id, "usage")
    assert [(row["Key of the report"], row["Units"]) for row in rows] == [("new", "1"), ("old", "7")]


def test_a_page_that_leads_here_brings_what_it_was_narrowed_to(cast: Cast) -> None:
    shown = page(cast.owner, cast.team_id, "?of=payments&status=failed&since=2026-11-01&nonsense=1")
    assert "state: Failed" in shown
    assert 'name="status" value="failed"' in shown
    assert 'value="2026-11-01"' in shown
    assert "nonsense" not in shown
    for path in ("payments?status=failed", "invoices?status=paid", "audit?action=team.created", "credits?kind=usage"):
        answer = cast.owner.client.get(f"/teams/{cast.team_id}/{path}").get_data(as_text=True)
        name, _, narrowed = path.partition("?")
        link = re.search(rf'href="([^"]*/exports\?[^"]*of={name}[^"]*)"', answer)
        assert link is not None, path
        assert narrowed in link.group(1).replace("&amp;", "&"), path


def test_one_at_a_time_and_so_many_a_day(app: Flask, cast: Cast) -> None:
    assert ask(cast.owner, cast.team_id, "payments") == 303
    refused = cast.admin.client.post(f"/teams/{cast.team_id}/exports", data={"of": "invoices", "format": "csv"})
    assert refused.status_code == 409
    assert "An export of this team is being made." in refused.get_data(as_text=True)
    assert ask(cast.outsider, cast.other_team_id, "payments") == 303, "another team is another matter"
    making.drain(100)
    with unit_of_work() as session:
        session.execute(
            text(
                "insert into exports select 'exp_' || n, team_id, user_id, source, format, arguments, time_zone, state,"
                " rows_total, rows_done, cursor, size_bytes, failure, attempts, run_at, created_at, finished_at,"
                " expires_at from exports, generate_series(2, :most) n where team_id = :team"
            ),
            {"most": PER_DAY, "team": cast.team_id},
        )
    refused = cast.owner.client.post(f"/teams/{cast.team_id}/exports", data={"of": "invoices", "format": "csv"})
    assert refused.status_code == 429
    assert f"asked for {PER_DAY} exports within a day" in refused.get_data(as_text=True)
    with unit_of_work() as session:
        session.execute(update(Export).values(created_at=Export.created_at - timedelta(days=1)))
    assert ask(cast.owner, cast.team_id, "payments") == 303


def test_of_many_who_ask_at_once_one_is_heard(app: Flask, cast: Cast) -> None:
    people = [*cast.by_role().values()] * 2

    def press(person: Person) -> int:
        with app.app_context():
            client = app.test_client()
            client._cookies = person.client._cookies
            form = {"of": "payments", "format": "csv"}
            return client.post(f"/teams/{cast.team_id}/exports", data=form).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(press, people))
    assert answers == [303] + [409] * 7


@pytest.mark.parametrize("form", [{}, {"of": "payments"}, {"of": "secrets", "format": "csv"},
                                  {"of": "payments", "format": "exe"}])  # fmt: skip
def test_what_is_not_offered_is_422(cast: Cast, form: dict[str, str]) -> None:
    assert cast.owner.client.post(f"/teams/{cast.team_id}/exports", data=form).status_code == 422


def test_the_audit_trail_is_for_owners_here_too(cast: Cast) -> None:
    exported(cast.owner, cast.team_id, "audit")
    export = newest()
    assert "Audit trail as CSV" in page(cast.owner, cast.team_id)
    for person in (cast.admin, cast.billing, cast.member):
        assert "Audit trail" not in page(person, cast.team_id)
        assert ask(person, cast.team_id, "audit") == 422
        for part in ("file", "progress"):
            answer = person.client.get(f"/teams/{cast.team_id}/exports/{export.id}/{part}")
            assert answer.status_code == 404


def test_where_billing_is_hidden_so_are_its_files(app: Flask, cast: Cast) -> None:
    exported(cast.owner, cast.team_id, "payments")
    export = newest()
    with switches.settings(app, billing_enabled=False):
        shown = page(cast.owner, cast.team_id)
        assert "Payments as CSV" not in shown
        assert 'value="payments"' not in shown
        assert ask(cast.owner, cast.team_id, "payments") == 422
        assert cast.owner.client.get(f"/teams/{cast.team_id}/exports/{export.id}/file").status_code == 404
        exported(cast.owner, cast.team_id, "audit")


def test_files_go_after_a_week(cast: Cast) -> None:
    exported(cast.owner, cast.team_id, "payments")
    with unit_of_work() as session:
        session.execute(update(Export).values(expires_at=Export.expires_at - timedelta(days=7, hours=-1)))
    tasks()["exports.old"].run()
    assert newest().state == "done"
    with unit_of_work() as session:
        session.execute(update(Export).values(expires_at=Export.expires_at - timedelta(hours=1)))
    tasks()["exports.old"].run()
    for table in (Export, ExportPart):
        assert db.session.execute(select(func.count()).select_from(table)).scalar() == 0


def test_a_list_that_is_too_long_says_what_to_do(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "ROWS_MAX", {"csv": 3, "xlsx": 2})
    payments_of(cast, 4)
    for file_format, words in (("csv", "Ask for fewer days."), ("xlsx", "Ask for fewer days, or for CSV.")):
        assert ask(cast.owner, cast.team_id, "payments", file_format) == 303
        making.drain(100)
        assert words in page(cast.owner, cast.team_id)
    assert [entry.severity for entry in entries_of(cast.owner.user_id)] == ["danger", "danger"]


@pytest.mark.parametrize("source", sorted(sources()))
def test_no_more_rows_are_counted_than_a_file_may_have(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """Else to count tens of millions takes longer than a statement may, and nobody is told to ask for fewer."""
    monkeypatch.setattr(making, "ROWS_MAX", {"csv": 3})
    counts: list[tuple[str, Any]] = []

    @listens_for(db.engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_more: object) -> None:
        if statement.startswith("SELECT count(*)") and "export_parts" not in statement:
            counts.append((statement, parameters))

    assert ask(cast.owner, cast.team_id, source) == 303
    counts.clear()
    try:
        assert making.drain(1) == 1
    finally:
        remove(db.engine, "before_cursor_execute", note)
    [(statement, parameters)] = counts
    assert "LIMIT" in statement, statement
    assert 4 in parameters.values()


def test_what_fails_is_tried_again_and_given_up_without_a_file(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "ROWS_A_STEP", 5)
    payments_of(cast, 12)
    assert ask(cast.owner, cast.team_id, "payments") == 303
    making.drain(3)
    assert newest().rows_done == 10

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(making, "csv_lines", broken)
    for attempt in range(1, making.ATTEMPTS_MAX + 1):
        assert making.drain(100) == 1, "and then it waits"
        assert newest().attempts == attempt
        with unit_of_work() as session:
            session.execute(text("update exports set run_at = app_now()"))
    assert newest().state == "failed"
    assert db.session.execute(select(func.count()).select_from(ExportPart)).scalar() == 0
    assert "we have been told" in page(cast.owner, cast.team_id)
    assert ask(cast.owner, cast.team_id, "payments") == 303, "and the next one may be asked for"


def test_s1_s2_an_export_belongs_to_one_team(cast: Cast) -> None:
    exported(cast.owner, cast.team_id, "payments")
    export = newest()
    for part in ("file", "progress"):
        for team_id in (cast.team_id, cast.other_team_id):
            theirs = cast.outsider.client.get(f"/teams/{team_id}/exports/{export.id}/{part}")
            nobodys = cast.outsider.client.get(f"/teams/{team_id}/exports/{new_id('exp')}/{part}")
            assert theirs.status_code == nobodys.status_code == 404
