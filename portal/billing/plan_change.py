"""Agreeing to a change that was shown, and giving up one that waits for the bank. The worker does what was agreed to."""

from __future__ import annotations

from sqlalchemy import select, update

from portal.accounts import audit
from portal.accounts.models import Team
from portal.accounts.seats import members_of
from portal.billing.change_models import LEAVE_KINDS, ChangePreview, PendingChange
from portal.billing.change_preview import open_change
from portal.billing.change_refused import ChangeRefused
from portal.core import clock, jobs
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import after_commit

SUBJECTS = {"seats": "seats_change", "addon": "addons_change"}
# Changes that came to nothing leave the subscription as it was, so that an earlier preview still holds.
CAME_TO_NOTHING = ("failed", "stale", "canceled")


def agree(team: Team, user_id: str, preview: ChangePreview) -> PendingChange:
    """Save, in the current unit, that a preview was agreed to; the same one again is the same change.

    Raises `ChangeRefused`: the preview has expired, another change is on its way or was made since, or the team has more
    members by now than it would have seats.
    """
    # A weak lock: a full one would wait for everybody who writes a row that names the team, and they for us.
    db.session.execute(select(Team.id).where(Team.id == team.id).with_for_update(key_share=True))
    known = change_of(preview)
    if known is not None:
        return known
    _refuse_outdated(preview)
    change_id = new_id("chg")
    change = PendingChange(
        id=change_id,
        team_id=team.id,
        user_id=user_id,
        preview_id=preview.id,
        idempotency_key=f"change-{change_id}",
        state="pending",
    )
    db.session.add(change)
    db.session.flush()
    audit.record(
        audit.by_user(user_id), f"{subject_of(preview)}.agreed", team_id=team.id, target=change.id, **facts(preview)
    )
    after_commit(jobs.hint_soon)
    return change


def change_of(preview: ChangePreview) -> PendingChange | None:
    """What a preview was agreed to as."""
    query = select(PendingChange).where(PendingChange.preview_id == preview.id)
    return db.session.execute(query).scalar_one_or_none()


def _refuse_outdated(preview: ChangePreview) -> None:
    if open_change(preview.team_id) is not None:
        raise ChangeRefused("open")
    if preview.expires_at <= clock.now():
        raise ChangeRefused("expired")
    since = (PendingChange.team_id == preview.team_id) & (PendingChange.created_at >= preview.created_at)
    made = select(PendingChange.id).where(since, PendingChange.state.not_in(CAME_TO_NOTHING)).limit(1)
    if db.session.execute(made).scalar() is not None:
        raise ChangeRefused("changed")
    members = members_of(preview.team_id)
    if preview.kind in ("plan", "seats") and preview.seats is not None and preview.seats < members:
        raise ChangeRefused("members_came", members=members, seats=preview.seats)


def withdraw(change: PendingChange, user_id: str) -> None:
    """Give up a change that waits for the bank's confirmation; the worker takes it back at Stripe."""
    waits = (PendingChange.id == change.id) & (PendingChange.state == "requires_action")
    asked = update(PendingChange).where(waits, PendingChange.withdrawn_at.is_(None))
    asked = asked.values(withdrawn_at=app_now(), run_at=app_now()).returning(PendingChange.id)
    if db.session.execute(asked, execution_options={"synchronize_session": False}).scalar() is not None:
        audit.record(audit.by_user(user_id), "change.withdrawn", team_id=change.team_id, target=change.id)
        after_commit(jobs.hint_soon)


def wake_waiting(team_id: str) -> None:
    """Something has happened to the team's subscription or invoice: look whether a change that waits is paid."""
    waits = (PendingChange.team_id == team_id) & (PendingChange.state == "requires_action")
    woken = update(PendingChange).where(waits).values(run_at=app_now()).returning(PendingChange.id)
    if db.session.execute(woken, execution_options={"synchronize_session": False}).scalar() is not None:
        after_commit(jobs.hint_soon)


def facts(preview: ChangePreview) -> dict[str, object]:
    """What a change is about, for the audit trail."""
    if preview.kind in ("undo", "resume", "pause"):
        return {"plan": preview.plan_key}
    if preview.kind in LEAVE_KINDS:
        given = (preview.params.get("details") or {}).get("feedback")
        sums = {"amount_cents": preview.shown["total"], "currency": preview.currency} if preview.shown["total"] else {}
        return {"plan": preview.plan_key, "reason": given, **sums}
    addon: dict[str, object] = (
        {"addon": preview.addon_key, "quantity": preview.addon_quantity} if preview.kind == "addon" else {}
    )
    return addon | {
        "plan": preview.plan_key,
        "interval": preview.interval,
        "seats": preview.seats,
        "when": "now" if preview.timing == "now" else "at the end of the period",
        "amount_cents": preview.amount_due,
        "currency": preview.currency,
    }


def subject_of(preview: ChangePreview) -> str:
    """What a change is about, as the audit trail names it until it is done."""
    return f"plan_{preview.kind}" if preview.kind in LEAVE_KINDS else SUBJECTS.get(preview.kind, "plan_change")
