"""Dropped files: what is stored, what waits, what is refused, and what is left in the bucket."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from chalicelib.domain.model import Caller, Role
from chalicelib.functions.drop import MAX_OBJECT, MAX_PARTS, Outcome, place_of
from tests.support.authority import Authority
from tests.support.fakes import MemoryDropBox
from tests.support.records import ACCOUNT, account
from tests.support.service import MemoryServices
from tests.support.sm2_builder import Sm2Authority

ROOT = Authority.root()
MIDDLE = ROOT.intermediate()
LEAF = MIDDLE.issue("site.example.com")
OTHER = MIDDLE.issue("other.example.com", number=2)
CHAINED = LEAF.pem + MIDDLE.pem
BUNDLE = CHAINED + LEAF.key_pem
SM2_ROOT = Sm2Authority.root()
SIGNING, ENCRYPTION = SM2_ROOT.issue_pair("guomi.example.com")
SM2_FILES = {
    "site.sign.pem": SIGNING.pem + SM2_ROOT.pem,
    "site.sign.key": SIGNING.key_pem,
    "site.enc.pem": ENCRYPTION.pem,
    "site.enc.key": ENCRYPTION.key_pem,
}
READER = Caller(ACCOUNT, Role.ADMIN, "token", "", "")


class Site:
    """The service with one account, and its bucket."""

    def __init__(self, services: MemoryServices | None = None) -> None:
        self.services = services or MemoryServices()
        self.services.account_store.accounts[ACCOUNT] = account()
        self.box = self.services.drop_box

    def put(self, name: str, content: str | bytes):
        return self.box.put(f"drop/{ACCOUNT}/{name}", content if isinstance(content, bytes) else content.encode())

    def arrived(self, name: str) -> Outcome:
        return self.services.drop.arrived(f"drop/{ACCOUNT}/{name}", "request")

    def drop(self, name: str, content: str | bytes) -> Outcome:
        """Put a file, and have its event arrive."""
        self.put(name, content)
        return self.arrived(name)

    def sweep(self) -> dict[str, int]:
        return {outcome: count for outcome, count in self.services.drop.sweep("request").items() if count}

    def wait(self, **time) -> None:
        self.services.clock.advance(timedelta(**time))

    @property
    def keys(self) -> list[str]:
        """What lies in the bucket."""
        return self.box.keys()

    @property
    def names(self) -> list[str]:
        """The same without the account's id."""
        return [key.replace(f"/{ACCOUNT}/", "/") for key in self.keys]

    @property
    def certificates(self):
        return list(self.services.certificate_store.certificates.values())

    def receipt(self, name: str = "site") -> dict:
        return json.loads(self.box.current(f"done/{ACCOUNT}/{name}.json"))

    def report(self, name: str = "site") -> dict:
        return json.loads(self.box.current(f"failed/{ACCOUNT}/{name}.json"))["error"]

    def told(self, name: str = "site") -> list[str]:
        return [f["code"] for f in self.report(name)["findings"] if f["severity"] == "error"]

    @property
    def uploads(self) -> list[str]:
        """Names in the audit trail's uploads."""
        return [
            e.detail["name"]
            for e in self.services.audit_store.events
            if (e.action, e.result) == ("certificate.upload", "ok")
        ]


@pytest.fixture
def site():
    return Site()


@pytest.mark.parametrize("name", ["site.pem", "site.crt", "site.cer", "SITE.PEM", "folder/site.pem"])
def test_a_bundle_is_stored_under_its_name_and_leaves_a_receipt(site, name):
    assert site.drop(name, BUNDLE) is Outcome.STORED
    stem = name.rpartition(".")[0]
    (held,) = site.certificates
    assert (held.name, held.fingerprint, held.has_private_key) == (stem.rpartition("/")[2], LEAF.fingerprint, True)
    assert site.names == [f"done/{stem}.json"]
    receipt = site.receipt(stem)
    assert receipt["certificate_id"] == held.id
    assert receipt["domains"] == ["site.example.com"]
    assert receipt["findings"] == []
    assert receipt["objects"] == {f"drop/{ACCOUNT}/{name}": "v1"}


