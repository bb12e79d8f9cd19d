"""What a checkout asks its payer to agree to: nothing is paid without the terms, and news may be refused."""

import pytest

from tests.sandbox.driving import DECLINED_CARD, Driver, Json

TERMS = {"consent_collection[terms_of_service]": "required"}
NEWS = {"consent_collection[promotions]": "auto"}
AGREED = {"terms_of_service": "accepted"}
BOX = 'name="terms_of_service"'


def page_of(sandbox: Driver, session: Json) -> str:
    return sandbox.client.get(f"/c/pay/{session['id']}").get_data(as_text=True)


def test_nothing_is_asked_or_told_that_was_not_sent(sandbox: Driver) -> None:
    session = sandbox.session()
    assert BOX not in page_of(sandbox, session)
    paid = sandbox.paid(session)
    assert (paid["consent_collection"], paid["consent"]) == (None, None)


@pytest.mark.parametrize("mode", ["subscription", "payment", "setup"])
def test_nothing_is_paid_without_the_terms(sandbox: Driver, mode: str) -> None:
    if mode == "setup":
        sent = {"mode": mode, "currency": "usd", "success_url": "http://127.0.0.1:9/return"}
        session = sandbox.post("/v1/checkout/sessions", sent | TERMS)
    else:
        session = sandbox.session(sandbox.price(interval=None if mode == "payment" else "month"), mode=mode, **TERMS)
    asked = {"payment_method_reuse_agreement": None, "promotions": "none", "terms_of_service": "required"}
    assert (session["consent_collection"], session["consent"]) == (asked, None)
    assert BOX in page_of(sandbox, session)
    before = sandbox.count()

    refused = sandbox.pay(session)
    assert refused.status_code == 422
    assert "Agree to the terms of service to go on." in refused.get_data(as_text=True)
    after = sandbox.get(f"/v1/checkout/sessions/{session['id']}")
    assert (after["status"], after["consent"], sandbox.count()) == ("open", None, before)

    paid = sandbox.paid(session, **AGREED)
    assert paid["consent"] == {"promotions": None, "terms_of_service": "accepted"}


def test_a_declined_card_does_not_forget_the_tick(sandbox: Driver) -> None:
    session = sandbox.session(**TERMS)
    declined = sandbox.pay(session, DECLINED_CARD, **AGREED)
    assert declined.status_code == 402
    ticked = declined.get_data(as_text=True).split(BOX)[1].split(">")[0]
    assert "checked" in ticked


@pytest.mark.parametrize(("ticked", "told"), [({}, "opt_out"), ({"promotions": "opt_in"}, "opt_in")])
def test_news_may_be_refused(sandbox: Driver, ticked: Json, told: str) -> None:
    session = sandbox.session(**NEWS)
    assert 'name="promotions"' in page_of(sandbox, session)
    assert sandbox.paid(session, **ticked)["consent"] == {"promotions": told, "terms_of_service": None}


def test_who_is_asked_by_the_bank_has_agreed_already(sandbox: Driver) -> None:
    session = sandbox.session(**TERMS)
    assert sandbox.pay(session, {"card_number": "4000 0025 0000 3155"}, **AGREED).status_code == 303
    asking = f"/c/pay/{session['id']}/authenticate"
    assert sandbox.client.post(asking, data={"answer": "complete"}).status_code == 303
    paid = sandbox.get(f"/v1/checkout/sessions/{session['id']}")
    assert (paid["status"], paid["consent"]["terms_of_service"]) == ("complete", "accepted")


def test_what_the_seller_says_stands_on_the_page(sandbox: Driver) -> None:
    said = {"submit": "Due <today>.", "terms_of_service_acceptance": "I accept the rules of the harbor."}
    session = sandbox.session(**TERMS, **{f"custom_text[{name}][message]": text for name, text in said.items()})
    assert session["custom_text"]["submit"] == {"message": "Due <today>."}
    page = page_of(sandbox, session)
    assert "Due &lt;today&gt;." in page
    assert "I accept the rules of the harbor." in page


def test_only_the_page_takes_consent(sandbox: Driver) -> None:
    session = sandbox.session(**TERMS)
    confirm = f"/v1/payment_pages/{session['id']}/confirm"
    status, error = sandbox.error("POST", confirm, {"payment_method": "pm_card_visa"})
    assert (status, error["param"]) == (400, "session")
    assert "terms" in error["message"]


def test_the_text_about_the_card_may_be_hidden(sandbox: Driver) -> None:
    hidden = "consent_collection[payment_method_reuse_agreement][position]"
    session = sandbox.session(**{hidden: "hidden"})
    assert session["consent_collection"]["payment_method_reuse_agreement"] == {"position": "hidden"}
    assert sandbox.paid(session)["consent"] is None
