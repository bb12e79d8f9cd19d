"""Forms of the billing pages."""

from __future__ import annotations

from babel import Locale
from flask_security.forms import EmailValidation
from flask_wtf import FlaskForm
from wtforms import EmailField, SelectChoice, SelectField, StringField
from wtforms.validators import DataRequired, Length

from portal.accounts.forms import trimmed
from portal.billing.billing_details import ADDRESS_LINES, Details
from portal.billing.tax_id_kinds import KINDS

# Territories that Babel knows and that no post goes to, by their codes.
_NO_COUNTRIES = {"EU", "EZ", "UN", "ZZ", "QO", "XA", "XB", "AC", "CP", "DG", "EA", "IC", "TA", "CQ"}
COUNTRIES = {
    code: name
    for code, name in sorted(Locale("en").territories.items(), key=lambda pair: pair[1])
    if len(code) == 2 and code.isalpha() and code not in _NO_COUNTRIES
}


def _line(label: str, characters_max: int = 200) -> StringField:
    return StringField(label, filters=[trimmed], validators=[Length(max=characters_max)])


class DetailsForm(FlaskForm):
    name = StringField(
        "Name or company", filters=[trimmed], validators=[DataRequired("Invoices need a name."), Length(max=150)]
    )
    line1 = _line("Street and number")
    line2 = _line("More of the address")
    postal_code = _line("Postal code", 20)
    city = _line("City", 100)
    state = _line("State or region", 100)
    country = SelectField(
        "Country",
        choices=[SelectChoice("", "No country"), *(SelectChoice(code, name) for code, name in COUNTRIES.items())],
    )
    po_number = _line("PO number", 100)

    @property
    def details(self) -> Details:
        address = {line: self[line].data or "" for line in ADDRESS_LINES}
        return Details(name=self.name.data, address=address, po_number=self.po_number.data or "")


def filled_with(details: Details) -> DetailsForm:
    """The form with what is known. A country that is no choice stays unchosen."""
    country = details.address["country"] if details.address["country"] in COUNTRIES else ""
    data = {"name": details.name, "po_number": details.po_number, **details.address, "country": country}
    return DetailsForm(formdata=None, data=data)


class TaxIdForm(FlaskForm):
    kind = SelectField("Kind", choices=[SelectChoice(kind, words) for kind, (words, _) in KINDS.items()])
    value = StringField("Number", filters=[trimmed], validators=[DataRequired("Enter the number."), Length(max=64)])


class BillingEmailForm(FlaskForm):
    email = EmailField(
        "Billing e-mail",
        validators=[DataRequired("Give an address for invoices."), Length(max=254), EmailValidation(verify=True)],
    )
