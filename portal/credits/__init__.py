"""The credit ledger: grants, entries, and the one writer of both. All amounts are whole credits."""
