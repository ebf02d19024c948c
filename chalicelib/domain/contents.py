"""What is inside a file of any format: certificates, private keys and requests, read and put in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain as chained
from typing import Final, NoReturn, TypeVar

from chalicelib.domain import ber, der, jks, keys, looks, pbe, pem, pkcs12
from chalicelib.domain.ber import BerError, Node
from chalicelib.domain.certificate import MalformedCertificateError, ParsedCertificate, printable
from chalicelib.domain.chain import MAX_DEPTH, build_chain
from chalicelib.domain.csr import MalformedCsrError, ParsedCsr
from chalicelib.domain.der import Kind
from chalicelib.domain.errors import CertificateRefused, InvalidRequest, Unprocessable
from chalicelib.domain.findings import Finding
from chalicelib.domain.jks import JksError
from chalicelib.domain.keys import PrivateKey
from chalicelib.domain.pbe import Budget
from chalicelib.domain.pem import Block
from chalicelib.domain.pemscan import LABELS
from chalicelib.domain.pkcs12 import Opened

T = TypeVar("T")

#: Chains are looked for among this many certificates; a longer list is a trust store, and keeps its order.
MAX_ORDERED: Final = 50

_PRIVATE: Final = frozenset({Kind.PKCS8, Kind.ENCRYPTED_PKCS8, Kind.RSA_PRIVATE, Kind.EC_PRIVATE, Kind.DSA_PRIVATE})
_SIGNED_DATA: Final = frozenset({"1.2.840.113549.1.7.2", "1.2.156.10197.6.1.4.2.2"})
_CERTIFICATES: Final = 0xA0


@dataclass(frozen=True, slots=True, repr=False)
class Contents:
    """What a file holds, in the order in which servers want it. The repr shows no key.

    Attributes:
        certificates: each leaf followed by its chain, then the rest.
        keys: private keys, ready for use.
        requests: certificate signing requests.
        left_out: what else was inside, in words.
    """

    certificates: tuple[ParsedCertificate, ...] = ()
    keys: tuple[PrivateKey, ...] = ()
    requests: tuple[ParsedCsr, ...] = ()
    left_out: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Contents {', '.join(self.listing())}>"

    def listing(self) -> tuple[str, ...]:
        """What is inside, one line each: ``certificate example.com``, ``private key RSA 2048``."""
        return (
            *(f"certificate {name_of(c)}" for c in self.certificates),
            *(f"private key {k.label}" for k in self.keys),
            *(f"certificate signing request {name_of(r)}" for r in self.requests),
            *(f"left out: {what}" for what in self.left_out),
        )

    def leaf_of(self, key: PrivateKey) -> ParsedCertificate | None:
        """The certificate that a key belongs to."""
        return next((c for c in self.certificates if c.public_key.fingerprint == key.public_fingerprint), None)

    def issuers_of(self, leaf: ParsedCertificate) -> tuple[ParsedCertificate, ...]:
        """The chain of a leaf, its issuer first."""
        return build_chain(leaf, self.certificates, leaf.not_before).issuers


def name_of(holder: ParsedCertificate | ParsedCsr) -> str:
    """How a listing names a certificate or request: its common name, first host, or whole subject."""
    names = holder.domains if isinstance(holder, ParsedCertificate) else holder.sans
    return printable(holder.common_name or next(iter(names), "") or holder.subject or "without a name", 100)


def incorrect(message: str, hint: str = "") -> Unprocessable:
    """The refusal of an input that is not what it should be."""
    return Unprocessable("ConversionInputIncorrect", message, hint)


@dataclass(slots=True)
class _Collector:
    """Collects what is found on the way through an input."""

    passphrase: str | None
    budget: Budget = field(default_factory=Budget)
    certificates: list[ParsedCertificate] = field(default_factory=list)
    keys: list[PrivateKey] = field(default_factory=list)
    requests: list[ParsedCsr] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def opened(self, how: Callable[[str, Budget], T]) -> T:
        """What `how` opens with the passphrase, or with an empty one when none was given.

        Raises:
            InvalidRequest: `PassphraseMissing`. Unprocessable: what `how` refuses.
        """
        try:
            return how(self.passphrase or "", self.budget)
        except Unprocessable as refused:
            if refused.code != "PassphraseIncorrect" or self.passphrase is not None:
                raise
        raise InvalidRequest(
            "PassphraseMissing", "A passphrase protects the input.", "Send the passphrase of the input as `passphrase`."
        )

    def take_opened(self, opened: Opened) -> None:
        """Take what a container held."""
        for content in opened.certificates:
            self.take_certificate(content)
        for content in opened.keys:
            self.take_key(Block("PRIVATE KEY", content, kind=der.kind(content)), "A private key in the file")
        self.left_out += opened.left_out

    def take_certificate(self, content: bytes) -> None:
        """Read a certificate in DER. Raises: Unprocessable."""
        try:
            self.certificates.append(ParsedCertificate(content))
        except MalformedCertificateError as malformed:
            number = len(self.certificates) + 1
            raise incorrect(
                f"Certificate {number} is not a well-formed X.509 certificate: {malformed}.",
                "Export it again from where it came, or have the CA issue it anew.",
            ) from None

    def take_request(self, content: bytes) -> None:
        """Read a signing request in DER. Raises: Unprocessable."""
        try:
            self.requests.append(ParsedCsr(content))
        except MalformedCsrError as malformed:
            raise incorrect(
                f"The certificate signing request is not well-formed: {malformed}.", "Make it anew."
            ) from None

    def take_key(self, block: Block, called: str) -> None:
        """Read a private key that may be encrypted; messages name it as `called`.

        Raises:
            CertificateRefused: with what is wrong with the key. InvalidRequest, Unprocessable: as `opened`.
        """
        key = keys.load(self._decrypted(block), "input")
        if isinstance(key, Finding):
            raise CertificateRefused([replace(key, message=key.message.replace(block.where, called, 1))])
        self.keys.append(key)

    def _decrypted(self, block: Block) -> Block:
        """The block without its encryption. That of OpenSSH stays: the loader says what to do about it."""
        headers = {name.upper(): value for name, value in block.headers}
        if block.label == "ENCRYPTED PRIVATE KEY" or block.kind is Kind.ENCRYPTED_PKCS8:
            plain = self.opened(lambda secret, budget: pbe.decrypt_pkcs8(block.der, secret, budget))
            return block._replace(label="PRIVATE KEY", der=plain, kind=Kind.PKCS8)
        if "ENCRYPTED" in headers.get("PROC-TYPE", ""):
            dek = headers.get("DEK-INFO", "")
            plain = self.opened(lambda secret, _: pbe.decrypt_pem(dek, block.der, secret))
            return block._replace(der=plain, headers=(), kind=der.kind(plain))
        return block

    def contents(self) -> Contents:
        """All that was taken, in order, without doubles."""
        certificates = tuple(dict.fromkeys(self.certificates))
        single = {k.public_fingerprint: k for k in reversed(self.keys)}
        held = tuple(k for k in self.keys if single[k.public_fingerprint] is k)
        return Contents(_in_order(certificates, held), held, tuple(self.requests), tuple(self.left_out))


def read_pem(text: str, passphrase: str | None) -> Contents:
    """Read PEM text as people paste it.

    Args:
        text: any mixture of certificates, private keys and requests.
        passphrase: of the private keys, if they are encrypted.

    Raises:
        Unprocessable, InvalidRequest: the text, or something in it, cannot be used.
    """
    found = pem.scan(text)
    if not found.markers:
        look = looks.looks_like(text)
        raise incorrect(f"The input is not PEM text: it looks like {look.what}.", look.hint)
    if found.problems:
        first = found.problems[0]
        raise incorrect(" ".join(p.message for p in found.problems[:3]), first.hint)
    collector = _Collector(passphrase)
    for block in found.blocks:
        if block.label == "CERTIFICATE":
            collector.take_certificate(block.der)
        elif block.is_private_key:
            _guarded(lambda block=block: collector.take_key(block, block.where), block.where)  # type: ignore[misc]
        elif block.label == "CERTIFICATE REQUEST":
            collector.take_request(block.der)
        elif not block.label.endswith("PARAMETERS"):
            what, hint = pem.describe(block)
            raise incorrect(f"{block.where} is {what}, which does not belong here.", hint)
    return collector.contents()


def read_der(data: bytes, passphrase: str | None) -> Contents:
    """Read one certificate, private key or request in DER. Raises: as `read_pem`."""
    kind = der.kind(data)
    collector = _Collector(passphrase)
    if kind is Kind.CERTIFICATE:
        collector.take_certificate(data)
    elif kind is Kind.CSR:
        collector.take_request(data)
    elif kind is not None and kind in _PRIVATE:
        block = Block(LABELS[kind], data, kind=kind, original_label=LABELS[kind])
        _guarded(lambda: collector.take_key(block, "The private key"), "The private key")
    else:
        _refuse(data, "a certificate, private key or certificate signing request in DER")
    return collector.contents()


def read_pkcs8(data: bytes, passphrase: str | None) -> Contents:
    """Read one private key in PKCS #8. Raises: as `read_pem`."""
    if der.kind(data) not in {Kind.PKCS8, Kind.ENCRYPTED_PKCS8}:
        _refuse(data, "a private key in PKCS #8")
    return read_der(data, passphrase)


