"""Changing the plan in the customer portal: a choice, a preview of what is due, and the word that does it."""

from flask import Response

from portal.sandbox import discounting, plan_offers, portal_changes
from portal.sandbox.hosted.pages import plain_page
from portal.sandbox.hosted.portal_bill import bill_of, is_as_shown, lacks_card
from portal.sandbox.hosted.portal_plans import cost_of, name_of, plan_of
from portal.sandbox.hosted.portal_visit import Visit
from portal.sandbox.plan_offers import Choice, NotOfferedError
from portal.sandbox.portal_changes import Outlook
from portal.sandbox.resources import prices, promotion_codes
from portal.sandbox.store import Object
from portal.sandbox.wording import date

_FLOW = "subscription_update"
_MOVED = ("What is due has changed in the meantime.", "Nothing was done. Look at it again.")
_CARDLESS = ("There is no card to pay with.", "Nothing was changed. Add a card first.")


def choose(visit: Visit, subscription_id: str) -> Response:
    """Show what the plan can be changed to."""
    subscription = visit.own(subscription_id)
    if subscription is None or not plan_offers.is_changeable(visit.call, visit.configuration, subscription):
        return _nothing_to_change(visit, subscription)
    item = plan_offers.item_of(visit.call, subscription)
    form = {"price": item["price"], "quantity": str(item["quantity"])}
    return _form(visit, subscription, form, {}, 200)


def _nothing_to_change(visit: Visit, subscription: Object | None) -> Response:
    refusal = plan_offers.refusal_of(visit.call, subscription) if subscription else "This plan has ended."
    text = refusal or "Nothing else is on offer for this plan."
    link = (visit.way_back, "Go back") if visit.way_back else None
    return plain_page(visit.sandbox, 409, "This plan cannot be changed", text, link)


def _form(visit: Visit, subscription: Object, form: dict[str, str], errors: dict[str, str], status: int) -> Response:
    update = visit.configuration["features"]["subscription_update"]
    item = plan_offers.item_of(visit.call, subscription)
    options = [
        {
            "id": one.price["id"],
            "name": one.product["name"],
            "cost": cost_of(one.price, 1),
            "current": one.price["id"] == item["price"],
            "range": _range(one),
        }
        for one in plan_offers.offers(visit.call, visit.configuration, subscription)
    ]
    return visit.show(
        "portal_update.html",
        status,
        plan=plan_of(visit, subscription),
        options=options,
        counts=any(one["range"] for one in options) or "quantity" in errors,
        codes="promotion_code" in (*update["default_allowed_updates"], *errors),
        form=form,
        errors=errors,
    )


def _range(offer: plan_offers.Offer) -> str | None:
    if not offer.adjustable:
        return None
    if offer.maximum == plan_offers.QUANTITY_MAX:
        return f"{offer.minimum} or more"
    return f"{offer.minimum} to {offer.maximum}"


def confirm(visit: Visit, subscription_id: str) -> Response:
    """Show what a choice brings; and, once it is confirmed, make the change and charge what was shown."""
    subscription = visit.own(subscription_id)
    if subscription is None or not plan_offers.is_changeable(visit.call, visit.configuration, subscription):
        return _nothing_to_change(visit, subscription)
    errors: dict[str, str] = {}
    choice = _choice(visit, subscription, errors)
    if choice is None:
        return _form(visit, subscription, {name: visit.entered(name) for name in visit.form}, errors, 422)
    if not visit.posted:
        return _preview(visit, subscription, choice)
    at = _shown_at(visit, subscription)
    bill = _bill(_look(visit, subscription, choice, at)) if at is not None else None
    if at is None or bill is None or not is_as_shown(visit, bill):
        return _preview(visit, subscription, choice, _MOVED)
    if lacks_card(visit, subscription, bill):
        return _preview(visit, subscription, choice, _CARDLESS)
    later = portal_changes.is_for_later(visit.call, visit.configuration, subscription, choice)
    portal_changes.change(visit.call, visit.configuration, subscription, choice, at)
    return visit.done(_FLOW, "planned" if later else "changed")


def _choice(visit: Visit, subscription: Object, errors: dict[str, str]) -> Choice | None:
    """Return what was chosen, by the customer or by who made the flow; None with errors by field."""
    ready = _ready(visit, subscription)
    if ready is not None:
        wanted = ready["items"][0]
    else:
        wanted = {"price": visit.entered("price") or None, "quantity": _number(visit, errors)}
    if errors:
        return None
    try:
        found = plan_offers.choose(visit.call, visit.configuration, subscription, wanted["price"], wanted["quantity"])
    except NotOfferedError as error:
        errors[error.field] = str(error)
        return None
    discounts = _sent(ready["discounts"]) if ready else _discounts(visit, subscription, found, errors)
    if errors:
        return None
    item = plan_offers.item_of(visit.call, subscription)
    if discounts is None and (found.price["id"], found.quantity) == (item["price"], item["quantity"]):
        errors["price"] = "This is the plan that you have. Choose another one."
        return None
    return Choice(found.price, found.quantity, discounts)


