"""Dropped files: whatever order they come in, how often events come, and where the function dies on the way."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.functions.drop import Outcome
from tests.support.fakes import MemoryCertificateStore, MemoryDropBox
from tests.support.service import MemoryServices
from tests.unit.functions.test_drop import BUNDLE, CHAINED, LEAF, MIDDLE, OTHER, SIGNING, SM2_FILES, Site


class CrashError(Exception):
    """The function dies here."""


class Fuse:
    """Burns through at the n-th write; the write is not done."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.burnt = 0

    def burn(self) -> None:
        self.burnt += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise CrashError


class FragileBox(MemoryDropBox):
    """A bucket where each single write may be the last; moving is copying and deleting, as in S3."""

    def __init__(self, clock, fuse: Fuse) -> None:
        super().__init__(clock)
        self._fuse = fuse

    def write_json(self, key, content):
        self._fuse.burn()
        super().write_json(key, content)

    def move(self, item, key):
        content = self.read(item)
        if content is not None:
            self._fuse.burn()
            self.put(key, content)
            self.delete([item])

    def delete(self, items):
        for item in items:
            self._fuse.burn()
            super().delete([item])


class FragileStore(MemoryCertificateStore):
    """An inventory whose write may be the last, before or after it is done."""

    def __init__(self, audit, fuse: Fuse) -> None:
        super().__init__(audit)
        self._fuse = fuse

    def add(self, certificate, material, audit):
        self._fuse.burn()
        super().add(certificate, material, audit)
        self._fuse.burn()


class FragileSite(Site):
    def __init__(self) -> None:
        services = MemoryServices()
        self.fuse = Fuse()
        services.drop_box = FragileBox(services.clock, self.fuse)
        services.certificate_store = FragileStore(services.audit_store, self.fuse)
        super().__init__(services)


DROPS = {
    "a bundle": {"site.pem": BUNDLE},
    "a pair": {"site.pem": CHAINED, "site.key": LEAF.key_pem},
    "four files of sm2": SM2_FILES,
    "a wrong pair": {"site.pem": CHAINED, "site.key": OTHER.key_pem},
    "four wrong files": SM2_FILES | {"site.enc.key": SIGNING.key_pem},
    "two that are no pair": {
        "site.pem": BUNDLE,
        "site.enc.pem": OTHER.pem + MIDDLE.pem,
        "site.enc.key": LEAF.key_pem,
    },
}


def state(site, *, versions: bool = True) -> dict:
    """All that a user can see, ids and times aside."""
    kept = ("name", "fingerprint_sha256", "domains", "error", "objects", "findings")
    return {
        "files": {
            name: {
                k: v if versions or k != "objects" else sorted(v)
                for k, v in json.loads(site.box.current(key)).items()
                if k in kept
            }
            if name.endswith(".json")
            else site.box.current(key)
            for name, key in zip(site.names, site.keys, strict=True)
        },
        "certificates": sorted((c.name, c.fingerprint) for c in site.certificates),
        "uploads": sorted(site.uploads),
    }


@pytest.mark.parametrize("files", DROPS.values(), ids=DROPS)
@pytest.mark.parametrize("repeat", ["the event comes again", "the sweep comes by"])
def test_a_crash_at_any_write_ends_in_the_same_state(files, repeat):
    def dropped():
        site = FragileSite()
        for name, content in files.items():
            site.put(name, content)
        return site

    whole = dropped()
    whole.arrived("site.pem")
    assert not any(name.startswith("drop/") for name in whole.names)
    assert len(whole.uploads) == len(whole.certificates)
    assert whole.fuse.burnt > len(files)
    for crash_at in range(whole.fuse.burnt):
        site = dropped()
        site.fuse.left = crash_at
        with pytest.raises(CrashError):
            site.arrived("site.pem")
        site.fuse.left = None
        if repeat == "the sweep comes by":
            site.wait(minutes=20)
            site.sweep()
        else:
            for name in files:
                site.arrived(name)
        assert state(site) == state(whole), f"crash at write {crash_at}"


HALVES = {
    "a key": {"site.key": LEAF.key_pem},
    "a certificate": {"site.crt": CHAINED},
    "an sm2 pair that is stored alone": {name: SM2_FILES[name] for name in ("site.sign.pem", "site.sign.key")},
    "an encryption pair": {name: SM2_FILES[name] for name in ("site.enc.pem", "site.enc.key")},
}


@pytest.mark.parametrize("files", HALVES.values(), ids=HALVES)
def test_a_sweep_that_crashes_at_any_write_is_made_good_by_the_next(files):
    def overdue():
        site = FragileSite()
        for name, content in files.items():
            assert site.drop(name, content) is Outcome.WAITING
        site.wait(hours=24)
        return site

    whole = overdue()
    whole.sweep()
    assert not any(name.startswith("drop/") for name in whole.names)
    for crash_at in range(whole.fuse.burnt):
        site = overdue()
        site.fuse.left = crash_at
        with pytest.raises(ExceptionGroup):
            site.sweep()
        site.fuse.left = None
        site.sweep()
        assert state(site) == state(whole), f"crash at write {crash_at}"


