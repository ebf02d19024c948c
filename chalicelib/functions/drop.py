"""Dropped files: what lies in the bucket under ``drop/<account id>/`` is uploaded as if by API.

The bucket itself is the only state. An event says no more than "look here": whatever lies there under the
same name is taken together, so events may come twice, late or out of order. Objects are read, moved and
deleted by exact version, so a file dropped again in the meantime is never lost. A receipt or report names the
versions that it decided on, and is written before they go: what a crash left lying is not judged anew.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Final
from urllib.parse import unquote_plus

from chalicelib.domain import looks
from chalicelib.domain.errors import (
    ERRORS,
    CerthavenError,
    CertificateRefused,
    DuplicateCertificate,
    NotFound,
    TooManyRequests,
)
from chalicelib.domain.findings import Finding, Severity, error
from chalicelib.domain.model import Caller, Certificate, Role
from chalicelib.domain.reading import Bundle, Reading, read
from chalicelib.functions import drop_reports as reports
from chalicelib.functions.audit import Audit
from chalicelib.functions.upload_validate import Upload, UploadValidate, as_finding
from chalicelib.ports import AccountStore, CertificateStore, Clock, DropBox, DroppedObject

DROP: Final = "drop/"
#: Largest object that is read, in bytes; a bundle with chain and key is a few kilobytes.
MAX_OBJECT: Final = 262_144
#: How long a half pair waits for its other half.
PATIENCE: Final = timedelta(hours=24)
#: When the sweep takes up what its event should have brought long ago.
OVERDUE: Final = timedelta(minutes=15)
#: At most so many objects share a name; more are not a pair.
MAX_PARTS: Final = 8

#: Longest origin that is kept as it is, in characters.
MAX_ORIGIN: Final = 256

_JOINING = frozenset({"pem", "crt", "cer", "key"})
_ROLE = re.compile(r"(?P<stem>.+)[._](?P<role>sign|sig|enc|encrypt|encryption)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a dropped object belongs: account (empty outside of all folders), name, what part of the upload it is."""

    account_id: str
    stem: str
    is_key: bool
    is_encryption: bool


def place_of(key: str) -> Place | None:
    """Read an object's key; ``None`` when it does not lie in the drop folder, or is a folder itself.

    ``site.pem`` and ``site.key`` are a pair; ``site.enc.pem`` and ``site_enc.key`` the encryption pair of SM2,
    for which the signing pair may be called ``site.sign.pem``. Other endings stand alone.
    """
    if not key.startswith(DROP) or key.endswith("/"):
        return None
    account_id, slash, rest = key.removeprefix(DROP).partition("/")
    if not slash or not account_id:
        return Place("", f"{slash}{rest}" or account_id, is_key=False, is_encryption=False)
    stem, _, ending = rest.rpartition(".")
    ending = ending.lower()
    if not stem or ending not in _JOINING:
        return Place(account_id, rest, is_key=False, is_encryption=False)
    role = _ROLE.fullmatch(stem)
    if role is None:
        return Place(account_id, stem, is_key=ending == "key", is_encryption=False)
    encryption = role["role"].lower().startswith("enc")
    return Place(account_id, role["stem"], is_key=ending == "key", is_encryption=encryption)


def keys_of(message: str) -> Iterator[str]:
    """The object keys that a queue message tells of; none for S3's test message.

    Raises:
        ValueError: the message is not an S3 event (it goes to the dead-letter queue).
    """
    event = json.loads(message)
    if not isinstance(event, dict):
        raise ValueError("not an S3 event")  # noqa: TRY004 - a wrong value, as far as the queue is concerned
    for record in event.get("Records", ()):
        yield unquote_plus(record["s3"]["object"]["key"])


class Outcome(Enum):
    """What became of the objects of one name."""

    NOTHING = "nothing"
    WAITING = "waiting"
    STORED = "stored"
    REFUSED = "refused"


