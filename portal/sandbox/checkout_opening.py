"""What a Checkout Session begins as, before anybody has seen its page."""

from portal.sandbox import ids, tax_settings
from portal.sandbox.call import ACCOUNT_NAME, Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import invalid
from portal.sandbox.instruments import types_for
from portal.sandbox.parameters import merge_metadata
from portal.sandbox.store import Object

OPEN_SECONDS_MIN = 30 * 60
OPEN_SECONDS_MAX = 24 * 3600


def trial_end_of(call: Call, subscription_data: Values) -> int | None:
    """Return when a trial that starts now ends, in epoch seconds, or None when there is no trial."""
    if "trial_end" in subscription_data and "trial_period_days" in subscription_data:
        raise invalid("Send trial_end or trial_period_days, not both.", "subscription_data[trial_end]")
    if "trial_period_days" in subscription_data:
        return call.now() + int(subscription_data["trial_period_days"]) * 86400
    trial_end = subscription_data.get("trial_end")
    return int(trial_end) if trial_end is not None else None


def _expires_at(call: Call, values: Values) -> int:
    now = call.now()
    expires_at = int(values.get("expires_at", now + OPEN_SECONDS_MAX))
    if not now + OPEN_SECONDS_MIN <= expires_at <= now + OPEN_SECONDS_MAX:
        raise invalid("expires_at must lie between 30 minutes and 24 hours ahead.", "expires_at")
    return expires_at


def open_session(call: Call, values: Values, customer: Object | None, currency: str) -> Object:
    """Return a new open session whose sums are still to be set."""
    session_id = "cs_test_" + ids.random_text(58)
    subscribing = values["mode"] == "subscription"
    if values.get("currency", currency).lower() != currency:
        raise invalid("The prices are in another currency.", "currency")
    head = {"id": session_id, "object": "checkout.session"}
    return (
        head
        | _blank()
        | {
            "allow_promotion_codes": values.get("allow_promotion_codes"),
            "allowed_payment_method_types": values.get("allowed_payment_method_types"),
            "automatic_tax": _automatic_tax(values, customer),
            "billing_address_collection": values.get("billing_address_collection"),
            "cancel_url": values.get("cancel_url"),
            "client_reference_id": values.get("client_reference_id"),
            "consent_collection": _consent_collection(values),
            "created": call.now(),
            "currency": currency,
            "custom_text": dict.fromkeys(("after_submit", "shipping_address", "submit", "terms_of_service_acceptance"))
            | values.get("custom_text", {}),
            "customer": customer["id"] if customer else None,
            "customer_creation": None if customer else values.get("customer_creation", _creation_default(subscribing)),
            "customer_details": _customer_details(customer, values.get("customer_email")),
            "customer_email": values.get("customer_email"),
            "expires_at": _expires_at(call, values),
            "invoice_creation": _invoice_creation(values) if values["mode"] == "payment" else None,
            "locale": values.get("locale"),
            "metadata": merge_metadata({}, values.get("metadata", {})),
            "mode": values["mode"],
            "payment_method_types": types_for(values, currency, once=values["mode"] == "payment"),
            "payment_method_collection": None
            if values["mode"] == "payment"
            else values.get("payment_method_collection", "always"),
            "saved_payment_method_options": _saved_options() if customer else None,
            "status": "open",
            "submit_type": values.get("submit_type"),
            "success_url": values["success_url"],
            "url": call.link(f"/c/pay/{session_id}"),
            "_customer_update": values.get("customer_update", {}),
            "_payment_intent_data": values.get("payment_intent_data", {}),
            "_subscription_data": values.get("subscription_data", {}),
        }
    )


def _blank() -> Object:
    """Return what every session begins with."""
    return {
        "adaptive_pricing": {"enabled": False},
        "after_expiration": None,
        "amount_subtotal": 0,
        "amount_total": 0,
        "branding_settings": {
            "background_color": "#ffffff",
            "border_style": "rounded",
            "button_color": "#4457d9",
            "display_name": ACCOUNT_NAME,
            "font_family": "default",
            "icon": None,
            "logo": None,
        },
        "client_secret": None,
        "collected_information": dict.fromkeys(("business_name", "individual_name", "shipping_details")),
        "consent": None,
        "currency_conversion": None,
        "custom_fields": [],
        "customer_account": None,
        "discounts": [],
        "integration_identifier": None,
        "invoice": None,
        "livemode": False,
        "origin_context": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_status": "unpaid",
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "subscription": None,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "wallet_options": None,
        "_address": None,
        "_challenge": None,
        "_coupon": None,
        "_notice": None,
    }


def _saved_options() -> Object:
    return {"allow_redisplay_filters": ["always"], "payment_method_remove": "disabled", "payment_method_save": None}


def _creation_default(subscribing: bool) -> str:
    return "always" if subscribing else "if_required"


def _automatic_tax(values: Values, customer: Object | None) -> Object:
    enabled = values.get("automatic_tax", {}).get("enabled", False)
    kept = values.get("customer_update", {}).get("address") != "auto"
    if enabled and customer is not None and kept:
        tax_settings.require_location(customer)  # Nobody may be asked for another address.
    return {"enabled": enabled}


def _consent_collection(values: Values) -> Object | None:
    sent = values.get("consent_collection")
    if sent is None:
        return None
    return {"payment_method_reuse_agreement": None, "promotions": "none", "terms_of_service": "none"} | sent


def _invoice_creation(values: Values) -> Object:
    sent = values.get("invoice_creation", {"enabled": False})
    data = sent.get("invoice_data", {})
    return {
        "enabled": sent["enabled"],
        "invoice_data": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": data.get("description"),
            "footer": None,
            "issuer": None,
            "metadata": merge_metadata({}, data.get("metadata", {})),
            "rendering_options": None,
        },
    }


def _customer_details(customer: Object | None, email: str | None) -> Object | None:
    if customer is None and email is None:
        return None
    return customer_details(customer["email"] if customer else email, None)


def customer_details(email: str | None, name: str | None, address: Object | None = None) -> Object:
    """Return what a session tells of the person who pays."""
    return {
        "address": address,
        "business_name": None,
        "email": email,
        "individual_name": None,
        "name": name,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": None,
    }
