"""Every page of the portal and of the stand-in, in the states that matter: one table for pictures and for the checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from flask_security import hash_password
from passlib.totp import TOTP
from sqlalchemy import select

from portal.accounts import audit, two_factor
from portal.accounts.models import Membership, User
from portal.billing.billing_mail import tell_of_trial_end
from portal.billing.models import Checkout, Payment, PortalVisit, Subscription
from portal.billing.payment_methods import charged_payment_method
from portal.core.alarm_words import meaning_of
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger
from portal.credits.models import CreditGrant
from portal.notifications import messages
from portal.notifications.messages import (
    AlarmLine,
    Message,
    card_expiring,
    payment_action_required,
    payment_failed,
    payment_given_up,
    payment_recovered,
)
from portal.notifications.outbox import put_mail
from tests.browser import bill_pages as bill
from tests.browser import change_pages as change
from tests.browser import leave_pages as leave
from tests.browser import member_pages, undo_pages
from tests.browser import news_pages as news
from tests.browser import purchase_pages as purchase
from tests.browser.bill_pages import debtor
from tests.browser.bundle_pages import DONE, FAILED, PENDING, bundle_page, limited, too_many
from tests.browser.change_pages import changer
from tests.browser.control_panel import chaos, panel
from tests.browser.held_pages import held_credits
from tests.browser.hosted_portal import no_such_card, portal_page
from tests.browser.leave_pages import leaver
from tests.browser.open_portal import OpenPortal, hosted_step, planned, unpaid, wrong_details
from tests.browser.people import Household, Person, gather, newcomer
from tests.browser.purchase_pages import saver
from tests.browser.running import RunningStack
from tests.browser.usage_pages import DAYS, budgets, explained_beside, filled, heavy, refused_budget
from tests.browser.visitor import Visitor
from tests.cast import PASSWORD, make_user
from tests.stage import ASKS_WHO_PAYS, DECLINED

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
    guest: Person
    changer: Person
    leaver: Person
    debtor: Person
    reader: Person
    saver: Person
    heavy: Person

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
            guest=newcomer(stack, "Night Owls"),
            changer=newcomer(stack, "Harvest Foods"),
            leaver=newcomer(stack, "Autumn Leaves"),
            debtor=newcomer(stack, "Willow Works"),
            reader=newcomer(stack, "Tidewater Press"),
            saver=newcomer(stack, "Cedar Tools"),
            heavy=newcomer(stack, "Signal Stables", days=DAYS),
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


def guest(company: Company) -> Person:
    return company.guest


def reader(company: Company) -> Person:
    return company.reader


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


def confirm_page(someone: Visitor, _company: Company) -> None:
    email = f"{new_id('user').lower()}@example.com"
    someone.go("/signup")
    someone.sign_up(email, "a sentence is better", "Late Larks")
    someone.open_mail(email, "Confirm your address")
    someone.follow_link_in_mail()
    someone.page.get_by_role("heading", name="Confirm your address").wait_for()


def confirm_refused(someone: Visitor, company: Company) -> None:
    confirm_page(someone, company)
    someone.page.get_by_label("Password").fill("not the one")
    someone.press("Confirm the address")
    someone.page.locator("[aria-invalid]").wait_for()


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


def asked_to_move(someone: Visitor, company: Company) -> None:
    """Ask for another address; the mail and its page come of it."""
    someone.go("/account/email")
    someone.page.get_by_label("New e-mail").fill("cafe@elsewhere.example")
    someone.press("Send the link")
    someone.page.get_by_text("waits for proof").first.wait_for()


def move_mail(someone: Visitor, company: Company) -> None:
    asked_to_move(someone, company)
    someone.open_mail("cafe@elsewhere.example", "Confirm your new address")


def move_page(someone: Visitor, company: Company) -> None:
    move_mail(someone, company)
    someone.follow_link_in_mail()
    someone.page.get_by_role("heading", name="Use this address?").wait_for()


def notice(name: str) -> Callable[[Visitor, Company], object]:
    """A mail that tells of a change, as it is written when the change is made."""

    def play(someone: Visitor, company: Company) -> None:
        email = company.free.email
        link = f"{someone.stack.base_url}/account/security"
        with someone.stack.portal.app_context():
            with someone.stack.portal.test_request_context(), unit_of_work():
                mail = {
                    "move-asked": lambda: messages.email_change_asked_notice(email, "cafe@elsewhere.example", link),
                    "moved": lambda: messages.email_changed_notice(email, "cafe@elsewhere.example", link),
                    "taken": lambda: messages.new_email_taken(email, link),
                    "codes-on": lambda: messages.two_factor_notice(email, "on", link),
                    "codes-off": lambda: messages.two_factor_notice(email, "off", link),
                }[name]()
                put_mail(mail)
            db.session.remove()
        someone.open_mail(email, mail.subject)

    return play


def wrong_code(someone: Visitor, company: Company) -> None:
    """The form as it comes back; the demo owner never finishes the set-up."""
    someone.go("/account/two-factor")
    someone.page.get_by_label("Code").fill("000000")
    someone.press("Turn codes on")
    someone.page.locator("[aria-invalid]").wait_for()


def codes_on(someone: Visitor, company: Company) -> None:
    """Turn codes on for the one who was late, and look at the recovery codes."""
    with someone.stack.portal.app_context():
        with unit_of_work():
            user = db.session.execute(select(User).where(User.email == company.late.email)).scalar_one()
            two_factor.turn_off(user)
        db.session.remove()
    someone.go("/account/two-factor")
    key = someone.page.locator("code").first.inner_text()
    someone.page.get_by_label("Code").fill(str(TOTP(key.replace("-", "")).generate().token))
    someone.press("Turn codes on")
    someone.page.get_by_role("heading", name="Recovery codes").wait_for()


def security_with_codes(someone: Visitor, company: Company) -> None:
    codes_on(someone, company)
    someone.go("/account/security")


def second_step(path: str) -> Callable[[Visitor, Company], object]:
    """A page between password and signed in, for somebody with codes."""

    def play(someone: Visitor, company: Company) -> None:
        email = f"half{path.count('r')}way@example.com"
        with someone.stack.portal.app_context():
            with unit_of_work():
                user = db.session.execute(select(User).where(User.email == email)).scalar_one_or_none()
                user = user or make_user(email)
                user.password = hash_password(PASSWORD)
                user.tf_primary_method, user.tf_totp_secret = two_factor.METHOD, two_factor.new_secret()
            db.session.remove()
        someone.go("/login")
        someone.fill_in_sign_in(email, PASSWORD)
        someone.page.wait_for_url("**/login/code**")
        someone.go(path)

    return play


def audited(someone: Visitor, company: Company) -> None:
    """A team in which some things were done."""
    team_id = company.household.team_id
    with someone.stack.portal.app_context():
        with unit_of_work():
            owner_id = someone_of(team_id)
            audit.record(
                audit.by_user(owner_id), "team.name_changed", team_id=team_id, before="Harbor", after="Harbor Analytics"
            )
            audit.record(audit.by_user(owner_id), "api_key.created", team_id=team_id, name="Production backend")
            audit.record(audit.SYSTEM, "payment.refunded", team_id=team_id, amount=4900)
        db.session.remove()
    someone.go(f"/teams/{team_id}/audit")


def revoking(someone: Visitor, company: Company) -> None:
    new_key(someone, company)
    someone.page.reload()
    someone.page.locator(".tp-confirm summary").first.click()


def nameless_key(someone: Visitor, company: Company) -> None:
    someone.go(f"/teams/{company.household.team_id}/api-keys")
    someone.page.locator("form[hx-post]").first.evaluate("form => { form.noValidate = true; }")
    someone.press("Create key")
    someone.page.locator("[aria-invalid]").wait_for()


def hosted_page(someone: Visitor, company: Company) -> None:
    """The buyer presses a button in five scenes, which is as often as anybody may without paying."""
    someone.choose("Business", company.buyer.team_id)


def hosted_page_of_payer(someone: Visitor, company: Company) -> None:
    someone.choose("Business", company.payer.team_id)


def declined(someone: Visitor, company: Company) -> None:
    hosted_page_of_payer(someone, company)
    someone.pay(DECLINED)
    someone.page.get_by_role("alert").wait_for()


def challenged(someone: Visitor, company: Company) -> None:
    hosted_page_of_payer(someone, company)
    someone.pay(ASKS_WHO_PAYS)
    someone.page.get_by_role("heading", name="Is it you?").wait_for()


def discounted(someone: Visitor, company: Company) -> None:
    hosted_page_of_payer(someone, company)
    someone.page.get_by_label("Promotion code").fill("LAUNCH20")
    someone.page.get_by_role("button", name="Apply code").click()
    someone.page.get_by_text("Launch offer").wait_for()


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
    someone.page.get_by_role("link", name="Open at Stripe").click()
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


def paused(someone: Visitor, company: Company) -> None:
    """A subscription that was paused at Stripe, as the mirror then has it."""
    buy_once(someone, company.late, "Business")
    with someone.stack.portal.app_context(), unit_of_work():
        subscription = newest(Subscription, company.late.team_id)
        subscription.status, subscription.cancel_at = "paused", None
    someone.open_overview(company.late.team_id)


def in_debt(someone: Visitor, company: Company) -> None:
    """Everything was spent before all of it was refunded."""
    buy_once(someone, company.late, "Business")
    team_id = company.late.team_id
    with someone.stack.portal.app_context():
        with unit_of_work():
            newest(Subscription, team_id).status = "active"
            cause = f"period:{newest(Subscription, team_id).stripe_id}:%"
            grant = select(CreditGrant).where(CreditGrant.team_id == team_id, CreditGrant.cause_key.like(cause))
            lot = db.session.execute(grant).scalar_one()
            if lot.remaining == lot.amount:
                ledger.spend(team_id, lot.amount - 4_000, "usage:scene")
            ledger.reverse(team_id, lot.cause_key, lot.amount, "refund:scene")
        db.session.remove()
    someone.open_overview(team_id)


def come_back(flow: str, *, minutes: int = 0, before: str | None = "pm_before") -> Callable[[Visitor, Company], object]:
    """Back from Stripe's customer portal, so many minutes after going there."""

    def play(someone: Visitor, company: Company) -> None:
        team_id = company.household.team_id
        with someone.stack.portal.app_context():
            with unit_of_work() as session:
                current = charged_payment_method(team_id)
                visit = PortalVisit(
                    id=new_id("visit"), team_id=team_id, user_id=someone_of(team_id), flow=flow,
                    before=current.stripe_id if current and before is None else before,
                )  # fmt: skip
                session.add(visit)
                session.flush()
                visit.created_at -= timedelta(minutes=minutes)
            db.session.remove()
        someone.go(f"/teams/{team_id}/portal/{visit.id}")

    return play


