"""Judging an upload: every problem of a certificate, its key and its chain, found in one pass.

`reading.read` turns texts into certificates and keys; `judge` says what is wrong with them together. Between the two
the caller may find a stored key for the leaf. Both only add findings: neither raises for what a caller can send.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from chalicelib.domain import keys, policy
from chalicelib.domain.certificate import BROKEN_HASHES, MalformedCertificateError, ParsedCertificate, read_dates
from chalicelib.domain.chain import Chain, build_chain, constraint_problem, link_problem
from chalicelib.domain.findings import Finding, Severity, error, warning
from chalicelib.domain.keys import PrivateKey
from chalicelib.domain.reading import Reading


@dataclass(frozen=True, slots=True)
class Verdict:
    """An upload, judged. `chain` is issuer first; `key` and `encryption_key` match their certificates."""

    leaf: ParsedCertificate | None
    chain: tuple[ParsedCertificate, ...] = ()
    key: PrivateKey | None = None
    encryption_leaf: ParsedCertificate | None = None
    encryption_key: PrivateKey | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether any finding is an error."""
        return any(f.severity is Severity.ERROR for f in self.findings)


def judge(reading: Reading, now: datetime, *, key_required: bool = True) -> Verdict:
    """Judge what was read.

    Args:
        reading: from `read`, perhaps with a stored key added to its `keys`.
        now: aware UTC.
        key_required: whether a missing private key refuses (it does not when a stored CSR without key fits).
    """
    leaf = reading.leaf
    if leaf is None:
        return Verdict(None, findings=reading.findings)
    chain = build_chain(leaf, reading.others, now)
    key, key_problems = _match(reading.keys, leaf, "private_key")
    findings = [*reading.findings, *key_problems]
    if not reading.keys and not reading.key_unreadable and key_required:
        findings.append(_key_missing("private_key"))
    findings += _judge_leaf(leaf, reading, now, "certificate")
    findings += _judge_chain(chain, reading, now)
    encryption_key, problems = _judge_encryption(reading, chain, now)
    findings += problems
    return Verdict(
        leaf=leaf,
        chain=chain.issuers,
        key=key,
        encryption_leaf=reading.encryption_leaf,
        encryption_key=encryption_key,
        findings=tuple(findings),
    )


def _key_missing(param: str) -> Finding:
    return error(
        "PrivateKeyMissing",
        "No private key was given, and no stored CSR has this certificate's public key.",
        "Send the key that the CSR was made with, or create the CSR here (POST /v1/csrs) the next time.",
        param,
    )


def _match(held: Sequence[PrivateKey], leaf: ParsedCertificate, param: str) -> tuple[PrivateKey | None, list[Finding]]:
    """The key that fits the leaf, proven by use, and what to say when none does."""
    for key in held:
        if keys.matches(key, leaf.public_key):
            return key, []
    if not held:
        return None, []
    got = held[0]
    why = (
        f" The key is {got.label}, the certificate {leaf.label} has {leaf.public_key.label}."
        if got.label != leaf.public_key.label
        else f" Both are {got.label}, with different public keys; the certificate is {leaf.label}."
    )
    return None, [
        error(
            "KeyMismatch",
            "Certificate and private key do not match." + why,
            "Check that the files of two domains, or of an old and a new order, are not mixed up, and that a "
            "passphrase was removed from the right key.",
            param,
        )
    ]


def _judge_leaf(leaf: ParsedCertificate, reading: Reading, now: datetime, param: str) -> Iterator[Finding]:
    """What is wrong with the leaf itself."""
    alone = not reading.others and leaf.is_self_signed
    if leaf.is_ca:
        make = warning if alone else error
        yield make(
            "NotALeaf",
            f"{leaf.label} is a CA certificate (basic constraints say CA), not one for a server or client.",
            "For a test this will do; servers should have a certificate without the CA flag."
            if alone
            else "Upload the certificate that was issued for your host, with its own key.",
            param,
        )
    yield from policy.key_findings(leaf, param)
    if not (leaf.is_self_signed and leaf.is_ca) or leaf.signature_hash in BROKEN_HASHES:
        yield from policy.signature_findings(leaf, param)
    yield from _judge_dates(leaf, now, param)
    yield from policy.leaf_findings(leaf, param)


