"""Trouble on demand: faults in calls and in the delivery of events, chosen by rules and by a seed.

`rules.py` says what can be broken and when, `book.py` keeps the rules and what struck, `calls.py` breaks answers of the
API, `deliveries.py` breaks the sending of events, and `rate_limits.py` slows down whoever asks too often.
"""
