"""One currency for each customer: as long as something of theirs is in one, nothing else may be in another."""

from portal.sandbox.call import Call
from portal.sandbox.errors import invalid
from portal.sandbox.store import Condition, Object, equals, one_of

_LIVING = one_of("status", ("active", "incomplete", "past_due", "paused", "trialing", "unpaid"))
_SCHEDULED = one_of("status", ("active", "not_started"))
_WAITING = Condition("json_extract(body, '$.invoice') IS NULL")


def require(call: Call, customer_id: str, currency: str, param: str, *, apart_from: str | None = None) -> None:
    """Raise 400 when something active of a customer is in another currency; `param` names what asks for this one.

    What is about to be changed is left out by its id, `apart_from`.
    """
    other = next((one for one in _of_customer(call, customer_id, apart_from) if one not in (None, currency)), None)
    if other is not None:
        raise invalid(
            "You cannot combine currencies on a single customer. This customer has an active subscription, "
            f"subscription schedule, quote, or invoice item with currency {other}.",
            param,
        )


def _of_customer(call: Call, customer_id: str, apart_from: str | None) -> set[str | None]:
    def found(type_name: str, condition: Condition) -> list[Object]:
        every = call.store.find(type_name, [equals("customer", customer_id), condition])
        return [one for one in every if one["id"] != apart_from]

    schedules = found("subscription_schedule", _SCHEDULED)
    named = found("subscription", _LIVING) + found("quote", equals("status", "open")) + found("invoiceitem", _WAITING)
    return {one["currency"] for one in named} | {schedule["phases"][0]["currency"] for schedule in schedules}
