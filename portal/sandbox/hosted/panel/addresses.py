"""The addresses of the panel's pages; the templates know this module as `to`."""

HOME, OBJECTS, EVENTS, CLOCK, CHAOS, CARDS = "/", "/objects", "/events", "/clock", "/chaos", "/cards"


def objects(type_name: str) -> str:
    """Return the list of one type of object."""
    return f"{OBJECTS}/{type_name}"


def thing(type_name: str, object_id: str) -> str:
    """Return the page of an object; an event has one of its own kind."""
    return event(object_id) if type_name == "event" else f"{objects(type_name)}/{object_id}"


def secret(type_name: str, object_id: str) -> str:
    """Return where an endpoint's secret is rolled."""
    return f"{thing(type_name, object_id)}/secret"


def event(event_id: str) -> str:
    """Return the page of an event."""
    return f"{EVENTS}/{event_id}"


def resend(event_id: str) -> str:
    """Return where an event is sent again."""
    return f"{event(event_id)}/resend"


def request(request_id: str) -> str:
    """Return the events of a request."""
    return f"{EVENTS}?request={request_id}"


def story(customer_id: str) -> str:
    """Return a customer's story."""
    return f"/stories/{customer_id}"
