"""Every page in every state of the table: no accessibility violation, no sideways scroll, no complaint of the browser."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.browser.looks import looks
from tests.browser.pages import NOT_PAGES, PAGES, Company, Scene
from tests.browser.running import RunningStack
from tests.browser.visitor import Arrive


@pytest.fixture(scope="module")
def company(stack: RunningStack) -> Company:
    return Company.invite(stack)


@pytest.mark.parametrize("scene", PAGES, ids=lambda scene: scene.name)
def test_a_page_is_sound(scene: Scene, arrive: Arrive, company: Company) -> None:
    someone = arrive(scene.who(company))
    scene.play(someone, company)
    assert [problem for look in looks(someone.page) for problem in look.problems()] == []


def test_every_page_has_its_line(portal_app: Flask) -> None:
    answering_get = {rule.endpoint for rule in portal_app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    shown = {scene.endpoint for scene in PAGES}
    assert answering_get - shown == set(NOT_PAGES)
    assert not shown & set(NOT_PAGES)
