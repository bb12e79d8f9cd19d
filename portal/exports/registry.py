"""Everything that can be exported, by its name in addresses, as the features name it in `EXPORTS` of their `exports`."""

from __future__ import annotations

from functools import cache

from portal.core.exporting import Export
from portal.features import modules


@cache
def sources() -> dict[str, Export]:
    found: dict[str, Export] = {}
    for module in modules("exports"):
        for name, export in module.EXPORTS.items():
            assert name not in found, f"two exports are called {name}"
            found[name] = export
    # What people come for first stands first.
    return dict(sorted(found.items(), key=lambda item: not item[1].of_billing))
