"""The front page: what this is, what time it is, what was kept, where events go and the newest of them. And the cards."""

from flask import Flask, Response

from portal.sandbox import cards, debits, destinations
from portal.sandbox.chaos import book
from portal.sandbox.hosted.panel.events import NEWEST, with_outcome
from portal.sandbox.hosted.panel.frame import add_page, panel
from portal.sandbox.sandbox import Sandbox

_EVENTS_SHOWN = 10
# What happens after a payment has succeeded.
_LATER = {
    "fraudulent": "The payment succeeds and is disputed as fraudulent.",
    "product_not_received": "The payment succeeds and is disputed: the product was not received.",
    "inquiry": "The payment succeeds, and the bank inquires about it.",
    "takes_time": "The payment succeeds; a refund of it is pending for a while.",
    "fails_later": "The payment succeeds; a refund of it seems to succeed, then fails.",
}


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give the pages their addresses in the app."""

    def home() -> Response:
        call = sandbox.call()
        newest = call.store.query(NEWEST + " ORDER BY seq DESC LIMIT ?", (_EVENTS_SHOWN,))
        return panel(
            sandbox,
            "panel_home.html",
            "home",
            events=with_outcome(call.store, newest),
            endpoints=destinations.all_of(call),
            address_of=destinations.address,
            now=sandbox.clock.now(),
            offset_seconds=sandbox.clock.offset_seconds(),
            rules=book.entries(call.store),
            rate_limit=book.rate_limit(call.store),
            customers=call.store.find("customer", limit=_EVENTS_SHOWN),
        )

    def test_cards() -> Response:
        return panel(sandbox, "panel_cards.html", "cards", cards=_cards(), accounts=debits.HINTS)

    add_page(app, sandbox, "/", home)
    add_page(app, sandbox, "/cards", test_cards)


def _cards() -> list[dict[str, str]]:
    """Every test card with what its bank does and the ids it has as a payment method."""
    names: dict[str, list[str]] = {}
    for name, card in cards.BY_PAYMENT_METHOD.items():
        names.setdefault(card.number, []).append(name)
    return [
        {
            "number": _in_fours(card),
            "brand": card.brand.capitalize(),
            "outcome": _outcome(card),
            "names": ", ".join(names.get(card.number, [])),
        }
        for card in cards.BY_NUMBER.values()
    ]


def _in_fours(card: cards.Card) -> str:
    if card.brand == "amex":
        return f"{card.number[:4]} {card.number[4:10]} {card.number[10:]}"
    return " ".join(card.number[start : start + 4] for start in range(0, len(card.number), 4))


def _outcome(card: cards.Card) -> str:
    asks = {
        "never": "",
        "once": "The bank asks who is paying, until the card is saved.",
        "always": "The bank asks who is paying, every time.",
    }[card.challenge]
    if card.on_charge is None:
        return asks or _LATER.get(card.dispute or card.refund, "Every payment succeeds.")
    why = (card.on_charge.decline_code or card.on_charge.code).replace("_", " ")
    end = f"Declined: {why}." if card.on_setup or asks else f"It can be saved, then every charge is declined: {why}."
    return f"{asks} {end}".strip()
