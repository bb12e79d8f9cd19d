"""Rolling out: a share of the teams that only ever grows, teams by name, or both."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.core.rollout import Rollout, read_rollout

TEAMS = [f"team_{number:026}" for number in range(2000)]


@given(st.text(min_size=1), st.integers(0, 100), st.integers(0, 100))
def test_a_larger_share_takes_no_team_out(team_id: str, one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert Rollout(large).includes(team_id) or not Rollout(small).includes(team_id)


def test_a_share_is_about_that_many_teams() -> None:
    inside = sum(read_rollout("25%").includes(team) for team in TEAMS)
    assert 400 < inside < 600
    assert not any(read_rollout("0%").includes(team) for team in TEAMS)
    assert all(read_rollout("100%").includes(team) for team in TEAMS)


def test_a_team_keeps_its_place_in_every_process_and_version() -> None:
    """Were the places dealt anew, teams that pay would lose sight of what they pay for."""
    assert [team for team in ("team_A", "team_B", "team_C", "team_D") if Rollout(50).includes(team)] == [
        "team_A",
        "team_B",
    ]


def test_teams_are_named_beside_a_share() -> None:
    rollout = read_rollout(f"{TEAMS[0]}, 0%,{TEAMS[1]}")
    assert [team for team in TEAMS if rollout.includes(team)] == TEAMS[:2]
    assert read_rollout(TEAMS[2]).includes(TEAMS[2])
    assert not read_rollout(TEAMS[2]).includes(TEAMS[3])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("all", "all teams"),
        ("25%", "25% of teams"),
        (TEAMS[0], "1 named team"),
        (f"{TEAMS[0]},{TEAMS[1]},5%", "5% of teams and 2 named teams"),
    ],
)
def test_it_says_whom_it_reaches(text: str, words: str) -> None:
    assert str(read_rollout(text)) == words


@pytest.mark.parametrize("text", ["101%", "-1%", "2.5%", "25", "25%,30%", "all,25%", "team_1", "everybody", "٢٥%"])
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"neither|only share"):
        read_rollout(text)
