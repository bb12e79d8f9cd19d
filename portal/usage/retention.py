"""The months of single uses: made before they are needed, dropped when nobody may see them any more. Totals are kept.

An entry of the ledger names its use by the key in its cause, and the key's row tells what the use was for ever: so what
is dropped can still be explained.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import text

from portal.catalog.current import catalog
from portal.core import clock
from portal.core.alarms import keep_up
from portal.core.database import db

# For at least so long single uses are kept; the database drops nothing younger, whoever asks for it.
KEPT_DAYS_MIN = 90

# No limit is no end; without a team that has the right it is the least.
LONGEST = text(
    "select coalesce(bool_or(limit_value is null), false) as for_ever, max(limit_value) as days"
    " from entitlements_effective where feature_key = :feature and enabled"
)


def make_months() -> int:
    """Make the months that are missing until three months from now; returns how many that were.

    A use whose month is missing is recorded all the same, and moved to its month when that is made.
    """
    return int(db.session.execute(text("select make_usage_partitions()")).scalar_one())


def drop_old_months() -> list[str]:
    """Drop the months whose every use is older than any team may see; returns the names of their tables."""
    oldest = kept_since()
    if oldest is None:
        return []
    dropped = db.session.execute(text("select drop_usage_partitions(:oldest)"), {"oldest": oldest})
    return list(dropped.scalar_one())


def kept_since() -> datetime | None:
    """Since when single uses are kept: as long as the longest right that any team has; None is for ever."""
    return None if (days := kept_days()) is None else clock.now() - timedelta(days=days)


def kept_days() -> int | None:
    """For how many days single uses are kept; None is for ever."""
    feature = catalog().usage_history_feature
    if feature is None:
        return KEPT_DAYS_MIN
    found = db.session.execute(LONGEST, {"feature": feature}).one()
    return None if found.for_ever else max(KEPT_DAYS_MIN, found.days or 0)


def look_for_missing_months() -> None:
    """An alarm while there are no months ahead: nothing is lost by it, but somebody must find out why."""
    query = "select coalesce(max(until) > app_now() + interval '1 month', false) from usage_partitions()"
    ahead = db.session.execute(text(query)).scalar_one()
    keep_up("usage_months_missing", {} if ahead else {"usage_events": {}})