def someone_of(team_id: str) -> str:
    return db.session.execute(select(Membership.user_id).where(Membership.team_id == team_id).limit(1)).scalar_one()


def canceled_there(someone: Visitor, company: Company) -> None:
    ending(someone, company)
    team_id = company.late.team_id
    with someone.stack.portal.app_context():
        with unit_of_work() as session:
            visit = PortalVisit(
                id=new_id("visit"), team_id=team_id, user_id=someone_of(team_id), flow="subscription_cancel"
            )
            session.add(visit)
        db.session.remove()
    someone.go(f"/teams/{team_id}/portal/{visit.id}")


def nothing_to_manage(someone: Visitor, company: Company) -> None:
    """The form as a page from before would have sent it: a team that Stripe does not know has no button."""
    someone.go(f"/teams/{company.free.team_id}/billing")
    someone.send(f"/teams/{company.free.team_id}/portal", {"flow": "payment_method_update"})
    someone.page.get_by_text("There is nothing to manage yet").wait_for()


def trial_mail(someone: Visitor, company: Company) -> None:
    with someone.stack.portal.app_context():
        with unit_of_work():
            tell_of_trial_end(newest(Subscription, company.household.team_id))
        db.session.remove()
    someone.open_mail(company.household.owner.email, "Your trial of Pro ends on")


