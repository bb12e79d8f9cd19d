"""The account and its balance, as far as a client may ask for them to see that its key works."""

from portal.sandbox.call import ACCOUNT_ID, ACCOUNT_NAME, Call
from portal.sandbox.endpoints import Endpoint, Values
from portal.sandbox.registry import Resource, register
from portal.sandbox.store import Object


def account(_: Call, __: Values) -> Object:
    """`GET /v1/account`."""
    return {
        "id": ACCOUNT_ID,
        "object": "account",
        "business_profile": {"name": ACCOUNT_NAME, "url": None},
        "business_type": None,
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "country": "US",
        "default_currency": "usd",
        "details_submitted": True,
        "email": None,
        "metadata": {},
        "payouts_enabled": True,
        "type": "standard",
    }


def balance(call: Call, _: Values) -> Object:
    """`GET /v1/balance`: what succeeded charges have brought, before fees, as pending."""
    rows = call.store.query(
        "SELECT json_extract(body, '$.currency') AS currency, sum(json_extract(body, '$.amount_captured')) AS amount"
        " FROM objects WHERE type = 'charge' GROUP BY 1 ORDER BY 1"
    )
    sums = {row["currency"]: row["amount"] for row in rows} or {"usd": 0}
    return {
        "object": "balance",
        "available": [_money(currency, 0) for currency in sums],
        "livemode": False,
        "pending": [_money(currency, amount) for currency, amount in sums.items()],
    }


def _money(currency: str, amount: int) -> Object:
    return {"amount": amount, "currency": currency, "source_types": {"card": amount}}


register(Resource("account", "account"))
register(Resource("balance", "balance"))
ENDPOINTS = (
    Endpoint("GET", "/v1/account", {}, account, "account"),
    Endpoint("GET", "/v1/balance", {}, balance, "balance"),
)
