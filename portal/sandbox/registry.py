"""The types of object: how each looks on the wire, and what may be expanded in it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from portal.sandbox.call import Call
from portal.sandbox.errors import no_such
from portal.sandbox.store import Object


@dataclass(frozen=True)
class Reference:
    """A member that holds an id (or a list of ids) and becomes the object when it is expanded."""

    type_name: str


@dataclass(frozen=True)
class Included:
    """A member that is there only when it is expanded. `load` returns its value."""

    load: Callable[[Call, Object], Any]
    shape: "Shape" = field(default_factory=dict)


@dataclass(frozen=True)
class Embedded:
    """A member that always holds the whole object, or a list of them."""

    type_name: str


@dataclass(frozen=True)
class Nested:
    """A hash on the way to something that can be expanded."""

    shape: "Shape"


Shape = Mapping[str, Reference | Included | Embedded | Nested]


def list_of(type_name: str) -> Nested:
    """Return the shape of a list object whose entries are of one type."""
    return Nested({"data": Embedded(type_name)})


def public(_: Call, obj: Object) -> Object:
    """Return an object without the members that are the sandbox's own."""
    return {key: value for key, value in obj.items() if not key.startswith("_")}


@dataclass(frozen=True)
class Resource:
    """One type of object. `label` is what error messages call it, `param` what they call its id in an address; `render`
    makes its wire form.
    """

    type_name: str
    label: str
    shape: Shape = field(default_factory=dict)
    render: Callable[[Call, Object], Object] = public
    param: str = "id"


RESOURCES: dict[str, Resource] = {}


def register(resource: Resource) -> Resource:
    """Make a type known; each module of `resources` does this once."""
    RESOURCES[resource.type_name] = resource
    return resource


def render(call: Call, obj: Object) -> Object:
    """Return the wire form of a stored object; what says that it was deleted is final already."""
    if obj.get("deleted") is True:
        return deleted_form(obj)
    return RESOURCES[obj["object"]].render(call, obj)


def deleted_form(obj: Object) -> Object:
    """Return what the API says of an object that was deleted."""
    return {"id": obj["id"], "object": obj["object"], "deleted": True}


def fetch(
    call: Call, type_name: str, object_id: str, param: str | None = None, *, with_deleted: bool = False
) -> Object:
    """Return a stored object, or raise that there is none.

    `param` names the body parameter that held the id (400); without it the id came from the address (404).
    """
    obj = call.store.get(type_name, object_id)
    if obj is None or (obj.get("deleted") and not with_deleted):
        resource = RESOURCES[type_name]
        raise no_such(resource.label, object_id, param or resource.param, in_path=param is None)
    return obj


def list_object(data: list[Object], url: str, *, has_more: bool = False) -> Object:
    """Return a list object around entries in wire form."""
    return {"object": "list", "data": data, "has_more": has_more, "url": url}