@pytest.mark.parametrize("order", [*itertools.permutations(["site.pem", "site.key"])])
def test_a_pair_is_stored_whichever_half_comes_first(site, order):
    content = {"site.pem": CHAINED, "site.key": LEAF.key_pem}
    first, second = (site.drop(name, content[name]) for name in order)
    assert (first, second) == (Outcome.WAITING, Outcome.STORED)
    assert site.names == ["done/site.json"]
    assert len(site.certificates) == 1


@pytest.mark.parametrize("order", [*itertools.permutations(SM2_FILES)], ids=lambda o: " ".join(n[5:] for n in o))
def test_the_four_files_of_sm2_are_stored_together_in_every_order(order):
    site = Site()
    outcomes = [site.drop(name, SM2_FILES[name]) for name in order]
    assert outcomes == [Outcome.WAITING] * 3 + [Outcome.STORED]
    (held,) = site.certificates
    material = site.services.certificate_store.material(held)
    assert material.encryption_certificate == ENCRYPTION.pem
    assert set(material.keys.boxes) == {"signing", "encryption"}


def test_an_encryption_name_of_another_kind_of_certificate_is_just_a_name(site):
    site.drop("site.pem", BUNDLE)
    assert site.drop("site.enc.pem", OTHER.pem + MIDDLE.pem + OTHER.key_pem) is Outcome.STORED
    assert {c.name for c in site.certificates} == {"site", "site.enc"}


def test_a_name_that_is_taken_gets_a_number(site):
    site.drop("site.pem", BUNDLE)
    site.drop("a/site.pem", OTHER.pem + MIDDLE.pem + OTHER.key_pem)
    assert {c.name for c in site.certificates} == {"site", "site-2"}


def test_a_number_does_not_make_a_name_too_long(site):
    site.drop(f"{'x' * 200}.pem", BUNDLE)
    site.drop(f"a/{'x' * 200}.pem", OTHER.pem + MIDDLE.pem + OTHER.key_pem)
    assert {c.name for c in site.certificates} == {"x" * 63, "x" * 61 + "-2"}


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("a b", "a b"),
        ("übung", "übung"),
        ("日本", "日本"),
        ("100%", "100%"),
        ("a\r\nb", "a--b"),
        ("a\tb\x7f", "a-b-"),
        ("\u202egpj", "-gpj"),
        ("..", ".."),
        ("a/../b", "b"),
    ],
)
def test_a_certificate_s_name_is_its_file_s_without_what_cannot_be_printed(site, stem, name):
    assert site.drop(f"{stem}.pem", BUNDLE) is Outcome.STORED
    assert [c.name for c in site.certificates] == [name]
    assert site.names == [f"done/{stem}.json"]


def test_neither_receipt_nor_report_nor_log_holds_a_key(site):
    site.drop("site.pem", BUNDLE)
    site.drop("again.pem", BUNDLE)
    site.drop("wrong.pem", CHAINED + OTHER.key_pem)
    site.drop("broken.pem", CHAINED + LEAF.key_pem[:-60])
    written = [site.box.current(key).decode() for key in site.keys if key.endswith(".json")]
    assert len(written) == 4
    lines = {line for key in (LEAF.key_pem, OTHER.key_pem) for line in key.splitlines() if "-" not in line}
    told = "".join(written) + site.services.log_stream.getvalue()
    assert not [line for line in lines if line in told]


def test_one_event_is_enough_for_files_that_all_lie_there(site):
    site.put("site.pem", CHAINED)
    site.put("site.key", LEAF.key_pem)
    assert site.arrived("site.key") is Outcome.STORED
    assert site.arrived("site.pem") is Outcome.NOTHING


def test_a_file_dropped_again_is_reported_as_held_already(site):
    site.drop("site.pem", BUNDLE)
    assert site.drop("site.pem", BUNDLE) is Outcome.REFUSED
    assert site.told() == ["DuplicateCertificate"]
    assert site.certificates[0].id in site.report()["message"]
    assert len(site.certificates) == 1


