"""Registers the commands: every module of this folder that has a `group`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from flask import Flask

import portal.cli
from portal.settings import Settings


def init_app(app: Flask, settings: Settings) -> None:
    for found in iter_modules(portal.cli.__path__):
        if not found.ispkg and found.name != "setup":
            app.cli.add_command(import_module(f"portal.cli.{found.name}").group)