def confirm_mail(someone: Visitor, company: Company) -> None:
    link = "https://invoice.stripe.com/i/acct_1/in_1"
    read_mail(someone, company, payment_action_required, amount="$299.00 USD", number="FW-0412", link=link)


def failed_mail(someone: Visitor, company: Company) -> None:
    values = {"plan_name": "Pro", "next_try": "21 Nov 2026", "first": True, "last": False, "link": PAGE}
    read_mail(someone, company, payment_failed, amount="$99.00 USD", **values)


def last_failed_mail(someone: Visitor, company: Company) -> None:
    values = {"plan_name": "Pro", "next_try": "", "first": False, "last": True, "link": PAGE}
    read_mail(someone, company, payment_failed, amount="$99.00 USD", **values)


def recovered_mail(someone: Visitor, company: Company) -> None:
    read_mail(someone, company, payment_recovered, amount="$99.00 USD", number="FW-0412", link=PAGE)


def ended_mail(someone: Visitor, company: Company) -> None:
    read_mail(someone, company, payment_given_up, amount="$99.00 USD", plan_name="Pro", ended=True, link=PAGE)


def card_mail(someone: Visitor, company: Company) -> None:
    read_mail(someone, company, card_expiring, card="Visa •••• 4242", ends="12/2026", link=PAGE)


PAGE = "https://billing.example.com/teams/team_01JD3M8W6Q4Z9V0K2T5R7X1YBC/billing"


def read_mail(someone: Visitor, company: Company, message: Callable[..., Message], **values: object) -> None:
    """Send a mail with these values, and open it."""
    with someone.stack.portal.app_context():
        made = message(company.free.email, **values)
        with unit_of_work():
            put_mail(made, f"scene:{made.subject}")
        db.session.remove()
    someone.open_mail(company.free.email, made.subject)


def a_history(someone: Visitor, company: Company) -> None:
    """A year in the life of a team: what it paid, what failed, what came back."""
    team_id = company.late.team_id
    with someone.stack.portal.app_context(), unit_of_work() as session:
        if session.execute(select(Payment.id).where(Payment.stripe_id == f"pi_scene{team_id}0")).scalar() is None:
            session.add_all(_history_rows(team_id))
    someone.go(f"/teams/{team_id}/payments")


