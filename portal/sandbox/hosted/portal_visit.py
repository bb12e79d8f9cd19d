"""One visit to the customer portal: who it is, what may be done, and where an act leads afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Response, redirect

from portal.sandbox.call import Call
from portal.sandbox.customer_time import call_for
from portal.sandbox.hosted.pages import guard, show
from portal.sandbox.registry import fetch
from portal.sandbox.resources.subscriptions import ENDED
from portal.sandbox.sandbox import Sandbox
from portal.sandbox.store import Object, equals

# What the home page says after an act, by the word that its address carries.
NOTES = {
    "canceled": "Your plan is canceled. Nothing more is charged for it.",
    "card": "Your card is changed. It pays for your plan from now on.",
    "changed": "Your plan is changed.",
    "default": "This card pays for your plan from now on.",
    "details": "Your billing details are saved.",
    "ending": "Your plan is set to end. You keep it until then.",
    "kept": "Your plan goes on as before.",
    "paused": "Your plan is paused. Nothing is charged until it goes on.",
    "planned": "Your plan changes when the current period ends. Nothing is charged until then.",
    "removed": "The card is removed.",
    "resumed": "Your plan goes on.",
    "resumed_unpaid": "Your plan goes on, but the payment for it was refused. Change your card below.",
    "unplanned": "Your plan stays as it is.",
}

# Where each flow leads; the place in it is the subscription's.
_FLOW_STEPS = {
    "customer_update": "customer",
    "payment_method_update": "payment-methods/add",
    "subscription_cancel": "subscriptions/{}/cancel",
    "subscription_pause": "subscriptions/{}/pause",
    "subscription_update": "subscriptions/{}/update",
    "subscription_update_confirm": "subscriptions/{}/update/confirm",
}


@dataclass(frozen=True)
class Visit:
    """An open session with everything that its pages look at."""

    sandbox: Sandbox
    call: Call
    session: Object
    configuration: Object
    customer: Object
    form: Mapping[str, str]
    posted: bool
    note: str | None

    def allows(self, feature: str) -> bool:
        """Say whether the configuration switches a feature on."""
        return bool(self.configuration["features"][feature]["enabled"])

    def link(self, step: str = "") -> str:
        """Return the address of a step of the portal, or of its home page."""
        home = f"/p/session/{self.session['_token']}"
        return f"{home}/{step}" if step else home

    @property
    def flow(self) -> Object | None:
        """The one thing this session was made for, as long as it is not done."""
        return None if self.session["_flow_done"] else self.session["flow"]

    @property
    def flow_step(self) -> str | None:
        """The step that the flow leads to."""
        if self.flow is None:
            return None
        kind = self.flow["type"]
        step = _FLOW_STEPS[kind]
        return step.format(self.flow[kind]["subscription"]) if "{}" in step else step

    @property
    def way_back(self) -> str | None:
        """Where a step that is not wanted after all leads: out of a flow, else to the home page."""
        return self.session["return_url"] if self.flow else self.link()

    @property
    def living(self) -> list[Object]:
        """The customer's subscriptions that have not ended, newest first."""
        found = self.call.store.find("subscription", [equals("customer", self.customer["id"])])
        return [subscription for subscription in found if subscription["status"] not in ENDED]

    def own(self, subscription_id: str) -> Object | None:
        """Return a living subscription of the customer's, or None."""
        return next((one for one in self.living if one["id"] == subscription_id), None)

    def entered(self, name: str) -> str:
        """Return what was entered in a field, or asked for in the address of a page."""
        return self.form.get(name, "").replace("\x00", "").strip()

    def show(self, template: str, status: int = 200, **values: object) -> Response:
        """Return a page of the portal; its forms may lead back to where the customer came from."""
        return show(self.sandbox, template, status, form_target=self._way_out, visit=self, **values)

    @property
    def _way_out(self) -> str | None:
        after = self.flow["after_completion"] if self.flow else None
        return str(after["redirect"]["return_url"]) if after and after["redirect"] else None

    def done(self, flow_type: str, note: str) -> Response:
        """Lead on after an act: as the flow says when it was what the flow is for, else to the home page.

        A flow that ends in an act of this type (an update, confirmed at once) is for it as well.
        """
        flow = self.flow
        if flow is None or not flow["type"].startswith(flow_type):
            return self.to(f"{self.link()}?note={note}")
        after = flow["after_completion"]
        target = self._way_out
        self.call.store.save(self.session | {"_flow_done": True})
        if target is not None:
            return self.to(target, target)
        return self.to(f"{self.link('done' if after['type'] == 'hosted_confirmation' else '')}?note={note}")

    def to(self, address: str, form_target: str | None = None) -> Response:
        """Return a redirect after a post."""
        answer = redirect(address, 303)
        return guard(Response(answer.get_data(), 303, headers=dict(answer.headers)), form_target)


def open_visit(
    sandbox: Sandbox, call: Call, session: Object, form: Mapping[str, str], *, posted: bool, note: str | None
) -> Visit:
    """Return the visit of an open session, by its customer's clock; raises when the customer is gone."""
    configuration = fetch(call, "billing_portal.configuration", session["configuration"])
    customer = fetch(call, "customer", session["customer"])
    return Visit(sandbox, call_for(call, customer), session, configuration, customer, form, posted, note)
