"""The public pages: prices for each kind of viewer, the front door, the seller's colour."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient

from portal.core.ids import new_id
from tests.cast import Cast
from tests.stage import Stage


def page_of(client: FlaskClient, address: str = "/pricing") -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


class TestVisitor:
    def test_sees_prices_and_is_led_to_sign_up(self, client: FlaskClient) -> None:
        page = page_of(client)
        for words in ("$99", "$990", "2 months free", "Ask for a quote", "10,000 credits", "Fernway"):
            assert words in page
        assert "/checkout" not in page

    def test_sign_up_leads_back_to_the_plan(self, client: FlaskClient) -> None:
        page = page_of(client)
        start = page.index("/signup?next=")
        address = page[start : page.index('"', start)].replace("&amp;", "&")
        back = parse_qs(urlsplit(address).query)["next"][0]
        assert back.startswith("/pricing?plan=")
        assert client.get(back).status_code == 200

    def test_page_may_be_kept_but_is_asked_for_anew(self, client: FlaskClient) -> None:
        headers = client.get("/pricing").headers
        assert headers["Cache-Control"] == "no-cache"
        assert "Cookie" in headers["Vary"]

    @pytest.mark.parametrize("query", ["interval=year", "interval=week", "interval=", "team=x"])
    def test_takes_any_address(self, client: FlaskClient, query: str) -> None:
        checked = page_of(client, f"/pricing?{query}").split("checked", 1)[0].rsplit("value=", 1)[1]
        assert checked.startswith('"year"' if query == "interval=year" else '"month"')


class TestSignedIn:
    @pytest.mark.parametrize("role", ["owner", "admin", "billing"])
    def test_who_may_buy_finds_a_form(self, cast: Cast, role: str) -> None:
        page = page_of(cast.by_role()[role].client)
        assert f'action="/teams/{cast.team_id}/checkout"' in page
        assert "Subscribe to Business" in page

    def test_member_finds_the_reason_instead(self, cast: Cast) -> None:
        page = page_of(cast.member.client)
        assert "/checkout" not in page
        assert "Only an owner, an admin or a billing contact" in page

    def test_page_is_theirs_alone(self, cast: Cast) -> None:
        assert cast.owner.client.get("/pricing").headers["Cache-Control"] == "no-store"

    def test_buys_for_the_team_of_the_address(self, cast: Cast) -> None:
        page = page_of(cast.outsider.client, f"/pricing?team={cast.other_team_id}")
        assert f'action="/teams/{cast.other_team_id}/checkout"' in page

    def test_other_teams_are_not_there(self, cast: Cast) -> None:
        for team_id in (cast.team_id, new_id("team"), "x"):
            assert cast.outsider.client.get(f"/pricing?team={team_id}").status_code == 404

    def test_subscriber_sees_the_plan_and_previews_of_the_others(self, cast: Cast, stage: Stage) -> None:
        stage.subscribe(cast.owner, cast.team_id, "business")
        stage.deliver_all()
        page = page_of(cast.owner.client)
        assert "/checkout" not in page
        assert f'action="/teams/{cast.team_id}/plan/previews"' in page
        assert "Cancel the plan on the overview" in page
        assert "Switch to yearly" in page
        assert page.count("data-current") == 1


class TestFrontDoor:
    def test_leads_visitors_to_the_prices(self, client: FlaskClient) -> None:
        assert client.get("/").location == "/pricing"

    def test_leads_people_to_their_teams(self, cast: Cast) -> None:
        assert cast.owner.client.get("/").location == "/teams"


class TestAccent:
    def test_is_one_colour_that_a_browser_may_keep(self, client: FlaskClient) -> None:
        answer = client.get("/accent.css")
        assert answer.get_data(as_text=True) == ":root { --tp-accent: #4456d8; }\n"
        assert answer.mimetype == "text/css"
        assert answer.headers["Cache-Control"] == "public, max-age=300"
        again = client.get("/accent.css", headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
