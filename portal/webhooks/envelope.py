"""What an event must look like to be kept: checked on bytes whose signature is already known to be right."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

TEXT_MAX = 255
EPOCH_MAX = 253_402_300_799  # the end of the year 9999, the last that a datetime can hold
THIN = "v2.core.event"
# Thin events have the types of the snapshot events with this in front.
THIN_PREFIX = "v1."
# An escaped NUL that is not itself a backslash followed by "u0000".
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class Malformed(Exception):
    """The body is not an event; the message says why, for the log and the answer."""


@dataclass(frozen=True)
class Envelope:
    event_id: str
    type: str
    object_id: str | None
    api_version: str | None
    livemode: bool
    created_at: datetime
    thin: bool
    snapshot_event_id: str | None


def open_envelope(body: bytes) -> Envelope:
    """Read the fields we keep beside the raw body. Raises `Malformed`, never anything else."""
    event = _json(body)
    if not isinstance(event, dict):
        raise Malformed("the body is not a JSON object")
    thin = event.get("object") == THIN
    if not thin and event.get("object") != "event":
        raise Malformed("the body is not an event")
    livemode = event.get("livemode")
    if not isinstance(livemode, bool):
        raise Malformed("livemode is not a boolean")
    return Envelope(
        event_id=_text(event, "id"),
        type=_text(event, "type"),
        object_id=_object_id(event, thin),
        api_version=_text(event, "api_version") if event.get("api_version") is not None else None,
        livemode=livemode,
        created_at=_created(event.get("created"), thin),
        thin=thin,
        snapshot_event_id=_snapshot_event_id(event) if thin else None,
    )


def _json(body: bytes) -> Any:
    try:
        text = body.decode("utf-8")
        event = json.loads(text, parse_constant=_refuse_constant)
        if b"\\u" in body:
            _refuse_unstorable(event)
    except UnicodeError as error:
        raise Malformed("the body is not UTF-8") from error
    except RecursionError as error:
        raise Malformed("the body is nested too deep") from error
    except ValueError as error:
        raise Malformed("the body is not JSON") from error
    return event


def _refuse_unstorable(event: Any) -> None:
    """Lone surrogates and NULs survive parsing, and PostgreSQL refuses them as text: stop them at the door.

    Dumped again with every character escaped, both are plain to see. Raises `Malformed`, `UnicodeError`.
    """
    json.dumps(event, ensure_ascii=False).encode("utf-8")
    if NUL.search(json.dumps(event)):
        raise Malformed("the body holds a NUL character")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _object_id(event: dict[str, Any], thin: bool) -> str | None:
    source = event.get("related_object") if thin else _snapshot(event)
    if source is None:
        return None
    if not isinstance(source, dict):
        raise Malformed("the related object is not an object")
    return _text(source, "id") if source.get("id") is not None else None


def _snapshot(event: dict[str, Any]) -> dict[str, Any]:
    data = event.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("object"), dict):
        raise Malformed("data.object is missing or not an object")
    found: dict[str, Any] = data["object"]
    return found


def _snapshot_event_id(event: dict[str, Any]) -> str | None:
    """The snapshot event that says the same as this thin one, if there is one."""
    return _text(event, "snapshot_event") if event.get("snapshot_event") is not None else None


def _created(value: Any, thin: bool) -> datetime:
    if thin and isinstance(value, str):
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise Malformed("created is not a time") from error
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= EPOCH_MAX:
        raise Malformed("created is not a time")
    return datetime.fromtimestamp(value, UTC)


def _text(source: dict[str, Any], name: str) -> str:
    value = source.get(name)
    if not isinstance(value, str) or not value or len(value) > TEXT_MAX or not value.isprintable():
        raise Malformed(f"{name} is missing, not text or too long")
    return value