def _ready(visit: Visit, subscription: Object) -> Object | None:
    """Return what the seller has chosen, where the session is for confirming that."""
    ready = visit.flow["subscription_update_confirm"] if visit.flow else None
    return ready if ready is not None and ready["subscription"] == subscription["id"] else None


def _sent(discounts: list[Object] | None) -> list[Object] | None:
    if discounts is None:
        return None
    return [{name: value for name, value in one.items() if value is not None} for one in discounts]


def _number(visit: Visit, errors: dict[str, str]) -> int | None:
    entered = visit.entered("quantity")
    if not entered:
        return None
    if not (entered.isascii() and entered.isdecimal() and len(entered) <= 6):
        errors["quantity"] = "Enter a whole number."
        return None
    return int(entered)


def _discounts(visit: Visit, subscription: Object, found: Choice, errors: dict[str, str]) -> list[Object] | None:
    code = visit.entered("promotion_code")
    if not code:
        return None
    update = visit.configuration["features"]["subscription_update"]
    offered = "promotion_code" in update["default_allowed_updates"]
    promotion = promotion_codes.find(visit.call, code) if offered else None
    cost = prices.cost(found.price, found.quantity)
    purchase = discounting.Purchase(subscription["customer"], subscription["currency"], cost)
    refusal = discounting.refusal_for(visit.call, purchase, promotion)
    if refusal is not None or promotion is None:
        errors["promotion_code"] = refusal or discounting.UNKNOWN
        return None
    return [{"promotion_code": promotion["id"]}]


def _shown_at(visit: Visit, subscription: Object) -> int | None:
    """Return the instant for which the preview was shown, or None when that is too long ago to bill from."""
    entered, now = visit.entered("proration_date"), visit.call.now()
    began = plan_offers.item_of(visit.call, subscription)["current_period_start"]
    if not (entered.isascii() and entered.isdecimal() and len(entered) <= 12):
        return None
    at = int(entered)
    return at if max(now - portal_changes.PREVIEW_SECONDS_MAX, began) <= at <= now else None


def _look(visit: Visit, subscription: Object, choice: Choice, at: int) -> Outlook:
    return portal_changes.look_ahead(visit.call, visit.configuration, subscription, choice, at)


def _bill(outlook: Outlook) -> Object:
    return bill_of(outlook.invoice, at_once=outlook.at_once)


def _preview(visit: Visit, subscription: Object, choice: Choice, notice: tuple[str, str] | None = None) -> Response:
    at = visit.call.now()
    outlook = _look(visit, subscription, choice, at)
    bill = _bill(outlook)
    if lacks_card(visit, subscription, bill):
        notice = _CARDLESS
    later = portal_changes.is_for_later(visit.call, visit.configuration, subscription, choice)
    return visit.show(
        "portal_update_confirm.html",
        409 if visit.posted else 200,
        plan=plan_of(visit, subscription),
        name=name_of(visit, choice.price, choice.quantity),
        cost=cost_of(choice.price, choice.quantity),
        bill=bill,
        chosen_here=_ready(visit, subscription) is None,
        begins=date(outlook.invoice["created"]) if later else None,
        then=_then(outlook),
        notice=notice,
        may_pay=not lacks_card(visit, subscription, bill),
        hidden={
            "price": choice.price["id"],
            "quantity": choice.quantity,
            "promotion_code": visit.entered("promotion_code"),
            "proration_date": at,
            "due": bill["now"],
        },
    )


def _then(outlook: Outlook) -> Object | None:
    """Return what a period costs from now on, and when the next one is due."""
    if outlook.recurring is None:
        return None
    ends = [line["period"]["end"] for line in outlook.recurring["lines"]["data"]]
    return {"total": outlook.recurring["total"], "on": date(min(ends)), "currency": outlook.recurring["currency"]}


def undo(visit: Visit, subscription_id: str) -> Response:
    """Take back a change that was to come when the period ends."""
    subscription = visit.own(subscription_id)
    if subscription is None or portal_changes.planned(visit.call, subscription) is None:
        text = "No change is planned for this plan any more."
        return plain_page(visit.sandbox, 409, "Nothing to take back", text, (visit.link(), "Go back"))
    portal_changes.take_back(visit.call, subscription)
    return visit.to(f"{visit.link()}?note=unplanned")