def test_a_refused_file_lies_beside_its_report_with_every_finding(site):
    assert site.drop("site.pem", LEAF.pem + OTHER.key_pem) is Outcome.REFUSED
    assert site.names == ["failed/site.json", "failed/site.pem"]
    assert site.told() == ["KeyMismatch", "ChainIncomplete"]
    assert site.report()["code"] == "KeyMismatch"
    assert all(f["hint"] for f in site.report()["findings"])
    assert site.certificates == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "CertificateMissing"),
        (b"\xff\xfe" + BUNDLE[:300].encode("utf-16-le"), "CertificateFormatIncorrect"),
        (b"\x00\x01\x02" * 50, "CertificateFormatIncorrect"),
        (LEAF.der, "CertificateFormatIncorrect"),
        (b"hello", "CertificateFormatIncorrect"),
    ],
)
def test_what_is_no_certificate_is_reported_at_once(site, content, code):
    assert site.drop("site.pem", content) is Outcome.REFUSED
    assert site.told()[0] == code


def test_a_bundle_in_utf_16_from_windows_is_stored(site):
    assert site.drop("site.pem", BUNDLE.replace("\n", "\r\n").encode("utf-16")) is Outcome.STORED


def test_a_damaged_sm2_certificate_does_not_wait_for_its_other_half(site):
    assert site.drop("site.pem", SIGNING.pem + SIGNING.key_pem[:-40]) is Outcome.REFUSED


class Unreadable(MemoryDropBox):
    """A bucket that nothing is read from."""

    def read(self, item):
        raise AssertionError(f"{item.key} was read")


def test_a_file_of_10_mb_is_refused_unread():
    site = Site()
    site.services.drop_box = site.box = Unreadable(site.services.clock)
    assert site.drop("site.pem", b"x" * 10_000_000) is Outcome.REFUSED
    assert site.told() == ["RequestTooLarge"]
    assert "10000000 bytes" in site.report()["message"]
    assert "failed/site.json" in site.names


def test_the_largest_file_that_is_taken_is_read(site):
    padding = "#" * (MAX_OBJECT - len(BUNDLE) - 1) + "\n"
    assert site.drop("site.pem", padding + BUNDLE) is Outcome.STORED
    assert site.drop("more.pem", "#" + padding + BUNDLE) is Outcome.REFUSED
    assert site.told("more") == ["RequestTooLarge"]


def test_a_key_without_certificate_waits_a_day_and_is_then_reported(site):
    assert site.drop("site.key", LEAF.key_pem) is Outcome.WAITING
    site.wait(hours=23, minutes=59)
    assert site.sweep() == {"waiting": 1}
    assert site.names == ["drop/site.key"]
    site.wait(minutes=1)
    assert site.sweep() == {"refused": 1}
    assert site.told() == ["DropIncomplete"]
    assert site.names == ["failed/site.json", "failed/site.key"]
    assert site.sweep() == {}


def test_a_certificate_without_key_waits_a_day_and_is_then_reported(site):
    assert site.drop("site.pem", CHAINED) is Outcome.WAITING
    site.wait(hours=24)
    assert site.sweep() == {"refused": 1}
    assert "site.example.com" in site.report()["message"]


def test_an_sm2_pair_without_encryption_half_is_stored_after_a_day(site):
    site.drop("site.sign.pem", SIGNING.pem + SM2_ROOT.pem)
    assert site.drop("site.sign.key", SIGNING.key_pem) is Outcome.WAITING
    site.wait(hours=24)
    assert site.sweep() == {"stored": 1}
    assert [f["code"] for f in site.receipt()["findings"]] == ["EncryptionCertificateMissing"]


def test_a_certificate_whose_key_lies_in_a_stored_request_does_not_wait(site):
    request = site.services.csrs.store(READER, None, _csr(LEAF), LEAF.key_pem)
    assert request.has_private_key
    assert site.drop("site.pem", CHAINED) is Outcome.STORED
    assert site.certificates[0].has_private_key