def _judge_dates(leaf: ParsedCertificate, now: datetime, param: str) -> Iterator[Finding]:
    state = read_dates(leaf, now)
    if state == "expired":
        yield error(
            "CertificateExpired",
            f"{leaf.label} expired on {leaf.not_after:%Y-%m-%d %H:%M:%S} UTC.",
            "Upload the certificate that replaced it, or order a new one.",
            param,
        )
    elif state == "future":
        yield warning(
            "CertificateNotYetValid",
            f"{leaf.label} is valid from {leaf.not_before:%Y-%m-%d %H:%M:%S} UTC on.",
            "Do not deploy it before that.",
            param,
        )


def _judge_chain(chain: Chain, reading: Reading, now: datetime) -> Iterator[Finding]:
    """What is wrong with the links above the leaf."""
    for certificate, why in chain.uncheckable:
        yield error(
            "UnsupportedAlgorithm",
            f"The signature of {certificate.label} cannot be checked: {why}; supported are {policy.SUPPORTED}.",
            "Use a chain of supported algorithms.",
            "chain",
        )
    for certificate, issuer in chain.wrong_signatures:
        yield error(
            "ChainBroken",
            f"The signature of {certificate.label} was not made by the given {issuer.label}, though the names fit.",
            "Take the intermediate from the CA's page for exactly this certificate; CAs reuse names.",
            "chain",
        )
    if problem := link_problem(chain) or constraint_problem(chain):
        yield error(
            "ChainBroken",
            f"The chain does not hold: {problem}.",
            "Check that the chain is the one the CA gave with this certificate.",
            "chain",
        )
    yield from _judge_strangers(chain, reading)
    for certificate in chain.issuers:
        yield from policy.key_findings(certificate, "chain") if _is_weak(certificate) else ()
        if not certificate.is_self_signed:
            yield from policy.signature_findings(certificate, "chain")
        if now > certificate.not_after:
            yield warning(
                "IntermediateExpired",
                f"{certificate.label} of the chain expired on {certificate.not_after:%Y-%m-%d}.",
                "Take the current intermediate from the CA.",
                "chain",
            )
    if _was_reordered(chain, reading):
        yield warning(
            "ChainReordered",
            "The certificates were not in the order servers send (leaf, its issuer, and so on); they are now.",
            "Nothing needs to be done.",
            "chain",
        )


def _is_weak(certificate: ParsedCertificate) -> bool:
    """A weak issuer key refuses; an unusual one that could be checked does not."""
    return any(f.code == "WeakKey" for f in policy.key_findings(certificate, "chain"))


def _judge_strangers(chain: Chain, reading: Reading) -> Iterator[Finding]:
    """Gaps in the chain, and certificates that belong to none."""
    strangers = [c for c in chain.strangers if c not in (issuer for _, issuer in chain.wrong_signatures)]
    broken = [
        error(
            "ChainBroken",
            f"The given certificate {c.label} does not belong to the chain of {chain.leaf.label}.",
            "Leave it out, or send the certificates that connect it.",
            "chain",
        )
        for c in strangers
    ]
    missing = []
    if not chain.is_complete and not chain.wrong_signatures and not chain.uncheckable:
        unread = " One of the given certificates could not be read." if reading.unreadable else ""
        missing = [
            error(
                "ChainIncomplete",
                f"The intermediate that signed {chain.leaf.label} is missing: “{chain.leaf.issuer}”.{unread}",
                "Add the intermediate certificate that the CA delivered with it (often ca_bundle or fullchain.pem).",
                "chain",
            )
        ]
    if strangers and all(c.is_self_signed for c in strangers):
        # A root without what stands between: the gap is the news.
        yield from missing
        yield from broken if chain.is_complete else ()
    else:
        yield from broken
        yield from missing
    for certificate in chain.alternatives:
        yield warning(
            "ChainAlternative",
            f"{certificate.label} (issued by “{certificate.issuer}”) belongs to another path of the same chain "
            "(cross-signing); servers send one path, and this certificate was left out.",
            "Nothing needs to be done, unless old clients need the other path.",
            "chain",
        )