def _history_rows(team_id: str) -> list[Payment]:
    moment = datetime(2026, 11, 18, 12, tzinfo=UTC)
    told: list[dict[str, object]] = [
        {"description": "Business", "amount_refunded": 9_900, "receipt_url": "https://pay.stripe.com/receipts/1"},
        {"type": "refund", "amount": -9_900, "description": "Refund: Business", "status": "pending"},
        {"type": "top_up", "amount": 8_000, "description": "5,000 credits", "status": "failed",
         "failure_code": "insufficient_funds"},
        {"type": "top_up", "amount": 8_000, "description": "5,000 credits", "status": "requires_action"},
        {"type": "upgrade", "amount": 4_250, "description": "Remaining time on Business"},
        {"type": "cancel", "amount": 0, "description": "Pro ended", "last4": None, "brand": None},
        {"type": "refund", "amount": -1_200, "description": "Refund: Pro", "status": "failed",
         "failure_code": "expired_or_canceled_card"},
        {"description": "Enterprise, by bank transfer", "amount": 250_000, "payment_intent_stripe_id": None,
         "last4": None, "brand": None},
    ]  # fmt: skip
    common = {"gen": 1, "synced_at": moment, "team_id": team_id, "type": "subscription_payment", "amount": 29_900,
              "status": "succeeded", "currency": "usd", "brand": "visa", "last4": "4242"}  # fmt: skip
    return [
        Payment(
            id=new_id("pay"), stripe_id=f"pi_scene{team_id}{place}", occurred_at=moment - timedelta(days=9 * place),
            **{"payment_intent_stripe_id": f"pi_scene{place}"} | common | values,
        )
        for place, values in enumerate(told)
    ]  # fmt: skip


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
    someone.send(f"/teams/{company.household.team_id}/checkout", {"plan": "business", "interval": "month"})
    someone.page.get_by_text("The checkout did not start").wait_for()


def code_refused(someone: Visitor, company: Company) -> None:
    someone.go(f"/teams/{company.household.team_id}/credits")
    someone.page.get_by_text("I have a promotion code").click()
    someone.page.get_by_label("Promotion code").fill("NO-SUCH-CODE")
    someone.press("Buy 500 for $10.00 USD")
    someone.page.get_by_role("heading", name="There is no such promotion code").wait_for()


def alarms_mail(someone: Visitor, company: Company) -> None:
    """What the operator is told; each kind of alarm has its own words."""
    with someone.stack.portal.app_context():
        with someone.stack.portal.test_request_context(), unit_of_work():
            lines = [
                AlarmLine(kind, f"evt_{number}", datetime(2026, 11, 18, 13, 2, tzinfo=UTC), meaning_of(kind))
                for number, kind in enumerate(("dead_event", "webhook_lag"))
            ]
            mail = messages.alarms("operator@example.com", lines)
            put_mail(mail)
        db.session.remove()
    someone.open_mail("operator@example.com", mail.subject)


