"""The page of a team's exports: asking for one, watching it, fetching the file."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response, abort, flash, g, redirect, render_template, request, stream_with_context, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import UnprocessableEntity

from portal.accounts.access import current_membership, current_team, readers_zone, team_page
from portal.billing import switch
from portal.core.authz import Action, may
from portal.core.exporting import Export as Source
from portal.core.tenancy import load_for
from portal.core.unit_of_work import end_read, unit_of_work
from portal.exports.asking import PER_DAY, OneIsRunning, TooManyToday, ask, narrowed_by
from portal.exports.listing import narrowed_words, rows_of
from portal.exports.making import FORMAT_WORDS, parts_of
from portal.exports.models import Export
from portal.exports.registry import sources

bp = Blueprint("exports", __name__)
BLUEPRINTS = [bp]

MIMETYPES = {"csv": "text/csv", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}
RUNNING = "An export of this team is being made. Wait until it is ready, then ask for the next one."
ENOUGH = (
    f"This team has asked for {PER_DAY} exports within a day, which is the most. Nothing was started; try again later."
)


@bp.get("/teams/<team_id>/exports", endpoint="exports")
@team_page(Action.VIEW_BILLING)
def exports_page() -> str:
    return render_template("exports/exports.html", **_page(request.args.to_dict()))


@bp.post("/teams/<team_id>/exports", endpoint="ask")
@team_page(Action.VIEW_BILLING)
def ask_for_export() -> ResponseReturnValue:
    team, form = current_team(), request.form.to_dict()
    name, file_format = form.get("of", ""), form.get("format", "")
    if name not in _offered() or file_format not in FORMAT_WORDS:
        raise UnprocessableEntity("There is no such export.")
    zone = readers_zone() if sources()[name].readers_days else team.time_zone
    try:
        with unit_of_work():
            ask(team, current_membership().user_id, name, file_format, form, zone)
    except (OneIsRunning, TooManyToday) as refusal:
        words, status = (RUNNING, 409) if isinstance(refusal, OneIsRunning) else (ENOUGH, 429)
        flash(words, "error")
        return render_template("exports/exports.html", **_page(form)), status
    flash("The export is on its way. You can leave this page; your inbox tells you when it is ready.", "success")
    return redirect(url_for("exports.exports", team_id=team.id), 303)


@bp.get("/teams/<team_id>/exports/<export_id>/progress")
@team_page(Action.VIEW_BILLING)
def progress(export_id: str) -> ResponseReturnValue:
    """The export's row as it is now, for the page that watches it, which keeps nobody signed in."""
    g.unattended = True
    found = rows_of(current_team().id, _offered(), export_id)
    if not found:
        abort(404)
    row = render_template("exports/_export_row.html", team=current_team(), row=found[0])
    return row if found[0].is_open else row + _news(found[0].failure)


def _news(failure: str) -> str:
    """What goes along with a row that is no longer watched: a toast, and the inbox's count, which has one more."""
    flash(failure or "Your export is ready.", "success")
    parts = ("notifications/_bells.html", "_layout/_toasts.html")
    return "".join(render_template(part, swapped_along=True) for part in parts)


@bp.get("/teams/<team_id>/exports/<export_id>/file")
@team_page(Action.VIEW_BILLING)
def download(export_id: str) -> Response:
    """The file, once it is whole, to those who may see what is in it."""
    export = load_for(current_team().id, Export, export_id)
    if export.source not in _offered() or export.state != "done":
        abort(404)
    answer = Response(stream_with_context(_pieces(export.id)), mimetype=MIMETYPES[export.format])
    name = f"{export.source}-{export.created_at:%Y-%m-%d}.{export.format}"
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    answer.headers["Content-Length"] = str(export.size_bytes)
    return answer


def _pieces(export_id: str) -> Iterator[bytes]:
    """Whoever fetches it may be slow, and no transaction waits for that."""
    for piece in parts_of(export_id):
        end_read()
        yield piece


def _offered() -> dict[str, Source]:
    """What the role may see, without the lists of billing where that is hidden."""
    role, billing = current_membership().role, switch.open_for(current_team().id)
    return {
        name: source
        for name, source in sources().items()
        if may(role, source.action) and (billing or not source.of_billing)
    }


def _page(asked: dict[str, str]) -> dict[str, object]:
    """`asked` may name a list and what it was narrowed to, as a page that leads here does."""
    offered, team = _offered(), current_team()
    chosen = asked.get("of") if asked.get("of") in offered else None
    narrowed = narrowed_by(chosen, asked) if chosen else {}
    further = {name: value for name, value in narrowed.items() if name not in ("since", "until")}
    return {
        "team": team,
        "offered": {name: source.title for name, source in offered.items()},
        "formats": FORMAT_WORDS,
        "format": asked.get("format", "csv"),
        "chosen": chosen,
        "narrowed": narrowed,
        "further": further,
        "further_words": narrowed_words(chosen, further) if chosen else "",
        "rows": rows_of(team.id, offered),
        "per_day": PER_DAY,
    }
