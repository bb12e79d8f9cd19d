"""A customer's backend in tests: it calls with a key, and holds every answer to the API's own document."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any

from flask import Flask
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.accounts.api_keys import Scope, create_key
from portal.accounts.models import ApiKey, User
from portal.billing.gateway import gateway
from portal.billing.portal_configuration import sync_portal_configuration
from portal.catalog.current import catalog
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger
from tests.cast import Person

PREFIX = "/api/v1"
# Headers that an answer has only at times.
OPTIONAL = {"Idempotent-Replayed"}


@dataclass
class Backend:
    app: Flask
    team_id: str
    secret: str
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def call(self, method: str, path: str, **more: Any) -> TestResponse:
        """One call; without headers of one's own the key is sent as it should be."""
        headers = more.pop("headers", {"Authorization": f"Bearer {self.secret}"})
        answer = self.app.test_client().open(PREFIX + path, method=method, headers=headers, **more)
        assert answer.headers["Request-Id"].startswith("req_")
        hold_to_document(self.app, method, path, answer)
        return answer

    def post_usage(self, key: str | None = None, **more: Any) -> TestResponse:
        """Post a body of the test's own; a key is made up when the test does not care."""
        key = f"key-{next(self.numbers)}" if key is None else key
        headers = {"Authorization": f"Bearer {self.secret}", "Idempotency-Key": key}
        return self.call("POST", "/usage", headers=headers, **more)

    def use(self, meter: str = "send_email", quantity: Any = 1, key: str | None = None) -> TestResponse:
        return self.post_usage(key, json={"meter": meter, "quantity": quantity})

    def hold(self, key: str | None = None, **fields: Any) -> TestResponse:
        """Hold `amount`, or `quantity` of a `meter`."""
        return self.post("/credits/holds", fields, key)

    def settle(self, hold_id: str, key: str | None = None, **fields: Any) -> TestResponse:
        return self.post(f"/credits/holds/{hold_id}/settle", fields, key)

    def release(self, hold_id: str, key: str | None = None) -> TestResponse:
        return self.post(f"/credits/holds/{hold_id}/release", {}, key)

    def post(self, path: str, fields: Any, key: str | None = None) -> TestResponse:
        key = f"key-{next(self.numbers)}" if key is None else key
        headers = {"Authorization": f"Bearer {self.secret}", "Idempotency-Key": key}
        return self.call("POST", path, headers=headers, json=fields)

    def credits(self) -> dict[str, Any]:
        answer = self.call("GET", "/credits")
        assert answer.status_code == 200
        return dict(answer.get_json())

    def with_no_scope(self) -> Backend:
        """The same team's backend with a key that may do nothing."""
        with self.app.app_context(), unit_of_work() as session:
            creator = (
                session.execute(select(ApiKey.created_by_id).where(ApiKey.team_id == self.team_id)).scalars().first()
            )
            key = create_key(self.team_id, session.get_one(User, creator), "None", livemode=False, scopes=())
        return replace(self, secret=key.secret)

    def give(self, amount: int, cause: str = "bundle:test") -> None:
        with self.app.app_context(), unit_of_work():
            ledger.grant(self.team_id, kind="bundle", amount=amount, cause_key=cause, source="A bundle")


def backend_of(
    app: Flask,
    team_id: str,
    person: Person,
    *,
    scopes: tuple[Scope, ...] = tuple(Scope),
    lasts: timedelta | None = None,
) -> Backend:
    """A backend with a new key of the team's."""
    with app.app_context(), unit_of_work():
        creator = db.session.get(User, person.user_id)
        assert creator is not None
        key = create_key(team_id, creator, "Backend", livemode=False, scopes=scopes, lasts=lasts)
    return Backend(app, team_id, key.secret)


def key_id_of(team_id: str) -> str:
    """The team's only API key."""
    found: str = db.session.execute(select(ApiKey.id).where(ApiKey.team_id == team_id)).scalar_one()
    db.session.rollback()
    return found


def set_up_portal(app: Flask) -> None:
    """What `flask catalog sync` does for the customer portal at Stripe."""
    with app.app_context():
        assert sync_portal_configuration(gateway(), catalog(), app.config["SETTINGS"].base_url)


def hold_to_document(app: Flask, method: str, path: str, answer: TestResponse) -> None:
    """Fail unless the document promises this status with such a body."""
    document = _document(app)
    operation = _calls_at(document, PREFIX + path.partition("?")[0]).get(method.lower())
    if operation is None:
        return
    promised = operation["responses"][str(answer.status_code)]
    if "$ref" in promised:
        promised = document["components"]["responses"][promised["$ref"].rsplit("/", 1)[1]]
    assert {name for name in promised["headers"] if name != "Retry-After"} <= set(answer.headers.keys()) | OPTIONAL
    if "content" not in promised:
        assert answer.data == b""
        return
    schema = promised["content"]["application/json"]["schema"] | {"components": document["components"]}
    validator: Any = OAS31Validator(schema, format_checker=oas31_format_checker)
    validator.validate(answer.get_json())
    assert answer.mimetype == "application/json"


def _calls_at(document: dict[str, Any], path: str) -> dict[str, Any]:
    """What the document says of an address; one with a name in it stands for all such."""
    for known, calls in document["paths"].items():
        if re.fullmatch(re.sub("{[a-z_]+}", "[^/]+", known), path):
            return dict(calls)
    return {}


@cache
def _document(app: Flask) -> dict[str, Any]:
    return dict(app.test_client().get(f"{PREFIX}/openapi.json").get_json())


def error_of(answer: TestResponse) -> dict[str, Any]:
    return dict(answer.get_json()["error"])
