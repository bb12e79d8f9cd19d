"""Reading coupons and promotion codes of the catalog, with the checks that need nothing but themselves."""

from __future__ import annotations

import re

from portal.catalog.definition import Coupon, PromotionCode
from portal.catalog.toml_reading import Table

CODE = re.compile(r"[A-Za-z0-9_-]{3,60}")
AMOUNT_CENTS_MAX = 99_999_999
MONTHS_MAX = 120
REDEMPTIONS_MAX = 1_000_000_000


def read_coupon(table: Table) -> Coupon:
    """A coupon from its table. Mistakes are noted in the table; the coupon is then not to be used."""
    coupon = Coupon(
        key=table.key,
        name=table.text("name", length_max=40),
        percent_off=table.whole("percent_off", least=1, most=100),
        amount_off_cents=table.whole("amount_off_cents", least=1, most=AMOUNT_CENTS_MAX),
        duration=table.choice("duration", ("once", "forever", "repeating"), "once"),
        duration_months=table.whole("duration_months", least=1, most=MONTHS_MAX),
        applies_to=table.texts("applies_to"),
    )
    if table.has("percent_off") == table.has("amount_off_cents"):
        table.problem("percent_off", "a coupon takes off either a percentage or an amount (amount_off_cents)")
    if (coupon.duration == "repeating") != table.has("duration_months"):
        table.problem("duration_months", 'belongs to duration = "repeating", and to no other')
    table.close()
    return coupon


def read_promotion_code(table: Table) -> PromotionCode:
    promotion = PromotionCode(
        code=table.text("code", length_max=60),
        coupon=table.text("coupon", length_max=40),
        max_redemptions=table.whole("max_redemptions", least=1, most=REDEMPTIONS_MAX),
        expires_at=table.moment("expires_at"),
        first_time_only=table.flag("first_time_only", default=False),
        minimum_cents=table.whole("minimum_cents", least=1, most=AMOUNT_CENTS_MAX),
    )
    if promotion.code and not CODE.fullmatch(promotion.code):
        table.problem("code", f'"{promotion.code}" must have 3 to 60 letters, digits, - or _')
    table.close()
    return promotion