@dataclass(slots=True)
class _Group:
    """The objects of one upload, and what they hold."""

    account_id: str
    stem: str
    parts: list[tuple[Place, DroppedObject]]
    texts: dict[tuple[bool, bool], str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def objects(self) -> list[DroppedObject]:
        return [item for _, item in self.parts]

    @property
    def origin(self) -> str:
        """Names exactly these versions of these objects; by a hash where that would burden the slim record."""
        named = ",".join(sorted(f"{item.key}@{item.version}" for item in self.objects))
        return f"drop:{named if len(named) <= MAX_ORIGIN else hashlib.sha256(named.encode()).hexdigest()}"

    def bundle(self) -> Bundle:
        """The texts as an upload."""
        return Bundle(
            certificate=self.texts.get((False, False)),
            private_key=self.texts.get((True, False)),
            encryption_certificate=self.texts.get((False, True)),
            encryption_private_key=self.texts.get((True, True)),
        )


class Drop:
    """Takes in dropped files."""

    def __init__(
        self,
        box: DropBox,
        uploads: UploadValidate,
        certificates: CertificateStore,
        accounts: AccountStore,
        *,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._box = box
        self._uploads = uploads
        self._certificates = certificates
        self._accounts = accounts
        self._audit = audit
        self._clock = clock

    def arrived(self, key: str, request_id: str) -> Outcome:
        """Take in what lies under the same name as `key`, if it is whole.

        Raises:
            Exception: only for failures of the service itself; the queue brings the message again.
        """
        place = place_of(key)
        if place is None:
            return Outcome.NOTHING
        outcome = Outcome.NOTHING
        for group in self._groups(place):
            outcome = self._take(group, request_id, patient=True)
        return outcome

    def sweep(self, request_id: str) -> dict[str, int]:
        """Take up what events failed to bring, and report half pairs whose day is over.

        Returns:
            How many groups came to each outcome.

        Raises:
            ExceptionGroup: some could not be taken up; all others were, for one must not hold up other accounts'.
        """
        now, counts = self._clock(), {outcome.value: 0 for outcome in Outcome}
        seen: set[tuple[str, str]] = set()
        failures: list[Exception] = []
        for item in self._box.listing(DROP):
            place = place_of(item.key)
            if place is None or now - item.modified_at < OVERDUE or (place.account_id, place.stem) in seen:
                continue
            seen.add((place.account_id, place.stem))
            try:
                for group in self._groups(place):
                    oldest = min(item.modified_at for item in group.objects)
                    outcome = self._take(group, request_id, patient=now - oldest < PATIENCE)
                    counts[outcome.value] += 1
            except Exception as failure:  # noqa: BLE001 - raised when all others are done
                failures.append(failure)
        if failures:
            raise ExceptionGroup("dropped files that could not be taken up", failures)
        return counts

    def _groups(self, place: Place) -> list[_Group]:
        """The uploads that lie under one name: one, or two when an encryption pair turns out to be none."""
        parts = self._without_decided(place, self._parts(place))
        if not parts:
            return []
        whole = _Group(place.account_id, place.stem, parts)
        if not any(p.is_encryption for p, _ in parts) or not self._read(whole):
            return [whole] if whole.objects else []
        reading = read(whole.bundle())
        leaves = [leaf for leaf in (reading.leaf, reading.encryption_leaf) if leaf is not None]
        if not leaves or any(leaf.public_key.kind == "SM2" for leaf in leaves):
            return [whole]
        main = [(p, item) for p, item in parts if not p.is_encryption]
        other = [
            (Place(p.account_id, p.stem, p.is_key, is_encryption=False), item) for p, item in parts if p.is_encryption
        ]
        stem = _own_stem(other[0][1], place.account_id)
        groups = (_Group(place.account_id, place.stem, main), _Group(place.account_id, stem, other))
        return [group for group in groups if group.parts]

    def _without_decided(
        self, place: Place, parts: list[tuple[Place, DroppedObject]]
    ) -> list[tuple[Place, DroppedObject]]:
        """Carry through what an earlier try decided and did not finish; gives the parts that nothing was decided on."""
        stems = {place.stem, *(_own_stem(item, place.account_id) for p, item in parts if p.is_encryption)}
        for stem in sorted(stems) if parts else ():
            stored = self._decided_in(reports.receipt_key(place.account_id, stem))
            refused = self._decided_in(reports.report_key(place.account_id, stem))
            self._box.delete([item for _, item in parts if (item.key, item.version) in stored])
            self._put_aside(place.account_id, [i for _, i in parts if (i.key, i.version) in refused])
            parts = [(p, item) for p, item in parts if (item.key, item.version) not in stored | refused]
        return parts

    def _decided_in(self, key: str) -> set[tuple[str, str]]:
        """Keys and versions of the objects that a receipt or report names; none when there is none."""
        try:
            named = json.loads(self._box.current(key) or b"{}").get("objects")
        except (ValueError, AttributeError):  # somebody's own file
            return set()
        return {(k, v) for k, v in named.items() if isinstance(v, str)} if isinstance(named, dict) else set()

    def _parts(self, place: Place) -> list[tuple[Place, DroppedObject]]:
        folder = f"{DROP}{place.account_id}/" if place.account_id else DROP
        found: list[tuple[Place, DroppedObject]] = []
        for prefix in (f"{folder}{place.stem}.", f"{folder}{place.stem}_", f"{folder}{place.stem}"):
            if found and prefix.endswith(place.stem):
                break
            for item in self._box.listing(prefix):
                other = place_of(item.key)
                if other is not None and (other.account_id, other.stem) == (place.account_id, place.stem):
                    found.append((other, item))
                if len(found) == MAX_PARTS:
                    return found
        return found

    def _read(self, group: _Group) -> bool:
        """Read the objects of a group, once. False when one is gone: another worker has dealt with them."""
        if group.texts or group.findings:
            return True
        for place, item in group.parts:
            if item.size > MAX_OBJECT:
                group.findings.append(
                    error(
                        "RequestTooLarge",
                        f"{item.key} has {item.size} bytes; at most {MAX_OBJECT} are taken. It was not read.",
                        ERRORS["RequestTooLarge"],
                        item.key,
                    )
                )
                continue
            content = self._box.read(item)
            if content is None:
                return False
            kind = (place.is_key, place.is_encryption)
            text = looks.decode(content)
            group.texts[kind] = f"{group.texts[kind]}\n{text}" if kind in group.texts else text
        return True

    def _take(self, group: _Group, request_id: str, *, patient: bool) -> Outcome:
        """Store a whole group, refuse a bad one, let a half one wait while there is patience."""
        if not self._read(group):
            return Outcome.NOTHING
        caller = Caller(group.account_id, Role.MANAGER, "drop", "", request_id)
        try:
            self._accounts.get(group.account_id)
        except NotFound:
            refused = error(
                "AccountNotFound",
                f"There is no account {group.account_id[:16]!r}.",
                ERRORS["AccountNotFound"],
                "account",
            )
            return self._refuse(group, None, [refused])
        if group.findings:
            return self._refuse(group, caller, group.findings)
        bundle = group.bundle()
        reading = read(bundle)
        if self._is_half(caller, bundle, reading):
            return Outcome.WAITING if patient else self._refuse(group, caller, self._of_a_half(caller, bundle, reading))
        if patient and _awaits_encryption_pair(reading):
            return Outcome.WAITING
        return self._store(group, caller, bundle)

    def _is_half(self, caller: Caller, bundle: Bundle, reading: Reading) -> bool:
        """Whether the certificate or the key of a pair is still to come."""
        if bundle.certificate is None:
            return True
        if reading.leaf is None or reading.keys or reading.key_unreadable or bundle.private_key is not None:
            return False
        parsed = self._uploads.parse(caller, Upload(bundle))
        return any(f.code == "PrivateKeyMissing" for f in parsed.verdict.findings)

    def _store(self, group: _Group, caller: Caller, bundle: Bundle) -> Outcome:
        preferred = "".join(c if c.isprintable() else "-" for c in group.stem.rpartition("/")[2]).strip() or None
        upload = Upload(bundle, preferred_name=preferred, origin=group.origin)
        try:
            certificate, material = self._uploads.upload(caller, upload)
            findings: Sequence[Finding] = material.findings
        except DuplicateCertificate as duplicate:
            held = self._same_event(caller, duplicate.existing_id, group.origin)
            if held is None:
                return self._refuse(group, caller, duplicate.findings or [as_finding(duplicate, "certificate")])
            certificate = held
            findings = self._certificates.material(held).findings
        except CertificateRefused as refused:
            return self._refuse(group, caller, refused.findings)
        except TooManyRequests:
            raise  # says nothing of the files: the queue brings the message again
        except CerthavenError as refused:
            return self._refuse(group, caller, [as_finding(refused, "certificate")])
        receipt = reports.receipt(certificate, findings, group.objects)
        self._box.write_json(reports.receipt_key(group.account_id, group.stem), receipt)
        self._box.delete(group.objects)
        return Outcome.STORED

    def _same_event(self, caller: Caller, existing_id: str, origin: str) -> Certificate | None:
        """The certificate that these very objects made, in an earlier try or another worker's."""
        try:
            held = self._certificates.get(caller.account_id, existing_id)
        except NotFound:
            return None
        return held if held.origin == origin else None

    def _of_a_half(self, caller: Caller, bundle: Bundle, reading: Reading) -> list[Finding]:
        """That a half waited in vain, and what else is wrong with it."""
        missing = {"PrivateKeyMissing", "CertificateMissing"}
        others = self._uploads.parse(caller, Upload(bundle)).verdict.findings
        return [reports.half(reading), *(f for f in others if f.code not in missing)]

    def _refuse(self, group: _Group, caller: Caller | None, findings: Sequence[Finding]) -> Outcome:
        """Write the report, then move the objects beside it. `caller` is absent when there is no such account."""
        report = reports.report(findings, group.objects, self._clock())
        if caller is not None:
            first = next(f for f in findings if f.severity is Severity.ERROR)
            self._audit.refused(caller, "certificate.upload", group.objects[0].key, first.code)
        self._box.write_json(reports.report_key(group.account_id, group.stem), report)
        self._put_aside(group.account_id, group.objects)
        return Outcome.REFUSED

    def _put_aside(self, account_id: str, items: Sequence[DroppedObject]) -> None:
        for item in items:
            self._box.move(item, reports.aside_key(account_id, item.key.removeprefix(DROP)))


def _own_stem(item: DroppedObject, account_id: str) -> str:
    """The name of an object without folder and ending, whatever part of an upload it is."""
    return item.key.removeprefix(f"{DROP}{account_id}/").rpartition(".")[0]


def _awaits_encryption_pair(reading: Reading) -> bool:
    """Whether an SM2 signing certificate came, and its encryption pair may still be on its way."""
    if reading.leaf is None or reading.leaf.public_key.kind != "SM2" or reading.is_damaged:
        return False
    return reading.encryption_leaf is None or not (reading.encryption_keys or reading.encryption_key_unreadable)
