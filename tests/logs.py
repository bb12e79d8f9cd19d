"""The log as it is written, for tests that look for what must or must not stand in it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def written_log() -> Iterator[io.StringIO]:
    """What is logged meanwhile, by us and by the libraries, all at their loudest and in the form that is written."""
    log, root, ours = io.StringIO(), logging.getLogger(), structlog.get_config()
    form = next(one.formatter for one in root.handlers if type(one.formatter).__name__ == "ProcessorFormatter")
    handler, level = logging.StreamHandler(log), root.level
    handler.setFormatter(form)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    loudest = structlog.make_filtering_bound_logger("DEBUG")
    structlog.configure(**ours | {"logger_factory": structlog.WriteLoggerFactory(log), "wrapper_class": loudest})
    try:
        yield log
    finally:
        structlog.configure(**ours)
        root.removeHandler(handler)
        root.setLevel(level)
