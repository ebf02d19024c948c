"""Upload and validation: what an upload would say, storing one, and renewing one by its replacement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from chalicelib.domain import naming
from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.errors import (
    CerthavenError,
    CertificateRefused,
    Conflict,
    DuplicateCertificate,
    InvalidRequest,
    NameTaken,
)
from chalicelib.domain.findings import Finding, error, warning
from chalicelib.domain.model import (
    Caller,
    Certificate,
    Csr,
    Material,
    Source,
    certificate_id,
)
from chalicelib.domain.reading import Bundle, Reading, read, with_key
from chalicelib.domain.validation import Verdict, judge
from chalicelib.functions.audit import Audit
from chalicelib.functions.csrs import Csrs
from chalicelib.functions.records import material_of, record_of
from chalicelib.functions.succession import name_after, refuse_replaced, retired
from chalicelib.ports import CertificateStore, Clock, KeyVault

#: How often a suggested name that another upload took in the meantime is suggested anew.
NAME_ATTEMPTS = 5
#: How much the tags of a certificate may weigh together, in bytes of UTF-8.
MAX_TAG_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload: the texts, and what the caller says about them.

    `name` is taken as it is, or refused; `preferred_name` gives way to a free one like it. With neither, a
    name is suggested. `origin` names the event that brought it, so that the same event coming twice is known
    as such.
    """

    bundle: Bundle
    name: str | None = None
    preferred_name: str | None = None
    csr_id: str | None = None
    resource_group: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    notifications: bool = False
    source: Source = Source.UPLOAD
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Renewal:
    """The replacement of a certificate; what is ``None`` is taken over from the old one."""

    bundle: Bundle
    name: str | None = None
    csr_id: str | None = None
    resource_group: str | None = None
    tags: Mapping[str, str] | None = None
    notifications: bool | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """What an upload would see and say; `has_key` counts a key that a stored CSR holds."""

    verdict: Verdict
    suggested_name: str | None
    has_key: bool = False


@dataclass(frozen=True, slots=True)
class _Examined:
    """What was read and what is said of it, and the stored CSR that stands in for a missing key."""

    reading: Reading
    verdict: Verdict
    csr: Csr | None = None


