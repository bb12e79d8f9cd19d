"""How a mail leaves: by SMTP when `MAIL_URL` names a server; in development it stays and is shown at /dev/mail."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.policy import EmailPolicy
from urllib.parse import unquote, urlsplit

from portal.notifications.messages import Message
from portal.notifications.outbox import Send
from portal.settings import Settings

SMTP_SECONDS = 15
WAY_OUT = "List-Unsubscribe"


class _WholeAddresses(EmailPolicy):
    """The library breaks a long header into encoded words, which no program reads as an address."""

    def fold_binary(self, name: str, value: str) -> bytes:
        if name == WAY_OUT:
            return f"{name}: {value}{self.linesep}".encode("ascii")
        return super().fold_binary(name, value)


def transport(settings: Settings) -> Send:
    if settings.mail_url is None:
        return _stay
    url, sender = settings.mail_url, settings.mail_from
    return lambda message: _send(url, sender, message)


def _stay(message: Message) -> None:
    """Without a mail server the outbox itself is where the mail can be read."""


def _send(url: str, sender: str, message: Message) -> None:
    """`smtp://` (STARTTLS when offered, and always before a password is sent), `smtps://`; user and password in the
    address.
    """
    parts = urlsplit(url)
    mail = EmailMessage(policy=_WholeAddresses())
    mail["From"], mail["To"], mail["Subject"] = sender, message.recipient, message.subject
    if message.unsubscribe:
        # RFC 8058: the mail program's own button sends one POST there, without asking for a page first.
        mail[WAY_OUT] = f"<{message.unsubscribe}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail.set_content(message.text)
    mail.add_alternative(message.html, subtype="html")
    host = parts.hostname or "localhost"
    tls = ssl.create_default_context()
    if parts.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, parts.port or 465, timeout=SMTP_SECONDS, context=tls)
    else:
        server = smtplib.SMTP(host, parts.port or 587, timeout=SMTP_SECONDS)
    with server:
        server.ehlo()  # what a server offers is known only after this
        if parts.scheme == "smtp" and (parts.username or server.has_extn("starttls")):
            server.starttls(context=tls)
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
        server.send_message(mail)
