"""`python -m tests.browser.screenshots FOLDER [NAME ...]`: pictures of every page, at both widths and in both themes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser import browser
from tests.browser.looks import looks
from tests.browser.pages import PAGES, Company, Scene
from tests.browser.running import RunningStack, running
from tests.browser.visitor import Visitor, profile
from tests.services import Services


def take(folder: Path, scenes: list[Scene]) -> None:
    """Start a stack, show it every scene, and leave `NAME-WIDTH-THEME.png` files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    services = Services(os.environ)
    try:
        with running(services.start(), "pictures") as stack, sync_playwright() as playwright:
            chromium = browser.launch(playwright)
            company = Company.invite(stack)
            for scene in scenes:
                show(scene, company, stack, chromium, folder)
            chromium.close()
    finally:
        services.stop()


def show(scene: Scene, company: Company, stack: RunningStack, chromium: Browser, folder: Path) -> None:
    context = profile(chromium, scene.who(company))
    someone = Visitor(stack, context.new_page())
    scene.play(someone, company)
    for look in looks(someone.page):
        look.picture(folder / f"{scene.name}-{look}.png")
    context.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these pages, all without a name")
    arguments = parser.parse_args()
    known = {scene.name: scene for scene in PAGES}
    unknown = set(arguments.names) - set(known)
    if unknown:
        parser.error(f"no page is called {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    take(arguments.folder, [known[name] for name in arguments.names] or list(PAGES))


if __name__ == "__main__":
    main()
