"""Usage and credits by keyboard and by script: another time, the numbers under every chart, a figure taken apart, a file."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.keyboard import press_enter_on
from tests.browser.people import Person, newcomer
from tests.browser.running import RunningStack
from tests.browser.usage_pages import DAYS, fill_for
from tests.browser.visitor import Arrive, Visitor

# The first pixels of a chart that is drawn are not all see-through.
DRAWN = """canvas => {
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return data.some((value, index) => index % 4 === 3 && value > 0);
}"""


def busy(arrive: Arrive, stack: RunningStack, name: str) -> tuple[Visitor, Person]:
    person = newcomer(stack, name, days=DAYS)
    someone = arrive(person)
    fill_for(someone, person)
    return someone, person


def charts_are_drawn(page: Page, count: int) -> None:
    charts = page.locator("[data-chart] canvas")
    expect(charts).to_have_count(count)
    for chart in charts.all():
        page.wait_for_function(DRAWN, arg=chart.element_handle())


def test_the_period_is_switched_by_keyboard_and_only_the_region_changes(arrive: Arrive, stack: RunningStack) -> None:
    someone, person = busy(arrive, stack, "Keyboard Kiosk")
    page = someone.page
    someone.go(f"/teams/{person.team_id}/usage")
    charts_are_drawn(page, 2)
    page.evaluate("window.kept = true")
    page.get_by_role("radio", name="This period").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Last 30 days")).to_be_checked()
    press_enter_on(page.get_by_role("button", name="Apply"))
    page.wait_for_url("**period=30**")
    expect(page.locator("#usage-region")).to_be_focused()
    expect(page.get_by_text("Forecast to")).to_have_count(0)
    charts_are_drawn(page, 2)
    assert page.evaluate("window.kept"), "the page was not loaded anew"
    page.reload()
    expect(page.get_by_role("radio", name="Last 30 days")).to_be_checked()


def test_every_chart_has_its_table_and_follows_the_theme(arrive: Arrive, stack: RunningStack) -> None:
    someone, person = busy(arrive, stack, "Chart Chapel")
    page = someone.page
    for path, count in (("usage", 2), ("credits", 1)):
        someone.go(f"/teams/{person.team_id}/{path}")
        charts_are_drawn(page, count)
        for figure in page.locator("[data-chart]").all():
            table = page.locator(f"#{figure.get_attribute('data-chart-table')}")
            summary = page.locator("details", has=table).locator("summary")
            summary.focus()
            page.keyboard.press("Enter")
            expect(table).to_be_visible()
            assert table.locator("tbody tr").count() > 20
        chart = page.locator("[data-chart] canvas").first
        light = chart.evaluate("canvas => canvas.toDataURL()")
        page.emulate_media(color_scheme="dark")
        page.wait_for_function(
            "([canvas, before]) => canvas.toDataURL() !== before", arg=[chart.element_handle(), light]
        )
        page.emulate_media(color_scheme="light")


def test_a_wrong_time_is_refused_in_place(arrive: Arrive, stack: RunningStack) -> None:
    someone, person = busy(arrive, stack, "Backward Bakery")
    page = someone.page
    someone.go(f"/teams/{person.team_id}/usage")
    page.get_by_text("Other dates", exact=True).click()
    page.get_by_label("from").fill("2026-05-02")
    page.get_by_label("to", exact=True).fill("2026-05-01")
    someone.press("Apply")
    expect(page.get_by_role("alert")).to_contain_text("must not lie before the first one")
    expect(page.get_by_role("heading", name="Usage", level=1)).to_have_count(1)


def test_the_balance_is_explained_where_it_stands_and_followed_to_its_grant(
    arrive: Arrive, stack: RunningStack
) -> None:
    someone, person = busy(arrive, stack, "Answer Archive")
    page = someone.page
    someone.go(f"/teams/{person.team_id}/credits")
    press_enter_on(page.get_by_role("link", name="Explain").first)
    explained = page.locator("#explained")
    expect(explained).to_be_focused()
    expect(explained).to_contain_text("are available")
    explained.get_by_role("link", name="Bundle of 5,000").first.click()
    expect(page.get_by_role("heading", name="Bundle of 5,000: 5,000 credits")).to_be_visible()
    page.get_by_role("link", name="$80.00").click()
    expect(page.get_by_role("main")).to_contain_text("Credits it bought")


def test_the_uses_are_exported_from_the_page(arrive: Arrive, stack: RunningStack) -> None:
    someone, person = busy(arrive, stack, "Export Emporium")
    page = someone.page
    someone.go(f"/teams/{person.team_id}/usage?period=30&meter=send_email")
    page.get_by_role("region", name="E-mails sent: uses").get_by_role("link", name="Export").click()
    expect(page.get_by_role("main")).to_contain_text("feature: ")
    someone.press("Export")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").first.click()
    lines = download.value.path().read_text().splitlines()
    assert lines[0].startswith("Time,Key of the report,Feature")
    assert len(lines) == 1 + 2 * DAYS
    assert all("E-mails sent" in line for line in lines[1:])
