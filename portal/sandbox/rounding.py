"""Parts of sums in the smallest unit of a currency, always whole again."""


def part_of(amount: int, part: int, whole: int) -> int:
    """Return `part / whole` of an amount in the smallest unit, exactly, with half a unit rounded away from zero."""
    size = (2 * abs(amount) * part + whole) // (2 * whole)
    return -size if amount < 0 else size
