"""Running the sandbox as a process: settings from flags and environment, waitress on loopback, a clean stop."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TextIO

from flask import Flask
from waitress.server import create_server

from portal.sandbox.app import BODY_BYTES_MAX, create_sandbox
from portal.sandbox.chaos.book import seed
from portal.sandbox.control import configure_chaos, read_chaos
from portal.sandbox.dunning import AFTERWARDS, is_possible
from portal.sandbox.errors import ApiError
from portal.sandbox.store import StateUnusableError

HOST = "127.0.0.1"
PORT_DEFAULT = 12111
THREADS = 8


@dataclass(frozen=True)
class Options:
    """How to run one sandbox."""

    port: int
    state: str
    api_key: str
    webhook_url: str | None
    webhook_secret: str | None
    public_url: str
    chaos: bytes
    retry_days: tuple[int, ...]
    after_retries: str


def read_options(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Return the options of a command line; what it leaves out comes from the environment.

    Half a webhook, a key that is not for testing, or a port that is no number end the program with a clear line.
    """
    parser = argparse.ArgumentParser(prog="python -m portal.sandbox", description="A stand-in for Stripe on loopback.")
    # argparse reads a default that is a text like an argument, so a bad one is told of in the same way.
    parser.add_argument("--port", type=int, default=environment.get("SANDBOX_PORT") or str(PORT_DEFAULT))
    parser.add_argument("--state", default=":memory:", help="SQLite file; :memory: forgets everything at the end")
    parser.add_argument("--api-key", default=environment.get("STRIPE_SECRET_KEY") or "sk_test_sandbox")
    parser.add_argument("--webhook-url", help="where events are delivered")
    parser.add_argument("--webhook-secret", default=None, help="signs them; default STRIPE_WEBHOOK_SECRET")
    parser.add_argument("--public-url", help="what the addresses of hosted pages begin with")
    parser.add_argument("--chaos", default=environment.get("SANDBOX_CHAOS") or "", help="JSON as /_sandbox/chaos takes")
    parser.add_argument("--seed", default=environment.get("SANDBOX_SEED") or "", help="what chaos throws its dice by")
    parser.add_argument("--retry-days", default=environment.get("SANDBOX_RETRY_DAYS") or "1,3,5,7")
    parser.add_argument("--after-retries", default=environment.get("SANDBOX_AFTER_RETRIES") or "cancel")
    given = parser.parse_args(arguments)
    secret = given.webhook_secret or environment.get("STRIPE_WEBHOOK_SECRET", "").split(",")[0].strip() or None
    if not 1 <= given.port <= 65535:
        parser.error(f"the port must lie between 1 and 65535, not {given.port}")
    if not given.api_key.startswith(("sk_test_", "rk_test_")):
        parser.error("the API key must begin with sk_test_: the sandbox is never used with a live key")
    if given.webhook_url and not given.webhook_url.startswith(("http://", "https://")):
        parser.error(f"the webhook address must begin with http:// or https://, not {given.webhook_url}")
    if given.webhook_url and not secret:
        parser.error("--webhook-url needs --webhook-secret (or STRIPE_WEBHOOK_SECRET) to sign events with")
    try:
        settings = chaos_settings(given.chaos, given.seed)
    except ValueError as error:
        parser.error(str(error))
    days = tuple(int(day) for day in given.retry_days.split(",") if day.strip().isdecimal())
    if len(days) != len(given.retry_days.split(",")) or not is_possible(days):
        parser.error(f"the days of retries must grow, as in 1,3,5,7, not {given.retry_days}")
    if given.after_retries not in AFTERWARDS:
        parser.error(f"after the last retry comes {', '.join(AFTERWARDS)}, not {given.after_retries}")
    return Options(
        port=given.port,
        state=given.state,
        api_key=given.api_key,
        webhook_url=given.webhook_url,
        webhook_secret=secret if given.webhook_url else None,
        public_url=given.public_url or f"http://{HOST}:{given.port}",
        chaos=settings,
        retry_days=days,
        after_retries=given.after_retries,
    )


def chaos_settings(text: str, seed: str) -> bytes:
    """Return the JSON that sets chaos up, or raise the line that says what is wrong with it."""
    try:
        settings = json.loads(text or "{}") | ({"seed": int(seed)} if seed else {})
        body = json.dumps(settings).encode()
        read_chaos(body)
    except (ValueError, TypeError) as error:
        raise ValueError("--chaos must be a JSON object and --seed a whole number.") from error
    except ApiError as error:
        raise ValueError(f"--chaos or --seed: {error.message}") from error
    return body


def serve(options: Options) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code, 1 when the port or the state file is taken."""
    try:
        app = create_sandbox(
            options.state,
            options.api_key,
            public_url=options.public_url,
            webhook_url=options.webhook_url,
            webhook_secret=options.webhook_secret,
            retry_days=options.retry_days,
            after_retries=options.after_retries,
        )
    except StateUnusableError as error:
        _say(str(error), sys.stderr)
        return 1
    try:
        configure_chaos(app.extensions["sandbox"], options.chaos)
        return _serve(app, options)
    finally:
        app.extensions["sandbox"].close()


def _say(line: str, stream: TextIO) -> None:
    stream.write(f"sandbox: {line}\n")
    stream.flush()


def _serve(app: Flask, options: Options) -> int:
    try:
        server = create_server(
            app, host=HOST, port=options.port, threads=THREADS, ident="Turnpike-Sandbox",
            max_request_body_size=BODY_BYTES_MAX + 1,
            log_socket_errors=False,  # a connection that chaos breaks is not worth a traceback
        )  # fmt: skip
    except OSError as error:
        _say(f"cannot listen on {HOST}:{options.port}: {error.strerror}.", sys.stderr)
        return 1

    def stop(_: int, __: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    app.extensions["sandbox"].deliverer.start()
    _say(f"listening on {options.public_url}", sys.stdout)
    _say(f"chaos seed {seed(app.extensions['sandbox'].store)}", sys.stdout)
    try:
        server.run()
    except SystemExit:
        pass
    finally:
        server.close()
    return 0


def main() -> int:
    """Run the sandbox that the command line asks for."""
    return serve(read_options(sys.argv[1:], os.environ))
