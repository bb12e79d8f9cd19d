"""Looking at a page at both widths and in both themes: pictures, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

WIDTHS = {1440: 900, 360: 740}
OF_COLOURS = ("color-contrast", "link-in-text-block")
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
    # A second look at the same elements in other colours need not ask for the other rules again.
    only_colours: bool = False

    def __str__(self) -> str:
        return f"{self.width}-{self.scheme}"

    def picture(self, path: Path) -> None:
        self.page.screenshot(path=path, full_page=True)

    def problems(self) -> list[str]:
        """What a tool can find: a page wider than its window, and violations of accessibility rules."""
        rules = OF_COLOURS if self.only_colours else None
        found = [f"{self}: {violation}" for violation in violations(self.page, rules)]
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
    """Each width and each theme once, the first with all rules. Which comes first and in which colours is another pair from
    page to page, so that what pages share is seen in all four; with `LOOKS=all` every page is, with all rules.
    """
    if os.environ.get("LOOKS") == "all":
        yield from looks(page)
        return
    number = crc32(name.encode()) % 4
    both = list(zip(WIDTHS, SCHEMES[:: 1 if number % 2 else -1], strict=True))
    for again, (width, scheme) in enumerate(both[:: 1 if number < 2 else -1]):
        yield _look(page, width, scheme, only_colours=again > 0)


def _look(page: Page, width: int, scheme: Scheme, *, only_colours: bool = False) -> Look:
    page.set_viewport_size({"width": width, "height": WIDTHS[width]})
    page.emulate_media(color_scheme=scheme)
    page.evaluate(SETTLED)
    return Look(page, width, scheme, only_colours)


def violations(page: Page, rules: Sequence[str] | None = None) -> list[str]:
    """Each violated rule (of all, or of those named), with the elements that violate it and how."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    # Frames (of mails) run no scripts, so that axe would wait half a second for each and look at none.
    options: dict[str, Any] = {"resultTypes": ["violations"], "iframes": False}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    found: list[dict[str, Any]] = page.evaluate(
        "options => axe.run(options).then(results => results.violations)", options
    )
    return [
        f"{rule['id']}: {node['html'][:160]}: {node['failureSummary']}" for rule in found for node in rule["nodes"][:3]
    ]
