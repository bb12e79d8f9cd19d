"""Forms of the accounts pages."""

from __future__ import annotations

from flask_security.forms import RegisterFormV2
from flask_wtf import FlaskForm
from wtforms import StringField
from wtforms.validators import DataRequired, Length

from portal.accounts.registration import TEAM_NAME_MAX


def _trimmed(value: str | None) -> str:
    return " ".join((value or "").replace("\x00", "").split())


class RegistrationForm(RegisterFormV2):
    """Sign-up with the name of the team that is made along with the user."""

    name = StringField("Your name", filters=[_trimmed], validators=[Length(max=TEAM_NAME_MAX)])
    team_name = StringField(
        "Team name", filters=[_trimmed], validators=[DataRequired("Give your team a name."), Length(max=TEAM_NAME_MAX)]
    )


class ApiKeyForm(FlaskForm):
    name = StringField(
        "Name",
        filters=[_trimmed],
        validators=[DataRequired("Give the key a name that tells where it is used."), Length(max=60)],
    )
