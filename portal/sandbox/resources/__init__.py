"""The resources of the API, one module each; importing this package makes all their types known."""

from portal.sandbox.endpoints import Endpoint
from portal.sandbox.resources import (
    account,
    charges,
    checkout_items,
    checkout_sessions,
    customers,
    events,
    invoice_lines,
    invoice_payments,
    invoices,
    payment_intents,
    payment_methods,
    portal_configurations,
    portal_sessions,
    prices,
    products,
    setup_intents,
    subscription_creation,
    subscription_items,
    subscriptions,
    webhook_endpoints,
)

_MODULES = (
    account,
    charges,
    checkout_items,
    checkout_sessions,
    customers,
    events,
    invoice_lines,
    invoice_payments,
    invoices,
    payment_intents,
    payment_methods,
    portal_configurations,
    portal_sessions,
    prices,
    products,
    setup_intents,
    subscription_creation,
    subscription_items,
    subscriptions,
    webhook_endpoints,
)
ENDPOINTS: tuple[Endpoint, ...] = tuple(endpoint for module in _MODULES for endpoint in module.ENDPOINTS)
