"""The sandbox as a process: starting, stopping, being killed."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from portal.sandbox.serving import read_options
from tests.sandbox.driving import KEY

ROOT = Path(__file__).resolve().parents[2]


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def _running(port: int, state: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "portal.sandbox", "--port", str(port), "--state", str(state), "--api-key", KEY]
    command += more
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"sandbox: listening on http://127.0.0.1:{port}\n"
            yield process
        finally:
            process.kill()


def _ask(port: int, method: str, path: str) -> tuple[int, str]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request(method, path, headers={"Authorization": f"Bearer {KEY}"})
        with connection.getresponse() as response:
            return response.status, response.read().decode()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it(tmp_path: Path, sent: signal.Signals) -> None:
    port = _free_port()
    with _running(port, tmp_path / "state.db") as process:
        assert _ask(port, "POST", "/v1/customers")[0] == 200
        process.send_signal(sent)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    port = _free_port()
    with _running(port, state) as process:
        for _ in range(5):
            assert _ask(port, "POST", "/v1/customers")[0] == 200
        os.kill(process.pid, signal.SIGKILL)
        process.wait(20)
    port = _free_port()
    with _running(port, state):
        status, body = _ask(port, "GET", "/v1/customers")
        assert (status, body.count('"object": "customer"')) == (200, 5)


BREAK_ONE = {"place": "calls", "match": "POST /v1/customers", "times": 1}


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "reset"])
def test_chaos_is_set_up_at_start_and_the_seed_is_printed(tmp_path: Path, fault: str) -> None:
    port, settings = _free_port(), json.dumps({"rules": [BREAK_ONE | {"fault": fault}]})
    with _running(port, tmp_path / "state.db", "--chaos", settings, "--seed", "7") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "sandbox: chaos seed 7\n"
        with pytest.raises((HTTPException, ConnectionError)):
            _ask(port, "POST", "/v1/customers")
        status, body = _ask(port, "GET", "/v1/customers")
        assert (status, body.count('"object": "customer"')) == (200, int(fault != "drop_before"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == "", "what is broken on purpose is no trouble of the server"


def test_what_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    port, state = _free_port(), tmp_path / "state.db"
    with _running(port, state):
        for options, words in [
            (["--port", str(port)], f"sandbox: cannot listen on 127.0.0.1:{port}: Address already in use.\n"),
            (
                ["--port", "1", "--state", str(state)],
                f"sandbox: the state file {state} is in use by another process.\n",
            ),
            (["--state", str(tmp_path / "no" / "state.db")], "unable to open database file"),
        ]:
            command = [sys.executable, "-m", "portal.sandbox", *options]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
            assert done.returncode == 1
            assert words in done.stderr
            assert done.stderr.count("\n") == 1


def test_options_come_from_flags_then_the_environment() -> None:
    environment = {
        "SANDBOX_PORT": "12999",
        "STRIPE_SECRET_KEY": "sk_test_env",
        "STRIPE_WEBHOOK_SECRET": "whsec_new,whsec_old",
    }
    options = read_options(["--webhook-url", "http://127.0.0.1:8000/hook"], environment)
    assert (options.port, options.api_key, options.webhook_secret) == (12999, "sk_test_env", "whsec_new")
    assert (options.public_url, options.state, options.chaos) == ("http://127.0.0.1:12999", ":memory:", b"{}")
    options = read_options([], {"SANDBOX_CHAOS": '{"rate_limit": 25}', "SANDBOX_SEED": "7"})
    assert json.loads(options.chaos) == {"rate_limit": 25, "seed": 7}
    options = read_options(["--port", "5", "--api-key", "sk_test_flag", "--public-url", "http://pay.test"], environment)
    assert (options.port, options.api_key, options.public_url) == (5, "sk_test_flag", "http://pay.test")
    assert options.webhook_url is None
    assert (options.retry_days, options.after_retries) == ((1, 3, 5, 7), "cancel")
    options = read_options(["--retry-days", "2,4"], {"SANDBOX_RETRY_DAYS": "9", "SANDBOX_AFTER_RETRIES": "unpaid"})
    assert (options.retry_days, options.after_retries) == ((2, 4), "unpaid")


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--port", "0"], {}),
        (["--port", "http"], {}),
        ([], {"SANDBOX_PORT": "many"}),
        (["--api-key", "sk_live_1"], {}),
        (["--webhook-url", "http://127.0.0.1:8000/hook"], {}),
        (["--webhook-url", "127.0.0.1:8000"], {"STRIPE_WEBHOOK_SECRET": "whsec_x"}),
        (["--seed", "seven"], {}),
        (["--seed", "-1"], {}),
        (["--chaos", "[]"], {}),
        (["--chaos", '{"rules": [{"place": "calls", "fault": "reorder"}]}'], {}),
        ([], {"SANDBOX_CHAOS": "everything"}),
        (["--retry-days", "3,soon"], {}),
        ([], {"SANDBOX_RETRY_DAYS": "3,1"}),
        ([], {"SANDBOX_AFTER_RETRIES": "shrug"}),
    ],
)
def test_options_that_are_refused(
    arguments: list[str], environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        read_options(arguments, environment)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_it_starts_without_the_rest(tmp_path: Path) -> None:
    """The process loads nothing of the portal beside itself, and no Stripe SDK."""
    code = (
        "import sys, portal.sandbox, portal.sandbox.serving\n"
        "print([name for name in sys.modules if name.startswith('stripe') or name.startswith('sqlalchemy')\n"
        "       or (name.startswith('portal.') and not name.startswith('portal.sandbox'))])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
