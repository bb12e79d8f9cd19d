"""The hosted checkout page: `/c/pay/<session>`."""

from typing import Any

from flask import Flask, Response, request

from portal.sandbox import cards, challenge, checkout_opening, checkout_taxes, completion, debits, discounting
from portal.sandbox.call import ACCOUNT_NAME, Call
from portal.sandbox.errors import ApiError
from portal.sandbox.hosted import checkout_consent, checkout_place
from portal.sandbox.hosted.checkout_form import Asked, Entered, read
from portal.sandbox.hosted.pages import guarded_redirect, plain_page, show
from portal.sandbox.periods import add_interval
from portal.sandbox.registry import fetch
from portal.sandbox.resources import checkout_items, prices, promotion_codes
from portal.sandbox.sandbox import Sandbox
from portal.sandbox.store import Object
from portal.sandbox.wording import date, every, money, unit_price


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give the page its address in the app."""

    def checkout(session_id: str) -> Response:
        sandbox.settle()
        call = sandbox.call()
        if request.method == "POST":
            # One transaction around look and pay: of two posts at once, the second finds the session complete.
            try:
                with sandbox.store.transaction():
                    return _answer_post(sandbox, call, session_id)
            except ApiError as error:
                return _broken(sandbox, error)
        with sandbox.store.lock:
            session = call.store.get("checkout.session", session_id)
            if session is None or session["status"] != "open":
                return _closed(sandbox, session)
            try:
                return _form(sandbox, call, session)
            except ApiError as error:
                return _broken(sandbox, error)

    app.add_url_rule("/c/pay/<session_id>", view_func=checkout, methods=["GET", "POST"])


def success_address(session: Object) -> str:
    """Return where a paid session leads, with its id in the place that asks for it."""
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])


def _closed(sandbox: Sandbox, session: Object | None) -> Response:
    if session is None:
        return plain_page(sandbox, 404, "No such checkout", "This address belongs to no checkout session.")
    if session["status"] == "complete":
        text = "This checkout is complete. Nothing more is charged."
        return plain_page(sandbox, 200, "Already paid", text, (success_address(session), "Continue"))
    text = "This checkout session has expired and nothing was charged. Go back and start again."
    link = (session["cancel_url"], "Go back") if session["cancel_url"] else None
    return plain_page(sandbox, 410, "This checkout has expired", text, link)


def _broken(sandbox: Sandbox, error: ApiError) -> Response:
    """Say that something the session needs is gone, such as its customer."""
    text = f"This checkout cannot be completed, and nothing was charged. {error.message}"
    return plain_page(sandbox, 409, "This checkout cannot be completed", text)


def _answer_post(sandbox: Sandbox, call: Call, session_id: str) -> Response:
    session = call.store.get("checkout.session", session_id)
    if session is not None and session["status"] == "complete":
        return _to_success(session)
    if session is None or session["status"] != "open":
        return _closed(sandbox, session)
    if "promotion" in request.form:
        return _promotion(sandbox, call, session)
    if checkout_place.is_unknown(session) or ("place" in request.form and checkout_place.may_say(session)):
        return _place(sandbox, call, session)
    return _pay(sandbox, call, session)


def _place(sandbox: Sandbox, call: Call, session: Object) -> Response:
    """Show what is due where the person is; nothing can be paid before that is known."""
    said = checkout_place.read(request.form) if "place" in request.form else checkout_place.WHERE
    if isinstance(said, str):
        return _form(sandbox, call, session, status=422, place_error=said)
    checkout_taxes.locate(call, session, said)
    return guarded_redirect(call.link(f"/c/pay/{session['id']}"))


def _pay(sandbox: Sandbox, call: Call, session: Object) -> Response:
    entered = read(request.form, _asked(call, session), call.now())
    disagreed = checkout_consent.error_of(session, request.form)
    if disagreed:
        entered.errors |= disagreed
        return _form(sandbox, call, session, entered, 422)
    if entered.refusal is not None:
        return _form(sandbox, call, session, entered, 402, entered.refusal.message)
    if entered.payer is None:
        return _form(sandbox, call, session, entered, 422)
    session["consent"] = checkout_consent.given(session, request.form)
    if challenge.is_asked(entered.payer):
        challenge.begin(call, session, entered.payer)
        return guarded_redirect(challenge.page_of(call, session))
    error = completion.complete(call, session, entered.payer)
    if error is not None:
        return _form(sandbox, call, session, entered, 402, error.message)
    return _to_success(session)


def _promotion(sandbox: Sandbox, call: Call, session: Object) -> Response:
    """Apply the code that was entered, or take it away again."""
    if request.form["promotion"] == "remove":
        discounting.remove(call, session)
        return guarded_redirect(call.link(f"/c/pay/{session['id']}"))
    code = request.form.get("code", "").strip()
    found = promotion_codes.find(call, code) if session["allow_promotion_codes"] else None
    refusal = discounting.refusal_of(call, session, found)
    if refusal is not None or found is None:
        return _form(sandbox, call, session, status=422, code_error=refusal)
    discounting.apply(call, session, fetch(call, "coupon", found["promotion"]["coupon"]), found["id"])
    return guarded_redirect(call.link(f"/c/pay/{session['id']}"))


def _to_success(session: Object) -> Response:
    return guarded_redirect(success_address(session), session["success_url"])


def _asked(call: Call, session: Object) -> Asked:
    customer = fetch(call, "customer", session["customer"]) if session["customer"] else None
    email = customer["email"] if customer else session["customer_email"]
    free = session["amount_total"] == 0
    if session["mode"] == "subscription":
        return Asked(email, card=not free or session["payment_method_collection"] == "always")
    types = session["payment_method_types"]
    return Asked(email, card=not free and "card" in types, account=not free and "sepa_debit" in types)


def _form(
    sandbox: Sandbox,
    call: Call,
    session: Object,
    entered: Entered | None = None,
    status: int = 200,
    declined: str | None = None,
    code_error: str | None = None,
    place_error: str | None = None,
) -> Response:
    if session["mode"] == "setup":
        return _setup_form(sandbox, session, _asked(call, session), entered, status, declined)
    lines = _lines(call, session)
    return show(
        sandbox,
        "checkout.html",
        status,
        form_target=session["success_url"],
        session=session,
        asked=_asked(call, session),
        lines=lines,
        code=_code(call, session, code_error),
        place=checkout_place.asked(session, place_error),
        consent=_consent(session),
        heading=f"{'Subscribe to' if session['mode'] == 'subscription' else 'Pay for'} {lines[0]['name']}",
        then=_then(call, session),
        errors=entered.errors if entered else {},
        declined=declined or session.get("_notice"),
        form=request.form,
        hints=cards.HINTS,
        account_hints=debits.HINTS,
        button=_button(session),
    )


def _setup_form(
    sandbox: Sandbox, session: Object, asked: Asked, entered: Entered | None, status: int, declined: str | None
) -> Response:
    return show(
        sandbox,
        "checkout_setup.html",
        status,
        form_target=session["success_url"],
        session=session,
        asked=asked,
        consent=_consent(session),
        errors=entered.errors if entered else {},
        declined=declined or session.get("_notice"),
        form=request.form,
        hints=cards.HINTS,
    )


def _consent(session: Object) -> dict[str, Any]:
    return {
        "account": ACCOUNT_NAME,
        "terms": checkout_consent.needs_terms(session),
        "news": checkout_consent.asks_for_news(session),
    }


def _lines(call: Call, session: Object) -> list[dict[str, str]]:
    lines = []
    for item in checkout_items.of_session(call, session["id"]):
        price = fetch(call, "price", item["price"])
        quantity = item["quantity"]
        lines.append(
            {
                "name": item["description"],
                "unit": unit_price(price) if quantity in (0, 1) else f"{quantity} \u00d7 {unit_price(price)}",
                "amount": money(item["amount_subtotal"], item["currency"]),
            }
        )
    return lines


def _code(call: Call, session: Object, error: str | None) -> dict[str, Any]:
    """Return what the page says of a discount: what it is called, what it takes off, and whether one can be entered."""
    coupon = call.store.get("coupon", session["_coupon"]) if session.get("_coupon") else None
    off = session["total_details"]["amount_discount"]
    return {
        "asked": bool(session["allow_promotion_codes"]),
        "name": (coupon["name"] or coupon["id"]) if coupon else None,
        "off": money(-off, session["currency"]),
        "error": error,
    }


def _then(call: Call, session: Object) -> dict[str, str] | None:
    """Return what a subscription costs after today: the sum, how often, and from when."""
    items = checkout_items.of_session(call, session["id"])
    lines = [(item, fetch(call, "price", item["price"])) for item in items]
    lines = [(item, price) for item, price in lines if price["recurring"] and not prices.is_metered(price)]
    if not lines:
        return None
    recurring = lines[0][1]["recurring"]
    coupon = call.store.get("coupon", session["_coupon"]) if session.get("_coupon") else None
    sums = [(price, prices.cost(price, item["quantity"])) for item, price in lines]
    lasting = coupon is not None and coupon["duration"] != "once"
    off = discounting.shares(coupon, sums) if coupon and lasting else [0] * len(sums)
    total = sum(
        checkout_taxes.with_tax(call, session, item, price, amount - part)
        for (item, price), (_, amount), part in zip(lines, sums, off, strict=True)
    )
    trial_end = checkout_opening.trial_end_of(call, session["_subscription_data"])
    first = trial_end or add_interval(call.now(), recurring["interval"], recurring["interval_count"])
    return {
        "sum": money(total, session["currency"]),
        "every": every(recurring),
        "from": date(first),
        "trial_days": str((trial_end - call.now()) // 86400) if trial_end else "",
    }


def _has_trial(session: Object) -> bool:
    return bool({"trial_end", "trial_period_days"} & session["_subscription_data"].keys())


def _button(session: Object) -> str:
    if session["mode"] == "payment":
        return f"Pay {money(session['amount_total'], session['currency'])}"
    if session["amount_total"] == 0:
        return "Start trial" if _has_trial(session) else "Subscribe"
    return f"Subscribe and pay {money(session['amount_total'], session['currency'])}"
