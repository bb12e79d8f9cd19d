"""The control panel at the sandbox's root: objects, events, stories, the clock, chaos and the test cards."""

from flask import Flask

from portal.sandbox.hosted.panel import chaos, clock, events, home, objects, story
from portal.sandbox.sandbox import Sandbox


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give every page of the panel its address in the app."""
    for page in (home, objects, events, story, clock, chaos):
        page.add(app, sandbox)
