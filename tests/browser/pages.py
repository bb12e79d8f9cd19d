"""Every page of the portal and of the stand-in, in the states that matter: one table for pictures and for the checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import select

from portal.billing.models import Checkout, Subscription
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from tests.browser.bundle_pages import DONE, FAILED, PENDING, bundle_page, too_many
from tests.browser.people import Household, Person, gather, newcomer
from tests.browser.running import RunningStack
from tests.browser.visitor import Visitor
from tests.stage import DECLINED

Row = TypeVar("Row", Checkout, Subscription)
STAND_IN = "a page of the stand-in for Stripe"
ERROR = "an error page"


@dataclass(frozen=True)
class Company:
    """Whom the pages are shown to: the demo data's people, and owners without a plan, with two teams, at checkout."""

    household: Household
    free: Person
    twin: Person
    buyer: Person
    late: Person
    payer: Person
    crowd: Person

    @classmethod
    def invite(cls, stack: RunningStack) -> Company:
        return cls(
            household=gather(stack),
            free=newcomer(stack, "Corner Cafe"),
            twin=newcomer(stack, "Lakeside Studio", teams=2),
            buyer=newcomer(stack, "Bright Books"),
            late=newcomer(stack, "Meridian Maps"),
            payer=newcomer(stack, "Paper Lanterns"),
            crowd=newcomer(stack, "Crowded House"),
        )


@dataclass(frozen=True)
class Scene:
    """A page in a state. `endpoint` is the portal's route; `play` brings the page up."""

    name: str
    endpoint: str
    who: Callable[[Company], Person | None]
    play: Callable[[Visitor, Company], object]


def nobody(_company: Company) -> None:
    return None


def owner(company: Company) -> Person:
    return company.household.owner


def member(company: Company) -> Person:
    return company.household.member


def free(company: Company) -> Person:
    return company.free


def twin(company: Company) -> Person:
    return company.twin


def buyer(company: Company) -> Person:
    return company.buyer


def late(company: Company) -> Person:
    return company.late


def payer(company: Company) -> Person:
    return company.payer


def crowd(company: Company) -> Person:
    return company.crowd


def at(path: str) -> Callable[[Visitor, Company], object]:
    """An address of the portal; `TEAM` stands for the demo team, `FREE` for the one without a plan."""

    def play(someone: Visitor, company: Company) -> None:
        someone.go(path.replace("TEAM", company.household.team_id).replace("FREE", company.free.team_id))

    return play


def wrong_password(someone: Visitor, _company: Company) -> None:
    someone.go("/login")
    someone.fill_in_sign_in("nobody@example.com", "not the one")
    someone.page.get_by_text("E-mail and password do not match").wait_for()


def empty_sign_up(someone: Visitor, _company: Company) -> None:
    someone.go("/signup")
    someone.page.locator("form").evaluate("form => { form.noValidate = true; }")
    someone.sign_up("no address", "short", "")
    someone.page.locator("[aria-invalid]").first.wait_for()


def demo_logins(someone: Visitor, _company: Company) -> None:
    someone.go("/login")
    someone.page.get_by_text("Demo logins").click()


def reset_mail(someone: Visitor, company: Company) -> None:
    someone.go("/reset")
    someone.page.get_by_label("E-mail of your account").fill(company.free.email)
    someone.press("Send the link")
    someone.page.get_by_role("status").wait_for()
    someone.open_mail(company.free.email, "Choose a new password")


def reset_page(someone: Visitor, company: Company) -> None:
    reset_mail(someone, company)
    someone.follow_link_in_mail()
    someone.page.get_by_label("New password", exact=True).wait_for()


def sent_again(someone: Visitor, _company: Company) -> None:
    someone.go("/confirm")
    someone.page.get_by_label("E-mail of your account").fill("nobody@example.com")
    someone.press("Send the link")
    someone.page.get_by_role("status").wait_for()


def open_menu(someone: Visitor, company: Company) -> None:
    """On a phone the navigation comes out of a button; on wide screens it stands there anyway."""
    someone.open_overview(company.household.team_id)
    someone.page.evaluate("() => document.getElementById('menu').showPopover()")


def open_switcher(someone: Visitor, company: Company) -> None:
    someone.go(f"/teams/{company.twin.team_id}/billing")
    someone.page.locator(".tp-switch summary").click()
    someone.page.evaluate("() => document.getElementById('menu').showPopover()")


def new_key(someone: Visitor, company: Company) -> None:
    someone.go(f"/teams/{company.household.team_id}/api-keys")
    someone.page.get_by_label("Name").fill("Production backend")
    someone.press("Create key")
    someone.page.locator("#new-key").wait_for()


def revoking(someone: Visitor, company: Company) -> None:
    new_key(someone, company)
    someone.page.reload()
    someone.page.locator(".tp-confirm summary").first.click()


