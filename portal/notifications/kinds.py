"""What people are told of: each kind with its words, who may see it, and how it is told unless somebody chose otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from portal.core.authz import Action


class Severity(StrEnum):
    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    DANGER = "danger"


class Channel(StrEnum):
    MAIL = "mail"
    INBOX = "inbox"


@dataclass(frozen=True)
class Kind:
    """`messages` are the news of this kind, a mail by the name of its templates, with how serious each is.

    `action` is the permission that lets a member see a team's news; None for what is a person's own. `mail` and `inbox`
    say whether it is told that way before anybody has chosen; None where it never is. `fixed` is the reason why nobody can
    switch it off, `fixed_for_owners` why the owners of a team cannot, whom it reaches by mail in any case.
    """

    label: str
    hint: str
    messages: Mapping[str, Severity]
    action: Action | None = None
    mail: bool | None = True
    inbox: bool | None = True
    fixed: str = ""
    fixed_for_owners: str = ""

    def told_by(self, channel: Channel) -> bool | None:
        return self.mail if channel is Channel.MAIL else self.inbox


_MONEY = Action.MANAGE_BILLING

# In the order of the page of switches.
KINDS: dict[str, Kind] = {
    "payment_failed": Kind(
        label="Payments that fail",
        hint="A renewal that could not be charged or waits for the bank, and what becomes of the plan",
        messages={
            "payment_failed": Severity.DANGER,
            "payment_given_up": Severity.DANGER,
            "payment_action_required": Severity.WARNING,
        },
        action=_MONEY,
        fixed_for_owners="The plan ends if nobody acts, so the owners of a team always hear of it.",
    ),
    "payment_recovered": Kind(
        label="Payments that went through after all",
        hint="Once, when what had failed is paid",
        messages={"payment_recovered": Severity.SUCCESS},
        action=_MONEY,
    ),
    "invoice_paid": Kind(
        label="Invoices that are paid",
        hint="Each, with the way to its PDF",
        messages={"invoice_paid": Severity.SUCCESS},
        action=_MONEY,
    ),
    "auto_purchase": Kind(
        label="Auto-purchase",
        hint="Turned on or changed, each purchase, and whatever stops it",
        messages={
            "auto_purchase_on": Severity.INFO,
            "auto_purchase_made": Severity.SUCCESS,
            "auto_purchase_confirm": Severity.WARNING,
            "auto_purchase_stopped": Severity.DANGER,
            "auto_purchase_capped": Severity.WARNING,
        },
        action=_MONEY,
    ),
    "undone": Kind(
        label="Refunds and disputes",
        hint="Credits that are frozen while a bank decides about a payment, free again, or taken back",
        messages={
            "dispute_opened": Severity.WARNING,
            "dispute_won": Severity.SUCCESS,
            "dispute_lost": Severity.DANGER,
            "credits_taken_back": Severity.WARNING,
        },
        action=_MONEY,
    ),
    "card_expiring": Kind(
        label="A card that ends soon",
        hint="Once, in the card's last weeks",
        messages={"card_expiring": Severity.WARNING},
        action=_MONEY,
    ),
    "trial_ending": Kind(
        label="A trial that ends",
        hint="Three days before, with what it costs from then on",
        messages={"trial_will_end": Severity.WARNING},
        action=_MONEY,
    ),
    "credits": Kind(
        label="Credits and included use that run low",
        hint="75, 90 and 100 % of a month's, hardly anything left, a bundle that ends",
        messages={
            "credits_threshold": Severity.WARNING,
            "credits_low": Severity.WARNING,
            "credits_expiring": Severity.WARNING,
            "included_threshold": Severity.WARNING,
        },
        action=_MONEY,
    ),
    "budgets": Kind(
        label="Budgets of API keys and members",
        hint="75, 90 and 100 % of a month's budget, or its first refusal before that",
        messages={"budget_threshold": Severity.WARNING},
        action=_MONEY,
    ),
    "plan_changed": Kind(
        label="Changes of the plan",
        hint="Another plan, interval or add-on, now or planned; canceled, paused, resumed",
        messages={
            "plan_changed": Severity.INFO,
            "addons_changed": Severity.INFO,
            "plan_canceled": Severity.WARNING,
            "plan_paused": Severity.WARNING,
            "plan_resumed": Severity.SUCCESS,
        },
        action=_MONEY,
    ),
    "seats_changed": Kind(
        label="Changes of seats",
        hint="How many the team has now, and what that costs",
        messages={"seats_changed": Severity.INFO},
        action=_MONEY,
    ),
    "export": Kind(
        label="Exports",
        hint="A file you asked for is ready, or could not be made",
        messages={"export_ready": Severity.SUCCESS, "export_failed": Severity.DANGER},
        action=Action.VIEW_BILLING,
        mail=None,
    ),
    "invitation": Kind(
        label="Invitations",
        hint="Somebody asks you into a team",
        messages={"invitation": Severity.INFO},
        fixed="There is no other way to reach you.",
    ),
    "security": Kind(
        label="Security of your account",
        hint="Changes of your password, your address and your codes",
        messages={
            "password_reset_notice": Severity.WARNING,
            "email_change_asked_notice": Severity.WARNING,
            "email_changed_notice": Severity.WARNING,
            "two_factor_notice": Severity.WARNING,
        },
        fixed="So that you notice when it was not you.",
    ),
    "account": Kind(
        label="Links you asked for",
        hint="To confirm an address or set a new password, and what came of it",
        messages={
            "confirm_email": Severity.INFO,
            "reset_password": Severity.INFO,
            "already_registered": Severity.INFO,
            "confirm_new_email": Severity.INFO,
            "new_email_taken": Severity.INFO,
            "confirm_billing_email": Severity.INFO,
            "billing_email_changed": Severity.INFO,
        },
        inbox=None,
        fixed="Without them nobody gets in.",
    ),
    "welcome": Kind(
        label="Welcome",
        hint="What to do first",
        messages={"welcome": Severity.SUCCESS},
        fixed="Comes once, when your account is ready.",
    ),
}

_OF_MESSAGE = {message: name for name, kind in KINDS.items() for message in kind.messages}


def kind_of(message: str) -> str:
    """The name of the kind that a message belongs to. Raises `LookupError` for one that has no line in `KINDS`."""
    if message not in _OF_MESSAGE:
        raise LookupError(f"the message {message!r} needs a line in KINDS (portal/notifications/kinds.py)")
    return _OF_MESSAGE[message]


def has_inbox_words(message: str) -> bool:
    """Whether the message also stands in the inbox, in the words of its `inbox.txt`."""
    name = _OF_MESSAGE.get(message)
    return name is not None and KINDS[name].inbox is not None


def severity_of(message: str) -> Severity:
    return KINDS[kind_of(message)].messages[message]
