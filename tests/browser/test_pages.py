"""Every page in every state of the table: no accessibility violation, no sideways scroll, no complaint of the browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, ViewportSize

from tests.browser.looks import two_looks
from tests.browser.pages import NOT_PAGES, PAGES, Company, Scene
from tests.browser.people import Person
from tests.browser.running import RunningStack
from tests.browser.visitor import Complaints, Visitor, profile

FIRST_SIZE: ViewportSize = {"width": 1280, "height": 720}


@dataclass
class Regulars:
    """The people of the scenes, each with one browser profile and one tab for all of them: the cache spares most of the
    loading, and a tab of its own costs as much as a page.
    """

    stack: RunningStack
    chromium: Browser
    company: Company
    tabs: dict[Person | None, tuple[Page, Complaints]] = field(default_factory=dict)

    def come(self, person: Person | None) -> tuple[Visitor, Complaints]:
        """The person's tab as a new one would be, and what the browser will have to complain about."""
        if person not in self.tabs:
            context, complaints = profile(self.chromium, person), Complaints()
            complaints.watch(context)
            self.tabs[person] = context.new_page(), complaints
        page, complaints = self.tabs[person]
        page.set_viewport_size(FIRST_SIZE)
        page.emulate_media(color_scheme="light")
        complaints.found.clear()
        return Visitor(self.stack, page), complaints

    def leave(self, someone: Visitor) -> None:
        """Whatever the page still waits for or looks at is over."""
        someone.page.goto("about:blank")


@pytest.fixture(scope="module")
def regulars(stack: RunningStack, chromium: Browser) -> Iterator[Regulars]:
    found = Regulars(stack, chromium, Company.invite(stack))
    yield found
    for page, _ in found.tabs.values():
        page.context.close()


@pytest.mark.parametrize("scene", PAGES, ids=lambda scene: scene.name)
def test_a_page_is_sound(scene: Scene, stack: RunningStack, regulars: Regulars) -> None:
    stack.mark_logs()
    someone, complaints = regulars.come(scene.who(regulars.company))
    scene.play(someone, regulars.company)
    problems = [problem for look in two_looks(someone.page, scene.name) for problem in look.problems()]
    found = [*problems, *complaints.found]
    regulars.leave(someone)
    assert found == []


def test_every_page_has_its_line(portal_app: Flask) -> None:
    answering_get = {rule.endpoint for rule in portal_app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    shown = {scene.endpoint for scene in PAGES}
    assert answering_get - shown == set(NOT_PAGES)
    assert not shown & set(NOT_PAGES)
