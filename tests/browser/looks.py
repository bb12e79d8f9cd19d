"""Looking at a page at both widths and in both themes: pictures, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

WIDTHS = {1440: 900, 360: 740}
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, Scheme] = ("light", "dark")
# What moves for ever (the bones of a page that waits) is not waited for.
SETTLED = """() => Promise.all(
    document.getAnimations()
        .filter(animation => animation.effect.getComputedTiming().endTime !== Infinity)
        .map(animation => animation.finished.catch(() => null)))"""


@dataclass(frozen=True)
class Look:
    """The page as it stands at `width` in `scheme`."""

    page: Page
    width: int
    scheme: str

    def __str__(self) -> str:
        return f"{self.width}-{self.scheme}"

    def picture(self, path: Path) -> None:
        self.page.screenshot(path=path, full_page=True)

    def problems(self) -> list[str]:
        """What a tool can find: a page wider than its window, and violations of accessibility rules."""
        found = [f"{self}: {violation}" for violation in violations(self.page)]
        wide, room = self.page.evaluate(
            "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        if wide > room:
            found.append(f"{self}: {wide} px wide in a window of {room} px")
        return found


def looks(page: Page) -> Iterator[Look]:
    """The page at each width and in each theme, one after the other."""
    for width in WIDTHS:
        for scheme in SCHEMES:
            yield _look(page, width, scheme)


def two_looks(page: Page, name: str) -> Iterator[Look]:
    """Each width and each theme once. Every other page has the opposite pairs, so that what pages share is seen in all four;
    with `LOOKS=all` every page is.
    """
    if os.environ.get("LOOKS") == "all":
        yield from looks(page)
        return
    turned = crc32(name.encode()) % 2
    for width, scheme in zip(WIDTHS, SCHEMES[::-1] if turned else SCHEMES, strict=True):
        yield _look(page, width, scheme)


def _look(page: Page, width: int, scheme: Scheme) -> Look:
    page.set_viewport_size({"width": width, "height": WIDTHS[width]})
    page.emulate_media(color_scheme=scheme)
    page.evaluate(SETTLED)
    return Look(page, width, scheme)


def violations(page: Page) -> list[str]:
    """Each violated rule, with the elements that violate it and how."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found: list[dict[str, Any]] = page.evaluate(
        "() => axe.run({resultTypes: ['violations']}).then(results => results.violations)"
    )
    return [
        f"{rule['id']}: {node['html'][:160]}: {node['failureSummary']}" for rule in found for node in rule["nodes"][:3]
    ]
