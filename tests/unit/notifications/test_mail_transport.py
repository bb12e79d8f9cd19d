"""How a mail leaves: encrypted when the server can, and never with a password in clear text."""

from __future__ import annotations

import smtplib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from portal.notifications.mail_transport import _send
from portal.notifications.messages import Message

MAIL = Message("confirm_email", "owner@example.com", "Hello", "Text", "<p>Text</p>")


@contextmanager
def mail_server(offers: tuple[bytes, ...] = ()) -> Iterator[tuple[int, list[bytes]]]:
    """A server that notes what it is told, knows the extensions it offers, and hangs up after STARTTLS."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rwb", buffering=0) as wire:
            wire.write(b"220 here\r\n")
            for line in wire:
                heard.append(line.strip())
                if not _answer(wire, line.split()[0].upper(), offers, heard):
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], heard
    finally:
        listener.close()
        thread.join(5)


def _answer(wire: Any, verb: bytes, offers: tuple[bytes, ...], heard: list[bytes]) -> bool:
    if verb == b"EHLO":
        lines = [b"here", *offers]
        wire.write(b"".join(b"250%s%s\r\n" % (b"-" if line is not lines[-1] else b" ", line) for line in lines))
    elif verb == b"DATA":
        wire.write(b"354 go on\r\n")
        while (line := wire.readline().strip()) != b".":
            heard.append(line)
        wire.write(b"250 kept\r\n")
    elif verb == b"STARTTLS":
        return False
    else:
        wire.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 fine\r\n")
    return True


def test_a_plain_server_without_a_password_gets_the_mail() -> None:
    with mail_server() as (port, heard):
        _send(f"smtp://127.0.0.1:{port}", "billing@example.com", MAIL)
    assert any(line.upper().startswith(b"RCPT TO:<OWNER@EXAMPLE.COM>") for line in heard)


@pytest.mark.parametrize(("user", "offers"), [("", (b"STARTTLS",)), ("me:secret@", (b"STARTTLS", b"AUTH PLAIN LOGIN"))])
def test_encryption_is_used_when_it_is_offered(user: str, offers: tuple[bytes, ...]) -> None:
    with mail_server(offers) as (port, heard), pytest.raises(smtplib.SMTPServerDisconnected):
        _send(f"smtp://{user}127.0.0.1:{port}", "billing@example.com", MAIL)
    assert heard[-1] == b"STARTTLS"


def test_a_password_is_not_sent_to_a_server_that_cannot_encrypt() -> None:
    with mail_server((b"AUTH PLAIN LOGIN",)) as (port, heard), pytest.raises(Exception, match="STARTTLS"):
        _send(f"smtp://me:secret@127.0.0.1:{port}", "billing@example.com", MAIL)
    assert not any(line.upper().startswith((b"AUTH", b"MAIL")) for line in heard)


@pytest.mark.parametrize("way", [None, "https://billing.example.com/unsubscribe/" + "WyJ1c2VyXzAxTThDNURXVj" * 6])
def test_rfc8058_a_mail_that_can_be_stopped_says_so_to_the_mail_program(way: str | None) -> None:
    with mail_server() as (port, heard):
        _send(f"smtp://127.0.0.1:{port}", "billing@example.com", replace(MAIL, unsubscribe=way))
    headers = [line.decode() for line in heard if line.startswith(b"List-Unsubscribe")]
    one_click = "List-Unsubscribe-Post: List-Unsubscribe=One-Click"
    assert headers == ([f"List-Unsubscribe: <{way}>", one_click] if way else [])
