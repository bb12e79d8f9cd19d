"""Asking a process to end from a signal handler, which may come at any moment of a wait, or of another handler."""

from __future__ import annotations

import subprocess
import sys

# A handler runs between two lines of whatever it interrupts. So in turn, each in a process of its own, it comes before
# each line of a wait, a lock of the wait's perhaps held; and before each line of a handler that came first.
PROGRAM = """
import os, signal, sys
from portal.core import stopping

def interrupted(at, work):
    lines = 0
    def trace(frame, event, argument):
        nonlocal lines
        lines += 1
        if lines == at:
            sys.settrace(None)
            stopping.stop()
        return trace
    sys.settrace(trace)
    work()
    sys.settrace(None)
    return lines >= at

def ends(at, work):
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends a process that is stuck
        found = interrupted(at, work)
        stopping.pause(600 if found else 0)
        os._exit(0 if found and stopping.stopping() else 3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

for work in (lambda: stopping.pause(0.01), stopping.stop):
    at = 1
    while (code := ends(at, work)) == 0:
        at += 1
    if code != 3 or at < 3:
        sys.exit(f"stuck at line {at}: {code}")
"""


def test_a_process_ends_wherever_its_handler_comes() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
