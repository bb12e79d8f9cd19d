"""Auto-purchase: consents, rules, purchases, and the threshold beside the balance.

The two columns of the accounts are nullable and their checks are validated beside the running application.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0031"
down_revision = "0029b"

PREFIXED_ID = sa.String(collation="C")
MOMENT = sa.DateTime(timezone=True)
NOW = sa.text("app_now()")
JSON = postgresql.JSONB(astext_type=sa.Text())
OPEN = "state in ('pending', 'charging', 'unknown', 'requires_action')"

CONSENT_CHECKS = {"text_version": "text_version > 0", "words": "words <> ''"}
RULE_CHECKS = {
    "threshold": "threshold > 0",
    "counts": "counts in ('total', 'subscription')",
    "counts_max": "day_count_max between 1 and month_count_max",
    "cents_max": "day_cents_max > 0 and month_cents_max between day_cents_max and 99999999",
    "state": "state in ('armed', 'stopped', 'capped')",
    "reason": "(state = 'armed') = (reason is null)",
    "capped_until": "(state = 'capped') = (capped_until is not null)",
    "stopped_fingerprint": "stopped_fingerprint is null or state = 'stopped'",
    "paused": "(paused_at is null) = (paused_reason is null)",
    "arming": "arming > 0",
}
INTENT_CHECKS = {
    "began_by": "began_by in ('threshold', 'refused', 'forced')",
    "state": "state in ('pending', 'charging', 'unknown', 'requires_action', 'granted', 'failed', 'canceled')",
    "positive": "least(credits, quantity, amount, arming) > 0",
    "expires_after_months": "expires_after_months > 0",
    "finished_at": f"(finished_at is not null) = (not {OPEN})",
    "failure_code": "(failure_code is not null) = (state in ('failed', 'canceled'))",
    "confirm_url": "(state = 'requires_action') = (confirm_url is not null)",
    "granted": "state <> 'granted' or payment_intent_stripe_id is not null",
    "attempts": "attempts >= 0",
}
ACCOUNT_CHECKS = {
    "purchase_counts": "purchase_counts in ('total', 'subscription')",
    "purchase_below": "(purchase_below is null) = (purchase_counts is null)",
}

# What is charged stays what it was when it was made, and what was paid stays paid.
GUARD_INTENT = """
create function guard_purchase_intent() returns trigger language plpgsql as $$
begin
    if (new.id, new.team_id, new.consent_id, new.began_by, new.arming, new.price_id, new.quantity, new.credits)
        is distinct from
        (old.id, old.team_id, old.consent_id, old.began_by, old.arming, old.price_id, old.quantity, old.credits)
        or (new.amount, new.currency, new.params, new.idempotency_key, new.expires_after_months, new.created_at)
        is distinct from
        (old.amount, old.currency, old.params, old.idempotency_key, old.expires_after_months, old.created_at)
        or (old.payment_intent_stripe_id is not null
            and new.payment_intent_stripe_id is distinct from old.payment_intent_stripe_id)
    then
        raise exception 'purchase intent %: what is charged is frozen', old.id using errcode = 'restrict_violation';
    end if;
    if old.state = 'granted' and new.state <> 'granted' then
        raise exception 'purchase intent %: what was paid stays paid', old.id using errcode = 'restrict_violation';
    end if;
    return new;
