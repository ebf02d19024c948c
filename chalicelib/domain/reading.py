"""Reading an upload: what its texts hold, and which of it is the leaf. Everything damaged becomes a finding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from chalicelib.domain import keys, pem
from chalicelib.domain.certificate import MalformedCertificateError, ParsedCertificate
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

    @property
    def is_damaged(self) -> bool:
        """Whether something in the texts refuses the upload, whatever else may come."""
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


def with_key(reading: Reading, key: PrivateKey) -> Reading:
    """The reading with a stored key for its leaf."""
    return replace(reading, keys=(key,))