def _csr(issued) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    builder = x509.CertificateSigningRequestBuilder().subject_name(issued.certificate.subject)
    return builder.sign(issued.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_the_sweep_takes_up_what_no_event_brought_but_leaves_events_their_time(site):
    site.put("site.pem", BUNDLE)
    assert site.sweep() == {}
    site.wait(minutes=15)
    assert site.sweep() == {"stored": 1}


class Stuck(MemoryDropBox):
    """A bucket with files that cannot be read: encrypted under somebody's own key, say."""

    def read(self, item):
        if "stuck" in item.key:
            raise PermissionError(item.key)
        return super().read(item)


def test_a_file_that_cannot_be_read_does_not_keep_the_sweep_from_the_others():
    site = Site()
    site.services.drop_box = site.box = Stuck(site.services.clock)
    for name in ("a.pem", "stuck.pem", "stuck.too.pem", "z.key"):
        site.put(name, LEAF.key_pem if name == "z.key" else BUNDLE)
    site.wait(hours=24)
    with pytest.raises(ExceptionGroup) as failed:
        site.sweep()
    assert [str(e) for e in failed.value.exceptions] == [f"drop/{ACCOUNT}/stuck.{n}" for n in ("pem", "too.pem")]
    assert site.names == ["done/a.json", "drop/stuck.pem", "drop/stuck.too.pem", "failed/z.json", "failed/z.key"]


@pytest.mark.parametrize("key", ["drop/4711/site.pem", "drop/site.pem", "drop/9999999999999999/site.pem"])
def test_a_file_of_no_account_is_reported_where_it_came_from(site, key):
    site.box.put(key, BUNDLE.encode())
    assert site.services.drop.arrived(key, "request") is Outcome.REFUSED
    (report,) = [k for k in site.keys if k.endswith(".json")]
    assert json.loads(site.box.current(report))["error"]["code"] == "AccountNotFound"
    assert not any(k.startswith("drop/") for k in site.keys)
    assert site.certificates == []


@pytest.mark.parametrize("key", ["done/x.json", "failed/x.pem", f"drop/{ACCOUNT}/", "other", "drop/"])
def test_keys_outside_of_the_drop_folder_mean_nothing(site, key):
    site.box.put(key, BUNDLE.encode())
    assert site.services.drop.arrived(key, "request") is Outcome.NOTHING
    assert site.keys == [key]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a.pem", ("a", False, False)),
        ("a.key", ("a", True, False)),
        ("a.b.CRT", ("a.b", False, False)),
        ("a.enc.pem", ("a", False, True)),
        ("a_enc.key", ("a", True, True)),
        ("a_encryption.pem", ("a", False, True)),
        ("a.sign.pem", ("a", False, False)),
        ("a.sig.key", ("a", True, False)),
        ("enc.pem", ("enc", False, False)),
        ("a.txt", ("a.txt", False, False)),
        ("noending", ("noending", False, False)),
        (".pem", (".pem", False, False)),
        ("ü ber/a b.pem", ("ü ber/a b", False, False)),
    ],
)
def test_a_file_s_name_says_what_it_is_part_of(name, place):
    found = place_of(f"drop/{ACCOUNT}/{name}")
    assert (found.account_id, found.stem, found.is_key, found.is_encryption) == (ACCOUNT, *place)


def test_other_names_that_begin_the_same_are_left_alone(site):
    site.put("site.pem", CHAINED)
    site.put("site2.key", LEAF.key_pem)
    site.put("site.example.key", LEAF.key_pem)
    assert site.arrived("site.pem") is Outcome.WAITING
    assert len(site.names) == 3


def test_more_files_of_one_name_than_a_pair_can_have_are_bounded(site):
    for ending in ("pem", "crt", "cer", "key", "PEM", "CRT", "CER", "KEY", "Pem", "Key"):
        site.put(f"site.{ending}", "#")
    assert site.arrived("site.pem") is Outcome.REFUSED
    assert len([n for n in site.names if n.startswith("failed/") and not n.endswith(".json")]) == MAX_PARTS