def test_a_duplicate_whose_refusal_crashes_at_any_write_is_refused_in_the_end():
    for crash_at in range(3):  # the report, the copy, the deletion
        site = FragileSite()
        site.drop("old.pem", BUNDLE)
        site.put("site.pem", BUNDLE)
        site.fuse.left = crash_at
        with pytest.raises(CrashError):
            site.arrived("site.pem")
        site.fuse.left = None
        site.arrived("site.pem")
        assert site.told() == ["DuplicateCertificate"]
        assert site.names == ["done/old.json", "failed/site.json", "failed/site.pem"]
        assert site.uploads == ["old"]


@given(data=st.data(), label=st.sampled_from(sorted(DROPS)), crash_at=st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_any_order_of_files_late_events_repeats_and_a_crash_ends_in_the_same_state(data, label, crash_at):
    files = DROPS[label]
    whole = Site()
    for name, content in files.items():
        whole.drop(name, content)
    site, lying = FragileSite(), set()
    site.fuse.left = crash_at
    # Of each name's turns, the first puts the file, the second is its event, the third the same event again.
    turns = data.draw(st.permutations([*files] * 3), label="turns")
    for name in turns:
        if name not in lying:
            site.put(name, files[name])
            lying.add(name)
            continue
        try:
            site.arrived(name)
        except CrashError:
            site.fuse.left = None
            turns.append(name)
    assert state(site, versions=False) == state(whole, versions=False)


@pytest.mark.parametrize("content", [BUNDLE, CHAINED + OTHER.key_pem], ids=["stored", "refused"])
def test_events_twice_and_late_change_nothing(content):
    site = Site()
    site.drop("site.pem", content)
    before = (state(site), site.services.audit_store.events.copy())
    for _ in range(2):
        site.wait(hours=30)
        assert site.arrived("site.pem") is Outcome.NOTHING
        assert site.sweep() == {}
    assert (state(site), site.services.audit_store.events) == before


def test_an_event_of_a_file_that_never_lay_there_means_nothing():
    site = Site()
    assert site.arrived("site.pem") is Outcome.NOTHING
    assert site.names == []


def test_what_is_refused_once_is_refused_again_in_the_same_words():
    site = Site()
    reports = []
    for _ in range(2):
        assert site.drop("site.pem", CHAINED + OTHER.key_pem) is Outcome.REFUSED
        reports.append(site.report())
        assert site.names == ["failed/site.json", "failed/site.pem"]
    assert reports[0] == reports[1]


class Moving(MemoryDropBox):
    """A bucket where something happens to a file while it is being taken in."""

    def __init__(self, clock, happens) -> None:
        super().__init__(clock)
        self._happens = [happens]

    def read(self, item):
        content = super().read(item)
        return self._happens.pop()(self, item, content) if self._happens else content


def _drop_anew(box, item, content):
    box.put(item.key, (OTHER.pem + MIDDLE.pem + OTHER.key_pem).encode())
    return content


def _lose(box, item, content):
    box.delete([item])


@pytest.mark.parametrize(
    ("content", "first", "left"),
    [
        (BUNDLE, Outcome.STORED, ["done/site.json"]),
        (CHAINED + OTHER.key_pem, Outcome.REFUSED, ["done/site.json", "failed/site.json", "failed/site.pem"]),
    ],
    ids=["stored", "refused"],
)
def test_a_file_dropped_again_while_the_first_is_taken_in_waits_for_its_own_event(content, first, left):
    site = Site()
    site.services.drop_box = site.box = Moving(site.services.clock, _drop_anew)
    assert site.drop("site.pem", content) is first
    assert "drop/site.pem" in site.names
    assert site.arrived("site.pem") is Outcome.STORED
    assert site.names == left
    assert OTHER.fingerprint in {c.fingerprint for c in site.certificates}


def test_a_file_that_another_worker_took_in_meanwhile_means_nothing():
    site = Site()
    site.services.drop_box = site.box = Moving(site.services.clock, _lose)
    assert site.drop("site.pem", CHAINED + OTHER.key_pem) is Outcome.NOTHING
    assert site.names == []


def test_a_new_file_under_the_name_of_one_that_a_crash_left_lying_is_judged_by_itself():
    site = FragileSite()
    site.put("site.pem", CHAINED)
    site.put("site.key", LEAF.key_pem)
    site.fuse.left = 3  # stored, receipt written, nothing deleted
    with pytest.raises(CrashError):
        site.arrived("site.pem")
    site.fuse.left = None
    site.put("site.pem", OTHER.pem + MIDDLE.pem + OTHER.key_pem)
    assert site.arrived("site.pem") is Outcome.STORED
    assert {c.fingerprint for c in site.certificates} == {LEAF.fingerprint, OTHER.fingerprint}
