"""The rule by which a team's credits are bought: agreed to, turned off, stopped, armed again, paused by the staff.

Whatever changes a rule or ends a purchase calls `show_to_spends`, which puts the threshold beside the balance, or takes it
away. The account's lock is taken first, always: spends hold it when they begin a purchase.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update

from portal.accounts import audit
from portal.accounts.audit import Actor
from portal.billing import card_testing
from portal.billing.bundle_sale import bundles_for
from portal.billing.checkout_order import Buyer
from portal.billing.entitlements import has_feature
from portal.billing.models import PaymentMethod
from portal.billing.payment_methods import charged_payment_method
from portal.catalog.current import catalog
from portal.catalog.queries import BundlePrice
from portal.core import clock, jobs
from portal.core.clock import app_now
from portal.core.database import db, send
from portal.core.ids import new_id
from portal.core.statements import Statement
from portal.core.unit_of_work import after_commit
from portal.credits import purchase_news
from portal.credits.purchase_models import OPEN_STATES, AutoPurchaseConsent, AutoPurchaseRule, PurchaseIntent
from portal.credits.purchase_terms import TEXT_VERSION, Terms, consent_words, gives_what_was_agreed
from portal.credits.storage import lock_account

FEATURE = "auto_purchase"
# What `why_not_offered` answers.
NOT_OFFERED = ("not_allowed", "not_offered")
# So many failed purchases in a day are enough: whoever goes through card after card is not helped by one more.
FAILED_A_DAY_MAX = 5
# A card that was put in the place of a refused one is not tried at once, unless a person says so.
BACK_OFF = timedelta(hours=1)

_OPEN = "('" + "', '".join(OPEN_STATES) + "')"

SHOW = Statement(
    "update credit_accounts a set purchase_below = w.below,"  # noqa: S608  all of it is ours
    " purchase_counts = case when w.below is not null then w.counts end"
    " from (select r.counts, case when r.enabled and r.state = 'armed' and r.paused_at is null"
    "   and not exists (select from purchase_intents i where i.team_id = r.team_id"
    f"    and i.state in {_OPEN}) then r.threshold end as below"
    "  from auto_purchase_rules r where r.team_id = :team_id) w"
    " where a.team_id = :team_id returning 1"
)


class RuleRefused(Exception):
    """The rule stays as it is, and nothing was charged.

    `reason` is one of `why_not_offered`, or `not_sold`, `no_card`, `too_many` or `off`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def why_not_offered(team_id: str) -> str | None:
    """Why the team may not have auto-purchase: `not_allowed` by its plan, `not_offered` to anybody; None when it may.

    Where the catalog has Stripe work out taxes, it is not offered: what is charged here is the bundle's price alone. Nor is
    it where there is nothing to buy.
    """
    if not has_feature(team_id, FEATURE):
        return "not_allowed"
    return "not_offered" if catalog().checkout.automatic_tax or not choices(team_id) else None


def is_offered(team_id: str) -> bool:
    """Whether the team may have auto-purchase."""
    return why_not_offered(team_id) is None


def bundle_of(rule: AutoPurchaseRule) -> BundlePrice | None:
    """The bundle that was agreed to; None when it is not sold to the team at that price any more, or gives less for it.

    What a bundle gives may be changed while its price stays.
    """
    bundle = next((bundle for bundle in choices(rule.team_id) if bundle.price_id == rule.price_id), None)
    if bundle is None:
        return None
    query = select(AutoPurchaseConsent.terms).where(AutoPurchaseConsent.id == rule.consent_id)
    return bundle if gives_what_was_agreed(bundle, db.session.execute(query).scalar_one()) else None


def choices(team_id: str) -> list[BundlePrice]:
    """What may be bought automatically: a bundle with a limit is for people, who can choose another one."""
    return [bundle for bundle in bundles_for(team_id) if bundle.limit_per_month is None]


def card_to_charge(team_id: str) -> PaymentMethod | None:
    """The saved card that is charged; None without one, and for what is no card: a debit may fail days later."""
    method = charged_payment_method(team_id)
    return method if method is not None and method.type == "card" else None


def rule_of(team_id: str) -> AutoPurchaseRule | None:
    """As it stands in the database now."""
    query = select(AutoPurchaseRule).where(AutoPurchaseRule.team_id == team_id)
    return db.session.execute(query, execution_options={"populate_existing": True}).scalar_one_or_none()


def backs_off(rule: AutoPurchaseRule) -> bool:
    """Whether a new card is not charged yet, since the one before it was refused a moment ago (`BACK_OFF`)."""
    return rule.state == "armed" and rule.not_before is not None and rule.not_before > clock.now()


