"""What the inventory keeps of a certificate that was judged: its slim record, and the heavy part."""

from __future__ import annotations

from datetime import datetime

from chalicelib.domain import pem
from chalicelib.domain.certificate import ParsedCertificate, printable
from chalicelib.domain.findings import RISKS
from chalicelib.domain.model import MAX_LISTED_DOMAINS, Certificate, Material, Source, certificate_id
from chalicelib.domain.validation import Verdict
from chalicelib.ports import KeyVault

#: How much of subject and issuer the slim record holds, in characters; the certificate itself has it all.
MAX_NAME_TEXT = 512


def record_of(
    leaf: ParsedCertificate,
    verdict: Verdict,
    *,
    account_id: str,
    name: str,
    source: Source,
    created_by: str,
    now: datetime,
) -> Certificate:
    """The slim record of a new certificate, without what its owner says about it."""
    return Certificate(
        id=certificate_id(leaf.not_after, leaf.fingerprint),
        account_id=account_id,
        name=name,
        source=source,
        domains=leaf.domains[:MAX_LISTED_DOMAINS],
        domains_total=len(leaf.domains),
        algorithm=leaf.public_key.kind,
        key_size=leaf.public_key.size,
        subject=printable(leaf.subject, MAX_NAME_TEXT),
        issuer=printable(leaf.issuer, MAX_NAME_TEXT),
        serial_number=leaf.serial_number,
        fingerprint=leaf.fingerprint,
        public_key_fingerprint=leaf.public_key.fingerprint,
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        risks=tuple(dict.fromkeys(f.code for f in verdict.findings if f.code in RISKS)),
        resource_group="",
        tags={},
        notifications=False,
        has_private_key=verdict.key is not None,
        created_at=now,
        updated_at=now,
        created_by=created_by,
        version=int(now.timestamp() * 1000),
    )


def material_of(certificate: Certificate, verdict: Verdict, vault: KeyVault) -> Material:
    """The heavy part of a certificate, its keys sealed: one KMS request when there are any."""
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
        keys=vault.seal(certificate.key_context, held) if held else None,
        findings=verdict.findings,
        domains=verdict.leaf.domains,
    )
