"""Where a customer is for the purposes of tax, and whether tax is collected there."""

from dataclasses import dataclass

from portal.sandbox.call import Call
from portal.sandbox.store import Object
from portal.sandbox.tax_table import LEVIES, Levy


@dataclass(frozen=True)
class Location:
    """A country, its state where that matters (in the US), and which address told it."""

    country: str
    state: str | None
    source: str

    @property
    def levy(self) -> Levy | None:
        """The tax that is collected there, if any is."""
        return LEVIES.get((self.country, self.state if self.country == "US" else None))


def location_of(customer: Object) -> Location | None:
    """Return where a customer is: by the address things are sent to, else by that of the bill; None when neither says.

    In the US a country alone says too little.
    """
    shipping = (customer["shipping"] or {}).get("address")
    for address, source in ((shipping, "shipping_destination"), (customer["address"], "billing_address")):
        if address and address["country"] and (address["country"] != "US" or address["state"]):
            return Location(address["country"], address["state"], source)
    return None


def told(_: Call, customer: Object) -> Object:
    """Return the `tax` member of a customer."""
    location = location_of(customer)
    status = "unrecognized_location"
    if location is not None:
        status = "supported" if location.levy else "not_collecting"
    place = {"country": location.country, "source": location.source, "state": location.state} if location else None
    return {"automatic_tax": status, "ip_address": None, "location": place, "provider": "stripe"}
