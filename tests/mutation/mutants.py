"""The planted bugs: each a small change of the portal's code that must not pass the tests.

`old` stands exactly once in the file (a test holds that), and `new` takes its place in a copy of the tree.
"""

from __future__ import annotations

from dataclasses import dataclass

LEDGER = "tests/lifecycle/credits/test_ledger.py"
CONCURRENCY = "tests/lifecycle/credits/test_concurrency.py"
GUARDS = "tests/lifecycle/credits/test_guards.py"
UNDO = "tests/lifecycle/credits/test_undo.py"
UNDO_TABLE = "tests/lifecycle/credits/test_undo_table.py"
HOLDS = "tests/lifecycle/credits/test_holds.py"
BATCHES = "tests/lifecycle/test_usage_batches.py"
METERED = "tests/web/api/test_usage_details.py"
AUTO_PURCHASE = "tests/lifecycle/test_auto_purchase.py"
AUTO_PURCHASE_TERMS = "tests/lifecycle/test_auto_purchase_terms.py"
PURCHASE_SIZE = "tests/unit/credits/test_purchase_size.py"
METER_REPORTS = "tests/lifecycle/test_meter_reports.py"
UPGRADES = "tests/lifecycle/test_upgrade_grants.py"
DISPUTES = "tests/lifecycle/test_disputes.py"
SUBSCRIBE = "tests/lifecycle/test_subscribe.py"
BUNDLES = "tests/lifecycle/test_bundles.py"
LEASES = "tests/lifecycle/test_leases.py"
ONE_LOOK = "tests/lifecycle/test_one_look.py"
FAULTS_ORDER = "tests/lifecycle/test_faults_order.py"
PERIODS = "tests/unit/credits/test_periods.py"
PAID_PERIODS = "tests/lifecycle/test_paid_periods.py"
SIGNATURE = "tests/unit/webhooks/test_signature.py"
WEBHOOK = "tests/web/test_webhook_route.py"
USAGE = "tests/web/api/test_usage.py"
METERED_ROUTES = "tests/web/api/test_metered_routes.py"
BUDGETS = "tests/web/usage/test_budgets.py"
ONCE = "tests/web/api/test_once.py"
UNIT_OF_WORK = "tests/unit/core/test_unit_of_work.py"

BOOK = "portal/credits/book.py"
STORAGE = "portal/credits/storage.py"
LEDGER_PY = "portal/credits/ledger.py"
CREDITS_TABLES = "migrations/versions/0003_credits.py"
INBOX_TABLES = "migrations/versions/0004_billing_webhooks.py"


@dataclass(frozen=True)
class Mutant:
    """`bug` says what somebody might do, `caught_by` in which tests it has to come to light."""

    name: str
    bug: str
    file: str
    old: str
    new: str
    caught_by: tuple[str, ...]