def waits_for_person(rule: AutoPurchaseRule) -> bool:
    """Whether only a person arms it again: it is stopped, and another card does not help."""
    return rule.state == "stopped" and rule.stopped_fingerprint is None and rule.reason != "no_card"


def show_to_spends(team_id: str) -> None:
    """Put the rule's threshold beside the balance while it waits to begin a purchase, and else take it away."""
    db.session.flush()
    send(SHOW, team_id=team_id)


# What people do


def agree(team_id: str, user_id: str, terms: Terms) -> None:
    """Turn auto-purchase on by these terms, or change it to them. Raises `RuleRefused`."""
    lock_account(team_id)
    card, rule = card_to_charge(team_id), rule_of(team_id)
    if (reason := why_not_offered(team_id)) is not None:
        raise RuleRefused(reason)
    if card is None:
        raise RuleRefused("no_card")
    if rule is not None and rule.state == "stopped":
        _refuse_too_many(team_id, user_id)
    consent = AutoPurchaseConsent(
        id=new_id("apc"),
        team_id=team_id,
        user_id=user_id,
        text_version=TEXT_VERSION,
        words=consent_words(terms, catalog().portal.name),
        terms=terms.as_json(),
    )
    db.session.add(consent)
    db.session.flush()
    was_on = rule is not None and rule.enabled
    _keep(team_id, consent.id, terms, rule)
    action = "auto_purchase.changed" if was_on else "auto_purchase.turned_on"
    audit.record(audit.by_user(user_id), action, team_id=team_id, target=consent.id, **terms.as_json())
    purchase_news.tell_of_consent(team_id, consent.id, terms, card, changed=was_on)
    show_to_spends(team_id)


def _keep(team_id: str, consent_id: str, terms: Terms, rule: AutoPurchaseRule | None) -> None:
    values: dict[str, Any] = {
        "consent_id": consent_id,
        "enabled": True,
        "threshold": terms.threshold,
        "counts": terms.counts,
        "price_id": terms.bundle.price_id,
        "day_count_max": terms.limits.day_count,
        "month_count_max": terms.limits.month_count,
        "day_cents_max": terms.limits.day_cents,
        "month_cents_max": terms.limits.month_cents,
    }
    if rule is None:
        db.session.add(AutoPurchaseRule(team_id=team_id, **values))
        db.session.flush()
        return
    _arm(team_id, **values)


def turn_off(team_id: str, user_id: str) -> bool:
    """Buy nothing more by itself; returns whether it was on. What is under way and was not sent yet is not charged."""
    lock_account(team_id)
    rule = rule_of(team_id)
    if rule is None or not rule.enabled:
        return False
    _write(team_id, enabled=False)
    _wake(team_id, "requires_action")
    audit.record(audit.by_user(user_id), "auto_purchase.turned_off", team_id=team_id)
    show_to_spends(team_id)
    return True


def _wake(team_id: str, state: str) -> None:
    """Let the worker look at a purchase in this state now: one that waits for the bank is given up when it is not wanted
    any more, and one that was put off is charged when a person does not want to wait.
    """
    waits = (PurchaseIntent.team_id == team_id) & (PurchaseIntent.state == state)
    woken = update(PurchaseIntent).where(waits).values(run_at=app_now())
    db.session.execute(woken, execution_options={"synchronize_session": False})
    after_commit(jobs.hint_soon)


def arm_again(team_id: str, user_id: str) -> None:
    """Let a rule that was stopped buy again, or one that backs off at once, because a person says so. Raises `RuleRefused`."""
    lock_account(team_id)
    rule = rule_of(team_id)
    if rule is None or not rule.enabled or not (rule.state == "stopped" or backs_off(rule)):
        raise RuleRefused("off")
    if (reason := why_not_offered(team_id)) is not None:
        raise RuleRefused(reason)
    if bundle_of(rule) is None:
        raise RuleRefused("not_sold")
    if card_to_charge(team_id) is None:
        raise RuleRefused("no_card")
    _refuse_too_many(team_id, user_id)
    _arm(team_id)
    audit.record(audit.by_user(user_id), "auto_purchase.armed_again", team_id=team_id)
    show_to_spends(team_id)


def _refuse_too_many(team_id: str, user_id: str) -> None:
    if card_testing.declines(team_id, Buyer(user_id=user_id)) >= card_testing.OPEN_OR_DECLINED_MAX:
        raise RuleRefused("too_many")
    if failed_lately(team_id) >= FAILED_A_DAY_MAX:
        raise RuleRefused("too_many")


