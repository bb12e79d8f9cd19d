"""Looking at a page at both widths and in both themes: pictures, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

WIDTHS = {1440: 900, 360: 740}
# The themes differ in nothing but colours, so the second look at the same elements asks for these rules only.
OF_COLOURS = ("color-contrast", "link-in-text-block")
SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
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
        rules = OF_COLOURS if self.scheme == "dark" else None
        found = [f"{self}: {violation}" for violation in violations(self.page, rules)]
        wide, room = self.page.evaluate(
            "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        if wide > room:
            found.append(f"{self}: {wide} px wide in a window of {room} px")
        return found


def looks(page: Page) -> Iterator[Look]:
    """The page at each width and in each theme, one after the other."""
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            page.evaluate(SETTLED)
            yield Look(page, width, scheme)


def violations(page: Page, rules: Sequence[str] | None = None) -> list[str]:
    """Each violated rule (of all, or of those named), with the elements that violate it and how."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    only = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else {}
    found: list[dict[str, Any]] = page.evaluate(
        "options => axe.run(options).then(results => results.violations)", {"resultTypes": ["violations"], **only}
    )
    return [
        f"{rule['id']}: {node['html'][:160]}: {node['failureSummary']}" for rule in found for node in rule["nodes"][:3]
    ]
