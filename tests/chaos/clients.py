"""The clients of the chaos as processes of their own, some of which are killed on the way and begin anew.

    python -m tests.chaos.clients FOLDER SECONDS

They follow the plan in the folder. One of them is killed every so many seconds. They are forked from a process that has
the application loaded, which takes longer than to ask a thousand times.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

from flask import Flask

from portal import create_app
from tests.chaos.client import Client
from tests.chaos.operations import Plan

LOOK_SECONDS = 0.02


def start(app: Flask, plan: Plan, folder: Path, me: int, life: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        Client(plan, me, life, folder).run(app)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(1)


def main(folder: Path, kill_every: float) -> int:
    """Returns 0 once every client has done its share, and 1 as soon as one fails."""
    app, plan = create_app(), Plan.read(folder)
    chance = random.Random(plan.seed)
    running = {start(app, plan, folder, me, 0): (me, 0) for me in range(plan.clients)}
    killed_at = time.monotonic()
    try:
        while running:
            time.sleep(LOOK_SECONDS)
            if time.monotonic() - killed_at > kill_every:
                killed_at = time.monotonic()
                os.kill(chance.choice(list(running)), signal.SIGKILL)
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                continue
            me, life = running.pop(pid)
            if os.WIFSIGNALED(status):
                running[start(app, plan, folder, me, life + 1)] = me, life + 1
            elif status:
                return 1
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2])))