def read_pkcs12(data: bytes, passphrase: str | None) -> Contents:
    """Read a PKCS #12 file. Raises: as `read_pem`."""
    if der.kind(data) is not Kind.PKCS12:
        _refuse(data, "a PKCS #12 (PFX, P12) file")
    collector = _Collector(passphrase)
    opened = _guarded(lambda: collector.opened(lambda secret, budget: pkcs12.read(data, secret, budget)), "The file")
    collector.take_opened(opened)
    return collector.contents()


def read_jks(data: bytes, passphrase: str | None) -> Contents:
    """Read a JKS or JCEKS file, or the PKCS #12 that keytool has written under that name since Java 9.

    Raises: as `read_pem`.
    """
    if der.kind(data) is Kind.PKCS12:
        return read_pkcs12(data, passphrase)
    if not jks.is_keystore(data):
        _refuse(data, "a Java keystore (JKS)")
    collector = _Collector(passphrase)
    opened = _guarded(lambda: collector.opened(lambda secret, budget: jks.read(data, secret, budget)), "The keystore")
    collector.take_opened(opened)
    return collector.contents()


def read_pkcs7(data: bytes, passphrase: str | None = None) -> Contents:
    """Read the certificates of a PKCS #7 file (RFC 2315, 9.1), also of the kind that SM2 has (GM/T 0010).

    Its signatures, if there are any, are not looked at. Raises: as `read_pem`.
    """
    # The kind is unknown (None) for SM2, whose object identifiers are others.
    if data[:1] != b"\x30" or der.kind(data) not in {Kind.PKCS7, None}:
        _refuse(data, "a PKCS #7 (P7B) file")
    collector = _Collector(passphrase)
    for node in _guarded(lambda: _signed_certificates(ber.read(data)), "The file"):
        collector.take_certificate(node.raw)
    return collector.contents()


