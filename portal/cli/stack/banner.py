"""What the person who typed `make run` wants to know once it stands."""

from __future__ import annotations

from portal.cli.stack.composition import Composition

LOGINS = (
    ("owner@example.com", "owns the demo team"),
    ("admin@example.com", "manages it"),
    ("billing@example.com", "pays for it"),
    ("member@example.com", "may look, not buy"),
    ("outsider@example.com", "of another team"),
    ("staff@example.com", "of the house"),
)
PASSWORD = "turnpike-demo"  # noqa: S105  published on purpose, for logins that exist in development only


def banner(stack: Composition) -> str:
    """Addresses, logins and where the rest is to be found."""
    base = stack.settings["BASE_URL"]
    lines = ["", f"Turnpike is up: {base}", "", f"  pricing      {base}/pricing"]
    if not stack.wish.production and not stack.settings.get("MAIL_URL"):
        lines.append(f"  mails        {base}/dev/mail")
    if stack.wish.sandbox:
        lines.append(f"  Stripe       a stand-in at {stack.settings['STRIPE_API_BASE']} (card 4242 4242 4242 4242)")
    else:
        mode = "live" if "_live_" in stack.settings["STRIPE_SECRET_KEY"][:8] else "test mode"
        lines.append(f"  Stripe       your account, {mode}")
    lines += [f"  settings     {stack.folders.dev_env}", f"  logs         {stack.folders.logs}"]
    if stack.demo:
        lines += ["", f"  Sign in with the password {PASSWORD} as"]
        lines += [f"    {email:<22} {who}" for email, who in LOGINS]
    return "\n".join([*lines, "", "Ctrl-C stops everything.", ""])
