"""`BILLING_ENABLED` and `BILLING_ROLLOUT`: who sees billing, and what is left of the portal when nobody does."""

from __future__ import annotations

import pytest
from flask import Flask

from portal.accounts.api_keys import Scope
from portal.api import authentication
from portal.billing import switch
from portal.core.errors import ApiError
from portal.core.rollout import Rollout
from tests import switches
from tests.cast import Cast

NOBODY = Rollout(0)


def test_every_blueprint_is_of_billing_or_is_not(app: Flask) -> None:
    """A new blueprint fails here until portal/billing/switch.py says whether it is hidden with billing."""
    known = switch.BILLING_PAGES | switch.OTHER_PAGES
    pages = {name for name in app.blueprints if not name.startswith("api")}  # programs are told by their scopes
    assert pages - known == set()
    assert not switch.BILLING_PAGES & switch.OTHER_PAGES


def test_off_every_page_of_billing_is_gone_and_says_that_nothing_is_lost(app: Flask, cast: Cast) -> None:
    hidden = {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint.partition(".")[0] in switch.BILLING_PAGES}
    assert "/teams/<team_id>/billing" in hidden
    with switches.settings(app, billing_enabled=False):
        for rule in hidden:
            for method in ("GET", "POST"):
                address = rule.replace("<team_id>", cast.team_id).replace("<", "").replace(">", "")
                answer = cast.owner.client.open(address, method=method)
                assert answer.status_code in (404, 405), (method, rule)
        page = cast.owner.client.get(f"/teams/{cast.team_id}/billing").get_data(as_text=True)
    assert "Billing is closed at the moment" in page
    assert "what you have paid is safe" in page
    assert cast.owner.client.get(f"/teams/{cast.team_id}/billing").status_code == 200


@pytest.mark.parametrize("off", [{"billing_enabled": False}, {"billing_rollout": NOBODY}])
def test_no_page_leads_to_what_is_hidden(app: Flask, cast: Cast, off: dict[str, object]) -> None:
    with switches.settings(app, **off):
        for address in ("/teams", "/pricing", f"/teams/{cast.team_id}/api-keys"):
            answer = cast.owner.client.get(address)
            page = answer.get_data(as_text=True)
            assert answer.status_code == 200
            assert f"/teams/{cast.team_id}/billing" not in page, address
            assert "/checkout" not in page, address
            assert "Subscribe to" not in page, address
        assert "Nothing can be bought here at the moment." in cast.owner.client.get("/pricing").get_data(as_text=True)
        signed_out = cast.anonymous.get("/pricing").get_data(as_text=True)
    assert "Start with" not in signed_out
    assert "Business" in signed_out


def test_a_role_without_keys_still_has_a_page(app: Flask, cast: Cast) -> None:
    with switches.settings(app, billing_enabled=False):
        page = cast.billing.client.get("/teams").get_data(as_text=True)
    assert 'href="/teams"' in page


def test_a_team_outside_the_roll_out_finds_nothing_and_one_inside_everything(app: Flask, cast: Cast) -> None:
    with switches.settings(app, billing_rollout=Rollout(0, frozenset({cast.other_team_id}))):
        outside = cast.owner.client.get(f"/teams/{cast.team_id}/billing")
        buying = cast.owner.client.post(f"/teams/{cast.team_id}/checkout", data={"plan": "business"})
        inside = cast.outsider.client.get(f"/teams/{cast.other_team_id}/billing")
        prices = cast.outsider.client.get("/pricing").get_data(as_text=True)
    assert (outside.status_code, buying.status_code, inside.status_code) == (404, 404, 200)
    assert "This page does not exist" in outside.get_data(as_text=True)
    assert "Subscribe to Business" in prices


def test_calls_that_sell_are_refused_and_the_others_go_on(app: Flask, cast: Cast) -> None:
    assert {scope for scope in Scope if scope.value in switch.SELLING_SCOPES}.isdisjoint(
        {Scope.USAGE_WRITE, Scope.CREDITS_READ}
    )
    selling = type("Selling", (), {"value": "checkout:write"})()
    with switches.settings(app, billing_rollout=NOBODY):
        with pytest.raises(ApiError) as refused:
            authentication._refuse_while_closed(selling, cast.team_id)
        authentication._refuse_while_closed(Scope.USAGE_WRITE, cast.team_id)
    assert (refused.value.status, refused.value.code) == (403, "billing_closed")
    authentication._refuse_while_closed(selling, cast.team_id)
