"""Which addresses are one mailbox: what is sure is recognised, and nobody is taken for somebody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.billing.trial_identities import mailbox_of

NAMES = st.text("abcXYZ019._-+", min_size=1, max_size=20)
DOMAINS = st.sampled_from(["gmail.com", "GoogleMail.com", "example.com", "Mail.Example.org"])


@pytest.mark.parametrize(
    ("email", "mailbox"),
    [
        ("Ada@Example.com", "ada@example.com"),
        (" ada@example.com ", "ada@example.com"),
        ("ada+trial2@example.com", "ada@example.com"),
        ("ada+a+b@example.com", "ada@example.com"),
        ("a.d.a@gmail.com", "ada@gmail.com"),
        ("A.da+x@googlemail.com", "ada@gmail.com"),
        # Elsewhere a dot makes another mailbox, and a subdomain another house.
        ("a.da@example.com", "a.da@example.com"),
        ("ada@mail.example.com", "ada@mail.example.com"),
        ("ada@notgmail.com", "ada@notgmail.com"),
        # Nothing would be left of the name.
        ("+tag@example.com", "+tag@example.com"),
        ("...@gmail.com", "...@gmail.com"),
        ("no address", "no address"),
    ],
)
def test_an_address_and_its_mailbox(email: str, mailbox: str) -> None:
    assert mailbox_of(email) == mailbox


@given(NAMES, DOMAINS, st.text("abc019.", max_size=8))
def test_no_spelling_and_no_tag_makes_another_mailbox(name: str, domain: str, tag: str) -> None:
    mailbox = mailbox_of(f"{name}@{domain}")
    assert mailbox_of(mailbox) == mailbox
    assert mailbox_of(f"{name}@{domain}".upper()) == mailbox
    if not name.startswith("+"):
        assert mailbox_of(f"{name}+{tag}@{domain}") == mailbox


@given(st.tuples(NAMES, NAMES), st.sampled_from(["example.com", "mail.example.org"]))
def test_two_names_without_tags_are_two_mailboxes(names: tuple[str, str], domain: str) -> None:
    one, other = (name.replace("+", "p").lower() for name in names)
    assert (mailbox_of(f"{one}@{domain}") == mailbox_of(f"{other}@{domain}")) == (one == other)
