"""Quotes are what the SDK annotates, in answers and in events, from the draft to what comes of it."""

from typing import Any

from tests.contract.recording import Recording


def test_quotes(recording: Recording) -> None:
    v1, driver = recording.v1, recording.driver
    customer = v1.customers.create({"payment_method": "pm_card_visa", "address": {"country": "DE"}}).id
    card = v1.payment_methods.list({"customer": customer}).data[0].id
    v1.customers.update(customer, {"invoice_settings": {"default_payment_method": card}})
    monthly, once = driver.price(2900)["id"], driver.price(500, interval=None)["id"]
    rate = v1.tax_rates.create({"display_name": "VAT", "percentage": 19, "inclusive": False}).id
    coupon = driver.post("/v1/coupons", {"percent_off": 10, "duration": "forever"})["id"]
    params: Any = {"customer": customer, "header": "An offer", "footer": "Thank you", "metadata": {"by": "us"}}
    lines: Any = [{"price": monthly, "quantity": 2}, {"price": once, "tax_rates": [rate]}]
    expand: Any = {"expand": ["line_items.data.taxes", "default_tax_rates", "discounts", "customer"]}
    offer = v1.quotes.create(
        params
        | expand
        | {"line_items": lines, "discounts": [{"coupon": coupon}], "default_tax_rates": [rate]}
        | {"subscription_data": {"trial_period_days": 7, "metadata": {"plan": "pro"}}}
    )
    v1.quotes.update(offer.id, {"description": "For a year", "subscription_data": {"trial_period_days": ""}})
    v1.quotes.line_items.list(offer.id)
    v1.quotes.computed_upfront_line_items.list(offer.id)
    v1.quotes.finalize_quote(offer.id, {"expires_at": offer.expires_at + 86400})
    assert v1.quotes.pdf(offer.id).io.read().startswith(b"%PDF")
    done = v1.quotes.accept(offer.id, {"expand": ["subscription.latest_invoice"]})
    assert done.subscription is not None
    single = v1.quotes.create(params | {"line_items": [{"price": once}], "automatic_tax": {"enabled": True}})
    v1.quotes.finalize_quote(single.id)
    v1.quotes.accept(single.id, {"expand": ["invoice"]})
    v1.quotes.cancel(v1.quotes.create({}).id)
    v1.quotes.retrieve(single.id)
    v1.quotes.list({"customer": customer, "status": "accepted"})
    problems, checker = recording.problems()
    assert sorted(problems) == []
    assert checker.objects["quote"] > 15
    assert {"quote.accepted", "quote.canceled", "quote.created", "quote.finalized"} <= set(driver.event_types())
