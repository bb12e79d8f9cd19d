"""The pages that people see: checkout, customer portal, invoice, and the sandbox's own control panel."""

from flask import Flask

from portal.sandbox.hosted import (
    challenge_page,
    checkout_page,
    intent_challenge_page,
    invoice_challenge_page,
    invoice_page,
    invoice_payment_page,
    panel,
    portal_page,
    receipt_page,
)
from portal.sandbox.hosted.pages import plain_page
from portal.sandbox.sandbox import Sandbox

__all__ = ["add_pages", "plain_page"]


def add_pages(app: Flask, sandbox: Sandbox) -> None:
    """Give every page its address in the app."""
    checkout_page.add(app, sandbox)
    challenge_page.add(app, sandbox)
    intent_challenge_page.add(app, sandbox)
    invoice_page.add(app, sandbox)
    invoice_challenge_page.add(app, sandbox)
    invoice_payment_page.add(app, sandbox)
    portal_page.add(app, sandbox)
    receipt_page.add(app, sandbox)
    panel.add(app, sandbox)