def nameless_key(someone: Visitor, company: Company) -> None:
    someone.go(f"/teams/{company.household.team_id}/api-keys")
    someone.page.locator("form[hx-post]").first.evaluate("form => { form.noValidate = true; }")
    someone.press("Create key")
    someone.page.locator("[aria-invalid]").wait_for()


def stand_in_home(someone: Visitor, _company: Company) -> None:
    someone.page.goto(someone.stack.sandbox_url)


def hosted_page(someone: Visitor, company: Company) -> None:
    """The buyer presses a button in five scenes, which is as often as anybody may without paying."""
    someone.choose("Business", company.buyer.team_id)


def hosted_page_of_payer(someone: Visitor, company: Company) -> None:
    someone.choose("Business", company.payer.team_id)


def declined(someone: Visitor, company: Company) -> None:
    hosted_page_of_payer(someone, company)
    someone.pay(DECLINED)
    someone.page.get_by_role("alert").wait_for()


def canceled(someone: Visitor, company: Company) -> None:
    hosted_page(someone, company)
    someone.page.get_by_role("link", name="Cancel and go back").click()
    someone.page.wait_for_url("**canceled=1")


def waiting(someone: Visitor, company: Company) -> None:
    canceled(someone, company)
    someone.page.goto(someone.page.url.partition("?")[0])


def slow(someone: Visitor, company: Company) -> None:
    """As it is when Stripe's event stays away for minutes."""
    waiting(someone, company)
    with someone.stack.portal.app_context(), unit_of_work():
        newest(Checkout, company.buyer.team_id).created_at -= timedelta(minutes=5)
    someone.page.reload()


def replaced(someone: Visitor, company: Company) -> None:
    """The address of a checkout after which another one was opened."""
    waiting(someone, company)
    address = someone.page.url
    hosted_page(someone, company)
    someone.page.goto(address)


def done(someone: Visitor, company: Company) -> None:
    """The demo team's own checkout, long paid."""
    team_id = company.household.team_id
    with someone.stack.portal.app_context():
        checkout_id = newest(Checkout, team_id).id
    someone.go(f"/teams/{team_id}/checkout/{checkout_id}")


def invoice(someone: Visitor, company: Company) -> None:
    someone.open_overview(company.household.team_id)
    someone.card("Recent invoices").get_by_role("row").get_by_role("link").first.click()
    someone.page.wait_for_url(f"{someone.stack.sandbox_url}/**")


def past_due(someone: Visitor, company: Company) -> None:
    """A subscription whose renewal was declined, as the mirror then has it."""
    buy_once(someone, company.late, "Business")
    with someone.stack.portal.app_context(), unit_of_work():
        newest(Subscription, company.late.team_id).status = "past_due"
    someone.open_overview(company.late.team_id)


def ending(someone: Visitor, company: Company) -> None:
    """A subscription that was canceled to the end of its period, as the mirror then has it."""
    buy_once(someone, company.late, "Business")
    with someone.stack.portal.app_context(), unit_of_work():
        subscription = newest(Subscription, company.late.team_id)
        subscription.status, subscription.cancel_at = "active", subscription.current_period_end
    someone.open_overview(company.late.team_id)


def buy_once(someone: Visitor, person: Person, plan: str) -> None:
    someone.open_overview(person.team_id)
    if someone.page.get_by_role("link", name="Choose a plan").count():
        someone.choose(plan, person.team_id)
        someone.pay()
        someone.wait_until_on(plan)


def newest(model: type[Row], team_id: str) -> Row:
    """The team's newest row of a kind."""
    query = select(model).where(model.team_id == team_id).order_by(model.id.desc()).limit(1)
    return db.session.execute(query).scalar_one()


def refused(someone: Visitor, company: Company) -> None:
    """The order of a tab that was open before the team had a plan."""
    someone.go(f"/pricing?team={company.household.team_id}")
    someone.page.evaluate(
        """([path, token]) => {
            const form = document.createElement("form");
            form.action = path;
            form.method = "post";
            form.innerHTML = '<input name="plan" value="business"><input name="interval" value="month">';
            const field = document.createElement("input");
            field.name = "csrf_token";
            field.value = token;
            form.append(field);
            document.body.append(form);
            form.submit();
        }""",
        [f"/teams/{company.household.team_id}/checkout", someone.csrf_token()],
    )
    someone.page.get_by_text("The checkout did not start").wait_for()


