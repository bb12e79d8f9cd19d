"""What meter events add up to, exactly: values are decimals, never binary fractions."""

import re
from collections.abc import Sequence
from decimal import Decimal

from portal.sandbox.call import Call
from portal.sandbox.errors import ApiError, invalid
from portal.sandbox.store import Condition, Object, equals

DIGITS_MAX = 15
DECIMALS_MAX = 12
_VALUE = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
EVENT = "billing.meter_event"


def read_value(text: str, key: str) -> Decimal:
    """Return the value of an event, or raise the 400 that says what is wrong with it."""
    param = f"payload[{key}]"
    if not _VALUE.fullmatch(text):
        raise invalid("The value of the event is not a number.", param, "meter_event_invalid_value")
    value = Decimal(text)
    exponent = value.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > DECIMALS_MAX:
        raise invalid(f"The value may have {DECIMALS_MAX} decimals at most.", param, "meter_event_invalid_value")
    if len(value.normalize().as_tuple().digits) > DIGITS_MAX:
        raise _too_long(text, param)
    return value


def _too_long(text: str, param: str) -> ApiError:
    message = f"The value in the payload may have {DIGITS_MAX} digits at most; {text} was sent."
    return invalid(message, param, "meter_event_value_too_many_digits")


def events_between(call: Call, meter: Object, customer_id: str, start: int, end: int) -> list[Object]:
    """Return a customer's events from `start` up to `end`, which is not part of it, the oldest first."""
    terms = [
        equals("_usage_of", usage_of(meter, customer_id)),
        Condition("json_extract(body, '$.timestamp') >= ? AND json_extract(body, '$.timestamp') < ?", (start, end)),
        equals("_canceled", None),
    ]
    return sorted(call.store.find(EVENT, terms, oldest_first=True), key=lambda event: int(event["timestamp"]))


def usage_of(meter: Object, customer_id: str) -> str:
    """Return the key under which a customer's events for a meter are found."""
    return f"{meter['id']}:{customer_id}"


def aggregate(meter: Object, found: Sequence[Object]) -> Decimal:
    """Return what events add up to by the meter's formula; they are in the order of their time."""
    formula = meter["default_aggregation"]["formula"]
    if formula == "count":
        return Decimal(len(found))
    values = [Decimal(event["payload"][meter["value_settings"]["event_payload_key"]]) for event in found]
    if formula == "last":
        return values[-1] if values else Decimal(0)
    return sum(values, Decimal(0))