MUTANTS = (
    # --- the tables
    Mutant(
        "grants-without-unique-cause",
        "drop the UNIQUE that lets a cause grant once",
        CREDITS_TABLES,
        '        sa.UniqueConstraint("team_id", "cause_key", name=op.f("uq_credit_grants_team_id_cause_key")),\n',
        "",
        (GUARDS, CONCURRENCY),
    ),
    Mutant(
        "entries-without-unique-cause",
        "drop the UNIQUE that lets a cause be posted once",
        CREDITS_TABLES,
        '        sa.UniqueConstraint("team_id", "cause_key", name=op.f("uq_credit_entries_team_id_cause_key")),\n',
        "",
        (GUARDS,),
    ),
    Mutant(
        "entries-without-unique-version",
        "drop the UNIQUE that makes the versions of an account a sequence",
        CREDITS_TABLES,
        '        sa.UniqueConstraint("team_id", "version", name=op.f("uq_credit_entries_team_id_version")),\n',
        "",
        (GUARDS,),
    ),
    Mutant(
        "available-may-be-negative",
        "drop the CHECK that nothing is overspent",
        CREDITS_TABLES,
        '        sa.CheckConstraint("available >= 0", name=op.f("ck_credit_accounts_available")),\n',
        "",
        (GUARDS,),
    ),
    Mutant(
        "history-may-be-changed",
        "guard the history against deletion and forget updates",
        CREDITS_TABLES,
        'f"create trigger {table}_append_only before update or delete on {table}"',
        'f"create trigger {table}_append_only before delete on {table}"',
        (GUARDS,),
    ),
    Mutant(
        "a-grant-may-grow",
        "let what remains of a lot rise again",
        CREDITS_TABLES,
        "if new.remaining > old.remaining then",
        "if new.remaining > new.amount then",
        (GUARDS,),
    ),
    Mutant(
        "events-without-unique-id",
        "drop the UNIQUE that keeps an event once",
        INBOX_TABLES,
        '        sa.UniqueConstraint("event_id", name=op.f("uq_stripe_events_event_id")),\n',
        "",
        (WEBHOOK,),
    ),
    # --- the ledger
    Mutant(
        "expiry-includes-its-instant",
        "`<` for `<=` at expiry: a lot can be spent in the instant in which it ends",
        BOOK,
        "if lot.expires_at is not None and lot.expires_at <= self.now:",
        "if lot.expires_at is not None and lot.expires_at < self.now:",
        (LEDGER,),
    ),
    Mutant(
        "a-start-is-missed",
        "`>=` for `>` at the start: a lot does not begin in its instant",
        BOOK,
        "if lot.effective_at > self.now:",
        "if lot.effective_at >= self.now:",
        (LEDGER,),
    ),
    Mutant(
        "spends-the-last-first",
        "spend what ends last first",
        BOOK,
        "return (lot.expires_at or _NEVER, KIND_RANK[lot.kind], lot.id)",
        "return (-(lot.expires_at or _NEVER).timestamp(), KIND_RANK[lot.kind], lot.id)",
        (LEDGER,),
    ),
    Mutant(
        "overspends-by-one",
        "`>` for `>=` around the balance: one credit more than there is",
        BOOK,
        "        if amount > self.available:\n            raise self.insufficient(amount)\n        takes =",
        "        if amount > self.available + 1:\n            raise self.insufficient(amount)\n        takes =",
        (LEDGER,),
    ),
    Mutant(
        "debt-is-forgotten",
        "let a new grant be spent before the debt is repaid",
        BOOK,
        "repaid = min(self.debt, lot.amount)",
        "repaid = 0",
        (LEDGER,),
    ),
    Mutant(
        "debt-is-not-made",
        "take back what is left and forget what was spent already",
        BOOK,
        "        self.debt += owed\n",
        "",
        (LEDGER,),
    ),
    Mutant(
        "ends-after-it-begins",
        "post what begins before what ends at the same moment, so that two periods show at once",
        BOOK,
        "place = (0, lot.id, 0) if lot.expires_at > lot.effective_at else (1, lot.id, 1)",
        "place = (2, lot.id, 0)",
        (LEDGER,),
    ),
    Mutant(
        "no-lock",
        "read the account without locking it",
        STORAGE,
        'LOCK_ACCOUNT = Statement("select 1 from credit_accounts where team_id = :team_id for update")',
        'LOCK_ACCOUNT = Statement("select 1 from credit_accounts where team_id = :team_id")',
        (CONCURRENCY,),
    ),
    Mutant(
        "book-read-before-the-lock",
        "read the book before the lock is had, and act on what was true then",
        LEDGER_PY,
        "    lock_account(team_id)\n    book, known = load_book_with_cause(team_id, cause_key)\n    if known:\n"
        '        first = known.get("entry")',
        "    early = load_book_with_cause(team_id, cause_key)\n    lock_account(team_id)\n    book, known = early\n"
        '    if known:\n        first = known.get("entry")',
        (CONCURRENCY,),
    ),
    Mutant(
        "the-same-spend-twice",
        "forget to ask whether a cause had its effect already",
        LEDGER_PY,
        '    if known:\n        first = known.get("entry")',
        '    if False:\n        first = known.get("entry")',
        (LEDGER,),
    ),
    Mutant(
        "the-clock-of-the-host",
        "use the host's clock for the ledger instead of the shared one",
        STORAGE,
        "from (select {APP_NOW} as now) clock cross join credit_accounts a",
        "from (select clock_timestamp() as now) clock cross join credit_accounts a",
        (LEDGER,),
    ),
    Mutant(
        "a-float",
        "work out the part of a refund in floating point",
        "portal/credits/undo.py",
        "return granted * back // paid",
        "return int(granted * (back / paid))",
        (UNDO,),
    ),
    Mutant(
        "a-refund-rounds-up",
        "take back a credit more than was refunded",
        "portal/credits/undo.py",
        "return granted * back // paid",
        "return -(-granted * back // paid)",
        (UNDO,),
    ),
    Mutant(
        "the-first-months-go-first",
        "take the months back that are over, and leave those to come",
        "portal/credits/undo.py",
        "later = sum(lot.amount for lot in lots[place + 1 :])",
        "later = sum(lot.amount for lot in lots[:place])",
        (UNDO,),
    ),
    Mutant(
        "an-inquiry-freezes",
        "freeze credits when a bank only asks",
        "portal/billing/dispute_models.py",
        'OPEN_STATUSES = ("needs_response", "under_review")',
        'OPEN_STATUSES = ("needs_response", "under_review", "warning_needs_response")',
        (DISPUTES,),
    ),
    Mutant(
        "frozen-is-spent",
        "let what a dispute has frozen be spent",
        BOOK,
        "return self.remaining - self.held - self.frozen",
        "return self.remaining - self.held",
        (LEDGER,),
    ),
    # --- holds
    Mutant(
        "held-is-spent",
        "let what is held for one use be spent by another",
        BOOK,
        "return self.remaining - self.held - self.frozen",
        "return self.remaining - self.frozen",
        (HOLDS,),
    ),
    Mutant(
        "a-hold-outlives-its-end",
        "`<` for `<=` at the end of a hold: it can be settled in the instant in which it is over",
        BOOK,
        'if hold.state == "open" and hold.expires_at <= self.now:',
        'if hold.state == "open" and hold.expires_at < self.now:',
        (HOLDS,),
    ),
    Mutant(
        "held-expires",
        "let a lot expire under what is held of it",
        BOOK,
        '        if lot.state == "live" and lot.held:\n            self._lapse(lot)\n            return\n',
        "",
        (HOLDS,),
    ),
    # --- metering
    Mutant(
        "a-key-twice-in-a-batch",
        "record a use for each time that its key stands in a batch",
        "portal/usage/metering.py",
        "        self._found.stored[use.key] = kept\n",
        "",
        (BATCHES, "tests/web/api/test_usage_batch.py"),
    ),
    Mutant(
        "one-more-than-included",
        "let a plan without overage pass what it includes by one",
        "portal/usage/metering.py",
        "        if used > terms.included:\n            raise",
        "        if used > terms.included + 1:\n            raise",
        (METERED, "tests/web/api/test_usage_batch.py"),
    ),
    Mutant(
        "a-key-opens-every-request",
        "let a key that was paid for once stand for any other request to the route",
        "portal/usage/metered.py",
        ":{sent[:60]}:{_digest_of_request(sent, user_id)}",
        ":{sent}",
        (METERED_ROUTES,),
    ),
    Mutant(
        "routes-pass-a-budget",
        "ask before the action for credits alone, and for no budget",
        "portal/usage/metering.py",
        "return budgets.refusal(use, cost, at) or shortage(use.team_id, cost)",
        "return shortage(use.team_id, cost)",
        (METERED_ROUTES,),
    ),
    Mutant(
        "units-pass-a-budget",
        "ask the budgets for what takes credits alone",
        "portal/usage/metering.py",
        "            with self._budgets.taken(use, use.quantity, occurred_at, use.meter):\n",
        "            if terms:\n",
        (BUDGETS,),
    ),
    Mutant(
        "holds-pass-a-budget",
        "hold credits for a key whose budget is used up",
        "portal/usage/held_uses.py",
        "        _keep_to_budget(asked, amount, found.now)\n",
        "        pass\n",
        (BUDGETS,),
    ),
    Mutant(
        "late-uses-pass-a-budget",
        "look up the budgets of the latest month alone",
        "portal/usage/budgets.py",
        "moments = list({at.isoformat() for _use, at in asked})",
        "moments = [max(at for _use, at in asked).isoformat()]",
        (BUDGETS,),
    ),
    Mutant(
        "reports-all-again",
        "report the whole total of a day each time, not what is owed of it",
        "portal/usage/meter_reports.py",
        "d.quantity - coalesce(r.quantity, 0) as owed",
        "d.quantity as owed",
        (METER_REPORTS,),
    ),
    Mutant(
        "a-new-name-each-time",
        "tell Stripe of the same report under another name each time",
        "portal/usage/meter_sending.py",
        '"identifier": report.identifier,',
        '"identifier": f"{report.identifier}-{report.attempts}",',
        (METER_REPORTS,),
    ),
    # --- auto-purchase
    Mutant(
        "buys-for-every-try",
        "buy for each time that a use was refused in one call, and not for the use",
        "portal/usage/metering.py",
        "    refused = [outcome for outcome in by_key.values() if isinstance",
        "    refused = [outcome for outcome in outcomes if isinstance",
        (AUTO_PURCHASE,),
    ),
    Mutant(
        "charges-while-disputed",
        "charge what was not sent yet although a payment was undone meanwhile",
        "portal/credits/purchase_outcome.py",
        '    if rule.state == "stopped":  # a payment was refunded or disputed meanwhile\n        return rule.reason\n',
        "",
        (AUTO_PURCHASE,),
    ),
    Mutant(
        "charges-by-old-terms",
        "charge what was not sent yet although other terms were agreed to meanwhile",
        "portal/credits/purchase_outcome.py",
        'return "terms_changed" if row.consent_id != rule.consent_id else _card_changed(row)',
        "return _card_changed(row)",
        (AUTO_PURCHASE_TERMS,),
    ),
    Mutant(
        "counts-by-the-beginning",
        "count a purchase for the day it was begun on, and not for the day of the charge",
        "portal/credits/auto_purchase.py",
        "charged_at = func.coalesce(Payment.occurred_at, PurchaseIntent.finished_at)",
        "charged_at = PurchaseIntent.created_at",
        (AUTO_PURCHASE_TERMS,),
    ),
    Mutant(
        "a-dead-card-again",
        "let the rule go on after a refusal",
        "portal/credits/purchase_outcome.py",
        '            purchase_rules.stop(row.team_id, outcome.code or "failed", fingerprint=row.card_fingerprint)\n',
        "            pass\n",
        (AUTO_PURCHASE,),
    ),
    Mutant(
        "past-the-cap",
        "look at what is left of the month and forget the day",
        "portal/credits/purchase_size.py",
        "return Size(min(bundles_for(gap, bundle_credits), month, day))",
        "return Size(min(bundles_for(gap, bundle_credits), month))",
        (PURCHASE_SIZE,),
    ),
    Mutant(
        "too-few-bundles",
        "round the bundles down that close the gap",
        "portal/credits/purchase_size.py",
        "return max(1, -(-gap // bundle_credits))",
        "return max(1, gap // bundle_credits)",
        (PURCHASE_SIZE,),
    ),
    # --- periods and grants
    Mutant(
        "periods-drift",
        "count a period from the one before it, so that the 31st becomes the 28th for ever",
        "portal/credits/periods.py",
        "return _step(anchor, interval, k), _step(anchor, interval, k + 1)",
        "return _step(anchor, interval, k), _step(_step(anchor, interval, k), interval, 1)",
        (PERIODS,),
    ),
    Mutant(
        "a-period-holds-its-end",
        "`>=` for `>`: the instant of renewal belongs to the old period",
        "portal/credits/periods.py",
        "if _step(anchor, interval, k) > at:",
        "if _step(anchor, interval, k) >= at:",
        (PERIODS,),
    ),
    Mutant(
        "one-grant-for-all-periods",
        "key a grant by the plan alone instead of the period that was paid",
        "portal/credits/plan_months.py",
        'return f"period:{subscription_stripe_id}:{kind}:{int(start.timestamp())}"',
        'return f"period:{subscription_stripe_id}:{kind}"',
        (SUBSCRIBE,),
    ),
    Mutant(
        "proration-grants",
        "let the line of a proration grant a period's credits",
        "portal/billing/paid_periods.py",
        'price.purpose != "plan" or line["proration"] or line["period_start"]',
        'price.purpose != "plan" or line["period_start"]',
        ("tests/lifecycle/test_plan_change.py",),
    ),
    Mutant(
        "an-open-invoice-grants",
        "grant before the invoice is paid",
        "portal/billing/paid_periods.py",
        'if invoice.status != "paid" or invoice.billing_reason not in PERIOD_REASONS:',
        "if invoice.billing_reason not in PERIOD_REASONS:",
        ("tests/lifecycle/test_dunning.py", PAID_PERIODS),
    ),
    Mutant(
        "an-unpaid-bundle-grants",
        "grant a bundle when its page is complete, paid or not",
        "portal/credits/bundle_grants.py",
        'if checkout.purpose != "bundle" or checkout.credits is None or not checkout.paid:',
        'if checkout.purpose != "bundle" or checkout.credits is None or checkout.state != "complete":',
        (BUNDLES,),
    ),
    Mutant(
        "a-duplicate-subscription-grants",
        "grant what a second subscription of a team has paid for",
        "portal/credits/subscription_grants.py",
        "    if subscription.duplicate:\n        return\n",
        "",
        (SUBSCRIBE,),
    ),
    # --- the inbox and the mirror
    Mutant(
        "an-older-answer-wins",
        "write the mirror without looking at the generation",
        "portal/billing/mirror.py",
        "values, model.gen == fetched.gen)",
        "values)",
        (FAULTS_ORDER,),
    ),
    Mutant(
        "a-late-worker-writes",
        "settle an event without looking whose lease it is",
        "portal/webhooks/claim.py",
        ".where(StripeEvent.id == event.id, StripeEvent.lease_token == event.lease_token)",
        ".where(StripeEvent.id == event.id)",
        (LEASES,),
    ),
    Mutant(
        "done-before-its-effects",
        "commit the event as done in a unit of its own, before its effects",
        "portal/webhooks/claim.py",
        "    with unit_of_work() as session:\n        yield session\n",
        '    with unit_of_work():\n        _settle(event, state="done", finished_at=app_now(), last_error=None)\n'
        '    failpoint("webhooks.applied")\n    with unit_of_work() as session:\n        yield session\n'
        "        return\n",
        ("tests/lifecycle/test_faults_kill.py",),
    ),
    Mutant(
        "settles-what-came-later",
        "let one look serve events that came after it",
        "portal/webhooks/same.py",
        "            StripeEvent.received_at <= read_since,\n",
        "",
        (ONE_LOOK,),
    ),
    Mutant(
        "takes-what-another-has",
        "let one look settle what another worker has under its lease",
        "portal/webhooks/same.py",
        "            StripeEvent.lease_until.is_(None),\n",
        "",
        (ONE_LOOK,),
    ),
    Mutant(
        "an-unsigned-event-counts",
        "accept an event when any part of its signature is there",
        "portal/webhooks/signature.py",
        "    if not any(matches):\n",
        "    if not matches:\n",
        (SIGNATURE,),
    ),
    Mutant(
        "a-signature-from-the-future",
        "look only whether a signature is too old",
        "portal/webhooks/signature.py",
        "if abs(now - timestamp) > TOLERANCE_SECONDS:",
        "if now - timestamp > TOLERANCE_SECONDS:",
        (SIGNATURE,),
    ),
    # --- units of work and answers
    Mutant(
        "hints-before-the-commit",
        "wake the worker before the work is saved",
        "portal/core/unit_of_work.py",
        "    hooks.append((call, args))\n",
        "    call(*args)\n",
        (UNIT_OF_WORK,),
    ),
    Mutant(
        "another-request-under-the-key",
        "give the stored answer whatever the request under the key says",
        "portal/core/idempotency.py",
        "    if found.request_hash != request.hash:\n        raise KeyReused\n",
        "",
        (ONCE,),
    ),
)
