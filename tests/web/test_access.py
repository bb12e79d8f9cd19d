"""Who gets where: a table of every route of the portal, walked from the URL map.

A new route fails here until it has a line in one of the tables. `test_role_matrix.py` asks whether they are kept to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text
from werkzeug.routing import Rule

from portal.core.authz import PERMISSIONS, Action, Role
from portal.core.database import db
from portal.core.ids import new_id
from tests.cast import Cast
from tests.conftest import TABLES
from tests.web.security.rows import address_of, rows_of_team

# Routes of a team: endpoint and method to the permission that it asks for.
TEAM_ROUTES: dict[tuple[str, str], Action] = {
    ("billing.overview", "GET"): Action.VIEW_BILLING,
    ("billing.payments", "GET"): Action.VIEW_BILLING,
    ("billing.invoices", "GET"): Action.VIEW_BILLING,
    ("billing.invoice", "GET"): Action.VIEW_BILLING,
    ("billing.next_invoice", "GET"): Action.VIEW_BILLING,
    ("billing.pay_invoice", "POST"): Action.MANAGE_BILLING,
    ("billing.payment_try", "GET"): Action.MANAGE_BILLING,
    ("billing.payment_try_status", "GET"): Action.MANAGE_BILLING,
    ("billing.billing_details", "GET"): Action.MANAGE_BILLING,
    ("billing.change_details", "POST"): Action.MANAGE_BILLING,
    ("billing.add_tax_id", "POST"): Action.MANAGE_BILLING,
    ("billing.remove_tax_id", "POST"): Action.MANAGE_BILLING,
    ("billing.ask_for_billing_email", "POST"): Action.MANAGE_BILLING,
    ("billing.withdraw_billing_email", "POST"): Action.MANAGE_BILLING,
    ("billing.open_portal", "POST"): Action.MANAGE_BILLING,
    ("billing.portal_return", "GET"): Action.MANAGE_BILLING,
    ("billing.portal_return_status", "GET"): Action.MANAGE_BILLING,
    ("billing.change_plan", "GET"): Action.CHANGE_PLAN,
    ("billing.preview_change", "POST"): Action.CHANGE_PLAN,
    ("billing.show_preview", "GET"): Action.CHANGE_PLAN,
    ("billing.agree_to_change", "POST"): Action.CHANGE_PLAN,
    ("billing.undo_planned", "POST"): Action.CHANGE_PLAN,
    ("billing.cancel_page", "GET"): Action.CHANGE_PLAN,
    ("billing.cancel_plan", "POST"): Action.CHANGE_PLAN,
    ("billing.resume_plan", "POST"): Action.CHANGE_PLAN,
    ("billing.pause_page", "GET"): Action.CHANGE_PLAN,
    ("billing.pause_plan", "POST"): Action.CHANGE_PLAN,
    ("billing.unpause_plan", "POST"): Action.CHANGE_PLAN,
    ("billing.plan_change", "GET"): Action.CHANGE_PLAN,
    ("billing.plan_change_status", "GET"): Action.CHANGE_PLAN,
    ("billing.withdraw_change", "POST"): Action.CHANGE_PLAN,
    ("billing.seats", "GET"): Action.CHANGE_PLAN,
    ("billing.preview_seats", "POST"): Action.CHANGE_PLAN,
    ("billing.addons", "GET"): Action.CHANGE_PLAN,
    ("billing.preview_addon", "POST"): Action.CHANGE_PLAN,
    ("billing.start_checkout", "POST"): Action.BUY,
    ("billing.checkout_return", "GET"): Action.BUY,
    ("billing.checkout_status", "GET"): Action.BUY,
    ("credits.credits", "GET"): Action.VIEW_BILLING,
    ("credits.auto_purchase", "GET"): Action.VIEW_BILLING,
    ("credits.auto_purchase_state", "GET"): Action.VIEW_BILLING,
    ("credits.turn_auto_purchase_on", "POST"): Action.BUY,
    ("credits.turn_auto_purchase_off", "POST"): Action.BUY,
    ("credits.arm_auto_purchase", "POST"): Action.BUY,
    ("credits.explain_balance_page", "GET"): Action.VIEW_BILLING,
    ("credits.explain_grant_page", "GET"): Action.VIEW_BILLING,
    ("credits.explain_entry_page", "GET"): Action.VIEW_BILLING,
    ("credits.explain_charge_page", "GET"): Action.VIEW_BILLING,
    ("usage.usage", "GET"): Action.VIEW_BILLING,
    ("usage.explain", "GET"): Action.VIEW_BILLING,
    ("usage.budgets", "GET"): Action.VIEW_BILLING,
    ("usage.set_budget", "POST"): Action.MANAGE_BILLING,
    ("usage.remove_budget", "POST"): Action.MANAGE_BILLING,
    ("exports.exports", "GET"): Action.VIEW_BILLING,
    ("exports.ask", "POST"): Action.VIEW_BILLING,
    ("exports.progress", "GET"): Action.VIEW_BILLING,
    ("exports.download", "GET"): Action.VIEW_BILLING,
    ("accounts.api_keys", "GET"): Action.VIEW_API_KEYS,
    ("accounts.create_api_key", "POST"): Action.MANAGE_API_KEYS,
    ("accounts.revoke_api_key", "POST"): Action.MANAGE_API_KEYS,
    ("accounts.members", "GET"): Action.VIEW_MEMBERS,
    ("accounts.leave_team", "POST"): Action.VIEW_MEMBERS,
    ("accounts.member", "GET"): Action.MANAGE_MEMBERS,
    ("accounts.change_member_role", "POST"): Action.MANAGE_MEMBERS,
    ("accounts.remove_member", "POST"): Action.MANAGE_MEMBERS,
    ("accounts.hand_over_team", "POST"): Action.HAND_OVER_TEAM,
    ("accounts.invite", "POST"): Action.MANAGE_MEMBERS,
    ("accounts.send_invitation_again", "POST"): Action.MANAGE_MEMBERS,
    ("accounts.revoke_invitation", "POST"): Action.MANAGE_MEMBERS,
    ("accounts.team_settings", "GET"): Action.MANAGE_TEAM,
    ("accounts.change_team_settings", "POST"): Action.MANAGE_TEAM,
    ("accounts.audit", "GET"): Action.VIEW_AUDIT,
}

# For whoever is signed in, whatever their teams.
PERSONAL = {
    "accounts.teams", "accounts.new_team", "accounts.create_team", "accounts.profile", "accounts.change_profile",
    "accounts.security", "accounts.password", "accounts.change_password", "accounts.email", "accounts.ask_for_email",
    "accounts.withdraw_email", "accounts.end_session", "accounts.end_sessions", "accounts.two_factor_setup",
    "accounts.turn_two_factor_on", "accounts.turn_two_factor_off", "accounts.new_recovery_codes", "security.verify",
    "accounts.accept_invitation_here", "inbox.inbox", "inbox.unread", "inbox.open_entry", "inbox.dismiss_entry",
    "inbox.read_all", "inbox.dismiss_all", "inbox.switches", "inbox.change_switches",
}  # fmt: skip

# Pages of the library that ours stand for; nobody gets there.
CLOSED = {
    "security.two_factor_setup", "security.two_factor_setup_validate", "security.two_factor_rescue",
    "security.mf_recovery_codes", "security.tf_select",
}  # fmt: skip

# For everybody; what they show or take is not a team's.
PUBLIC = {
    "static", "bundles.bundle", "api.docs", "catalog.home", "catalog.pricing", "catalog.accent_css", "health.healthz", "health.readyz",
    "accounts.appearance", "accounts.check_mail", "notifications.dev_mail", "notifications.dev_mail_message",
    "notifications.dev_mail_html", "security.login", "security.logout", "security.register", "security.static",
    "security.forgot_password", "security.reset_password", "security.confirm_email", "security.send_confirmation",
    "security.two_factor_token_validation", "security.mf_recovery", "accounts.new_email", "accounts.confirm_email",
    "accounts.invitation", "accounts.accept_invitation", "billing.new_billing_email", "billing.confirm_billing_email",
    "inbox.unsubscribe", "inbox.stop",
}  # fmt: skip

# For programs, which prove themselves by key or signature; tested with the API and the webhook route.
PROGRAMS = {
    "webhooks.stripe_webhook", "api-docs.openapi_json", "api_usage.create_usage", "api_usage.read_usage", "api_usage.create_usage_batch",
    "api_usage.list_usage_events", "api_credits.read_credits", "api_billing.read_billing",
    "api_billing.read_entitlements", "api_billing.list_invoices", "api_sessions.create_checkout_session",
    "api_sessions.create_portal_session", "metrics.metrics", "api_holds.create_hold", "api_holds.settle_hold",
    "api_holds.release_hold", "api_holds.list_holds", "api_holds.read_hold",
}  # fmt: skip


def rules(app: Flask) -> Iterator[tuple[Rule, str]]:
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield rule, method


def test_every_route_has_its_case(app: Flask) -> None:
    known = {endpoint for endpoint, _ in TEAM_ROUTES} | PERSONAL | CLOSED | PUBLIC | PROGRAMS
    found = {rule.endpoint for rule in app.url_map.iter_rules()}
    assert found - known == set(), "give each a line in one of the tables above"
    assert known - found == set(), "these routes are gone"
    of_teams = {(rule.endpoint, method) for rule, method in rules(app) if "team_id" in rule.arguments}
    assert of_teams == set(TEAM_ROUTES)


def test_the_guard_of_a_route_asks_for_what_the_table_says(app: Flask) -> None:
    for (endpoint, _), action in TEAM_ROUTES.items():
        view: Any = app.view_functions[endpoint]
        while not hasattr(view, "team_action"):
            view = view.__wrapped__
        assert view.team_action == action, endpoint


@pytest.fixture
def addresses(app: Flask, cast: Cast) -> dict[str, str]:
    """A real address for every route of the team, with rows that exist (a new kind of id: security/rows.py)."""
    values = rows_of_team(cast.team_id, cast.owner.user_id)
    return {
        rule.endpoint: address_of(app, rule, values) for rule in app.url_map.iter_rules() if "team_id" in rule.arguments
    }


def ask(client: FlaskClient, address: str, method: str) -> int:
    return client.open(address, method=method, data={}).status_code


@pytest.mark.parametrize(("endpoint", "method"), TEAM_ROUTES)
def test_s1_an_outsider_gets_the_same_404_as_for_a_team_that_does_not_exist(
    app: Flask, cast: Cast, addresses: dict[str, str], endpoint: str, method: str
) -> None:
    address = addresses[endpoint]
    foreign = cast.outsider.client.open(address, method=method, data={})
    unknown = cast.outsider.client.open(address.replace(cast.team_id, new_id("team")), method=method, data={})
    assert foreign.status_code == unknown.status_code == 404
    assert without_request_id(foreign.get_data(as_text=True)) == without_request_id(unknown.get_data(as_text=True))


def without_request_id(page: str) -> str:
    before, _, after = page.partition("<code>req_")
    return before + after.partition("</code>")[2]


@pytest.mark.parametrize(("endpoint", "method"), TEAM_ROUTES)
def test_s2_rows_of_another_team_do_not_exist_under_ones_own(
    app: Flask, cast: Cast, addresses: dict[str, str], endpoint: str, method: str
) -> None:
    """Each nested id on its own: under the team one owns, another team's row is what an unknown one is."""
    theirs, ours = (rows_of_team(*whose) for whose in _both_teams(cast))
    for rule in (rule for rule, verb in rules(app) if (rule.endpoint, verb) == (endpoint, method)):
        for kind in rule.arguments - {"team_id"}:
            foreign, unknown = (
                cast.outsider.client.open(address_of(app, rule, ours | {kind: one}), method=method, data={})
                for one in (theirs[kind], new_id(theirs[kind].partition("_")[0]))
            )
            assert foreign.status_code == unknown.status_code == 404, kind
            pages = [without_request_id(answer.get_data(as_text=True)) for answer in (foreign, unknown)]
            assert pages[0] == pages[1]


