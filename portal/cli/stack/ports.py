"""Ports: taken ones are told before anything starts."""

from __future__ import annotations

import socket

from portal.cli.stack.errors import StackError


def check_free(variable: str, port: int) -> None:
    """Raise `StackError` when somebody listens on the loopback `port` that `variable` names, or it may not be had."""
    with socket.socket() as probe:
        # A connection that has just ended does not count; a listener still does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except PermissionError:
            raise StackError(f"Port {port} ({variable}) is reserved for root. Choose one above 1023.") from None
        except OSError:
            raise StackError(
                f"Port {port} ({variable}) is taken by another program. Stop that, or choose another: "
                f"make run {variable}={port + 1 if port < 65535 else port - 1}"
            ) from None


def answers(port: int) -> bool:
    """Whether somebody accepts connections on the loopback `port`."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
