"""Tests talk to this machine only: a socket that would leave it is an error, not a flaky test."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit


class LeftTheMachineError(AssertionError):
    """A test tried to reach something that is not on loopback."""


def guard(*allowed_urls: str) -> None:
    """Refuse connections of Python's sockets to anywhere but loopback, unix sockets and the hosts of `allowed_urls`."""
    hosts = {urlsplit(url).hostname for url in allowed_urls}
    known = {info[4][0] for host in hosts if host for info in socket.getaddrinfo(host, None)}

    def guarded(original: Callable[..., Any]) -> Callable[..., Any]:
        def connect(self: socket.socket, address: Any, /) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _here(address[0]) and address[0] not in known:
                raise LeftTheMachineError(f"a test tried to connect to {address[0]}:{address[1]}")
            return original(self, address)

        return connect

    socket.socket.connect = guarded(socket.socket.connect)  # type: ignore[method-assign]
    socket.socket.connect_ex = guarded(socket.socket.connect_ex)  # type: ignore[method-assign]


def _here(host: str) -> bool:
    if host in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
