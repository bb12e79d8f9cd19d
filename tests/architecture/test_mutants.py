"""Each planted bug can still be planted, and is looked for in tests that exist. Whether it is caught `make mutants` says."""

from __future__ import annotations

import pytest

from tests.mutation.__main__ import ROOT, planted
from tests.mutation.mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_bug_can_be_planted(mutant: Mutant) -> None:
    code = (ROOT / mutant.file).read_text()
    assert planted(mutant, code) != code
    for test in mutant.caught_by:
        assert (ROOT / test).is_file(), test


def test_there_are_enough_of_them() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 25
