"""The version of this code, as `pyproject.toml` says it."""

VERSION = "0.1.0"