def _was_reordered(chain: Chain, reading: Reading) -> bool:
    """Whether the heap held the path in another order (what else was in it does not count)."""
    given = [c for c in reading.others if c in chain.path]
    return given != list(chain.issuers) or not reading.leaf_came_first


def _judge_encryption(reading: Reading, chain: Chain, now: datetime) -> tuple[PrivateKey | None, list[Finding]]:
    """The second half of an SM2 double certificate (GM/T 0015, GB/T 38636)."""
    signing, encryption, param = chain.leaf, reading.encryption_leaf, "encryption_certificate"
    if signing.public_key.kind != "SM2":
        if encryption is None and not reading.encryption_keys:
            return None, []
        return None, [
            error(
                "EncryptionCertificateUnexpected",
                f"{signing.label} is {signing.public_key.label}; only SM2 has a separate encryption certificate.",
                "Leave `encryption_certificate` and `encryption_private_key` out.",
                param,
            )
        ]
    if encryption is None:
        if reading.encryption_keys:
            return None, [
                error("CertificateMissing", "An encryption key came without its certificate.", "Send both.", param)
            ]
        return None, [
            warning(
                "EncryptionCertificateMissing",
                f"{signing.label} came without the encryption certificate of the pair; SM2 servers (TLCP) need both.",
                "Send `encryption_certificate` and `encryption_private_key` as well.",
                param,
            )
        ]
    findings = [*_pair_findings(signing, encryption, chain, param)]
    if encryption.public_key.kind == "SM2":
        findings += policy.signature_findings(encryption, param)
    else:
        findings.append(
            error(
                "UnsupportedAlgorithm",
                f"The encryption certificate has a key of {encryption.public_key.label}; SM2 is wanted.",
                "Send the encryption certificate that belongs to this SM2 signing certificate.",
                param,
            )
        )
    findings += _judge_dates(encryption, now, param)
    key, problems = _match(reading.encryption_keys, encryption, "encryption_private_key")
    findings += problems
    if not reading.encryption_keys and not reading.encryption_key_unreadable:
        findings.append(_key_missing("encryption_private_key"))
    return key, findings


def _pair_findings(
    signing: ParsedCertificate, encryption: ParsedCertificate, chain: Chain, param: str
) -> Iterator[Finding]:
    if encryption.subject_name != signing.subject_name or encryption.issuer_name != signing.issuer_name:
        yield error(
            "SubjectMismatch",
            f"The two certificates do not name the same subject and issuer: “{signing.subject}” by “{signing.issuer}” "
            f"and “{encryption.subject}” by “{encryption.issuer}”.",
            "Send the two certificates of one order.",
            param,
        )
    elif _signed_by_a_stranger(encryption, chain):
        yield error(
            "ChainBroken",
            f"The signature of the encryption certificate {encryption.label} was not made by its issuer.",
            "Export it again from where it came.",
            param,
        )
    if encryption.public_key.same_as(signing.public_key):
        yield warning(
            "EncryptionKeyReused",
            "Signing and encryption certificate have the same key; each should have its own.",
            "Order the pair anew with two keys.",
            param,
        )
    usage = signing.key_usage
    if usage is not None and not usage.digital_signature:
        yield error(
            "KeyUsageUnsuitable",
            f"The key usage of the signing certificate {signing.label} does not allow signatures.",
            "Signing and encryption certificate may be in each other's field: exchange them, and their keys.",
            "certificate",
        )


def _signed_by_a_stranger(encryption: ParsedCertificate, chain: Chain) -> bool:
    """Whether the issuer is known and did not sign. A self-signed pair is signed by either of its keys."""
    issuers = chain.issuers[:1] or ((chain.leaf, encryption) if chain.leaf.is_self_signed else ())
    try:
        return bool(issuers) and not any(encryption.signed_by(c) for c in issuers)
    except MalformedCertificateError:
        return True
