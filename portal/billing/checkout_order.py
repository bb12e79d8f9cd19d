"""What a checkout is about: who begins it, what is ordered, where the browser goes afterwards, why it may be refused."""

from __future__ import annotations

from dataclasses import dataclass

from portal.accounts.audit import Actor, by_key, by_user
from portal.catalog.queries import BundlePrice, PlanPrice


class CheckoutRefused(Exception):
    """The team may not begin this checkout; nothing was charged.

    `reason` is `subscribed`, `customer_deleted`, `paid`, `replaced`, `ordered`, `no_bundles`, `none_left`, `too_many`, `too_many_codes`,
    `code_unknown`, `code_ended` or `code_not_applicable`. `checkout_id` is the earlier checkout that stands in the way, where there is one.
    """

    def __init__(self, reason: str, checkout_id: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.checkout_id = reason, checkout_id


@dataclass(frozen=True)
class Buyer:
    """Who begins a checkout: a person, or an API key of the team. Exactly one of the two."""

    user_id: str | None = None
    api_key_id: str | None = None

    @property
    def actor(self) -> Actor:
        return by_user(self.user_id) if self.user_id else by_key(str(self.api_key_id))

    @property
    def metadata(self) -> dict[str, str]:
        """Who it was, as Stripe's objects carry it."""
        return {"user_id": self.user_id} if self.user_id else {"api_key_id": str(self.api_key_id)}


@dataclass(frozen=True)
class Order:
    """What is to be bought: a plan by its price, or a bundle.

    `token` names one form (or one request of the API): the same order with the same token is begun once, however often
    it is sent. People need none for a plan, since a team has one checkout for a plan at a time.
    """

    item: PlanPrice | BundlePrice
    token: str | None = None
    promotion_code: str | None = None
    # Stripe's id of that code, once it was looked up there.
    discount: str | None = None

    @property
    def key(self) -> str | None:
        """What makes two orders the same one; another price or another code is another order."""
        if self.token is None:
            return None
        return ":".join((self.token, self.item.price_id, self.promotion_code or ""))


@dataclass(frozen=True)
class ReturnAddresses:
    """Where Stripe sends the browser, each with `{checkout_id}` in it."""

    success: str
    cancel: str


@dataclass(frozen=True)
class Started:
    """A checkout whose page can be paid at `url`."""

    checkout_id: str
    url: str
