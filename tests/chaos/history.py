"""A month of many customers, as Stripe tells it: what they did is chosen by a seed, and every event is kept.

The events are then delivered to an empty mirror: in order and one by one, or as badly as deliveries can be.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import select, text

from portal.billing.models import Customer
from portal.core.database import db
from portal.webhooks import apply
from tests.cast import Person
from tests.conftest import empty_tables
from tests.purchases import EFFECTS, make_buyer, waiting
from tests.stage import DECLINED, VISA, Stage

Event = dict[str, Any]
# Two more than thirty, so that the renewals of whoever came first are a part of it.
DAYS = 32
FAILS_LATER = "4000000000000341"
DUPLICATES, DELAYED = 0.30, 0.05
LOOKS_MAX = 50


@dataclass
class Buyer:
    """A customer of the history. `acts` are what is done on which day."""

    person: Person
    team_id: str
    acts: dict[int, list[Callable[[], object]]] = field(default_factory=lambda: defaultdict(list))


@dataclass
class History:
    stage: Stage
    size: int
    seed: int
    days: int = DAYS
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def record(self) -> None:
        """Live through it. In the evening the portal hears of plans, which tomorrow's acts need, and of nothing else."""
        buyers = [self._newcomer(number) for number in range(self.size)]
        for day in range(self.days):
            for buyer in buyers:
                for act in buyer.acts.get(day, ()):
                    act()
            self._end_of_day()
        self._end_of_day()

    def _end_of_day(self) -> None:
        told = self.stage.new_events()
        for event in told:
            if event["type"].startswith("customer.subscription."):
                self._deliver(event)
        self.events += told
        self.stage.advance(timedelta(days=1))

    def _newcomer(self, number: int) -> Buyer:
        """The lives come one after the other, so that a small history has them all; the day of each is chance."""
        buyer = Buyer(*make_buyer(self.stage.app, f"Team {number}"))
        life = LIVES[number % len(LIVES)]
        first = 0 if number < len(LIVES) else self.random.randrange(self.days // 3)
        for day, act in life.items():
            buyer.acts[first + day].append(lambda act=act: act(self, buyer))  # type: ignore[misc]
        return buyer

    # What customers do.

    def business(self, buyer: Buyer) -> None:
        self.stage.subscribe(buyer.person, buyer.team_id, "business")

    def business_for_a_year(self, buyer: Buyer) -> None:
        self.stage.subscribe(buyer.person, buyer.team_id, "business", "year")

    def pro_on_trial(self, buyer: Buyer) -> None:
        self.stage.subscribe(buyer.person, buyer.team_id, "pro")

    def pro_with_a_card_that_fails_later(self, buyer: Buyer) -> None:
        self.stage.subscribe(buyer.person, buyer.team_id, "pro", card=FAILS_LATER)

    def business_at_the_second_card(self, buyer: Buyer) -> None:
        page = self.stage.begin_checkout(buyer.person, buyer.team_id, "business")
        assert self.stage.pay(page, DECLINED).status_code == 402
        assert self.stage.pay(page, VISA).status_code == 303

    def look_and_leave(self, buyer: Buyer) -> None:
        self.stage.begin_checkout(buyer.person, buyer.team_id, "business")

    def bundle(self, buyer: Buyer) -> None:
        bundle = self.random.choice(("credits_500", "credits_1000"))
        self.stage.buy_bundle(buyer.person, buyer.team_id, bundle)

    def bundle_at_the_second_card(self, buyer: Buyer) -> None:
        page = self.stage.begin_bundle(buyer.person, buyer.team_id)
        assert self.stage.pay(page, DECLINED).status_code == 402
        assert self.stage.pay(page, VISA).status_code == 303

    def bundle_refused(self, buyer: Buyer) -> None:
        assert self.stage.pay(self.stage.begin_bundle(buyer.person, buyer.team_id), DECLINED).status_code == 402

    def cancel_at_the_end(self, buyer: Buyer) -> None:
        self._change_plan(buyer, cancel_at_period_end="true")

    def keep(self, buyer: Buyer) -> None:
        self._change_plan(buyer, cancel_at_period_end="false")

    def end_at_once(self, buyer: Buyer) -> None:
        self.stage.stripe("DELETE", f"/v1/subscriptions/{self._plan(buyer)}")

    def new_card(self, buyer: Buyer) -> None:
        customer = customer_of(buyer.team_id)
        path = "/v1/payment_methods/pm_card_mastercard/attach"
        card = self.stage.stripe("POST", path, customer=customer)["id"]
        self.stage.stripe("POST", f"/v1/customers/{customer}", **{"invoice_settings[default_payment_method]": card})

    def pay_what_is_open(self, buyer: Buyer) -> None:
        self.new_card(buyer)
        customer = customer_of(buyer.team_id)
        card = self.stage.stripe("GET", f"/v1/customers/{customer}")["invoice_settings"]["default_payment_method"]
        for invoice in self.stage.stripe("GET", "/v1/invoices", customer=customer, status="open")["data"]:
            self.stage.stripe("POST", f"/v1/invoices/{invoice['id']}/pay", payment_method=card)

    def refund_a_part(self, buyer: Buyer) -> None:
        """A part of the oldest payment: for the plan."""
        self._refund(buyer, -1, 3)

    def refund_the_rest(self, buyer: Buyer) -> None:
        """All that is left of the newest payment."""
        self._refund(buyer, 0, 1)

    def _refund(self, buyer: Buyer, which: int, share: int) -> None:
        query = {"customer": customer_of(buyer.team_id), "limit": 100}
        intents = self.stage.stripe("GET", "/v1/payment_intents", **query)["data"]
        paid = [intent for intent in intents if intent["amount_received"]][which]
        charge = self.stage.stripe("GET", f"/v1/charges/{paid['latest_charge']}")
        left = charge["amount"] - charge["amount_refunded"]
        self.stage.stripe("POST", "/v1/refunds", payment_intent=paid["id"], amount=max(1, left // share))

    def _change_plan(self, buyer: Buyer, **params: str) -> None:
        self.stage.stripe("POST", f"/v1/subscriptions/{self._plan(buyer)}", **params)

    def _plan(self, buyer: Buyer) -> str:
        found = self.stage.stripe("GET", "/v1/subscriptions", customer=customer_of(buyer.team_id))["data"]
        return str(found[0]["id"])

    # Telling it again.

    def tell_in_order(self) -> None:
        """The yardstick: every event once, in order, applied before the next one comes."""
        self.forget()
        for event in self.events:
            self._deliver(event)
        self._settle()

    def tell_badly(self, seed: int, at_once: int) -> None:
        """Shuffled, almost a third of it twice, some of it only when all else is done, and so many at once."""
        self.forget()
        dice = random.Random(seed)
        told = self.events + dice.sample(self.events, int(DUPLICATES * len(self.events)))
        dice.shuffle(told)
        late = set(dice.sample(range(len(told)), int(DELAYED * len(told))))
        with ThreadPoolExecutor(at_once) as pool:
            self._deliver_at_once(pool, (event for place, event in enumerate(told) if place not in late))
            self._deliver_at_once(pool, (told[place] for place in late))
        self._settle()

    def _deliver_at_once(self, pool: ThreadPoolExecutor, events: Iterable[Event]) -> None:
        for _ in pool.map(self._deliver, events):
            pass

    def _deliver(self, event: Event) -> None:
        with self.stage.app.app_context():
            assert self.stage.deliver(event) == 200
            apply.drain()
            db.session.remove()

    def _settle(self) -> None:
        """Whatever waits for its next try has it now; then what the schedule would do."""
        for _ in range(LOOKS_MAX):
            if not waiting():
                break
            db.session.execute(
                text("update stripe_events set run_at = received_at where state in ('pending', 'parked')")
            )
            db.session.commit()
            apply.drain()
        assert not waiting(), waiting()
        self.stage.drain()

    def forget(self) -> None:
        """Empty what events bring about. What people began, and the customer that was made for it, stays."""
        empty_tables(self.stage.app, *EFFECTS, "card_declines", "free_periods", "outbox")
        db.session.execute(text(BEGUN))
        db.session.execute(text("update customers set default_payment_method = null, gen = 0"))
        db.session.commit()
        db.session.remove()


# A team has one current checkout for a plan: its newest.
BEGUN = """
update checkouts set completed_at = null, paid_at = null, payment_status = null, amount_total = null,
    subscription_stripe_id = null, payment_intent_stripe_id = null,
    state = case when purpose = 'bundle' or created_at = (
        select max(created_at) from checkouts others where others.team_id = checkouts.team_id and purpose = 'plan'
    ) then 'open' else 'replaced' end
where stripe_id is not null
"""
LIVES: tuple[dict[int, Callable[[History, Buyer], None]], ...] = (
    {0: History.business},
    {0: History.pro_on_trial},
    {0: History.pro_with_a_card_that_fails_later, 17: History.pay_what_is_open},
    {0: History.pro_with_a_card_that_fails_later},
    {0: History.business, 3: History.cancel_at_the_end},
    {0: History.business, 3: History.cancel_at_the_end, 5: History.keep},
    {0: History.business, 10: History.end_at_once},
    {1: History.business_at_the_second_card, 2: History.bundle_at_the_second_card},
    {0: History.business, 2: History.bundle, 5: History.bundle, 8: History.refund_the_rest},
    {0: History.business, 4: History.refund_a_part, 6: History.refund_a_part},
    {0: History.business, 4: History.bundle_refused, 6: History.new_card},
    {0: History.business_for_a_year, 9: History.bundle},
    {0: History.look_and_leave},
    {0: History.pro_on_trial, 5: History.end_at_once, 9: History.business},
    {0: History.business, 1: History.bundle, 2: History.refund_the_rest, 3: History.end_at_once},
)


def customer_of(team_id: str) -> str:
    found = db.session.execute(select(Customer.stripe_id).where(Customer.team_id == team_id)).scalar_one()
    db.session.remove()
    return str(found)