class UploadValidate:
    """Validates and stores certificates."""

    def __init__(self, store: CertificateStore, csrs: Csrs, vault: KeyVault, audit: Audit, clock: Clock) -> None:
        self._store = store
        self._csrs = csrs
        self._vault = vault
        self._audit = audit
        self._clock = clock

    def parse(self, caller: Caller, upload: Upload) -> Parsed:
        """Judge an upload and store nothing; no stored key is opened. Raises: NotFound, `csr_id` names no CSR."""
        examined = self._examine(caller, upload.bundle, upload.csr_id)
        verdict = examined.verdict
        findings = _with_conflicts(verdict, self._taken(caller, verdict.leaf, upload.name))
        name = self._free_name(caller, naming.suggested_name(verdict.leaf), verdict.leaf) if verdict.leaf else None
        has_key = verdict.key is not None or (examined.csr is not None and examined.csr.has_private_key)
        return Parsed(replace(verdict, findings=findings), name, has_key)

    def upload(self, caller: Caller, upload: Upload) -> tuple[Certificate, Material]:
        """Validate and store a certificate.

        Raises:
            CertificateRefused: with every finding. NotFound: `csr_id` names no CSR. InvalidRequest: too many tags.
            Conflict: `DuplicateCertificate`, `NameTaken`, with every finding when nothing else was wrong.
        """
        _check_tags(upload.tags)
        examined = self._examine(caller, upload.bundle, upload.csr_id)
        leaf = _accepted(examined.verdict, self._taken(caller, examined.verdict.leaf, upload.name))
        verdict = self._with_stored_key(examined)
        certificate = self._record(caller, leaf, verdict, upload, upload.name or "")
        material = material_of(certificate, verdict, self._vault)
        for attempt in range(NAME_ATTEMPTS):
            if upload.name is None:
                wanted = upload.preferred_name or naming.suggested_name(leaf)
                certificate = replace(certificate, name=self._free_name(caller, wanted, leaf))
            event = self._audit.event(
                caller,
                "certificate.upload",
                certificate.id,
                name=certificate.name,
                fingerprint=certificate.fingerprint,
                origin=upload.origin or "api",
                **_csr_used(examined),
            )
            try:
                self._store.add(certificate, material, event)
            except NameTaken:
                if upload.name is not None or attempt == NAME_ATTEMPTS - 1:
                    raise
            else:
                break
        return certificate, material

    def renew(self, caller: Caller, certificate_id: str, renewal: Renewal) -> tuple[Certificate, Material]:
        """Store the replacement of a certificate; it takes over name, tags, group and notices, unless told otherwise.

        The old one stays until it is deleted: under its name with ``-replaced`` and part of its id, or under its
        own when the replacement has another name.

        Raises:
            NotFound, CertificateRefused. InvalidRequest: too many tags.
            Conflict: `DuplicateCertificate`, `NameTaken`, `AlreadyReplaced`, `ConcurrentChange`.
        """
        old = self._store.get(caller.account_id, certificate_id)
        refuse_replaced(self._store, old)
        upload = Upload(
            renewal.bundle,
            resource_group=old.resource_group if renewal.resource_group is None else renewal.resource_group,
            tags=old.tags if renewal.tags is None else renewal.tags,
            notifications=old.notifications if renewal.notifications is None else renewal.notifications,
        )
        _check_tags(upload.tags)
        examined = self._examine(caller, renewal.bundle, renewal.csr_id)
        name = name_after(self._store, old, examined.verdict.leaf) if renewal.name is None else renewal.name
        conflicts = self._taken(caller, examined.verdict.leaf, None if name == old.name else name)
        leaf = _accepted(examined.verdict, conflicts)
        verdict = self._with_stored_key(examined)
        verdict = replace(verdict, findings=(*verdict.findings, *self._coverage(old, leaf)))
        new = replace(self._record(caller, leaf, verdict, upload, name), replaces=old.id, deployed=old.deployed)
        material = material_of(new, verdict, self._vault)
        event = self._audit.event(
            caller,
            "certificate.renew",
            new.id,
            replaces=old.id,
            name=new.name,
            fingerprint=new.fingerprint,
            **_csr_used(examined),
        )
        self._store.replace(old, retired(old, new), new, material, event)
        return new, material

    def _examine(self, caller: Caller, bundle: Bundle, csr_id: str | None) -> _Examined:
        reading = read(bundle)
        csr = self._fitting_csr(caller, reading, csr_id)
        if csr is None:
            return _Examined(reading, judge(reading, self._clock()))
        if reading.leaf is not None and csr.public_key_fingerprint != reading.leaf.public_key.fingerprint:
            reading = _plus(reading, _csr_mismatch(csr.id))
        elif reading.keys:
            csr = None
        elif not csr.has_private_key:
            reading = _plus(reading, _key_elsewhere(csr.name))
        return _Examined(reading, judge(reading, self._clock(), key_required=False), csr)

    def _with_stored_key(self, examined: _Examined) -> Verdict:
        """The verdict on an upload that is accepted, with the key of its CSR, which is opened only now.

        Raises: CertificateRefused, when that key cannot be used.
        """
        if examined.csr is None or not examined.csr.has_private_key:
            return examined.verdict
        reading = with_key(examined.reading, self._csrs.key_of(examined.csr))
        verdict = judge(reading, self._clock(), key_required=False)
        _accepted(verdict, ())
        return verdict

    def _fitting_csr(self, caller: Caller, reading: Reading, csr_id: str | None) -> Csr | None:
        """The CSR that was named, or for a leaf without key the one that has its public key."""
        if csr_id is not None:
            return self._csrs.get(caller, csr_id)
        if reading.leaf is None or reading.keys or reading.key_unreadable:
            return None
        return self._csrs.for_public_key(caller.account_id, reading.leaf.public_key.fingerprint)

    def _taken(self, caller: Caller, leaf: ParsedCertificate | None, name: str | None) -> list[Conflict]:
        """What the inventory has against a certificate and a name: 1 read for each."""
        conflicts: list[Conflict] = []
        known = None if leaf is None else certificate_id(leaf.not_after, leaf.fingerprint)
        if known is not None and self._store.holds(caller.account_id, known):
            conflicts.append(DuplicateCertificate(known))
        if name is not None and self._store.name_taken(caller.account_id, name):
            conflicts.append(NameTaken(name))
        return conflicts

    def _free_name(self, caller: Caller, wanted: str, leaf: ParsedCertificate) -> str:
        return naming.free_name(wanted, lambda name: self._store.name_taken(caller.account_id, name), leaf.fingerprint)

    def _coverage(self, old: Certificate, leaf: ParsedCertificate) -> Sequence[Finding]:
        domains = self._store.material(old).domains
        lost = [d for d in domains if not any(naming.covers(own, d) for own in leaf.domains)]
        if not lost:
            return ()
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        return (
            warning(
                "DomainsDiffer",
                f"The replacement does not cover {', '.join(lost[:5])}{more}, which the old certificate did.",
                "Check that it is the right one before it is deployed.",
                "certificate",
            ),
        )

    def _record(
        self, caller: Caller, leaf: ParsedCertificate, verdict: Verdict, upload: Upload, name: str
    ) -> Certificate:
        made = record_of(
            leaf,
            verdict,
            account_id=caller.account_id,
            name=name,
            source=upload.source,
            created_by=caller.token_id,
            now=self._clock(),
        )
        return replace(
            made,
            resource_group=upload.resource_group,
            tags=dict(upload.tags),
            notifications=upload.notifications,
            origin=upload.origin,
        )


