"""Whom invoices are made out to and sent to."""

from __future__ import annotations

import structlog
from flask import abort, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm

from portal.accounts import billing_email, throttle
from portal.accounts.access import current_team, signed_in_user, team_page
from portal.accounts.billing_email import LinkOver
from portal.accounts.models import Team
from portal.billing import billing_details
from portal.billing.billing_details import DetailsRefused
from portal.billing.customers import CustomerDeleted, has_customer
from portal.billing.forms import BillingEmailForm, DetailsForm, TaxIdForm, filled_with
from portal.billing.gateway import GatewayError, gateway
from portal.billing.models import TaxId
from portal.billing.routes.overview import bp
from portal.billing.tax_id_kinds import VERIFICATIONS, kind_words, refusal_words
from portal.core.addresses import own_address
from portal.core.authz import Action
from portal.core.limits import Quota, limited
from portal.core.tenancy import load_for
from portal.core.unit_of_work import unit_of_work
from portal.notifications import messages
from portal.notifications.outbox import put_mail

log = structlog.get_logger(__name__)

CHANGED = Quota("billing-details", "20 per minute")
AWAY = "Stripe cannot be reached right now. Nothing was saved; try again in a minute."
GONE = "The team's customer at Stripe was deleted, so there are no details to keep. Nothing was saved. Write to us."


def _this_person() -> str:
    return signed_in_user().id


@bp.get("/teams/<team_id>/billing-details", endpoint="billing_details")
@team_page(Action.MANAGE_BILLING)
def show_details() -> ResponseReturnValue:
    return _page()


def _page(status: int = 200, trouble: str | None = None, **forms: FlaskForm) -> ResponseReturnValue:
    """The page with one form as it was sent, and the others as things stand."""
    team = current_team()
    shown = {
        "details_form": forms.get("details_form") or filled_with(billing_details.details_of(team)),
        "tax_id_form": forms.get("tax_id_form") or TaxIdForm(formdata=None),
        "email_form": forms.get("email_form") or BillingEmailForm(formdata=None),
    }
    tax_ids = [
        (row, kind_words(row.type), VERIFICATIONS.get(row.verification or ""))
        for row in billing_details.tax_ids_of(team.id)
    ]
    waiting = billing_email.waiting_for(team.id)
    page = render_template(
        "billing/billing_details.html", team=team, tax_ids=tax_ids, waiting=waiting, trouble=trouble, **shown
    )
    return page, status


def _saved(words: str) -> ResponseReturnValue:
    flash(words, "success")
    return redirect(url_for("billing.billing_details", team_id=current_team().id), 303)


@bp.post("/teams/<team_id>/billing-details")
@team_page(Action.MANAGE_BILLING)
@limited(CHANGED, _this_person)
def change_details() -> ResponseReturnValue:
    form = DetailsForm()
    if not form.validate_on_submit():
        return _page(422, details_form=form)
    try:
        billing_details.save(gateway(), current_team(), signed_in_user().id, form.details)
    except DetailsRefused as refused:
        _tell_at_field(form, refused.part)
        return _page(422, details_form=form)
    except CustomerDeleted:
        return _page(409, GONE, details_form=form)
    except GatewayError:
        return _page(502, AWAY, details_form=form)
    return _saved("The billing details are saved. They stand on invoices from now on.")


def _tell_at_field(form: DetailsForm, part: str) -> None:
    """Stripe names what it did not take, as in `address[country]`."""
    log.warning("details_refused_by_stripe", part=part)
    name = "po_number" if "custom_fields" in part else part.removeprefix("address[").removesuffix("]")
    words = "Invoices have no room for it." if name == "po_number" else "Stripe did not take this."
    form[name if name in form else "name"].errors = [f"{words} Nothing was saved."]


@bp.post("/teams/<team_id>/billing-details/tax-ids")
@team_page(Action.MANAGE_BILLING)
@limited(CHANGED, _this_person)
def add_tax_id() -> ResponseReturnValue:
    form = TaxIdForm()
    if not form.validate_on_submit():
        return _page(422, tax_id_form=form)
    try:
        billing_details.add_tax_id(
            gateway(), current_team(), signed_in_user().id, form.kind.data, form.value.data.upper()
        )
    except DetailsRefused:
        form.value.errors = [refusal_words(form.kind.data)]
        return _page(422, tax_id_form=form)
    except CustomerDeleted:
        return _page(409, GONE, tax_id_form=form)
    except GatewayError:
        return _page(502, AWAY, tax_id_form=form)
    return _saved("The tax id is saved. It stands on invoices from now on.")


@bp.post("/teams/<team_id>/billing-details/tax-ids/<tax_id>/removal")
@team_page(Action.MANAGE_BILLING)
@limited(CHANGED, _this_person)
def remove_tax_id(tax_id: str) -> ResponseReturnValue:
    team = current_team()
    row = load_for(team.id, TaxId, tax_id)
    if not has_customer(team.id):
        abort(404)  # nothing stands on invoices of somebody whom Stripe does not have (any more)
    try:
        billing_details.remove_tax_id(gateway(), team, signed_in_user().id, row)
    except GatewayError:
        return _page(502, AWAY)
    return _saved("The tax id is removed.")


@bp.post("/teams/<team_id>/billing-details/email")
@team_page(Action.MANAGE_BILLING)
@limited(CHANGED, _this_person)
def ask_for_billing_email() -> ResponseReturnValue:
    """Nothing changes yet: a link goes to the new address."""
    form, team = BillingEmailForm(), current_team()
    if form.validate_on_submit() and form.email.data == team.billing_email:
        form.email.errors = ["Invoices go to this address already."]
    if form.errors or not form.is_submitted():
        return _page(422, email_form=form)
    if not throttle.may_mail(form.email.data):
        form.email.errors = ["This address has got many mails in the last hour. Try again later."]
        return _page(429, email_form=form)
    with unit_of_work():
        token = billing_email.ask(team, signed_in_user().id, form.email.data)
        link = own_address("billing.new_billing_email", token=token)
        put_mail(messages.confirm_billing_email(form.email.data, team_name=team.name, link=link))
    return _saved("A link is on its way to that address. Until it is used, invoices go where they went before.")


@bp.post("/teams/<team_id>/billing-details/email/withdrawal")
@team_page(Action.MANAGE_BILLING)
def withdraw_billing_email() -> ResponseReturnValue:
    with unit_of_work():
        billing_email.withdraw(current_team().id)
    return _saved("The billing e-mail stays as it is.")


@bp.get("/billing-email/<token>")
def new_billing_email(token: str) -> ResponseReturnValue:
    """Asks, because mail programs open links on their own. Who reads the mail need not have an account."""
    try:
        found = billing_email.pending(token)
    except LinkOver:
        return render_template("billing/billing_email_over.html"), 410
    return render_template("billing/billing_email_confirm.html", token=token, pending=found)


@bp.post("/billing-email/<token>")
def confirm_billing_email(token: str) -> ResponseReturnValue:
    try:
        with unit_of_work():
            found, before = billing_email.apply(token)
            if before != found.email:
                _warn(found.team, before)
    except LinkOver:
        return render_template("billing/billing_email_over.html"), 410
    try:
        billing_details.send_email(gateway(), found.team.id)
    except GatewayError as error:  # the schedule does it later
        log.warning("billing_email_not_sent", code=error.code)
    return render_template("billing/billing_email_done.html", pending=found)


def _warn(team: Team, before: str) -> None:
    link = own_address("billing.billing_details", team_id=team.id)
    put_mail(messages.billing_email_changed(before, team_name=team.name, new_email=team.billing_email, link=link))
