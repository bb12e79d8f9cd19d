"""What every row that mirrors an object of Stripe's carries."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from portal.core.database import PrefixedId, PrimaryId, UtcDateTime


class Mirrored:
    """`gen` is the generation guard, `synced_at` when the fetch was applied."""

    id: Mapped[PrimaryId]
    stripe_id: Mapped[str] = mapped_column(PrefixedId, unique=True)
    gen: Mapped[int]
    synced_at: Mapped[UtcDateTime]