end $$
"""


def upgrade() -> None:
    op.execute("set lock_timeout = '4s'")
    _consents()
    _rules()
    _intents()
    _guards()
    op.add_column("credit_accounts", sa.Column("purchase_below", sa.BigInteger(), nullable=True))
    op.add_column("credit_accounts", sa.Column("purchase_counts", sa.String(), nullable=True))
    for name, rule in ACCOUNT_CHECKS.items():
        op.execute(f"alter table credit_accounts add constraint ck_credit_accounts_{name} check ({rule}) not valid")
        op.execute(f"alter table credit_accounts validate constraint ck_credit_accounts_{name}")


def _consents() -> None:
    op.create_table(
        "auto_purchase_consents",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("user_id", PREFIXED_ID, nullable=False),
        sa.Column("text_version", sa.Integer(), nullable=False),
        sa.Column("words", sa.String(), nullable=False),
        sa.Column("terms", JSON, nullable=False),
        sa.Column("at", MOMENT, server_default=NOW, nullable=False),
        *_checks("auto_purchase_consents", CONSENT_CHECKS),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_auto_purchase_consents_team_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_auto_purchase_consents_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_auto_purchase_consents")),
        sa.UniqueConstraint("team_id", "id", name=op.f("uq_auto_purchase_consents_team_id_id")),
    )


def _rules() -> None:
    op.create_table(
        "auto_purchase_rules",
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("consent_id", PREFIXED_ID, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("threshold", sa.BigInteger(), nullable=False),
        sa.Column("counts", sa.String(), nullable=False),
        sa.Column("price_id", PREFIXED_ID, nullable=False),
        sa.Column("day_count_max", sa.Integer(), nullable=False),
        sa.Column("month_count_max", sa.Integer(), nullable=False),
        sa.Column("day_cents_max", sa.BigInteger(), nullable=False),
        sa.Column("month_cents_max", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("state_since", MOMENT, server_default=NOW, nullable=False),
        sa.Column("stopped_fingerprint", sa.String(), nullable=True),
        sa.Column("capped_until", MOMENT, nullable=True),
        sa.Column("not_before", MOMENT, nullable=True),
        sa.Column("arming", sa.Integer(), server_default="1", nullable=False),
        sa.Column("paused_at", MOMENT, nullable=True),
        sa.Column("paused_reason", sa.String(), nullable=True),
        *_checks("auto_purchase_rules", RULE_CHECKS),
        _of_consent("auto_purchase_rules"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_auto_purchase_rules_team_id")),
        sa.ForeignKeyConstraint(["price_id"], ["prices.id"], name=op.f("fk_auto_purchase_rules_price_id")),
        sa.PrimaryKeyConstraint("team_id", name=op.f("pk_auto_purchase_rules")),
    )


def _intents() -> None:
    op.create_table(
        "purchase_intents",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("consent_id", PREFIXED_ID, nullable=False),
        sa.Column("began_by", sa.String(), nullable=False),
        sa.Column("arming", sa.Integer(), nullable=False),
        sa.Column("price_id", PREFIXED_ID, nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.Column("expires_after_months", sa.Integer(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("card_fingerprint", sa.String(), nullable=True),
        sa.Column("params", JSON, nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("payment_intent_stripe_id", PREFIXED_ID, nullable=True),
        sa.Column("confirm_url", sa.String(), nullable=True),
        sa.Column("failure_code", sa.String(), nullable=True),
        sa.Column("first_sent_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("run_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("lease_token", sa.String(), nullable=True),
        sa.Column("lease_holder", sa.BigInteger(), nullable=True),
        *_checks("purchase_intents", INTENT_CHECKS),
        _of_consent("purchase_intents"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_purchase_intents_team_id")),
        sa.ForeignKeyConstraint(["price_id"], ["prices.id"], name=op.f("fk_purchase_intents_price_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_purchase_intents")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_purchase_intents_idempotency_key")),
        sa.UniqueConstraint("payment_intent_stripe_id", name=op.f("uq_purchase_intents_payment_intent_stripe_id")),
    )
    for name, columns, where in (
        ("uq_purchase_intents_one_open", ["team_id"], OPEN),
        ("uq_purchase_intents_one_failure_an_arming", ["team_id", "arming"], "state = 'failed'"),
    ):
        op.create_index(name, "purchase_intents", columns, unique=True, postgresql_where=sa.text(where))
    op.create_index("ix_purchase_intents_team_id", "purchase_intents", ["team_id", "created_at"])
    op.create_index("ix_purchase_intents_due", "purchase_intents", ["run_at"], postgresql_where=sa.text(OPEN))


def _checks(table: str, rules: dict[str, str]) -> list[sa.CheckConstraint]:
    return [sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}")) for name, rule in rules.items()]


def _of_consent(table: str) -> sa.ForeignKeyConstraint:
    theirs = ["auto_purchase_consents.team_id", "auto_purchase_consents.id"]
    return sa.ForeignKeyConstraint(["team_id", "consent_id"], theirs, name=op.f(f"fk_{table}_team_id_consent_id"))


def _guards() -> None:
    for moment, act, each in (("update or delete", "append_only", "row"), ("truncate", "no_truncate", "statement")):
        op.execute(
            f"create trigger auto_purchase_consents_{act} before {moment} on auto_purchase_consents"
            f" for each {each} execute function refuse_change()"
        )
    op.execute(GUARD_INTENT)
    op.execute(
        "create trigger purchase_intents_guard before update on purchase_intents"
        " for each row execute function guard_purchase_intent()"
    )
    op.execute(
        "create trigger purchase_intents_no_delete before delete on purchase_intents"
        " for each row execute function refuse_change()"
    )


def downgrade() -> None:
    for name in ACCOUNT_CHECKS:
        op.drop_column("credit_accounts", name)
    for table in ("purchase_intents", "auto_purchase_rules", "auto_purchase_consents"):
        op.drop_table(table)
    op.execute("drop function guard_purchase_intent()")
