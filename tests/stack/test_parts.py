"""The parts of the runner that need no process."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from portal.cli.stack import configuration
from portal.cli.stack.configuration import read_wish
from portal.cli.stack.errors import StackError
from portal.cli.stack.folders import SOCKET_FOLDER_BYTES_MAX, Folders, make_private
from portal.cli.stack.follow import Follower
from portal.cli.stack.lock import StackLock

NO_FILE = Path("/nonexistent/.env")


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=9000\nCATALOG=plg\n")
    wish = read_wish({"PORT": "9100", "CATALOG": ""}, tmp_path / ".env")
    assert (wish.port, wish.given["CATALOG"]) == (9100, "plg")


@pytest.mark.parametrize(
    "environ",
    [
        {"PORT": "0"},
        {"PORT": "65536"},
        {"PORT": "80 80"},
        {"PORT": "٨"},
        {"PORT": "12111"},
        {"STRIPE_API_BASE": "http://127.0.0.1:1"},
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(StackError):
        read_wish(environ, NO_FILE)


def test_a_stripe_account_of_ones_own_needs_no_stand_in() -> None:
    wish = read_wish({"STRIPE_SECRET_KEY": "sk_test_x", "STRIPE_WEBHOOK_SECRET": "whsec_x"}, NO_FILE)
    kept = {"SECRET_KEY": "s", "STRIPE_SECRET_KEY": "k", "STRIPE_WEBHOOK_SECRET": "w"}
    settings = configuration.settings_for(wish, kept, database_url="d", database_owner_url="o", redis_url="none")
    assert not wish.sandbox
    assert settings["STRIPE_SECRET_KEY"] == "sk_test_x"
    assert "STRIPE_API_BASE" not in settings
    assert "SANDBOX_PORT" not in settings


def test_a_shell_reads_dev_env_as_it_was_meant(tmp_path: Path) -> None:
    path = tmp_path / "dev.env"
    configuration.publish(path, {"SECRET_KEY": 'a $HOME `b` \\ "c"', "MAIL_FROM": "Me <me@example.com>"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    script = f'. {shlex.quote(str(path))}; printf \'%s|%s\' "$SECRET_KEY" "$MAIL_FROM"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == 'a $HOME `b` \\ "c"|Me <me@example.com>'


# What stands in .env.example and is not for commands that join a running stack.
FOR_ONE_PROGRAM = {
    "PROMETHEUS_MULTIPROC_DIR": "where web and worker count; a command would count among them",
    "SANDBOX_CHAOS": "the stand-in's alone",
    "SANDBOX_SEED": "the stand-in's alone",
    "WEB_CONCURRENCY": "the web server's alone",
    "WEB_THREADS": "the web server's, and how many connections a program keeps; a command has one thread",
    "BIND": "the web server's alone",
}


def test_dev_env_has_every_setting_of_the_example() -> None:
    example = (Path(__file__).resolve().parents[2] / ".env.example").read_text()
    named = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    assert named - set(configuration.PUBLISHED) == set(FOR_ONE_PROGRAM)
    assert set(configuration.PUBLISHED) <= named


def test_secrets_are_made_once_and_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    made = configuration.kept_secrets(path)
    assert configuration.kept_secrets(path) == made
    path.write_text("{}")
    with pytest.raises(StackError, match="damaged"):
        configuration.kept_secrets(path)


def test_sockets_of_a_deep_folder_lie_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    folder = Folders(deep).sockets
    assert len(os.fsencode(folder)) <= SOCKET_FOLDER_BYTES_MAX
    assert folder != Folders(deep / "other").sockets
    assert Folders(Path("/srv/turnpike/instance")).sockets == Path("/srv/turnpike/instance/sockets")


def test_a_link_in_place_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StackError):
        make_private(tmp_path / "here")


def test_logs_are_followed_across_rotation(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    log.write_text("old\n")
    follower = Follower([log, tmp_path / "worker.log"])
    assert follower.lines() == []
    with log.open("a") as file:
        file.write("one\ntw")
    assert follower.lines() == ["web    | one"]
    with log.open("a") as file:
        file.write("o\n")
    assert follower.lines() == ["web    | two"]
    log.rename(tmp_path / "web.log.1")
    log.write_text("three\n")
    (tmp_path / "worker.log").write_text("hello\n")
    assert follower.lines() == ["web    | three", "worker | hello"]


def test_one_stack_holds_the_folder(tmp_path: Path) -> None:
    with StackLock(tmp_path / "lock") as held:
        assert held.holder() == os.getpid()
        with pytest.raises(StackError, match="already running"), StackLock(tmp_path / "lock"):
            pass
    with StackLock(tmp_path / "lock"):
        pass
