"""Times as people read them."""

import pytest

from portal.sandbox.wording import ahead


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "as on the wall"),
        (59, "59 s ahead of the wall"),
        (60, "1 min ahead of the wall"),
        (3_599, "59 min ahead of the wall"),
        (3_600, "1 h ahead of the wall"),
        (86_400, "1 day ahead of the wall"),
        (2 * 86_400 + 7_260, "2 days and 2 h ahead of the wall"),
        (30 * 86_400, "30 days ahead of the wall"),
    ],
)
def test_how_far_the_clock_is_ahead(seconds: int, told: str) -> None:
    assert ahead(seconds) == told
