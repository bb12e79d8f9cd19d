"""Forms of the accounts pages."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import available_timezones

from flask_security.forms import EmailValidation
from flask_wtf import FlaskForm
from wtforms import EmailField, PasswordField, SelectChoice, SelectField, SelectMultipleField, StringField
from wtforms.validators import DataRequired, Length, ValidationError
from wtforms.widgets import CheckboxInput, ListWidget

from portal.accounts.api_keys import SCOPE_WORDS, USUAL_SCOPES, Scope
from portal.accounts.member_list import ROLE_WORDS
from portal.accounts.registration import TEAM_NAME_MAX
from portal.core.authz import Role
from portal.core.reader import LOCALES


def trimmed(value: str | None) -> str:
    return " ".join((value or "").replace("\x00", "").split())


KEY_LASTS_WORDS = {"": "Never", "30": "After 30 days", "90": "After 90 days", "365": "After a year"}
KEY_LASTS = {"": None, "30": timedelta(days=30), "90": timedelta(days=90), "365": timedelta(days=365)}


class ApiKeyForm(FlaskForm):
    name = StringField(
        "Name",
        filters=[trimmed],
        validators=[DataRequired("Give the key a name that tells where it is used."), Length(max=60)],
    )
    scopes = SelectMultipleField(
        "What it may do",
        choices=[SelectChoice(scope.value, words.capitalize()) for scope, words in SCOPE_WORDS.items()],
        coerce=str,
        default=[scope.value for scope in USUAL_SCOPES],
        option_widget=CheckboxInput(),
        widget=ListWidget(prefix_label=False),
    )
    lasts = SelectField(
        "Ends",
        choices=[SelectChoice(value, words) for value, words in KEY_LASTS_WORDS.items()],
        default="",
    )

    def validate_scopes(self, field: SelectMultipleField) -> None:
        """Not a validator of the field, which would mark every single box as required."""
        if not field.data:
            raise ValidationError("Choose at least one thing that the key may do.")

    @property
    def chosen_scopes(self) -> list[Scope]:
        return [Scope(value) for value in self.scopes.data]

    @property
    def chosen_life(self) -> timedelta | None:
        return KEY_LASTS[self.lasts.data]


ZONES = {
    name: name
    for name in [*sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/")), "UTC"]
}


def _choices(words: dict[str, str]) -> list[SelectChoice]:
    return [SelectChoice(value=value, label=label) for value, label in words.items()]


# The humblest first. Nobody is made an owner by a mail.
INVITED_AS = {role.value: ROLE_WORDS[role] for role in reversed(Role) if role is not Role.OWNER}


class ProfileForm(FlaskForm):
    name = StringField("Your name", filters=[trimmed], validators=[Length(max=TEAM_NAME_MAX)])
    locale = SelectField("How dates are written", choices=_choices(LOCALES))
    time_zone = SelectField("Time zone", choices=_choices({"": "The zone of the team"} | ZONES))


class PasswordForm(FlaskForm):
    current = PasswordField("Current password", validators=[DataRequired("Give your current password.")])
    password = PasswordField("New password", validators=[DataRequired("Choose a new password.")])


class NewEmailForm(FlaskForm):
    email = EmailField(
        "New e-mail", validators=[DataRequired("Give the new address."), Length(max=254), EmailValidation(verify=True)]
    )


class CodeForm(FlaskForm):
    code = StringField(
        "Code", filters=[trimmed], validators=[DataRequired("Give the code your app shows."), Length(max=20)]
    )


class InvitationForm(FlaskForm):
    email = EmailField(
        "E-mail", validators=[DataRequired("Give an address."), Length(max=254), EmailValidation(verify=True)]
    )
    role = SelectField("Role", choices=_choices(INVITED_AS), default=Role.MEMBER.value)


class RoleForm(FlaskForm):
    role = SelectField("Role", choices=_choices({role.value: words for role, words in ROLE_WORDS.items()}))


class NewTeamForm(FlaskForm):
    name = StringField(
        "Team name", filters=[trimmed], validators=[DataRequired("Give your team a name."), Length(max=TEAM_NAME_MAX)]
    )


class TeamForm(NewTeamForm):
    time_zone = SelectField("Time zone", choices=_choices(ZONES))
