"""Judging an upload: every problem of a certificate, its key and its chain, found in one pass.

`read` turns texts into certificates and keys; `judge` says what is wrong with them together. Between the two the
caller may find a stored key for the leaf. Both only add findings: nothing here raises for what a caller can send.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from chalicelib.domain import keys, pem, policy
from chalicelib.domain.certificate import BROKEN_HASHES, MalformedCertificateError, ParsedCertificate, read_dates
from chalicelib.domain.chain import Chain, build_chain, constraint_problem, link_problem
from chalicelib.domain.findings import Finding, Severity, error, warning
from chalicelib.domain.keys import PrivateKey


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a caller gives: PEM texts, each perhaps absent. The repr shows none of them."""

    certificate: str | None = None
    private_key: str | None = None
    chain: str | None = None
    encryption_certificate: str | None = None
    encryption_private_key: str | None = None

    def __repr__(self) -> str:
        return "<Bundle>"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the texts hold.

    Attributes:
        leaf: the certificate that the upload is for; ``None`` when none could be read.
        others: the rest of the heap.
        keys: private keys for the leaf, in the order found.
        encryption_leaf: the encryption certificate of an SM2 pair.
        encryption_keys: private keys for that.
        findings: what reading had to say.
        leaf_came_first: whether the leaf stood before the rest of the heap.
        unreadable: whether a certificate or chain text was damaged, so that the heap is not whole.
        key_unreadable: whether a key was given and could not be read.
    """

    leaf: ParsedCertificate | None = None
    others: tuple[ParsedCertificate, ...] = ()
    keys: tuple[PrivateKey, ...] = ()
    encryption_leaf: ParsedCertificate | None = None
    encryption_keys: tuple[PrivateKey, ...] = ()
    findings: tuple[Finding, ...] = ()
    leaf_came_first: bool = True
    unreadable: bool = False
    key_unreadable: bool = False
    encryption_key_unreadable: bool = False


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


@dataclass(slots=True)
class _Texts:
    """Collects what the fields of a bundle hold."""

    certificates: list[ParsedCertificate] = field(default_factory=list)
    keys: list[PrivateKey] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unreadable: bool = False
    key_unreadable: bool = False

    def take_certificates(self, text: str, param: str) -> None:
        """Read a field that should hold certificates; keys in it are taken too."""
        found = pem.certificate_blocks(text, param)
        self._take_findings(found)
        for number, block in enumerate(found.certificates, 1):
            self._take_certificate(block, number, param)
        for block in found.private_keys:
            self._take_key(block, param)

    def take_key(self, text: str, param: str) -> None:
        """Read a field that should hold a private key; certificates in it are taken too."""
        found = pem.private_key_blocks(text, param)
        self._take_findings(found)
        for block in found.private_keys:
            self._take_key(block, param)
        for number, block in enumerate(found.certificates, 1):
            self._take_certificate(block, number, param)

    def _take_findings(self, found: pem.PemText) -> None:
        self.findings += found.findings
        for finding in found.findings:
            if finding.severity is Severity.ERROR:
                self.unreadable |= finding.code == "CertificateFormatIncorrect"
                self.key_unreadable |= finding.code.startswith("PrivateKey")

    def _take_certificate(self, block: pem.Block, number: int, param: str) -> None:
        try:
            self.certificates.append(ParsedCertificate(block.der))
        except MalformedCertificateError as malformed:
            self.unreadable = True
            self.findings.append(
                error(
                    "CertificateFormatIncorrect",
                    f"Certificate {number} (line {block.line}) is not a well-formed X.509 certificate: {malformed}.",
                    "Export it again from where it came, or have the CA issue it anew.",
                    param,
                )
            )

    def _take_key(self, block: pem.Block, param: str) -> None:
        key = keys.load(block, param)
        if isinstance(key, Finding):
            self.findings.append(key)
            self.key_unreadable = True
        else:
            self.keys.append(key)


def read(bundle: Bundle) -> Reading:
    """Read the texts of a bundle and find the leaf. Everything damaged becomes a finding.

    A blank text is the same as none: forms send those.
    """
    main, second = _Texts(), _Texts()
    if bundle.private_key is not None and bundle.private_key.strip():
        main.take_key(bundle.private_key, "private_key")
    if bundle.certificate is not None:
        main.take_certificates(bundle.certificate, "certificate")
    if bundle.chain is not None and bundle.chain.strip():
        main.take_certificates(bundle.chain, "chain")
    if bundle.encryption_certificate is not None and bundle.encryption_certificate.strip():
        second.take_certificates(bundle.encryption_certificate, "encryption_certificate")
    if bundle.encryption_private_key is not None and bundle.encryption_private_key.strip():
        second.take_key(bundle.encryption_private_key, "encryption_private_key")
    if bundle.certificate is None and not main.certificates:
        main.findings.append(
            error("CertificateMissing", "No certificate was given.", "Send it as PEM text.", "certificate")
        )
    leaf = _choose_leaf(main.certificates, main.keys)
    encryption_leaf = _choose_leaf(second.certificates, second.keys)
    others = [*main.certificates, *(c for c in second.certificates if c != encryption_leaf)]
    keys_found, encryption_keys = list(main.keys), list(second.keys)
    if leaf is not None and encryption_leaf is None:
        encryption_leaf = _encryption_twin(leaf, main.certificates)
        encryption_keys = [*second.keys, *_keys_for(encryption_leaf, main.keys)]
        own = _keys_for(leaf, main.keys)
        keys_found = [k for k in main.keys if k in own or k not in encryption_keys]
    findings = [*main.findings, *second.findings, *_doubles([*main.certificates, *second.certificates])]
    return Reading(
        leaf=leaf,
        others=tuple(c for c in dict.fromkeys(others) if c not in (leaf, encryption_leaf)),
        keys=tuple(keys_found),
        encryption_leaf=encryption_leaf,
        encryption_keys=tuple(encryption_keys),
        findings=tuple(findings),
        leaf_came_first=leaf in main.certificates[:1],
        unreadable=main.unreadable or second.unreadable,
        key_unreadable=main.key_unreadable,
        encryption_key_unreadable=second.key_unreadable,
    )


def _choose_leaf(certificates: Sequence[ParsedCertificate], held: Sequence[PrivateKey]) -> ParsedCertificate | None:
    """The certificate whose key is given; else the first that is no CA; else the first that issued no other.

    Of several with the same key (a renewal beside its predecessor), the one issued last. The encryption half of
    an SM2 pair comes after the signing half.
    """
    if fitting := [c for c in certificates if any(c.public_key.same_as(key.public) for key in held)]:
        return max(fitting, key=lambda c: (not c.is_ca, not _only_encrypts(c), c.not_before))
    if ends := [c for c in certificates if not c.is_ca]:
        return min(ends, key=_only_encrypts)
    lowest = [c for c in certificates if not any(o.issued_by_name(c) for o in certificates if o != c)]
    return next(iter(lowest or certificates), None)


def _only_encrypts(certificate: ParsedCertificate) -> bool:
    """Whether this is the encryption certificate of an SM2 pair, by its key usage."""
    usage = certificate.key_usage
    return certificate.public_key.kind == "SM2" and usage is not None and not usage.digital_signature


def _encryption_twin(leaf: ParsedCertificate, certificates: Sequence[ParsedCertificate]) -> ParsedCertificate | None:
    """The encryption certificate of an SM2 pair that came in one text with its signing certificate."""
    if leaf.public_key.kind != "SM2":
        return None
    for other in certificates:
        if other != leaf and not other.is_ca and other.subject_name == leaf.subject_name and _only_encrypts(other):
            return other
    return None


def _keys_for(leaf: ParsedCertificate | None, held: Sequence[PrivateKey]) -> list[PrivateKey]:
    if leaf is None:
        return []
    return [k for k in held if k.public.same_as(leaf.public_key)]


def _doubles(certificates: Sequence[ParsedCertificate]) -> Iterator[Finding]:
    seen: set[ParsedCertificate] = set()
    for certificate in certificates:
        if certificate in seen:
            yield warning(
                "DuplicateInput",
                f"The certificate {certificate.label} was given more than once; one is kept.",
                "Nothing needs to be done.",
                "certificate",
            )
        seen.add(certificate)


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
    if not leaf.is_self_signed or leaf.signature_hash in BROKEN_HASHES:
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


def with_key(reading: Reading, key: PrivateKey) -> Reading:
    """The reading with a stored key for its leaf."""
    return replace(reading, keys=(key,))
