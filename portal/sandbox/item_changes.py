"""The items of a subscription before and after a change, read from the parameters that ask for it."""

from dataclasses import dataclass

from portal.sandbox import tax_settings
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import Array, Boolean, Hash, Integer, Metadata, Text, merge_metadata
from portal.sandbox.registry import fetch
from portal.sandbox.resources import prices, subscription_items
from portal.sandbox.store import Object
from portal.sandbox.tax_settings import TAX_RATES

ITEMS_MAX = 20
QUANTITY = Integer(minimum=0, maximum=999_999)
ITEMS = Array(
    max_items=ITEMS_MAX,
    item=Hash(
        fields={
            "deleted": Boolean(),
            "id": Text(),
            "metadata": Metadata(),
            "price": Text(),
            "quantity": QUANTITY,
            "tax_rates": TAX_RATES,
        }
    ),
)


@dataclass(frozen=True)
class ItemChange:
    """An item as it was (None: it is new) and as it is to be (None: it goes)."""

    old: Object | None
    new: Object | None

    @property
    def is_change(self) -> bool:
        """Say whether what is paid for differs."""
        if self.old is None or self.new is None:
            return True
        return any(self.old[name] != self.new[name] for name in ("price", "quantity"))


def read_items(call: Call, subscription: Object, sent: list[Values]) -> list[ItemChange]:
    """Return all items of the subscription, those that `sent` does not name as they are, or raise what is wrong."""
    items = {one["id"]: one for one in subscription_items.of_subscription(call, subscription["id"])}
    changes: dict[str, ItemChange] = {item_id: ItemChange(one, one) for item_id, one in items.items()}
    added = []
    for number, values in enumerate(sent):
        param = f"items[{number}]"
        if "id" not in values:
            added.append(ItemChange(None, _new(call, subscription, values, param)))
            continue
        old = items.get(values["id"])
        if old is None:
            raise invalid(f"The item {values['id']} does not belong to this subscription.", f"{param}[id]")
        changes[old["id"]] = ItemChange(old, None if values.get("deleted") else _changed(call, old, values, param))
    found = [*changes.values(), *added]
    _check(call, subscription, [one.new for one in found if one.new is not None])
    return found


def cost_after(call: Call, subscription: Object, sent: list[Values]) -> int:
    """Return what a period of the subscription costs when it has changed as `sent` asks, before any discount."""
    items = [one.new for one in read_items(call, subscription, sent) if one.new is not None]
    return sum(prices.cost(fetch(call, "price", item["price"]), item["quantity"]) for item in items)


def _new(call: Call, subscription: Object, values: Values, param: str) -> Object:
    if values.get("deleted") or "price" not in values:
        raise invalid("A new item needs a price.", f"{param}[price]", "parameter_missing")
    price = price_of(call, values["price"], f"{param}[price]", archived_too=values.get("_scheduled", False))
    rates = tax_settings.named(call, values.get("tax_rates"), f"{param}[tax_rates]")
    quantity = quantity_of(price, values, param)
    item = subscription_items.build(call, subscription["id"], price["id"], quantity, (0, 0), rates)
    return item | {"metadata": merge_metadata({}, values.get("metadata", {}))}


def _changed(call: Call, old: Object, values: Values, param: str) -> Object:
    new, before = dict(old), fetch(call, "price", old["price"])
    price = before
    if "price" in values and values["price"] != old["price"]:
        price = price_of(call, values["price"], f"{param}[price]", archived_too=values.get("_scheduled", False))
        if prices.is_metered(price) != prices.is_metered(before):
            raise invalid("What is metered cannot become what is ordered; add another item.", f"{param}[price]")
        new["price"] = price["id"]
    if "quantity" in values:
        new["quantity"] = quantity_of(price, values, param)
    if "metadata" in values:
        new["metadata"] = merge_metadata(old["metadata"], values["metadata"])
    if "tax_rates" in values:
        new["tax_rates"] = tax_settings.named(call, values["tax_rates"], f"{param}[tax_rates]")
    return new


def price_of(call: Call, price_id: str, param: str, *, archived_too: bool = False) -> Object:
    """Return a price that can be subscribed to, or raise 400; one that is archived is only for who has it already."""
    price = fetch(call, "price", price_id, param)
    if price["recurring"] is None or not (price["active"] or archived_too):
        raise invalid(f"The price {price_id} is not recurring or not active.", param)
    return price


def quantity_of(price: Object, sent: Values, param: str) -> int:
    """Return how many of a price are ordered: one if nothing is said, and none of what is metered."""
    if not prices.is_metered(price):
        return int(sent.get("quantity", 1))
    if "quantity" in sent:
        raise invalid("A metered price takes no quantity; its meter counts.", f"{param}[quantity]")
    return 0


def _check(call: Call, subscription: Object, items: list[Object]) -> None:
    if not items:
        raise invalid("A subscription must keep at least one item; cancel it instead.", "items")
    if len(items) > ITEMS_MAX:
        raise invalid(f"A subscription may have {ITEMS_MAX} items at most.", "items")
    if len({item["price"] for item in items}) < len(items):
        raise invalid("A subscription cannot have two items with the same price; raise the quantity.", "items")
    for item in items:
        if fetch(call, "price", item["price"])["currency"] != subscription["currency"]:
            raise invalid(f"All prices must be in the subscription's currency, {subscription['currency']}.", "items")
