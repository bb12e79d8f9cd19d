"""`flask demo seed`: a customer to look at, made by driving the stand-in for Stripe as a person would."""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from datetime import timedelta

import click
from flask import current_app
from flask.cli import AppGroup
from flask_security import hash_password
from sqlalchemy import select

from portal.accounts.demo_logins import DEMO_PASSWORD
from portal.accounts.models import Membership, Team, User
from portal.accounts.registration import make_team
from portal.billing import checkout
from portal.billing.checkout import Buyer, CheckoutRefused, Order, ReturnAddresses
from portal.billing.gateway import gateway
from portal.billing.subscriptions import live_subscription
from portal.catalog.current import catalog
from portal.catalog.queries import PlanPrice, free_plan, price_for
from portal.core import clock
from portal.core.authz import Role
from portal.core.database import db
from portal.core.unit_of_work import end_read, unit_of_work
from portal.credits.free_plan import grant_free_period
from portal.usage.metering import Use, record_all
from portal.usage.queries import credit_meters

group = AppGroup("demo", help="Demo data for development.")

TEAM, OTHER_TEAM = "Harbor Analytics", "Quayside Labs"
MEMBERS = {"owner": Role.OWNER, "admin": Role.ADMIN, "billing": Role.BILLING, "member": Role.MEMBER}
# Of each meter that takes credits; one that is not named here is used a little.
USAGE = {"send_email": 420, "analyze_lead": 310, "generate_campaign": 76}
USAGE_OF_OTHERS = 60
# It is spread over the last days, so that there is something to see on the charts.
DAYS = 20
WAIT_SECONDS = 60


@group.command("seed")
def seed() -> None:
    """Make the demo logins, subscribe their team to the recommended plan and spend some credits. Running it again changes nothing."""
    settings = current_app.config["SETTINGS"]
    if settings.production or not settings.sandbox_mode:
        raise click.ClickException("demo data is only made in development, against the sandbox")
    team_id, owner_id = _people()
    if live_subscription(team_id) is None:
        _subscribe(team_id, owner_id)
    _wait_for(lambda: live_subscription(team_id) is not None, "the worker to apply Stripe's events")
    _spend(team_id)
    click.echo(f"Demo team {TEAM} is ready; sign in as owner@example.com with {DEMO_PASSWORD}.")


def _people() -> tuple[str, str]:
    """The logins and their two teams; returns the demo team's and its owner's id."""
    with unit_of_work():
        users = {name: _user(name) for name in (*MEMBERS, "outsider", "staff")}
        users["staff"].is_staff = True
        team = _team(users["owner"], TEAM)
        for name, role in MEMBERS.items():
            _join(team, users[name], role)
        _team(users["outsider"], OTHER_TEAM)
        _team(users["staff"], "Fernway Support")
    return team.id, users["owner"].id


def _user(name: str) -> User:
    email = f"{name}@example.com"
    user = db.session.execute(select(User).where(User.email == email)).scalar_one_or_none()
    if user is None:
        user = current_app.extensions["security"].datastore.create_user(
            email=email, name=name.capitalize(), password=hash_password(DEMO_PASSWORD), confirmed_at=clock.now()
        )
        db.session.flush()
    return user


def _team(owner: User, name: str) -> Team:
    query = select(Team).join(Membership).where(Team.name == name, Membership.user_id == owner.id)
    team = db.session.execute(query).scalar_one_or_none()
    if team is None:
        team = make_team(owner, name)
        db.session.flush()
        plan = free_plan()
        if plan is not None and plan.credits_monthly:
            grant_free_period(team, plan.credits_monthly)
    return team


def _join(team: Team, user: User, role: Role) -> None:
    query = select(Membership).where(Membership.team_id == team.id, Membership.user_id == user.id)
    if db.session.execute(query).scalar_one_or_none() is None:
        db.session.add(Membership(team=team, user=user, team_id=team.id, user_id=user.id, role=role))


def _subscribe(team_id: str, owner_id: str) -> None:
    """Start a checkout and fill in the hosted page's form, as a browser would."""
    price = _price()
    if price is None or price.stripe_price_id is None:
        raise click.ClickException("the catalog has no plan at Stripe yet: run `flask catalog sync` first")
    team = db.session.get(Team, team_id)
    assert team is not None
    end_read()
    back = f"{current_app.config['SETTINGS'].base_url}/teams/{team_id}/checkout/{{checkout_id}}"
    try:
        addresses = ReturnAddresses(back, back + "?canceled=1")
        started = checkout.start(gateway(), team, Buyer(user_id=owner_id), Order(price), addresses)
    except CheckoutRefused:
        return  # a run before this one paid, and the worker has not applied it yet
    _pay(started.url)


def _price() -> PlanPrice | None:
    """The recommended plan, by the month if it is sold so; else the first one that is sold."""
    paid = [plan for plan in catalog().plans if plan.kind == "paid"]
    for plan in sorted(paid, key=lambda plan: not plan.recommended):
        return price_for(plan.key, "month") or price_for(plan.key, "year")
    return None


def _pay(address: str) -> None:
    card = {
        "email": "owner@example.com",
        "card_number": "4242424242424242",
        "exp": "12 / 34",
        "cvc": "123",
        "name": "Harbor Analytics",
    }
    request = urllib.request.Request(address, data=urllib.parse.urlencode(card).encode())  # noqa: S310  the sandbox's
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        opener.open(request, timeout=20)
    except urllib.error.HTTPError as answer:
        if answer.code not in (302, 303):
            raise click.ClickException(f"the sandbox's checkout page answered {answer.code}") from answer


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Paying is done once the page sends us back; the return page needs a signed-in browser."""

    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        return None


def _spend(team_id: str) -> None:
    with unit_of_work():
        now = clock.now()
    for meter in credit_meters():
        quantity = USAGE.get(meter, USAGE_OF_OTHERS)
        uses = [
            Use(team_id, f"demo-{meter}-{day}", meter, _share(quantity, day), occurred_at=now - timedelta(days=day))
            for day in range(DAYS)
        ]
        with unit_of_work():
            record_all(team_id, uses, lambda recorded: f'{{"id": "{recorded.id}"}}')


def _share(quantity: int, day: int) -> int:
    """What of it was used so many days ago: by weeks more and less, and today the rest."""
    weights = [3 + (number * 5) % 7 for number in range(1, DAYS)]
    shares = [quantity * weight // (sum(weights) + 4) for weight in weights]
    return shares[day - 1] if day else quantity - sum(shares)


def _wait_for(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not done():
        if time.monotonic() > deadline:
            sys.exit(f"gave up waiting for {what}")
        db.session.rollback()
        time.sleep(0.5)
