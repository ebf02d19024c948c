"""Names that are suggested, names that are free, and which hosts a name covers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.naming import (
    MAX_NAME,
    covers,
    derived_name,
    free_name,
    is_derived,
    suggested_name,
    to_ascii_domain,
    without_mark,
)
from tests.support.authority import Authority, self_signed
from tests.support.sm2_builder import Sm2Authority

ROOT = Authority.root()


def suggested(*domains, **options):
    return suggested_name(ParsedCertificate(ROOT.issue(*domains, **options).der))


@pytest.mark.parametrize(
    ("kind", "slug"),
    [("rsa2048", "rsa2048"), ("p256", "ecdsa256"), ("p521", "ecdsa521"), ("ed25519", "ed25519"), ("ed448", "ed448")],
)
def test_a_name_is_made_of_domain_year_and_algorithm(kind, slug):
    assert suggested("example.com", "www.example.com", kind=kind) == f"example.com-2026-{slug}"


def test_an_sm2_certificate_is_named_so():
    leaf = Sm2Authority.root().issue("example.com")
    assert suggested_name(ParsedCertificate(leaf.der)) == "example.com-2026-sm2"


def test_the_year_is_that_of_issue():
    begin = datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert suggested("example.com", not_before=begin).startswith("example.com-2025-")


@pytest.mark.parametrize(
    ("domain", "start"),
    [
        ("*.example.com", "wildcard.example.com-2026-"),
        ("192.0.2.7", "192.0.2.7-2026-"),
        ("2001:db8::1", "2001-db8--1-2026-"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example-2026-"),
        ("_sip.example.com", "_sip.example.com-2026-"),
    ],
)
def test_what_a_name_cannot_hold_is_written_otherwise(domain, start):
    assert suggested(domain).startswith(start)


def test_without_a_domain_the_common_name_serves():
    assert suggested(common_name="Front door (2nd)") == "Front-door--2nd-2026-ecdsa256"


@pytest.mark.parametrize("common_name", [None, "-.-", "!!!"])
def test_without_anything_to_go_by_it_is_called_certificate(common_name):
    assert suggested(common_name=common_name) == "certificate-2026-ecdsa256"


def test_a_long_domain_loses_its_leftmost_characters():
    made = suggested(f"{'a' * 60}.shop.example.com", common_name=None)
    assert len(made) == MAX_NAME
    assert made.endswith("a.shop.example.com-2026-ecdsa256")


def test_a_cut_name_does_not_begin_with_a_dot():
    room = MAX_NAME - len("-2026-ecdsa256")
    domain = "a." + "b" * (room - 5) + ".com"
    assert suggested(domain) == f"{domain[2:]}-2026-ecdsa256"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16))
def test_a_suggested_name_always_fits(common_name):
    made = suggested_name(ParsedCertificate(self_signed(common_name, san=False).der))
    assert len(made) <= MAX_NAME
    assert made.endswith("-2026-ecdsa256")
    assert all(c.isalnum() or c in "._-" for c in made)
    assert made[0] not in ".-"


@given(st.text("ab-", min_size=1, max_size=80), st.integers(0, 120))
def test_a_free_name_is_found_and_fits(wanted, others):
    taken = set()
    for number in range(others):
        taken.add(free_name(wanted, taken.__contains__, f"{number:064x}"[::-1]))
    made = free_name(wanted, taken.__contains__, f"{others:064x}"[::-1])
    assert len(taken) == others
    assert made not in taken
    assert len(made) <= MAX_NAME
    assert (made == wanted[:MAX_NAME]) is (others == 0)


def test_free_names_are_numbered_from_two_and_gaps_are_used():
    taken = {"shop", "shop-2", "shop-4"}
    assert free_name("shop", taken.__contains__, "ab" * 32) == "shop-3"


def test_a_name_that_many_have_gets_a_mark_after_five_questions():
    asked = []
    made = free_name("shop", lambda name: asked.append(name) or True, "0123456789abcdef" * 4)
    assert made == "shop-0123456789ab"
    assert len(asked) == 5


def test_a_number_replaces_the_end_of_a_name_of_full_length():
    assert free_name("n" * 63, {"n" * 63}.__contains__, "ab" * 32) == "n" * 61 + "-2"


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        ("www.example.com", "www.example.com", True),
        ("www.example.com", "example.com", False),
        ("example.com", "www.example.com", False),
        ("*.example.com", "www.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "a.b.example.com", False),
        ("*.example.com", "www.example.com.evil.example", False),
        ("*.example.com", "wwwexample.com", False),
        ("*.example.com", "*.example.com", True),
        ("www.example.com", "*.example.com", False),
        ("*.b.example.com", "*.example.com", False),
        ("w*.example.com", "www.example.com", False),
        ("*", "localhost", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("*.xn--bcher-kva.example", "www.xn--bcher-kva.example", True),
        ("*.xn--bcher-kva.example", to_ascii_domain("例え.Bücher.example"), True),
    ],
)
def test_a_wildcard_covers_exactly_one_label(pattern, host, covered):
    assert covers(pattern, host) is covered


@pytest.mark.parametrize(
    ("typed", "held"),
    [
        ("  WWW.Example.COM. ", "www.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.Example", "xn--bcher-kva.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("straße.de", "xn--strae-oqa.de"),
        ("日本語。jp。", "xn--wgv71a119e.jp"),
        ("\uff25xample\uff0ecom", "example.com"),
        ("192.0.2.1", "192.0.2.1"),
        ("", ""),
    ],
)
def test_a_domain_is_written_as_certificates_hold_it(typed, held):
    assert to_ascii_domain(typed) == held


@pytest.mark.parametrize("label", ["ü" * 70, "\u05d0a", "xn--ü"])
def test_a_label_that_cannot_be_encoded_stays_and_the_others_are_encoded(label):
    assert to_ascii_domain(f"{label}.bücher.example") == f"{label}.xn--bcher-kva.example"


@given(st.lists(st.text("abyzäöåéñ日本語жщя0189", min_size=1, max_size=12), min_size=1, max_size=4).map(".".join))
def test_writing_a_domain_twice_changes_nothing(domain):
    once = to_ascii_domain(domain)
    assert once.isascii()
    assert to_ascii_domain(once) == to_ascii_domain(domain.upper()) == once


@given(st.from_regex(r"[a-z0-9-]{1,60}\.example\.com", fullmatch=True))
def test_a_derived_name_is_known_as_such_and_its_suggestion_can_be_had_again(domain):
    leaf = ParsedCertificate(ROOT.issue("example.com").der)
    name = derived_name(leaf, "01M1KJXYER63JC08K8TJEA0473")
    assert name == "example.com-2026-ecdsa256~k8tjea0473"
    assert is_derived(name)
    assert without_mark(name) == suggested_name(leaf)
    assert not is_derived(domain)
    assert without_mark(domain) == domain


def test_a_derived_name_of_a_long_domain_is_cut_before_its_mark():
    long = "a" * 50 + ".example.com"
    name = derived_name(ParsedCertificate(ROOT.issue(long).der), "01M1KJXYER63JC08K8TJEA0473")
    assert len(name) == MAX_NAME
    assert name.endswith("~k8tjea0473")
