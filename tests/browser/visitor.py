"""A person at a browser: what they do on the pages, in the words of the pages."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response, expect

from tests.browser.people import Person
from tests.browser.running import RunningStack
from tests.stage import VISA

# A busy machine is slow, not wrong.
PATIENCE_MS = 30_000
EXPIRY, CVC = "12 / 34", "123"


@dataclass
class Complaints:
    """What a browser finds wrong with pages: errors of scripts and in the console, refusals by the content policy.

    That a page itself, or a form sent by htmx, was answered with 4xx is for the test to judge.
    """

    found: list[str] = field(default_factory=list)
    _judged: set[str] = field(default_factory=set)

    def watch(self, context: BrowserContext) -> None:
        """From now on everything that happens in a browser profile counts."""
        context.on("response", self._answered)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.found.append(f"script: {error.error}"))

    def _answered(self, response: Response) -> None:
        request = response.request
        if 400 <= response.status < 500 and (request.is_navigation_request() or "hx-request" in request.headers):
            self._judged.add(response.url)

    def _console(self, message: ConsoleMessage) -> None:
        judged = message.text.startswith("Failed to load resource") and message.location["url"] in self._judged
        if message.type in ("error", "warning") and not judged:
            self.found.append(f"{message.type}: {message.text} ({message.location['url']})")


def profile(chromium: Browser, person: Person | None, **options: Any) -> BrowserContext:
    """A browser that nobody has used, signed in as `person`; nothing moves in it."""
    context = chromium.new_context(reduced_motion="reduce", **options)
    context.set_default_timeout(PATIENCE_MS)
    if person is not None:
        context.add_cookies([person.cookie])
    return context


@dataclass
class Visitor:
    """One person with one tab."""

    stack: RunningStack
    page: Page

    def go(self, path: str) -> Response:
        response = self.page.goto(self.stack.base_url + path)
        assert response is not None
        return response

    @property
    def path(self) -> str:
        return urlsplit(self.page.url).path

    @property
    def team_id(self) -> str:
        """The team on whose page we are."""
        found = re.search(r"/teams/(team_[0-9A-Z]+)", self.page.url)
        assert found, f"{self.page.url} is not a team's page"
        return found.group(1)

    # --- the door

    def sign_up(self, email: str, password: str, team_name: str) -> None:
        """Fill in the form of the page we are on."""
        self.page.get_by_label("E-mail").fill(email)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_label("Team name").fill(team_name)
        self.press("Create account")

    def sign_in(self, email: str, password: str) -> None:
        self.go("/login")
        self.fill_in_sign_in(email, password)
        self.page.wait_for_url("**/teams**")

    def fill_in_sign_in(self, email: str, password: str) -> None:
        self.page.get_by_label("E-mail").fill(email)
        self.page.get_by_label("Password").fill(password)
        self.press("Sign in")

    def open_mail(self, to: str, subject: str) -> None:
        """The newest mail to `to`, in the development mailbox."""
        self.go("/dev/mail")
        self.page.get_by_role("row").filter(has_text=to).get_by_role("link", name=subject).first.click()
        expect(self.page.get_by_role("heading", level=1)).to_contain_text(subject)

    def follow_link_in_mail(self) -> None:
        self.page.get_by_role("region", name="Links").get_by_role("link").first.click()

    def confirm_address(self, email: str, password: str) -> None:
        """Follow the newest mail that asks for it, and give the password chosen at sign-up."""
        self.open_mail(email, "Confirm your address")
        self.follow_link_in_mail()
        self.page.get_by_label("Password").fill(password)
        self.press("Confirm the address")
        self.page.wait_for_url("**/login")

    # --- buying

    def choose(self, plan: str, team_id: str | None = None) -> None:
        """Press the button of a plan, by the month, and arrive at the hosted page."""
        self.go("/pricing" + (f"?team={team_id}" if team_id else ""))
        self.plan_button(plan).click()
        self.page.wait_for_url(f"{self.stack.sandbox_url}/**")

    def plan_button(self, plan: str) -> Any:
        card = self.page.get_by_role("listitem").filter(has=self.page.get_by_role("heading", name=plan, exact=True))
        return card.locator(".tp-plan__act .tp-if-month").get_by_role("button")

    def pay(self, card: str = VISA) -> None:
        """Fill in the hosted page and send it off."""
        email = self.page.get_by_label("E-mail")
        if email.count():
            email.fill("payer@example.com")
        self.page.get_by_label("Card number").fill(card)
        self.page.get_by_label("Expiry").fill(EXPIRY)
        self.page.get_by_label("Security code").fill(CVC)
        self.page.get_by_label("Name on card").fill("Robin Payer")
        self.page.get_by_role("region", name="Payment details").get_by_role("button").click()

    def wait_until_on(self, plan: str) -> None:
        """The return page turns by itself, once the worker has applied Stripe's events."""
        expect(self.page.get_by_role("heading", name=f"You are on {plan} now")).to_be_visible()

    def open_overview(self, team_id: str) -> None:
        self.go(f"/teams/{team_id}/billing")
        expect(self.page.get_by_role("heading", name="Overview", level=1)).to_be_visible()

    # --- anything

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def send(self, path: str, values: dict[str, str]) -> None:
        """Send a form that the page in view does not have (any more), as a tab that was open for long would."""
        self.page.evaluate(
            """([path, values]) => {
                const form = document.createElement("form");
                form.action = path;
                form.method = "post";
                for (const [name, value] of Object.entries(values)) {
                    const field = document.createElement("input");
                    [field.name, field.value] = [name, value];
                    form.append(field);
                }
                document.body.append(form);
                form.submit();
            }""",
            [path, {**values, "csrf_token": self.csrf_token()}],
        )

    def csrf_token(self) -> str:
        token = self.page.locator('meta[name="csrf-token"]').get_attribute("content")
        assert token
        return token

    def card(self, title: str) -> Any:
        return self.page.get_by_role("region", name=title, exact=True)


class Arrive(Protocol):
    """Somebody opens a browser: a stranger, or a person who is signed in; options are those of a browser context."""

    def __call__(self, person: Person | None = None, **options: Any) -> Visitor: ...
