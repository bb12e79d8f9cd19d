"""`flask catalog`: check the file that says what is sold, and bring it to the database and to Stripe."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import AppGroup

from portal.billing import metered_items
from portal.billing.catalog_diff import Diff, diff_catalog
from portal.billing.catalog_sync import Report, sync_catalog
from portal.billing.coupon_sync import sync_coupons
from portal.billing.gateway import GatewayError, gateway
from portal.billing.portal_configuration import sync_portal_configuration
from portal.catalog.compare_table import addon_price_words
from portal.catalog.current import catalog
from portal.catalog.definition import Catalog, Coupon, Plan
from portal.catalog.loader import load_catalog
from portal.catalog.sync import Changes, sync_database
from portal.catalog.toml_reading import CatalogError
from portal.core.money import amount_text
from portal.core.unit_of_work import unit_of_work

group = AppGroup("catalog", help="Check what is sold, or write it to the database and to Stripe.")


@group.command("check")
@click.argument("file", required=False)
def check(file: str | None) -> None:
    """Read a preset or FILE (default: CATALOG) and print what it sells, or everything that is wrong with it."""
    try:
        found = load_catalog(file or current_app.config["SETTINGS"].catalog)
    except CatalogError as error:
        raise click.ClickException(str(error)) from error
    click.echo("\n".join(summary(found)))


@group.command("sync")
@click.option("--database-only", is_flag=True, help="Leave Stripe alone.")
def sync(database_only: bool) -> None:
    """Make database and Stripe say what the catalog says. Running it again changes nothing."""
    if database_only:
        with unit_of_work():
            changes = sync_database(catalog())
        click.echo("\n".join(_change_lines(changes) or ["The database is up to date."]))
        return
    try:
        report = sync_catalog(gateway(), catalog())
        coupons = sync_coupons(gateway(), catalog())
    except GatewayError as error:
        reason = f"Stripe did not answer as hoped: {error.message}\nWhat is done is saved; run this again to go on."
        raise click.ClickException(reason) from error
    lines = _report_lines(report) + [f"done at Stripe: {step.words}" for step in coupons.steps] + _portal_lines()
    click.echo("\n".join(lines or ["Database and Stripe are up to date."]))
    for problem in coupons.problems:
        click.echo(f"not done: {problem}", err=True)


def _portal_lines() -> list[str]:
    """Set up the customer portal. Plans can be sold without it, so that its refusal does not stop a deployment."""
    try:
        done = sync_portal_configuration(gateway(), catalog(), current_app.config["SETTINGS"].base_url)
    except GatewayError as error:
        return [f"The customer portal is not set up, Stripe's own settings apply: {error.message}"]
    return [f"{done} at Stripe: the customer portal's configuration"] if done else []


@group.command("meter-existing")
@click.argument("plan")
@click.option("--yes", is_flag=True, help="Do it; otherwise it is only told.")
def meter_existing(plan: str, yes: bool) -> None:
    """Bill what PLAN counts to all who have the plan and subscribed before it had an overage, at the terms of now.

    They have not agreed to that by subscribing: agree on it with them first. Only what they use from then on is billed.
    """
    wanted = metered_items.missing_for(plan)
    if yes:
        try:
            click.echo(f"{metered_items.add(gateway(), wanted)} of {len(wanted)} subscriptions changed")
        except GatewayError as error:
            raise click.ClickException(f"{error.message}\nRun this again to go on.") from error
        return
    click.echo("\n".join([one.subscription_stripe_id for one in wanted] or ["Nobody has the plan without it."]))


@group.command("diff")
def diff() -> None:
    """Tell what a sync would do, without doing it. Ends with 1 when there is something."""
    try:
        found = diff_catalog(gateway(), catalog())
    except GatewayError as error:
        raise click.ClickException(f"Stripe did not answer as hoped: {error.message}") from error
    click.echo("\n".join(_diff_lines(found) or ["Database and Stripe are up to date."]))
    if found:
        raise SystemExit(1)


def _diff_lines(found: Diff) -> list[str]:
    lines = [f"database: {line}" for line in _change_lines(found.database)]
    lines += [f"Stripe: {line}" for line in found.stripe]
    lines += [f"cannot be done: {line}" for line in found.problems]
    return lines + [f"at Stripe only, for those who have it: {line}" for line in found.left]


def summary(sold: Catalog) -> list[str]:
    """What a catalog sells, a line each."""
    lines = [f"{sold.source}: {sold.portal.name}, in {sold.currency.upper()}"]
    lines += [f"  plan    {plan.key:<18} {_plan_words(plan, sold.currency)}" for plan in sold.plans]
    for addon in sold.addons:
        sort = f"{addon_price_words(addon, sold.currency)}, with {', '.join(addon.plans)}"
        lines.append(f"  add-on  {addon.key:<18} {sort}")
    for bundle in sold.bundles:
        ends = f", for {bundle.expires_after_months} months" if bundle.expires_after_months else ""
        often = f", at most {bundle.limit_per_month} a month" if bundle.limit_per_month else ""
        lines.append(f"  bundle  {bundle.key:<18} {amount_text(bundle.price_cents, sold.currency)}{ends}{often}")
    for meter in sold.meters:
        lines.append(
            f"  meter   {meter.key:<18} {meter.mode}" + (f", {meter.cost_credits}" if meter.cost_credits else "")
        )
    lines += [f"  coupon  {coupon.key:<18} {_coupon_words(coupon, sold.currency)}" for coupon in sold.coupons]
    lines += [f"  code    {promotion.code:<18} {promotion.coupon}" for promotion in sold.promotion_codes]
    lines.append(f"  {len(sold.features)} features, {len(sold.prices())} prices at Stripe")
    return lines


def _coupon_words(coupon: Coupon, currency: str) -> str:
    off = f"{coupon.percent_off} %" if coupon.percent_off else amount_text(coupon.amount_off_cents or 0, currency)
    months = f", {coupon.duration_months} months" if coupon.duration_months else f", {coupon.duration}"
    return f"{off} off{months}"


def _plan_words(plan: Plan, currency: str) -> str:
    if plan.kind == "custom":
        return "by a quote"
    prices = [(plan.monthly_cents, "a month"), (plan.yearly_cents, "a year")]
    words = [f"{amount_text(cents, currency)} {every}" for cents, every in prices if cents is not None]
    if plan.trial_days:
        words.append(f"{plan.trial_days} days of trial")
    if plan.credits_monthly:
        words.append(f"{plan.credits_monthly:,} credits a month")
    return ", ".join(words)


def _report_lines(report: Report) -> list[str]:
    lines = _change_lines(report.database)
    lines += [f"made at Stripe: {key}" for key in report.created]
    return lines + [f"found at Stripe: {key}" for key in report.adopted]


def _change_lines(changes: Changes) -> list[str]:
    parts = (("added", changes.added), ("changed", changes.changed), ("archived", changes.archived))
    return [f"{word}: {name}" for word, names in parts for name in names]
