"""An endpoint of the API: its address, what it takes, and what carries it out. And the one way lists are paged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from portal.sandbox.call import Call
from portal.sandbox.errors import invalid, no_such
from portal.sandbox.parameters import Param
from portal.sandbox.registry import RESOURCES, Embedded, Shape, list_object, render
from portal.sandbox.store import Condition, Object, path_sql

Values = dict[str, Any]
LIMIT_DEFAULT = 10


@dataclass(frozen=True)
class Endpoint:
    """One method at one address, such as `POST /v1/customers/{customer}`.

    `handle` takes the call, the parsed parameters and the ids of the address, and returns the answer in wire form.
    `returns` is the type of the answer, `lists` says that it is a list of that type. Where the content type is not
    JSON, the handler returns the bytes of a file.
    """

    method: str
    path: str
    parameters: Mapping[str, Param]
    handle: Callable[..., Any]
    returns: str
    lists: bool = False
    content_type: str = "application/json"

    def shape(self) -> Shape:
        """Return what can be expanded in the answer."""
        if self.lists:
            return {"data": Embedded(self.returns)}
        resource = RESOURCES.get(self.returns)
        return resource.shape if resource else {}


def page(
    call: Call,
    type_name: str,
    values: Values,
    url: str,
    conditions: Sequence[Condition] = (),
    *,
    limit_default: int = LIMIT_DEFAULT,
    oldest_first: bool = False,
) -> Object:
    """Return one page of a list, newest first, as the cursor parameters in `values` ask."""
    if "starting_after" in values and "ending_before" in values:
        raise invalid("Send starting_after or ending_before, not both.", "starting_after")
    limit = values.get("limit", limit_default)
    backwards = "ending_before" in values
    terms = [*conditions, *_created(values), *_cursor(call, type_name, values, oldest_first)]
    # Reading away from the cursor towards the newer side gives the entries next to it.
    ascending = oldest_first != backwards
    found = call.store.find(type_name, terms, limit=limit + 1, oldest_first=ascending)
    has_more = len(found) > limit
    entries = found[:limit]
    if backwards:
        entries.reverse()
    return list_object([render(call, entry) for entry in entries], url, has_more=has_more)


def _created(values: Values) -> list[Condition]:
    signs = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
    return [Condition(f"created {signs[bound]} ?", (at,)) for bound, at in values.get("created", {}).items()]


def _cursor(call: Call, type_name: str, values: Values, oldest_first: bool) -> list[Condition]:
    for name, sign in (("starting_after", "<"), ("ending_before", ">")):
        if name in values:
            position = call.store.position(type_name, values[name])
            if position is None:
                raise no_such(RESOURCES[type_name].label, values[name], name, in_path=False)
            flipped = {"<": ">", ">": "<"}[sign] if oldest_first else sign
            return [Condition(f"seq {flipped} ?", (position,))]
    return []


def member_equals(values: Values, *names: str, **paths: str) -> list[Condition]:
    """Return conditions for the filters that were sent: `names` are members of that name, `paths` say where to look."""
    wanted = {name: name for name in names} | paths
    return [
        Condition(f"{path_sql(path)} IS ?", (int(value) if isinstance(value := values[name], bool) else value,))
        for name, path in wanted.items()
        if name in values
    ]
