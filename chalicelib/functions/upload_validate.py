"""Upload and validation: what an upload would say, storing one, and renewing one by its replacement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from chalicelib.domain import naming, pem
from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.errors import (
    CertificateRefused,
    Conflict,
    InvalidRequest,
    NameTaken,
)
from chalicelib.domain.findings import RISKS, Finding, error, warning
from chalicelib.domain.model import (
    MAX_LISTED_DOMAINS,
    Caller,
    Certificate,
    Material,
    Source,
)
from chalicelib.domain.reading import Bundle, Reading, read, with_key
from chalicelib.domain.validation import Verdict, judge
from chalicelib.functions.audit import Audit, new_id
from chalicelib.functions.csrs import Csrs
from chalicelib.ports import CertificateStore, Clock, KeyVault

#: How often a suggested name that another upload took in the meantime is suggested anew.
NAME_ATTEMPTS = 5


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
class Parsed:
    """What an upload would see and say."""

    verdict: Verdict
    suggested_name: str | None


class UploadValidate:
    """Validates and stores certificates."""

    def __init__(self, store: CertificateStore, csrs: Csrs, vault: KeyVault, audit: Audit, clock: Clock) -> None:
        self._store = store
        self._csrs = csrs
        self._vault = vault
        self._audit = audit
        self._clock = clock

    def parse(self, caller: Caller, upload: Upload) -> Parsed:
        """Judge an upload and store nothing. Raises: NotFound, when `csr_id` names no CSR."""
        verdict = self._examine(caller, upload)
        if verdict.leaf is None:
            return Parsed(verdict, None)
        findings = verdict.findings
        existing = self._store.by_fingerprint(caller.account_id, verdict.leaf.fingerprint)
        if existing is not None:
            findings += (
                error(
                    "DuplicateCertificate",
                    f"This certificate is already held, as {existing}.",
                    "Use that one, or delete it first.",
                    "certificate",
                ),
            )
        if upload.name is not None and self._store.name_taken(caller.account_id, upload.name):
            findings += (error("NameTaken", f"The name “{upload.name}” is taken.", "Choose another.", "name"),)
        name = self._free_name(caller, naming.suggested_name(verdict.leaf))
        return Parsed(replace(verdict, findings=findings), name)

    def upload(self, caller: Caller, upload: Upload) -> tuple[Certificate, Material]:
        """Validate and store a certificate.

        Raises:
            CertificateRefused: with every finding. NotFound: `csr_id` names no CSR.
            Conflict: `DuplicateCertificate`, `NameTaken`.
        """
        verdict = self._examine(caller, upload)
        leaf = _accepted(verdict)
        certificate = self._record(caller, leaf, verdict, upload, upload.name or "")
        material = self._material(certificate, verdict)
        for attempt in range(NAME_ATTEMPTS):
            if upload.name is None:
                wanted = upload.preferred_name or naming.suggested_name(leaf)
                name = self._free_name(caller, wanted)
                certificate = replace(certificate, name=name)
            event = self._audit.event(
                caller,
                "certificate.upload",
                certificate.id,
                name=certificate.name,
                fingerprint=certificate.fingerprint,
                origin=upload.origin or "api",
            )
            try:
                self._store.add(certificate, material, event)
            except NameTaken:
                if upload.name is not None or attempt == NAME_ATTEMPTS - 1:
                    raise
            else:
                break
        return certificate, material

    def renew(self, caller: Caller, certificate_id: str, upload: Upload) -> tuple[Certificate, Material]:
        """Store the replacement of a certificate; it takes over name, tags, group and notices.

        The old one stays, under its name with ``-replaced`` and part of its id, until it is deleted.

        Raises:
            NotFound, CertificateRefused. InvalidRequest: `SourceCannotRenew`, for an empty request.
            Conflict: `DuplicateCertificate`, `AlreadyReplaced`, `ConcurrentChange`.
        """
        old = self._store.get(caller.account_id, certificate_id)
        if old.replaced_by is not None:
            raise Conflict("AlreadyReplaced", f"This certificate was already replaced, by {old.replaced_by}.")
        if upload.bundle == Bundle():
            raise InvalidRequest(
                "SourceCannotRenew",
                f"A certificate of source {old.source} is renewed by uploading its replacement; none was sent.",
            )
        verdict = self._examine(caller, upload)
        leaf = _accepted(verdict)
        verdict = replace(verdict, findings=(*verdict.findings, *self._coverage(old, leaf)))
        upload = replace(upload, resource_group=old.resource_group, tags=old.tags, notifications=old.notifications)
        new = replace(self._record(caller, leaf, verdict, upload, old.name), replaces=old.id, deployed=old.deployed)
        retired = replace(
            old,
            name=_retired_name(old),
            notifications=False,
            replaced_by=new.id,
            version=old.version + 1,
            updated_at=new.created_at,
        )
        material = self._material(new, verdict)
        event = self._audit.event(
            caller, "certificate.renew", new.id, replaces=old.id, name=new.name, fingerprint=new.fingerprint
        )
        self._store.replace(old, retired, new, material, event)
        return new, material

    def _examine(self, caller: Caller, upload: Upload) -> Verdict:
        reading = read(upload.bundle)
        reading, required = self._with_stored_key(caller, reading, upload.csr_id)
        return judge(reading, self._clock(), key_required=required)

    def _with_stored_key(self, caller: Caller, reading: Reading, csr_id: str | None) -> tuple[Reading, bool]:
        """Add the key of the CSR that was named, or that has the leaf's public key.

        Returns:
            The reading, and whether a private key is still required.
        """
        if csr_id is not None:
            csr, key = self._csrs.with_key(caller.account_id, csr_id)
            if reading.leaf is not None and csr.public_key_fingerprint != reading.leaf.public_key.fingerprint:
                return _plus(reading, _csr_mismatch(csr.id)), False
        elif reading.leaf is None or reading.keys or reading.key_unreadable:
            return reading, True
        else:
            found = self._csrs.for_public_key(caller.account_id, reading.leaf.public_key.fingerprint)
            if found is None:
                return reading, True
            csr, key = found
        if reading.keys:
            return reading, False
        if key is None:
            return _plus(reading, _key_elsewhere(csr.name)), False
        return with_key(reading, key), False

    def _free_name(self, caller: Caller, wanted: str) -> str:
        return naming.free_name(wanted, lambda name: self._store.name_taken(caller.account_id, name))

    def _coverage(self, old: Certificate, leaf: ParsedCertificate) -> Sequence[Finding]:
        domains = self._store.material(old.account_id, old.id).domains
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
        now = self._clock()
        return Certificate(
            id=new_id(self._clock),
            account_id=caller.account_id,
            name=name,
            source=upload.source,
            domains=leaf.domains[:MAX_LISTED_DOMAINS],
            domains_total=len(leaf.domains),
            algorithm=leaf.public_key.kind,
            key_size=leaf.public_key.size,
            subject=leaf.subject,
            issuer=leaf.issuer,
            serial_number=leaf.serial_number,
            fingerprint=leaf.fingerprint,
            public_key_fingerprint=leaf.public_key.fingerprint,
            not_before=leaf.not_before,
            not_after=leaf.not_after,
            risks=tuple(dict.fromkeys(f.code for f in verdict.findings if f.code in RISKS)),
            resource_group=upload.resource_group,
            tags=dict(upload.tags),
            notifications=upload.notifications,
            has_private_key=verdict.key is not None,
            created_at=now,
            updated_at=now,
            created_by=caller.token_id,
            origin=upload.origin,
        )

    def _material(self, certificate: Certificate, verdict: Verdict) -> Material:
        assert verdict.leaf is not None
        held = {}
        if verdict.key is not None:
            held["signing"] = verdict.key.pem()
        if verdict.encryption_key is not None:
            held["encryption"] = verdict.encryption_key.pem()
        twin = verdict.encryption_leaf
        return Material(
            certificate=pem.encode("CERTIFICATE", verdict.leaf.der),
            chain=tuple(pem.encode("CERTIFICATE", c.der) for c in verdict.chain),
            encryption_certificate=None if twin is None else pem.encode("CERTIFICATE", twin.der),
            keys=self._vault.seal(certificate.key_context, held) if held else None,
            findings=verdict.findings,
            domains=verdict.leaf.domains,
        )


def _accepted(verdict: Verdict) -> ParsedCertificate:
    """The leaf of a verdict without errors. Raises: CertificateRefused."""
    if verdict.refused or verdict.leaf is None:
        raise CertificateRefused(verdict.findings)
    return verdict.leaf


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


def _retired_name(old: Certificate) -> str:
    tail = f"-replaced-{old.id[-6:].lower()}"
    return old.name[: naming.MAX_NAME - len(tail)] + tail
