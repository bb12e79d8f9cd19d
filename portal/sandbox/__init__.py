"""The Stripe stand-in: an app of its own that speaks Stripe's wire format and shares no code with the portal."""

from portal.sandbox.app import create_sandbox

__all__ = ["create_sandbox"]