CONFIRM = "https://invoice.stripe.com/i/acct_1/in_1"
FAILED_CHANGE = {"state": "failed", "failure_code": "insufficient_funds", "finished_at": app_now()}

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
    Scene("confirm-address", "security.confirm_email", nobody, confirm_page),
    Scene("confirm-address-refused", "security.confirm_email", nobody, confirm_refused),
    Scene("reset", "security.forgot_password", nobody, at("/reset")),
    Scene("reset-new-password", "security.reset_password", nobody, reset_page),
    Scene("verify", "security.verify", owner, at("/verify")),
    Scene("profile", "accounts.profile", owner, at("/account")),
    Scene("security", "accounts.security", owner, at("/account/security")),
    Scene("security-codes", "accounts.security", late, security_with_codes),
    Scene("password", "accounts.password", owner, at("/account/password")),
    Scene("email", "accounts.email", free, asked_to_move),
    Scene("email-confirm", "accounts.new_email", free, move_page),
    Scene("email-over", "accounts.new_email", nobody, at("/account/email/no-such-link")),
    Scene("two-factor", "accounts.two_factor_setup", owner, at("/account/two-factor")),
    Scene("two-factor-wrong", "accounts.turn_two_factor_on", owner, wrong_code),
    Scene("recovery-codes", "accounts.turn_two_factor_on", late, codes_on),
    Scene("sign-in-code", "security.two_factor_token_validation", nobody, second_step("/login/code")),
    Scene("sign-in-recovery", "security.mf_recovery", nobody, second_step("/login/recovery-code")),
    Scene("new-team", "accounts.new_team", owner, at("/teams/new")),
    Scene("team-settings", "accounts.team_settings", owner, at("/teams/TEAM/settings")),
    Scene("members", "accounts.members", owner, member_pages.a_team_with_guests),
    Scene("members-member", "accounts.members", member, at("/teams/TEAM/members")),
    Scene("members-full", "accounts.members", free, at("/teams/FREE/members")),
    Scene("members-refused", "accounts.members", owner, member_pages.refused),
    Scene("members-leaving", "accounts.members", member, member_pages.leaving),
    Scene("member", "accounts.member", owner, member_pages.colleague("admin@example.com")),
    Scene("member-removing", "accounts.member", owner, member_pages.colleague("billing@example.com", "Remove")),
    Scene("member-self", "accounts.member", owner, member_pages.colleague("owner@example.com")),
    Scene("last-owner", ERROR, free, member_pages.only_owner),
    Scene("invitation", "accounts.invitation", nobody, member_pages.link(lambda _company: member_pages.STRANGER)),
    Scene("invitation-fits", "accounts.invitation", guest, member_pages.link(lambda company: company.guest.email)),
    Scene("invitation-other", "accounts.invitation", twin, member_pages.link(lambda _company: member_pages.STRANGER)),
    Scene("invitation-no-seat", "accounts.accept_invitation", guest, member_pages.no_seat),
    Scene("invitation-over", "accounts.invitation", nobody, at("/invitations/no-such-link")),
    Scene("sign-up-invited", "security.register", nobody, member_pages.sign_up),
    Scene("teams-invited", "accounts.teams", guest, member_pages.my_invitations),
    Scene("mail-invitation", "notifications.dev_mail_message", nobody, member_pages.mail),
    Scene("audit", "accounts.audit", owner, audited),
    Scene("audit-nothing", "accounts.audit", free, at("/teams/FREE/audit?actor=system")),
    Scene("mail-move", "notifications.dev_mail_message", free, move_mail),
    Scene("mail-move-asked", "notifications.dev_mail_message", nobody, notice("move-asked")),
    Scene("mail-moved", "notifications.dev_mail_message", nobody, notice("moved")),
    Scene("mail-taken", "notifications.dev_mail_message", nobody, notice("taken")),
    Scene("mail-codes-on", "notifications.dev_mail_message", nobody, notice("codes-on")),
    Scene("mail-codes-off", "notifications.dev_mail_message", nobody, notice("codes-off")),
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
    Scene("overview-paused", "billing.overview", late, paused),
    Scene("overview-back", "billing.overview", owner, at("/teams/TEAM/billing?back=stripe")),
    Scene("portal-waiting", "billing.portal_return", owner, come_back("subscription_cancel")),
    Scene("portal-slow", "billing.portal_return", owner, come_back("payment_method_update", minutes=5, before=None)),
    Scene("portal-card", "billing.portal_return", owner, come_back("payment_method_update")),
    Scene("portal-canceled", "billing.portal_return", late, canceled_there),
    Scene("portal-refused", "billing.open_portal", free, nothing_to_manage),
    Scene("mail-trial", "notifications.dev_mail_message", nobody, trial_mail),
    Scene("mail-confirm-payment", "notifications.dev_mail_message", nobody, confirm_mail),
    Scene("mail-payment-failed", "notifications.dev_mail_message", nobody, failed_mail),
    Scene("mail-payment-last-notice", "notifications.dev_mail_message", nobody, last_failed_mail),
    Scene("mail-payment-recovered", "notifications.dev_mail_message", nobody, recovered_mail),
    Scene("mail-plan-ended", "notifications.dev_mail_message", nobody, ended_mail),
    Scene("mail-card-expiring", "notifications.dev_mail_message", nobody, card_mail),
    Scene("mail-alarms", "notifications.dev_mail_message", nobody, alarms_mail),
    Scene("payments", "billing.payments", late, a_history),
    Scene("payments-member", "billing.payments", member, at("/teams/TEAM/payments")),
    Scene("payments-none", "billing.payments", free, at("/teams/FREE/payments")),
    Scene("payments-no-match", "billing.payments", owner, at("/teams/TEAM/payments?type=refund&since=2026-01-01")),
    Scene("invoices", "billing.invoices", owner, at("/teams/TEAM/invoices")),
    Scene("invoices-unpaid", "billing.invoices", debtor, bill.invoices),
    Scene("invoice", "billing.invoice", debtor, bill.paid_invoice),
    Scene("invoice-unpaid", "billing.invoice", debtor, bill.open_invoice("failed")),
    Scene("invoice-asks", "billing.invoice", debtor, bill.open_invoice("requires_action")),
    Scene("overview-unpaid", "billing.overview", debtor, bill.overview("failed")),
    Scene("overview-asks", "billing.overview", debtor, bill.overview("requires_action")),
    Scene("next-invoice", "billing.next_invoice", debtor, bill.next_invoice),
    Scene("next-invoice-none", "billing.next_invoice", free, at("/teams/FREE/invoices/next")),
    Scene("pay-waiting", "billing.payment_try", debtor, bill.payment_try()),
    Scene("pay-slow", "billing.payment_try", debtor, bill.payment_try(created_at=bill.ISSUED)),
    Scene("pay-confirm", "billing.payment_try", debtor, bill.payment_try(state="requires_action", confirm_url=CONFIRM)),
    Scene("pay-done", "billing.payment_try", debtor, bill.payment_try(state="paid", finished_at=app_now())),
    Scene("pay-failed", "billing.payment_try", debtor, bill.payment_try(**FAILED_CHANGE)),
    Scene("pay-refused", "billing.pay_invoice", debtor, bill.refused),
    Scene("portal-card-unpaid", "billing.portal_return", debtor, bill.new_card),
    Scene("billing-details-wrong", "billing.add_tax_id", debtor, bill.wrong_details),
    Scene("billing-details", "billing.billing_details", debtor, bill.details),
    Scene("billing-email", "billing.new_billing_email", nobody, bill.email_link(used=False)),
    Scene("billing-email-done", "billing.confirm_billing_email", nobody, bill.email_link(used=True)),
    Scene("billing-email-over", "billing.new_billing_email", nobody, at("/billing-email/no-such-link")),
    Scene("mail-invoice-paid", "notifications.dev_mail_message", debtor, bill.mail("paid")),
    Scene("mail-billing-email", "notifications.dev_mail_message", debtor, bill.mail("confirm")),
    Scene("mail-billing-email-changed", "notifications.dev_mail_message", debtor, bill.mail("changed")),
    Scene("invoices-none", "billing.invoices", free, at("/teams/FREE/invoices")),
    Scene("overview-debt", "billing.overview", late, in_debt),
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
    Scene("credits-busy", "credits.credits", heavy, filled("/teams/TEAM/credits")),
    Scene("credits-explained", "credits.credits", heavy, explained_beside),
    Scene("explain-balance", "credits.explain_balance_page", heavy, filled("/teams/TEAM/credits/explain/balance")),
    Scene("explain-balance-free", "credits.explain_balance_page", free, at("/teams/FREE/credits/explain/balance")),
    Scene(
        "explain-grant", "credits.explain_grant_page", heavy, filled("/teams/TEAM/credits/explain/grant?cause=GRANT")
    ),
    Scene("explain-entry", "credits.explain_entry_page", heavy, filled("/teams/TEAM/credits/explain/entry?version=60")),
    Scene("explain-charge", "credits.explain_charge_page", heavy, filled("/teams/TEAM/credits/explain/charge/CHARGE")),
    Scene("usage", "usage.usage", heavy, filled("/teams/TEAM/usage")),
    Scene("usage-year", "usage.usage", heavy, filled("/teams/TEAM/usage?period=year")),
    Scene("usage-narrowed", "usage.usage", heavy, filled("/teams/TEAM/usage?period=30&meter=send_email")),
    Scene(
        "usage-refused", "usage.usage", heavy, filled("/teams/TEAM/usage?period=own&since=2026-02-02&until=2026-01-01")
    ),
    Scene("usage-none", "usage.usage", free, at("/teams/FREE/usage?period=30")),
    Scene("usage-member", "usage.usage", member, at("/teams/TEAM/usage")),
    Scene("usage-explained", "usage.explain", heavy, filled("/teams/TEAM/usage/explain?period=30")),
    Scene("budgets", "usage.budgets", heavy, budgets),
    Scene("budgets-refused", "usage.set_budget", heavy, refused_budget),
    Scene("budgets-none", "usage.budgets", free, at("/teams/FREE/usage/budgets")),
    Scene("budgets-member", "usage.budgets", member, at("/teams/TEAM/usage/budgets")),
    Scene("credits-usage", "credits.credits", owner, at("/teams/TEAM/credits?kind=usage#history")),
    Scene("credits-none-found", "credits.credits", owner, at("/teams/TEAM/credits?kind=returns")),
    Scene("credits-code-refused", "billing.start_checkout", owner, code_refused),
    Scene("credits-member", "credits.credits", member, at("/teams/TEAM/credits")),
    Scene("credits-held", "credits.credits", free, held_credits),
    Scene("credits-limited", "credits.credits", owner, limited(owner)),
    Scene("credits-free", "credits.credits", free, at("/teams/FREE/credits")),
    Scene("auto-purchase-plan", "credits.auto_purchase", free, at("/teams/FREE/credits/auto-purchase")),
    Scene("auto-purchase-off", "credits.auto_purchase", saver, purchase.without_one()),
    Scene("auto-purchase-wrong", "credits.turn_auto_purchase_on", saver, purchase.mistaken),
    Scene("auto-purchase-on", "credits.auto_purchase", saver, purchase.rule()),
    Scene("auto-purchase-stopped", "credits.auto_purchase", saver, purchase.rule(**purchase.STOPPED)),
    Scene("overview-auto-purchase", "billing.overview", saver, purchase.rule(page="billing", **purchase.STOPPED)),
    Scene("auto-purchase-no-card", "credits.auto_purchase", saver, purchase.rule(card=False, **purchase.NO_CARD)),
    Scene("auto-purchase-first-card", "credits.auto_purchase", saver, purchase.without_one(card=False)),
    Scene("auto-purchase-capped", "credits.auto_purchase", saver, purchase.rule(**purchase.CAPPED)),
    Scene("auto-purchase-paused", "credits.auto_purchase", saver, purchase.rule(**purchase.PAUSED)),
    Scene("auto-purchase-asks", "credits.auto_purchase", saver, purchase.rule(newest=purchase.ASKS)),
    Scene("auto-purchase-charging", "credits.auto_purchase", saver, purchase.rule(newest={"state": "charging"})),
    Scene(
        "auto-purchase-new-card",
        "credits.auto_purchase",
        saver,
        purchase.rule(newest={"state": "pending"}, **purchase.NEW_CARD),
    ),
    Scene("mail-auto-purchase-on", "notifications.dev_mail_message", saver, purchase.mail("on")),
    Scene("mail-auto-purchase-made", "notifications.dev_mail_message", saver, purchase.mail("made")),
    Scene("mail-auto-purchase-confirm", "notifications.dev_mail_message", saver, purchase.mail("confirm")),
    Scene("mail-auto-purchase-stopped", "notifications.dev_mail_message", saver, purchase.mail("stopped")),
    Scene("mail-auto-purchase-capped", "notifications.dev_mail_message", saver, purchase.mail("capped")),
    Scene("credits-disputed", "credits.credits", twin, undo_pages.disputed(twin, "credits")),
    Scene("payments-disputed", "billing.payments", twin, undo_pages.disputed(twin, "payments")),
    Scene("overview-disputed", "billing.overview", twin, undo_pages.disputed(twin, "billing")),
    Scene("checkout-refused", "billing.start_checkout", owner, refused),
    Scene("change-plan", "billing.change_plan", changer, change.page("plan")),
    Scene("change-preview", "billing.show_preview", changer, change.preview("Business", "Yearly")),
    Scene("change-preview-later", "billing.show_preview", changer, change.preview("Pro")),
    Scene("change-preview-seats", "billing.show_preview", changer, change.seats_preview(27)),
    Scene("change-refused", "billing.preview_change", changer, change.refused),
    Scene("change-waiting", "billing.plan_change", changer, change.standing()),
    Scene(
        "change-confirm", "billing.plan_change", changer, change.standing(state="requires_action", confirm_url=CONFIRM)
    ),
    Scene("change-done", "billing.plan_change", changer, change.standing(state="done", finished_at=app_now())),
    Scene("change-failed", "billing.plan_change", changer, change.standing(**FAILED_CHANGE)),
    Scene("change-stale", "billing.plan_change", changer, change.standing(state="stale", finished_at=app_now())),
    Scene("seats", "billing.seats", changer, change.page("seats")),
    Scene("seats-wrong", "billing.preview_seats", changer, change.seats_wrong),
    Scene("addons", "billing.addons", changer, change.page("addons")),
    Scene("addons-had", "billing.addons", changer, change.with_addons("addons")),
    Scene("addons-wrong", "billing.preview_addon", changer, change.addon_wrong),
    Scene("change-preview-addon", "billing.show_preview", changer, change.addon_preview),
    Scene("overview-addons", "billing.overview", changer, change.with_addons("billing")),
    Scene("overview-planned", "billing.overview", changer, change.planned),
    Scene("cancel", "billing.cancel_page", leaver, leave.page("cancellation")),
    Scene("cancel-wrong", "billing.cancel_plan", leaver, leave.cancel_wrong),
    Scene("cancel-preview", "billing.show_preview", leaver, leave.cancel_preview),
    Scene("canceled", "billing.plan_change", leaver, leave.canceled),
    Scene("resumed", "billing.plan_change", leaver, leave.resumed),
    Scene("pause", "billing.pause_page", leaver, leave.page("pause")),
    Scene("paused", "billing.plan_change", leaver, leave.paused),
    Scene("cancel-paused", "billing.cancel_page", leaver, leave.cancel_paused),
    Scene("mail-plan-canceled", "notifications.dev_mail_message", leaver, leave.mail("canceled")),
    Scene("mail-plan-over", "notifications.dev_mail_message", leaver, leave.mail("ended")),
    Scene("mail-plan-resumed", "notifications.dev_mail_message", leaver, leave.mail("resumed")),
    Scene("mail-plan-paused", "notifications.dev_mail_message", leaver, leave.mail("paused")),
    Scene("mail-plan-changed", "notifications.dev_mail_message", changer, change.mail("plan")),
    Scene("mail-plan-planned", "notifications.dev_mail_message", changer, change.mail("planned")),
    Scene("mail-seats-changed", "notifications.dev_mail_message", changer, change.mail("seats")),
    Scene("mail-addons-changed", "notifications.dev_mail_message", changer, change.mail("addons")),
    Scene("inbox", "inbox.inbox", reader, news.inbox_page()),
    Scene("inbox-narrowed", "inbox.inbox", reader, news.inbox_page("?severity=danger")),
    Scene("inbox-history", "inbox.inbox", reader, news.history),
    Scene("inbox-empty", "inbox.inbox", reader, news.up_to_date),
    Scene("switches", "inbox.switches", reader, at("/account/notifications")),
    Scene("switches-member", "inbox.switches", member, at("/account/notifications")),
    Scene("unsubscribe", "inbox.unsubscribe", nobody, news.way_out("payment_failed")),
    Scene("unsubscribed", "inbox.unsubscribe", nobody, news.way_out("card_expiring", "Stop these mails")),
    Scene("unsubscribe-over", "inbox.unsubscribe", nobody, at("/unsubscribe/no-such-link")),
    Scene("mail-welcome", "notifications.dev_mail_message", reader, news.welcome),
    Scene("mail-seats-stoppable", "notifications.dev_mail_message", nobody, news.stoppable_mail),
    Scene("exports", "exports.exports", reader, news.exports_page(all_states=True)),
    Scene("exports-empty", "exports.exports", reader, news.exports_page()),
    Scene(
        "exports-narrowed", "exports.exports", reader, news.exports_page("?of=payments&status=failed&since=2026-11-01")
    ),
    Scene("exports-running", "exports.ask", reader, news.second_export),
    Scene("api-docs", "api.docs", nobody, at("/docs/api")),
    Scene("api-docs-signed-in", "api.docs", owner, at("/docs/api#errors")),
    Scene("not-found", ERROR, nobody, at("/nothing-here")),
    Scene("forbidden", ERROR, member, at(f"/teams/TEAM/checkout/chk_{'0' * 26}")),
    Scene("wrong-method", ERROR, owner, at("/logout")),
    Scene("panel", STAND_IN, nobody, panel("/")),
    Scene("panel-types", STAND_IN, nobody, panel("/objects")),
    Scene("panel-list", STAND_IN, nobody, panel("/objects/invoice")),
    Scene("panel-object", STAND_IN, nobody, panel("/objects/subscription", "sub_")),
    Scene("panel-endpoint", STAND_IN, nobody, panel("/objects/webhook_endpoint", "we_")),
    Scene("panel-events", STAND_IN, nobody, panel("/events")),
    Scene("panel-events-none", STAND_IN, nobody, panel("/events?type=nothing.*")),
    Scene("panel-event", STAND_IN, nobody, panel("/events?type=invoice.paid", "invoice.paid")),
    Scene("panel-story", STAND_IN, nobody, panel("/objects/subscription", "sub_", "The customer's story")),
    Scene("panel-clock", STAND_IN, nobody, panel("/clock")),
    Scene("panel-chaos", STAND_IN, nobody, chaos),
    Scene("panel-cards", STAND_IN, nobody, panel("/cards")),
    Scene("panel-gone", STAND_IN, nobody, panel("/stories/cus_nobody")),
    Scene("hosted-checkout", STAND_IN, payer, hosted_page_of_payer),
    Scene("hosted-declined", STAND_IN, payer, declined),
    Scene("hosted-challenge", STAND_IN, payer, challenged),
    Scene("hosted-discount", STAND_IN, payer, discounted),
    Scene("hosted-invoice", STAND_IN, owner, invoice),
    Scene("hosted-portal", STAND_IN, owner, portal_page(owner, "Payment method")),
    Scene("hosted-portal-card", STAND_IN, owner, portal_page(owner, "Change your card", "payment_method_update")),
    Scene("hosted-portal-card-wrong", STAND_IN, owner, no_such_card(owner)),
    Scene("hosted-portal-cancel", STAND_IN, owner, portal_page(owner, "Cancel your plan", "subscription_cancel")),
    Scene("hosted-portal-all", STAND_IN, nobody, hosted_step()),
    Scene("hosted-portal-update", STAND_IN, nobody, hosted_step("update/confirm?price={}&quantity=many")),
    Scene("hosted-portal-confirm", STAND_IN, nobody, hosted_step("update/confirm?price={}&quantity=2")),
    Scene("hosted-portal-planned", STAND_IN, nobody, planned),
    Scene("hosted-portal-pause", STAND_IN, nobody, hosted_step("pause")),
    Scene("hosted-portal-resume", STAND_IN, nobody, hosted_step("resume", state=OpenPortal.pause)),
    Scene("hosted-portal-details", STAND_IN, nobody, wrong_details),
    Scene("hosted-invoice-open", STAND_IN, nobody, unpaid("")),
    Scene("hosted-invoice-pay", STAND_IN, nobody, unpaid("/pay")),
)

