"""The form of a budget."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import IntegerField, RadioField, SelectChoice, SelectField
from wtforms.validators import InputRequired, NumberRange

from portal.usage.budget_settings import ACTIONS, CREDITS_MAX


def choices_of(words: dict[str, str]) -> list[SelectChoice]:
    return [SelectChoice(value=value, label=label) for value, label in words.items()]


class BudgetForm(FlaskForm):
    subject = SelectField("For")
    credits = IntegerField(
        "Credits a month",
        validators=[
            InputRequired("Give a whole number of credits."),
            NumberRange(min=1, max=CREDITS_MAX, message=f"From 1 to {CREDITS_MAX:,} credits."),
        ],
    )
    action = RadioField("At the budget", choices=choices_of(ACTIONS), default="warn")