PAGES = (
    Scene("pricing", "catalog.pricing", nobody, at("/pricing")),
    Scene("pricing-yearly", "catalog.pricing", nobody, at("/pricing?interval=year")),
    Scene("pricing-free-team", "catalog.pricing", free, at("/pricing?team=FREE")),
    Scene("pricing-subscribed", "catalog.pricing", owner, at("/pricing?team=TEAM")),
    Scene("pricing-member", "catalog.pricing", member, at("/pricing?team=TEAM")),
    Scene("sign-in", "security.login", nobody, at("/login")),
    Scene("sign-in-refused", "security.login", nobody, wrong_password),
    Scene("sign-in-demo-logins", "security.login", nobody, demo_logins),
    Scene("sign-up", "security.register", nobody, at("/signup")),
    Scene("sign-up-errors", "security.register", nobody, empty_sign_up),
    Scene("check-mail", "accounts.check_mail", nobody, at("/signup/check-mail")),
    Scene("confirmation", "security.send_confirmation", nobody, at("/confirm")),
    Scene("confirmation-sent", "security.send_confirmation", nobody, sent_again),
    Scene("reset", "security.forgot_password", nobody, at("/reset")),
    Scene("reset-new-password", "security.reset_password", nobody, reset_page),
    Scene("verify", "security.verify", owner, at("/verify")),
    Scene("mailbox", "notifications.dev_mail", nobody, at("/dev/mail")),
    Scene("mail", "notifications.dev_mail_message", nobody, reset_mail),
    Scene("teams", "accounts.teams", twin, at("/teams")),
    Scene("team-switcher", "billing.overview", twin, open_switcher),
    Scene("menu", "billing.overview", owner, open_menu),
    Scene("overview", "billing.overview", owner, at("/teams/TEAM/billing")),
    Scene("overview-member", "billing.overview", member, at("/teams/TEAM/billing")),
    Scene("overview-free", "billing.overview", free, at("/teams/FREE/billing")),
    Scene("overview-past-due", "billing.overview", late, past_due),
    Scene("overview-ending", "billing.overview", late, ending),
    Scene("keys-none", "accounts.api_keys", free, at("/teams/FREE/api-keys")),
    Scene("keys-new", "accounts.api_keys", owner, new_key),
    Scene("keys-revoking", "accounts.api_keys", owner, revoking),
    Scene("keys-error", "accounts.api_keys", owner, nameless_key),
    Scene("keys-member", "accounts.api_keys", member, at("/teams/TEAM/api-keys")),
    Scene("checkout-waiting", "billing.checkout_return", buyer, waiting),
    Scene("checkout-slow", "billing.checkout_return", buyer, slow),
    Scene("checkout-canceled", "billing.checkout_return", buyer, canceled),
    Scene("checkout-replaced", "billing.checkout_return", buyer, replaced),
    Scene("checkout-done", "billing.checkout_return", owner, done),
    Scene("checkout-too-many", "billing.start_checkout", crowd, too_many(crowd)),
    Scene("bundle-waiting", "billing.checkout_return", payer, bundle_page(payer)),
    Scene("bundle-canceled", "billing.checkout_return", payer, bundle_page(payer, "?canceled=1")),
    Scene("bundle-pending", "billing.checkout_return", payer, bundle_page(payer, **PENDING)),
    Scene("bundle-failed", "billing.checkout_return", payer, bundle_page(payer, **FAILED)),
    Scene("bundle-done", "billing.checkout_return", payer, bundle_page(payer, **DONE)),
    Scene("credits", "credits.credits", owner, at("/teams/TEAM/credits")),
    Scene("credits-usage", "credits.credits", owner, at("/teams/TEAM/credits?kind=usage#history")),
    Scene("credits-none-found", "credits.credits", owner, at("/teams/TEAM/credits?kind=returns")),
    Scene("credits-member", "credits.credits", member, at("/teams/TEAM/credits")),
    Scene("credits-free", "credits.credits", free, at("/teams/FREE/credits")),
    Scene("checkout-refused", "billing.start_checkout", owner, refused),
    Scene("not-found", ERROR, nobody, at("/nothing-here")),
    Scene("forbidden", ERROR, member, at(f"/teams/TEAM/checkout/chk_{'0' * 26}")),
    Scene("wrong-method", ERROR, owner, at("/logout")),
    Scene("stand-in", STAND_IN, nobody, stand_in_home),
    Scene("hosted-checkout", STAND_IN, payer, hosted_page_of_payer),
    Scene("hosted-declined", STAND_IN, payer, declined),
    Scene("hosted-invoice", STAND_IN, owner, invoice),
)

# Routes that answer GET without a page of their own, and what they answer.
NOT_PAGES = {
    "api-docs.openapi_json": "JSON",
    "api_credits.read_credits": "JSON",
    "billing.checkout_status": "the part of the return page that asks again; looked at within it",
    "catalog.accent_css": "a stylesheet",
    "catalog.home": "a redirect",
    "health.healthz": "JSON",
    "health.readyz": "JSON",
    "notifications.dev_mail_html": "a mail for the frame on its page, with the literal colours that mails need",
    "security.confirm_email": "a redirect",
    "security.static": "files of the library, none of which our pages use",
    "static": "files",
}
