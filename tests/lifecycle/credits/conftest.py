"""The account of the ledger's stories."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from portal.core.unit_of_work import unit_of_work
from portal.credits.verify import verify
from tests.lifecycle.credits.account import make_still_clock
from tests.lifecycle.credits.story import Account


@pytest.fixture
def account(app: Flask) -> Iterator[Account]:
    """A fresh team's account, which must be sound when the story is over."""
    make_still_clock(app.config["SETTINGS"].database_owner_url)
    account = Account()
    yield account
    with unit_of_work():
        assert [finding for finding in verify(account.team_id) if finding.violations] == []
