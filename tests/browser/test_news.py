"""The inbox and exports at a browser: dismissing in place, and an export that is watched until its file is there."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import func, update

from portal.core.clock import app_now
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.exports.models import Export
from tests.browser.news_pages import export_row, tell_all
from tests.browser.people import newcomer
from tests.browser.running import RunningStack
from tests.browser.visitor import Visitor, profile


def test_news_are_counted_read_and_dismissed_in_place(stack: RunningStack, chromium: Browser) -> None:
    person = newcomer(stack, "Quiet Reader")
    context = profile(chromium, person)
    someone = Visitor(stack, context.new_page())
    tell_all(someone, person)
    someone.go("/inbox")
    page, bell = someone.page, someone.page.get_by_role("navigation").get_by_role("link", name="Inbox")
    expect(bell).to_have_accessible_name("Inbox 3 unread")
    page.get_by_role("button", name="Dismiss $99.00 USD is paid").click()
    expect(page.get_by_role("heading", name="$99.00 USD is paid")).to_have_count(0)
    expect(page.get_by_role("status").filter(has_text="Dismissed. The history keeps it.")).to_be_visible()
    expect(bell).to_have_accessible_name("Inbox 2 unread")
    expect(page.locator("#inbox")).to_be_focused()
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Mark all as read").focus()
    page.keyboard.press("Enter")
    expect(bell).to_have_accessible_name("Inbox")
    page.get_by_role("button", name="Open Your team has 12 seats now").click()
    page.wait_for_url(f"**/teams/{person.team_id}/billing")
    someone.go("/inbox")
    page.get_by_role("button", name="Dismiss all").click()
    expect(page.get_by_role("heading", name="You are up to date")).to_be_visible()
    page.get_by_role("link", name="Show the history").click()
    expect(page.get_by_role("heading", name="$99.00 USD is paid")).to_be_visible()
    context.close()


@pytest.mark.parametrize("script", [True, False])
def test_a_tab_that_is_looked_at_again_looks_for_news_and_a_hidden_one_does_not(
    stack: RunningStack, chromium: Browser, script: bool
) -> None:
    """Without a script the count is that of the page."""
    person = newcomer(stack, f"Bell {script}")
    context = profile(chromium, person, java_script_enabled=script)
    someone = Visitor(stack, context.new_page())
    page = someone.page
    if script:
        page.clock.install()
    someone.go("/account")
    bell = page.get_by_role("navigation").get_by_role("link", name="Inbox")
    expect(bell).to_have_accessible_name("Inbox")
    tell_all(someone, person)
    if script:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/inbox/unread" in request.url else None)
        page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
        page.clock.run_for(3_600_000)
        assert asked == []
        page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
        expect(bell).to_have_accessible_name("Inbox 3 unread")
        assert len(asked) == 1
    else:
        page.reload()
        expect(bell).to_have_accessible_name("Inbox 3 unread")
    context.close()


def test_an_export_is_watched_and_fetched(stack: RunningStack, chromium: Browser, tmp_path: Path) -> None:
    person = newcomer(stack, "Export Works")
    context = profile(chromium, person, accept_downloads=True)
    someone = Visitor(stack, context.new_page())
    page = someone.page
    waiting: dict[str, Any] = {"source": "credits", "state": "running", "rows_total": 4, "rows_done": 3, "cursor": "1"}
    export_id = export_row(someone, person, **waiting, run_at=func.now() + func.make_interval(1))
    someone.go(f"/teams/{person.team_id}/exports")
    row = page.locator(f"#{export_id}")
    expect(row.get_by_role("progressbar", name="3 of 4 rows")).to_be_visible()
    with stack.portal.app_context():
        with unit_of_work() as session:
            session.execute(update(Export).where(Export.id == export_id).values(run_at=app_now()))
        db.session.remove()
    expect(row.get_by_role("link", name="Download Credit history as CSV")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="Your export is ready.")).to_be_visible()

    page.get_by_label("What").select_option("Credit history")
    page.get_by_role("button", name="Export").click()
    newest = page.get_by_role("table").get_by_role("row").nth(1)
    expect(newest.get_by_role("rowheader")).to_contain_text("Credit history as CSV")
    with page.expect_download() as fetched:
        newest.get_by_role("link", name="Download").click()
    fetched.value.save_as(tmp_path / "credits.csv")
    with (tmp_path / "credits.csv").open(newline="") as file:
        assert [line["What"] for line in csv.DictReader(file)] == ["Plan credits"]
    expect(page.get_by_role("navigation").get_by_role("link", name="Inbox")).to_contain_text("unread")
    context.close()
