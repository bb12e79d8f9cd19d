"""The form of auto-purchase: what a team may choose, and the terms it comes to."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from babel.numbers import get_currency_precision
from flask_wtf import FlaskForm
from wtforms import BooleanField, IntegerField, SelectChoice, SelectField, StringField
from wtforms.validators import DataRequired, NumberRange, ValidationError
from wtforms.widgets import TextInput

from portal.accounts.forms import trimmed
from portal.catalog.queries import BundlePrice
from portal.core.money import decimal_amount, money_words
from portal.credits.ledger import AMOUNT_MAX
from portal.credits.purchase_models import CENTS_MAX, AutoPurchaseRule
from portal.credits.purchase_size import Limits
from portal.credits.purchase_terms import Terms, valid_words

COUNTS_MAX = 1_000
COUNTS = {
    "total": "All credits that are available",
    "subscription": "The plan's credits, and what was bought here",
}
# What is suggested before anybody has chosen: so many bundles in a day and in a month.
SUGGESTED_A_DAY, SUGGESTED_A_MONTH = 2, 6
SUGGESTED_THRESHOLD = 500
AMOUNT = re.compile(r"\d{1,12}(\.\d{1,4})?", re.ASCII)
WHOLE = re.compile(r"\d{1,15}", re.ASCII)


class WholeField(IntegerField):
    """A whole number as people write it, with or without commas. Whatever else stands there is no number."""

    widget = TextInput()

    def process_formdata(self, valuelist: list[str]) -> None:
        text = (valuelist[0] if valuelist else "").strip().replace(",", "")
        self.data = int(text) if WHOLE.fullmatch(text) else None


def _count(label: str) -> WholeField:
    words = f"Enter a whole number from 1 to {COUNTS_MAX:,}."
    return WholeField(label, validators=[NumberRange(1, COUNTS_MAX, words)])


def _money(label: str) -> StringField:
    return StringField(label, filters=[trimmed], validators=[DataRequired("Enter an amount.")])


class AutoPurchaseForm(FlaskForm):
    threshold = WholeField(
        "When fewer are left than", validators=[NumberRange(1, AMOUNT_MAX, "Enter a whole number, 1 or more.")]
    )
    counts = SelectField("What counts", choices=[SelectChoice(value, words) for value, words in COUNTS.items()])
    bundle = SelectField("Buy", validate_choice=False)
    day_count = _count("Purchases a day")
    day_money = _money("Money a day")
    month_count = _count("Purchases a calendar month")
    month_money = _money("Money a calendar month")
    agreed = BooleanField(validators=[DataRequired("Tick this to turn auto-purchase on.")])

    def __init__(self, bundles: list[BundlePrice], **more: Any) -> None:
        self._bundles = {_value(bundle): bundle for bundle in bundles}
        super().__init__(**more)
        self.bundle.choices = [SelectChoice(value, _offer(bundle)) for value, bundle in self._bundles.items()]

    def validate_bundle(self, field: SelectField) -> None:
        """What is agreed to is what was shown: a bundle that is another one by now is looked at, and ticked, again."""
        if field.data in self._bundles:
            return
        key = str(field.data).partition(":")[0]
        field.data = next((value for value, bundle in self._bundles.items() if bundle.bundle_key == key), None)
        self.agreed.data = False
        raise ValidationError(
            "This is not sold any more as it was shown. Look at what is sold now, and tick the box again."
        )

    def validate_month_count(self, field: IntegerField) -> None:
        if None not in (field.data, self.day_count.data) and field.data < self.day_count.data:
            raise ValidationError("A month cannot have fewer than a day.")

    def validate_day_money(self, field: StringField) -> None:
        bundle = self._bundles.get(self.bundle.data)
        if bundle is not None and self._cents(field, bundle) < bundle.unit_amount_cents:
            price = money_words(bundle.unit_amount_cents, bundle.currency)
            raise ValidationError(f"One bundle is {price}: less than that would never buy any.")

    def validate_month_money(self, field: StringField) -> None:
        bundle = self._bundles.get(self.bundle.data)
        if bundle is None:
            return
        cents, day = self._cents(field, bundle), _minor(self.day_money.data, bundle.currency)
        if day is not None and cents < day:
            raise ValidationError("A month cannot have less than a day.")

    @staticmethod
    def _cents(field: StringField, bundle: BundlePrice) -> int:
        cents = _minor(field.data, bundle.currency)
        if cents is None:
            raise ValidationError(f"Enter an amount such as {decimal_amount(9_000, bundle.currency)}.")
        if cents > CENTS_MAX:
            raise ValidationError(f"At most {money_words(CENTS_MAX, bundle.currency)}.")
        return cents

    @property
    def terms(self) -> Terms:
        """What a form that was found valid comes to."""
        bundle = self._bundles[self.bundle.data]
        day, month = (self._cents(field, bundle) for field in (self.day_money, self.month_money))
        limits = Limits(_whole(self.day_count), _whole(self.month_count), day, month)
        return Terms(_whole(self.threshold), self.counts.data, bundle, limits)


def _whole(field: IntegerField) -> int:
    assert field.data is not None, "the form was found valid"
    return field.data


def _offer(bundle: BundlePrice) -> str:
    price, valid = money_words(bundle.unit_amount_cents, bundle.currency), valid_words(bundle)
    return f"{bundle.credits:,} credits for {price}" + (f", valid for {valid}" if valid else "")


def _value(bundle: BundlePrice) -> str:
    """What the form sends for a bundle: all that was shown of it."""
    return f"{bundle.bundle_key}:{bundle.price_id}:{bundle.credits}:{bundle.expires_after_months or 'ever'}"


def _minor(text: str | None, currency: str) -> int | None:
    """`90`, `90.00` or `1,000.00` in the minor unit; None for what is no such amount."""
    plain = (text or "").replace(",", "")
    if not AMOUNT.fullmatch(plain):
        return None
    amount = Decimal(plain).scaleb(get_currency_precision(currency.upper()))
    return int(amount) if amount > 0 and amount == amount.to_integral_value() else None


def _text(cents: int, bundle: BundlePrice) -> str:
    return f"{decimal_amount(cents, bundle.currency)}"


def filled_with(rule: AutoPurchaseRule | None, bundles: list[BundlePrice]) -> AutoPurchaseForm:
    """The form with what was chosen, or with a suggestion. What was agreed to is ticked anew for every change."""
    mine = next((one for one in bundles if rule is not None and one.price_id == rule.price_id), bundles[0])
    price = mine.unit_amount_cents
    chosen = {
        "threshold": rule.threshold if rule else SUGGESTED_THRESHOLD,
        "counts": rule.counts if rule else "total",
        "bundle": _value(mine),
        "day_count": rule.day_count_max if rule else SUGGESTED_A_DAY,
        "month_count": rule.month_count_max if rule else SUGGESTED_A_MONTH,
        "day_money": _text(rule.day_cents_max if rule else price * SUGGESTED_A_DAY, mine),
        "month_money": _text(rule.month_cents_max if rule else price * SUGGESTED_A_MONTH, mine),
    }
    return AutoPurchaseForm(bundles, formdata=None, data=chosen)
