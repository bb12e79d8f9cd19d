"""One running stack and one Chromium for all browser tests; a fresh browser profile for each person in a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser import browser
from tests.browser.people import Household, Person, gather
from tests.browser.running import RunningStack, running
from tests.browser.visitor import PATIENCE_MS, Arrive, Complaints, Visitor, profile
from tests.services import Plan

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything that needs the stack carries the marker."""
    for item in items:
        if item.path.is_relative_to(HERE) and "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failing test brings what the programs logged meanwhile."""
    report: Any = yield
    stack = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(stack, RunningStack):
        report.sections += [(f"Log of {name}", text) for name, text in stack.logs()]
    return report


@pytest.fixture(scope="session")
def stack(test_plan: Plan, worker_id: str) -> Iterator[RunningStack]:
    with running(test_plan, worker_id) as started:
        yield started


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        started = browser.launch(playwright)
        yield started
        started.close()


@pytest.fixture(scope="session")
def household(stack: RunningStack) -> Household:
    return gather(stack)


@pytest.fixture
def arrive(stack: RunningStack, chromium: Browser) -> Iterator[Arrive]:
    """`arrive()` is somebody new with a browser; `arrive(person)` is signed in. No page may make the browser complain."""
    stack.mark_logs()
    complaints, contexts = Complaints(), []

    def arrive(person: Person | None = None, **options: Any) -> Visitor:
        context = profile(chromium, person, **options)
        contexts.append(context)
        complaints.watch(context)
        return Visitor(stack, context.new_page())

    yield arrive
    for context in contexts:
        context.close()
    assert complaints.found == []