def failed_lately(team_id: str) -> int:
    """How many purchases have failed in the last 24 hours."""
    since = app_now() - timedelta(days=1)
    mine = (PurchaseIntent.team_id == team_id) & (PurchaseIntent.state == "failed")
    query = select(func.count(PurchaseIntent.id)).where(mine, PurchaseIntent.finished_at > since)
    return db.session.execute(query).scalar_one()


# What happens to it


def stop(team_id: str, reason: str, *, fingerprint: str | None = None) -> None:
    """Stop it until a person arms it again, or until another card than the one of this fingerprint is there."""
    not_before = app_now() + BACK_OFF if fingerprint else None
    _write(
        team_id,
        state="stopped",
        reason=reason,
        state_since=app_now(),
        stopped_fingerprint=fingerprint,
        capped_until=None,
        not_before=not_before,
    )
    audit.record(audit.SYSTEM, "auto_purchase.stopped", team_id=team_id, reason=reason)
    show_to_spends(team_id)


def cap(team_id: str, limit: str, until: datetime) -> None:
    """Buy nothing until the day or month whose limit was reached is over."""
    _write(team_id, state="capped", reason=limit, state_since=app_now(), capped_until=until)
    show_to_spends(team_id)


def lift_cap(team_id: str) -> bool:
    """Go on when the day or month is over; whether it did."""
    lock_account(team_id)
    rule = rule_of(team_id)
    if rule is None or rule.state != "capped" or rule.capped_until is None or rule.capped_until > clock.now():
        return False
    _write(team_id, state="armed", reason=None, state_since=app_now(), capped_until=None)
    show_to_spends(team_id)
    return True


def arm_for_new_card(team_id: str) -> bool:
    """Go on with another card than the one that was refused, an hour after that; whether it did."""
    lock_account(team_id)
    rule, card = rule_of(team_id), card_to_charge(team_id)
    if rule is None or rule.state != "stopped" or card is None or card.fingerprint is None:
        return False
    if waits_for_person(rule) or rule.stopped_fingerprint == card.fingerprint:
        return False
    if failed_lately(team_id) >= FAILED_A_DAY_MAX:
        return False
    _arm(team_id, not_before=rule.not_before)
    audit.record(audit.SYSTEM, "auto_purchase.armed_again", team_id=team_id, reason="card_changed")
    show_to_spends(team_id)
    return True


# What the staff do


def pause(team_id: str, reason: str, actor: Actor = audit.SYSTEM) -> None:
    """Buy nothing until the staff let it go on. Raises `RuleRefused`."""
    _existing(team_id)
    _write(team_id, paused_at=app_now(), paused_reason=reason)
    audit.record(actor, "auto_purchase.paused", team_id=team_id, reason=reason)
    show_to_spends(team_id)


def resume(team_id: str, actor: Actor = audit.SYSTEM) -> None:
    """End a pause. Raises `RuleRefused`."""
    _existing(team_id)
    _write(team_id, paused_at=None, paused_reason=None)
    audit.record(actor, "auto_purchase.resumed", team_id=team_id)
    show_to_spends(team_id)


def forgive(team_id: str, reason: str, actor: Actor = audit.SYSTEM) -> None:
    """Arm a stopped rule again although nothing has changed, and without its pause. Raises `RuleRefused`.

    One that the team has turned off meanwhile stays off.
    """
    rule = _existing(team_id)
    if not rule.enabled or rule.state != "stopped":
        raise RuleRefused("off")
    _arm(team_id)
    audit.record(actor, "auto_purchase.forgiven", team_id=team_id, reason=reason)
    show_to_spends(team_id)


def _existing(team_id: str) -> AutoPurchaseRule:
    lock_account(team_id)
    rule = rule_of(team_id)
    if rule is None:
        raise RuleRefused("off")
    return rule


def _arm(team_id: str, *, not_before: datetime | None = None, **values: Any) -> None:
    _write(
        team_id,
        state="armed",
        reason=None,
        state_since=app_now(),
        stopped_fingerprint=None,
        capped_until=None,
        not_before=not_before,
        arming=AutoPurchaseRule.arming + 1,
        **values,
    )
    if not_before is None:
        _wake(team_id, "pending")


def _write(team_id: str, **values: Any) -> None:
    written = update(AutoPurchaseRule).where(AutoPurchaseRule.team_id == team_id).values(**values)
    db.session.execute(written, execution_options={"synchronize_session": False})