# Routes that answer GET without a page of their own, and what they answer.
NOT_PAGES = {
    "api-docs.openapi_json": "JSON",
    "api_billing.list_invoices": "JSON",
    "api_billing.read_billing": "JSON",
    "api_billing.read_entitlements": "JSON",
    "api_credits.read_credits": "JSON",
    "api_holds.list_holds": "JSON",
    "api_holds.read_hold": "JSON",
    "api_usage.list_usage_events": "JSON",
    "api_usage.read_usage": "JSON",
    "billing.checkout_status": "the part of the return page that asks again; looked at within it",
    "billing.payment_try_status": "the part of the page of a payment that asks again; looked at within it",
    "billing.plan_change_status": "the part of the page of a change that asks again; looked at within it",
    "billing.portal_return_status": "the part of the return page that asks again; looked at within it",
    "bundles.bundle": "our style and our scripts",
    "catalog.accent_css": "a stylesheet",
    "catalog.home": "a redirect",
    "credits.auto_purchase_state": "the part of the page of auto-purchase that asks again; looked at within it",
    "exports.download": "a file",
    "exports.progress": "the row of an export that asks again; looked at within its page",
    "health.healthz": "JSON",
    "health.readyz": "JSON",
    "inbox.unread": "the count in the frame of every page; looked at with them",
    "metrics.metrics": "figures for a monitoring system, as text",
    "notifications.dev_mail_html": "a mail for the frame on its page, with the literal colours that mails need",
    "security.mf_recovery_codes": "closed: a page of ours stands for it",
    "security.tf_select": "closed: there is one method",
    "security.two_factor_rescue": "closed: a page of ours stands for it",
    "security.two_factor_setup": "closed: a page of ours stands for it",
    "security.static": "files of the library, none of which our pages use",
    "static": "files",
}
