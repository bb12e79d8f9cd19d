"""The form of a budget."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import IntegerField, RadioField, SelectChoice, SelectField
from wtforms.validators import InputRequired, NumberRange

from portal.usage.budget_settings import ACTIONS, LIMIT_MAX


def choices_of(words: dict[str, str]) -> list[SelectChoice]:
    return [SelectChoice(value=value, label=label) for value, label in words.items()]


class BudgetForm(FlaskForm):
    subject = SelectField("For")
    units = SelectField("Counts")
    limit = IntegerField(
        "How many a month",
        validators=[
            InputRequired("Give a whole number."),
            NumberRange(min=1, max=LIMIT_MAX, message=f"From 1 to {LIMIT_MAX:,}."),
        ],
    )
    action = RadioField("At the budget", choices=choices_of(ACTIONS), default="warn")
