"""Taking one certificate of a private CA into the inventory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from chalicelib.domain import naming
from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.errors import Conflict, NotFound, TooLarge
from chalicelib.domain.findings import Finding, Severity, warning
from chalicelib.domain.model import Caller, Certificate, Role, Source, certificate_id
from chalicelib.domain.pca import Fetched
from chalicelib.domain.policy import leakage_findings
from chalicelib.domain.reading import Bundle, Reading, read, with_key
from chalicelib.domain.sync import Outcome, Result, SyncJob, as_brought, job_mark
from chalicelib.domain.validation import Verdict, judge
from chalicelib.functions.audit import Audit
from chalicelib.functions.csrs import Csrs
from chalicelib.functions.records import material_of, record_of
from chalicelib.ports import CertificateStore, Clock, KeyVault

#: How often a change that met another one is tried.
ATTEMPTS: Final = 4
#: How much of a reason is kept, in characters.
MAX_REASON: Final = 300


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a certificate; `brought` is its record as it came, when it was this job that brought it."""

    result: Result
    brought: Certificate | None = None


class PcaIntake:
    """Judges what a private CA gives, and stores it."""

    def __init__(self, store: CertificateStore, csrs: Csrs, vault: KeyVault, audit: Audit, clock: Clock) -> None:
        self._store = store
        self._csrs = csrs
        self._vault = vault
        self._audit = audit
        self._clock = clock

    def take(self, job: SyncJob, one: str, fetched: Fetched) -> Taken:
        """Store a certificate for a job, unless it is held, refused, expired or revoked.

        Args:
            job: whose certificates count as uploaded by it.
            one: the certificate's id at its CA.
            fetched: what the CA gave.
        """
        reading = read(Bundle(fetched.certificate, fetched.private_key, "".join(fetched.chain) or None))
        verdict = self._judge(reading, fetched)
        refusals = [f for f in verdict.findings if f.severity is Severity.ERROR]
        leaf = verdict.leaf
        if refusals or leaf is None:
            outcome = Outcome.SKIPPED if {f.code for f in refusals} == {"CertificateExpired"} else Outcome.FAILED
            return Taken(Result(one, outcome, refusals[0].code, refusals[0].message[:MAX_REASON]))
        known = certificate_id(leaf.not_after, leaf.fingerprint)
        held = self._store.several(job.account_id, [known]).get(known)
        if held is not None:
            return self.follow(job, one, held, fetched.revoked_at)
        if fetched.revoked_at is not None:
            return Taken(revoked(one))
        if fetched.private_key is None and fetched.material_id is None:
            verdict = self._judge(self._with_stored_key(job, known, reading), fetched)
        made = self._record(job, one, leaf, verdict, fetched)
        try:
            stored = self._store.take_in(made, material_of(made, verdict, self._vault))
        except TooLarge as refusal:
            return Taken(Result(one, Outcome.FAILED, refusal.code, refusal.message[:MAX_REASON]))
        if stored:
            return Taken(Result(one, Outcome.UPLOADED, certificate_id=made.id), made)
        return self.follow(job, one, self._store.get(job.account_id, made.id), None)

    def follow(self, job: SyncJob, one: str, held: Certificate, revoked_at: datetime | None) -> Taken:
        """What is said of a certificate that is held; one that was revoked at its CA is marked so."""
        if held.created_by == job_mark(job.id):
            return Taken(Result(one, Outcome.UPLOADED, certificate_id=held.id), as_brought(held))
        if revoked_at is None or held.revoked_at is not None:
            known = Result(
                one, Outcome.SKIPPED, "DuplicateCertificate", "It is in the inventory already.", certificate_id=held.id
            )
            return Taken(known)
        caller = Caller(job.account_id, Role.MANAGER, job.started_by, "", job.id)
        self.mark_revoked(caller, held, revoked_at)
        marked = Result(
            one, Outcome.SKIPPED, "CertificateRevoked", "Its CA revoked it; marked so.", certificate_id=held.id
        )
        return Taken(marked)

    def mark_revoked(self, caller: Caller, held: Certificate, revoked_at: datetime) -> None:
        """Mark a certificate of the inventory as revoked; nothing when it is or was deleted."""
        for attempt in range(ATTEMPTS):
            if held.revoked_at is not None:
                return
            new = replace(held, revoked_at=revoked_at, version=held.version + 1, updated_at=self._clock())
            event = self._audit.event(caller, "certificate.revoked", held.id, fingerprint=held.fingerprint)
            try:
                self._store.update(held, new, event)
            except NotFound:
                return
            except Conflict:
                if attempt == ATTEMPTS - 1:
                    raise
                held = self._store.get(held.account_id, held.id)
            else:
                return

    def _judge(self, reading: Reading, fetched: Fetched) -> Verdict:
        """What is said of it; that its key is not here, too."""
        verdict = judge(reading, self._clock(), key_required=False)
        notes: list[Finding] = []
        if not reading.keys and fetched.material_id is None:
            notes.append(
                warning(
                    "PrivateKeyElsewhere",
                    fetched.key_note or "The CA does not have the private key of this certificate.",
                    "It is watched for expiry; to deploy it from here, delete it and upload it with its key.",
                    "private_key",
                )
            )
        if verdict.leaf is not None and all(f.code != "LeakageRisk" for f in verdict.findings):
            notes += leakage_findings(verdict.leaf, "certificate")
        return replace(verdict, findings=(*verdict.findings, *notes))

    def _with_stored_key(self, job: SyncJob, known: str, reading: Reading) -> Reading:
        """With the key of a stored CSR, when one fits; that it is opened is told in the trail first."""
        assert reading.leaf is not None
        csr = self._csrs.for_public_key(job.account_id, reading.leaf.public_key.fingerprint)
        if csr is None or not csr.has_private_key:
            return reading
        caller = Caller(job.account_id, Role.MANAGER, job.started_by, "", job.id)
        self._audit.accessed(caller, "csr.key", csr.id, certificate=known)
        return with_key(reading, self._csrs.key_of(csr))

    def _record(
        self, job: SyncJob, one: str, leaf: ParsedCertificate, verdict: Verdict, fetched: Fetched
    ) -> Certificate:
        made = record_of(
            leaf,
            verdict,
            account_id=job.account_id,
            name="",
            source=Source.PCA,
            created_by=job_mark(job.id),
            now=self._clock(),
        )
        return replace(
            made,
            name=naming.derived_name(leaf, made.id),
            origin=origin_of(job.ca, one),
            material_id=fetched.material_id,
            has_private_key=made.has_private_key or fetched.has_private_key,
        )


def origin_of(ca: str, one: str) -> str:
    """How the inventory remembers where a certificate came from; the built-in CA's ids begin with the CA's."""
    return f"pca:{one}" if one.startswith(f"{ca}.") else f"pca:{ca}:{one}"


def revoked(one: str) -> Result:
    """What is said of a certificate that was revoked before it came."""
    return Result(one, Outcome.SKIPPED, "CertificateRevoked", "Its CA revoked it; what is revoked is not brought.")
