"""The invoice as a PDF file: a reader must find every object where the table says, and the words as they were given."""

import re

from portal.sandbox.hosted.invoice_pdf import LINES_SHOWN
from portal.sandbox.pdf import Page, width
from tests.sandbox.driving import Driver, Json


def _invoice(sandbox: Driver, **customer: str) -> Json:
    made = sandbox.post("/v1/customers", {"email": "ada@example.com", **customer})["id"]
    paid = sandbox.paid(sandbox.session(sandbox.price(129000), customer=made))
    return sandbox.get(f"/v1/invoices/{paid['invoice']}")


def _texts(file: bytes) -> list[str]:
    """Return the words of a file in their order, as a reader shows them."""
    found = re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", file)
    return [re.sub(rb"\\(.)", rb"\1", raw).decode("cp1252") for raw in found]


def _check_structure(file: bytes) -> None:
    assert file.startswith(b"%PDF-1.4\n")
    assert file.endswith(b"%%EOF\n")
    start = int(re.findall(rb"startxref\n(\d+)\n", file)[0])
    assert file[start:].startswith(b"xref\n0 8\n0000000000 65535 f \n")
    entries = re.findall(rb"(\d{10}) 00000 n \n", file[start:])
    for number, offset in enumerate(entries, start=1):
        assert file[int(offset) :].startswith(b"%d 0 obj\n" % number)
    assert len(entries) == 7
    length, stream = re.findall(rb"/Length (\d+) >>\nstream\n(.*)\nendstream", file, re.DOTALL)[0]
    assert int(length) == len(stream)


def test_the_invoice_is_a_real_file(sandbox: Driver) -> None:
    invoice = _invoice(sandbox, name="Ada", **{"address[city]": "Bonn", "address[country]": "DE"})
    response = sandbox.client.get(invoice["invoice_pdf"].removeprefix("http://127.0.0.1:12111"))
    assert (response.status_code, response.content_type) == (200, "application/pdf")
    assert response.headers["Content-Disposition"] == f'inline; filename="invoice-{invoice["number"]}.pdf"'
    _check_structure(response.data)
    texts = _texts(response.data)
    for words in (f"Invoice {invoice['number']}", "Paid", "Ada", "Bonn, DE", "$1,290.00", "$0.00"):
        assert words in texts, words
    assert sandbox.client.get("/i/in_no/pdf").status_code == 404


def test_any_name_is_only_text(sandbox: Driver) -> None:
    name = "Zoë (Ltd) \\ ) Tj ET 名前\r\n€"
    file = sandbox.client.get(f"/i/{_invoice(sandbox, name=name)['id']}/pdf").data
    _check_structure(file)
    assert "Zoë (Ltd) \\ ) Tj ET ??  €" in _texts(file)


def test_what_is_too_long_is_cut_and_counted(sandbox: Driver) -> None:
    lines = {"mode": "payment", "invoice_creation[enabled]": "true"}
    for number in range(LINES_SHOWN + 2):
        lines[f"line_items[{number}][price]"] = sandbox.price(100, interval=None, name="W" * 200)["id"]
        lines[f"line_items[{number}][quantity]"] = "1"
    texts = _texts(sandbox.client.get(f"/i/{sandbox.paid(sandbox.session(**lines))['invoice']}/pdf").data)
    assert "2 more lines" in texts
    cut = [words for words in texts if words.startswith("WWW")]
    assert len(cut) == LINES_SHOWN
    assert all(words.endswith("…") for words in cut)


def test_sums_end_at_the_same_place() -> None:
    page = Page("Sums")
    for number, words in enumerate(("$1.00", "$1,290.00")):
        page.text_right(500, 100 + 20 * number, words)
    places = [float(x) for x in re.findall(rb"Tf ([\d.]+) ", page.file())]
    assert [
        round(place + width(words, 10), 1) for place, words in zip(places, ("$1.00", "$1,290.00"), strict=True)
    ] == [
        500.0,
        500.0,
    ]
