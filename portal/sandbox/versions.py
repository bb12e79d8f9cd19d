"""What differs by API version. The sandbox speaks one version; it only refuses what that version no longer takes."""

from typing import Any

from portal.sandbox.errors import invalid

_RETIRED_IN_ENDIVE = {"payment_method_types": "payment_method_types_no_longer_supported"}


def refuse_retired(values: dict[str, Any], version: str | None) -> None:
    """Raise 400 for a parameter that the named version has given up.

    A request that names no version, or an older one, may still send it.
    """
    if version is None or not version.endswith(".endive"):
        return
    previewed = values.get("schedule_details", {}).get("phases")
    for number, phase in enumerate(values.get("phases") or previewed or []):
        if "iterations" in phase:
            name = f"{'schedule_details[phases]' if previewed else 'phases'}[{number}][iterations]"
            raise invalid(f"Received unknown parameter: {name}; send duration.", name, "parameter_unknown")
    for name, code in _RETIRED_IN_ENDIVE.items():
        if name in values:
            raise invalid(
                f"'{name}' is no longer supported; leave it out, or send allowed_payment_method_types.", name, code
            )