def test_eight_workers_with_the_same_event_make_one_certificate():
    for _ in range(5):
        site = Site()
        site.put("site.pem", CHAINED)
        site.put("site.key", LEAF.key_pem)
        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(site.arrived, ["site.pem", "site.key"] * 4))
        assert Outcome.REFUSED not in outcomes
        assert site.names == ["done/site.json"]
        assert len(site.certificates) == len(site.uploads) == 1


@pytest.mark.parametrize("content", [b"not json", b"[]", b'{"objects": 7}', b'{"objects": {"a": [1]}}', b"\xff"])
def test_somebody_s_own_file_in_the_place_of_a_receipt_is_no_obstacle(site, content):
    site.box.put(f"done/{ACCOUNT}/site.json", content)
    site.box.put(f"failed/{ACCOUNT}/site.json", content)
    assert site.drop("site.pem", BUNDLE) is Outcome.STORED


def test_the_halves_of_two_accounts_are_no_pair(site):
    neighbour = "2000000000000002"
    site.services.account_store.accounts[neighbour] = account(id=neighbour)
    site.box.put(f"drop/{neighbour}/site.key", LEAF.key_pem.encode())
    assert site.drop("site.pem", CHAINED) is Outcome.WAITING
    assert site.certificates == []


def test_a_file_named_by_spaces_alone_gets_the_name_that_is_suggested(site):
    assert site.drop(" .pem", BUNDLE) is Outcome.STORED
    assert [c.name for c in site.certificates] == ["site.example.com-2026-ecdsa256"]


def test_a_refused_file_never_takes_the_place_of_a_report(site):
    site.drop("site.pem", LEAF.pem + OTHER.key_pem)
    site.drop("site.json", "{}")
    assert site.told() == ["KeyMismatch", "ChainIncomplete"]
    assert "failed/site.json.dropped" in site.names


def test_a_name_as_long_as_s3_takes_leaves_a_report_and_a_file_that_s3_takes(site):
    long = "n" * (1024 - len(f"drop/{ACCOUNT}/.pem")) + ".pem"
    assert site.drop(long, "nonsense") is Outcome.REFUSED
    assert len(site.keys) == 2
    assert all(len(key.encode()) <= 1024 for key in site.keys)


def test_a_folder_called_unknown_is_an_account_like_any_other(site):
    site.box.put("drop/unknown/site.pem", BUNDLE.encode())
    assert site.services.drop.arrived("drop/unknown/site.pem", "request") is Outcome.REFUSED
    assert not any(key.startswith("drop/") for key in site.keys)


def test_a_refusal_is_in_the_trail_of_the_account(site):
    site.drop("site.pem", LEAF.pem + OTHER.key_pem)
    (event,) = site.services.audit_store.events
    assert (event.account_id, event.actor, event.result) == (ACCOUNT, "drop", "KeyMismatch")
    assert event.target == f"drop/{ACCOUNT}/site.pem"


def test_a_half_that_waited_in_vain_is_told_of_everything_else_too(site):
    site.drop("site.pem", LEAF.pem)
    site.wait(hours=24)
    site.sweep()
    assert site.told() == ["DropIncomplete", "ChainIncomplete"]


def test_an_encryption_certificate_that_waited_in_vain_is_called_that(site):
    site.drop("site.enc.pem", ENCRYPTION.pem)
    site.wait(hours=24)
    site.sweep()
    assert "encryption certificate" in site.report()["message"]


def test_where_a_certificate_came_from_does_not_burden_its_record_and_is_known_again(site):
    long = "n" * 300
    site.put(f"{long}.pem", CHAINED)
    site.put(f"{long}.key", LEAF.key_pem)
    site.arrived(f"{long}.pem")
    assert len(site.certificates[0].origin) < 100
    site.put(f"{long}.pem", CHAINED)
    site.put(f"{long}.key", LEAF.key_pem)
    assert site.arrived(f"{long}.pem") is Outcome.REFUSED