def _accepted(verdict: Verdict, taken: Sequence[Conflict]) -> ParsedCertificate:
    """The leaf of a verdict without errors, of which the inventory holds neither the like nor the name.

    Raises:
        CertificateRefused: with every finding. Conflict: when these are all that is wrong.
    """
    findings = _with_conflicts(verdict, taken)
    if verdict.refused or verdict.leaf is None:
        raise CertificateRefused(findings)
    for conflict in taken:
        conflict.findings = findings
        raise conflict
    return verdict.leaf


def _with_conflicts(verdict: Verdict, taken: Sequence[Conflict]) -> tuple[Finding, ...]:
    """All findings, what the inventory has against the upload included."""
    return (*verdict.findings, *(as_finding(c, "name" if isinstance(c, NameTaken) else "certificate") for c in taken))


def as_finding(refusal: CerthavenError, param: str) -> Finding:
    """A refusal of another kind, among findings."""
    return error(refusal.code, refusal.message, refusal.hint, param)


def _csr_used(examined: _Examined) -> dict[str, str]:
    """For the audit trail: the CSR whose key was opened."""
    return {} if examined.csr is None else {"csr": examined.csr.id}


def _check_tags(tags: Mapping[str, str]) -> None:
    """Raises: InvalidRequest, when they are more than a slim record should carry."""
    size = sum(len(text.encode()) for tag in tags.items() for text in tag)
    if size > MAX_TAG_BYTES:
        raise InvalidRequest(
            "InvalidRequest", f"The tags have {size} bytes in UTF-8 together; at most {MAX_TAG_BYTES} are kept."
        )


def _plus(reading: Reading, finding: Finding) -> Reading:
    return replace(reading, findings=(*reading.findings, finding))


def _csr_mismatch(csr_id: str) -> Finding:
    return error(
        "KeyMismatch",
        f"The CSR {csr_id} has another public key than the certificate: it was not issued for this CSR.",
        "Name the CSR that was sent to the CA, or leave `csr_id` out to have it found.",
        "csr_id",
    )


def _key_elsewhere(csr_name: str) -> Finding:
    return warning(
        "PrivateKeyElsewhere",
        f"The stored CSR “{csr_name}” fits and has no private key here: the certificate is held without one.",
        "It is watched for expiry; to deploy it from here, delete it and upload it with its key.",
        "private_key",
    )
