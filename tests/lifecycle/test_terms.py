"""A catalog that asks for consent: a plan is bought by who agrees to the terms, and by nobody else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portal.catalog.current import catalog
from portal.catalog.definition import Catalog
from portal.credits.queries import balance
from tests.cast import Cast
from tests.stage import Stage


@pytest.fixture(autouse=True)
def require_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_terms() -> Catalog:
        known = catalog()
        return replace(known, checkout=replace(known.checkout, require_terms=True))

    monkeypatch.setattr("portal.billing.checkout.catalog", with_terms)


def test_a_plan_is_bought_by_who_agrees_to_the_terms(cast: Cast, stage: Stage) -> None:
    address = stage.begin_checkout(cast.owner, cast.team_id, "business")
    refused = stage.pay(address)
    assert refused.status_code == 422
    assert "Agree to the terms" in refused.text
    stage.deliver_all()
    assert balance(cast.team_id).available == 100  # the free plan's

    assert stage.pay(address, terms_of_service="accepted").status_code == 303
    stage.deliver_all()
    assert balance(cast.team_id).available == 20_000
