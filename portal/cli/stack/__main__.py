"""`python -m portal.cli.stack run|stop`: what `make run` and `make reset` call."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from portal.cli.stack import interruption
from portal.cli.stack.banner import banner
from portal.cli.stack.composition import Composition
from portal.cli.stack.configuration import read_wish
from portal.cli.stack.errors import StackError
from portal.cli.stack.folders import Folders
from portal.cli.stack.interruption import StopRequestedError
from portal.cli.stack.leftovers import stop_leftovers
from portal.cli.stack.lock import StackLock
from portal.cli.stack.runner import Runner, say

ROOT = Path(__file__).resolve().parents[3]


def run(root: Path) -> int:
    """Bring the stack up and keep it until somebody asks to stop. Returns 0 then, and 1 when it could not be had."""
    interruption.listen()
    try:
        wish = read_wish(os.environ, root / ".env")
        folders = Folders(root / "instance")
        folders.make()
        with StackLock(folders.lock):
            if stop_leftovers(folders):
                say("Stopped what a killed run had left behind.")
            return _hold(Runner(root, stack := Composition.of(wish, folders)), stack)
    except StackError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except StopRequestedError:
        return 0


def _hold(runner: Runner, stack: Composition) -> int:
    try:
        runner.up()
        say(banner(stack))
        runner.follow()
    except StopRequestedError:
        say("\nStopping ...")
    except BrokenPipeError:
        # Who was reading is gone, so nobody can press Ctrl-C either.
        sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  until the end of the process
    finally:
        runner.down()
        stop_leftovers(stack.folders)
        stack.folders.forget_sockets()
    say("Stopped.")
    return 0


def stop(root: Path) -> int:
    """Stop a running stack of this folder, and whatever a killed one left. Returns 0 when nothing runs any more."""
    folders = Folders(root / "instance")
    if not folders.instance.exists():
        return 0
    lock = StackLock(folders.lock)
    try:
        lock.stop_holder()
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    stop_leftovers(folders)
    folders.forget_sockets()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m portal.cli.stack", description="Run Turnpike on this machine.")
    parser.add_argument("command", choices=("run", "stop"))
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of the code; its instance/ holds the data")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    return run(root) if arguments.command == "run" else stop(root)


if __name__ == "__main__":
    sys.exit(main())