def _signed_certificates(outer: Node) -> Sequence[Node]:
    """The certificates of a SignedData; other kinds of PKCS #7 are refused."""
    kind = outer.expect(der.SEQUENCE).child(0).oid()
    if kind not in _SIGNED_DATA:
        raise incorrect("The file holds no certificates: it is not of the signed kind (SignedData) of PKCS #7.")
    held = outer.child(1, der.CONTEXT_0).child(0, der.SEQUENCE).tagged(_CERTIFICATES)
    found = [n for n in held.children if n.tag == der.SEQUENCE] if held is not None else []
    if not found:
        raise incorrect("The PKCS #7 file holds no certificates.", "Export the certificates with their chain.")
    if len(found) > pkcs12.MAX_CERTIFICATES:
        raise incorrect(f"The file holds more than {pkcs12.MAX_CERTIFICATES} certificates.", "Split it.")
    return found


def _guarded(read: Callable[[], T], what: str) -> T:
    """What `read` gives, its errors of form turned into a refusal."""
    try:
        return read()
    except BerError as damaged:
        raise incorrect(f"{what} is damaged: {damaged}.", "Copy or export it again from where it came.") from None
    except JksError as damaged:
        raise incorrect(f"{what} is damaged: {damaged}.", "Copy or export it again from where it came.") from None


def _refuse(data: bytes, wanted: str) -> NoReturn:
    """Say what was sent instead of what `from` promised."""
    look = looks.looks_like(data)
    raise incorrect(f"The input is not {wanted}: it looks like {look.what}.", _hint(look.hint))


def _hint(hint: str) -> str:
    return hint if "/v1/conversions" not in hint else "Let `from` name what the input is."


def _in_order(
    certificates: tuple[ParsedCertificate, ...], held: tuple[PrivateKey, ...]
) -> tuple[ParsedCertificate, ...]:
    """Each leaf with its chain, those that have a private key first; then what is left, as it stood."""
    if not 1 < len(certificates) <= MAX_ORDERED:
        return certificates
    prints = [k.public_fingerprint for k in held]
    leaves = [c for p in prints for c in certificates if c.public_key.fingerprint == p]
    leaves += [c for c in certificates if not c.is_ca and c not in leaves]
    return tuple(dict.fromkeys(chained(*(_path(leaf, certificates) for leaf in leaves), certificates)))


def _path(leaf: ParsedCertificate, certificates: Sequence[ParsedCertificate]) -> list[ParsedCertificate]:
    """A leaf and its issuers by their names: an order to write in, not a chain that holds."""
    path = [leaf]
    while len(path) < MAX_DEPTH and not path[-1].is_self_issued:
        end = path[-1]
        issuers = [c for c in certificates if c not in path and end.issued_by_name(c)]
        if not issuers:
            break
        path.append(min(issuers, key=lambda c: c.subject_key_id != end.authority_key_id))
    return path