def _both_teams(cast: Cast) -> tuple[tuple[str, str], tuple[str, str]]:
    return (cast.team_id, cast.owner.user_id), (cast.other_team_id, cast.outsider.user_id)


def table_contents() -> dict[str, list[str]]:
    """Every row of every table as text, sorted."""
    names = db.session.execute(TABLES).scalars().all()
    rows = {
        name: sorted(db.session.execute(select(text("t::text")).select_from(text(f"{name} t"))).scalars())
        for name in names
    }
    db.session.remove()
    return rows


def is_personal_page(rule: Rule, method: str) -> bool:
    return rule.endpoint in PERSONAL and method == "GET" and not rule.arguments


def test_the_table_of_permissions_has_a_role_for_everybody_in_the_cast() -> None:
    assert set(PERMISSIONS) == set(Role)


def test_s16_get_requests_change_nothing(app: Flask, cast: Cast, addresses: dict[str, str]) -> None:
    """A crawl of every page by the owner leaves every table as it was."""
    before = table_contents()
    for rule, method in rules(app):
        if method == "GET" and rule.endpoint in addresses:
            assert ask(cast.owner.client, addresses[rule.endpoint], "GET") in (200, 302)
    for path in ("/", "/pricing", "/accent.css", "/healthz", "/readyz", "/login", "/signup", "/dev/mail"):
        ask(cast.owner.client, path, "GET")
    with app.test_request_context():
        personal = [app.url_for(rule.endpoint) for rule, method in rules(app) if is_personal_page(rule, method)]
    assert len(personal) >= 8
    for path in personal:
        assert ask(cast.owner.client, path, "GET") in (200, 302)
    assert table_contents() == before
