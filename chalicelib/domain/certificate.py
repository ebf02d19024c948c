"""What a certificate says: one parsed X.509 certificate, read once, every part of it checked to be readable."""

from __future__ import annotations

import hashlib
import ipaddress
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID, NameOID, PublicKeyAlgorithmOID

from chalicelib.domain import der, signatures, sm2
from chalicelib.domain.lazy import lazy

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

#: OID of the embedded list of signed certificate timestamps (RFC 6962, 3.3): only public CAs embed it.
SCT_LIST_OID: Final = ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS
#: Reserved policy identifiers of the CA/Browser Forum (Baseline Requirements, 7.1.6.1) begin so.
CABF_POLICY_PREFIX: Final = "2.23.140.1.2."
#: Hashes so broken that the libraries no longer check signatures by them; policy refuses them.
BROKEN_HASHES: Final = frozenset({"md2", "md4", "md5"})
#: Hashes that the library no longer knows, by the signature algorithms with RSA that used them (RFC 3279, 2.2.1).
_FORGOTTEN_HASHES: Final = {"1.2.840.113549.1.1.2": "md2", "1.2.840.113549.1.1.3": "md4"}
#: Curves by the names people know.
CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521", "secp224r1": "P-224"}


#: What the library raises for malformed parts. `InternalError` is what an Ed448 key of a wrong length gives.
UNREADABLE: Final = (
    ValueError,
    TypeError,
    OverflowError,
    InternalError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


class MalformedCertificateError(ValueError):
    """A certificate, or a part of it, cannot be read. The text names the part."""


@dataclass(frozen=True)
class PublicKey:
    """A public key as a certificate or CSR carries it.

    Attributes:
        kind: RSA, RSA-PSS, ECDSA, Ed25519, Ed448, SM2, or the name of what is not supported.
        size: in bits.
        curve: name of the curve for ECDSA, else empty.
        native: the library's key, or the SM2 point; ``None`` when nothing here can use it.
        spki: the SubjectPublicKeyInfo as it stands, for keys that nothing here can use.
    """

    kind: str
    size: int
    curve: str
    native: CertificatePublicKeyTypes | sm2.Point | None
    spki: bytes = b""

    @lazy
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the SubjectPublicKeyInfo in its one canonical encoding."""
        if self.native is None:
            encoded = self.spki
        elif isinstance(self.native, tuple):
            encoded = sm2.encode_spki(self.native)
        else:
            encoded = self.native.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(encoded).hexdigest()

    def same_as(self, other: PublicKey) -> bool:
        """Whether both are one key; an RSA key is the same with and without its PSS label."""
        if self.native is None or other.native is None:
            return self.native is other.native and self.spki == other.spki
        return self.native == other.native

    @property
    def label(self) -> str:
        """As people write it: ``RSA 2048``, ``ECDSA P-256``, ``SM2``."""
        if self.kind in {"RSA", "RSA-PSS"}:
            return f"{self.kind} {self.size}"
        return f"{self.kind} {self.curve}" if self.curve else self.kind


def describe_public_key(native: CertificatePublicKeyTypes, *, pss: bool = False) -> PublicKey:
    """Kind and size of a key the library understands."""
    if isinstance(native, rsa.RSAPublicKey):
        return PublicKey("RSA-PSS" if pss else "RSA", native.key_size, "", native)
    if isinstance(native, ec.EllipticCurvePublicKey):
        curve = native.curve.name
        return PublicKey("ECDSA", native.key_size, CURVES.get(curve, curve), native)
    if isinstance(native, ed25519.Ed25519PublicKey):
        return PublicKey("Ed25519", 256, "", native)
    if isinstance(native, ed448.Ed448PublicKey):
        return PublicKey("Ed448", 456, "", native)
    if isinstance(native, dsa.DSAPublicKey):
        return PublicKey("DSA", native.key_size, "", native)
    spki = native.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(type(native).__name__.removesuffix("PublicKey"), 0, "", None, spki)


def describe_sm2_point(point: sm2.Point) -> PublicKey:
    """The same for an SM2 point; the fingerprint is over its one canonical SPKI, whatever form it came in."""
    return PublicKey("SM2", 256, "", point)


def same_name(one: x509.Name, other: x509.Name) -> bool:
    """Whether two names are the same (RFC 5280, 7.1): case, runs of spaces and string types do not matter.

    The last parts, which tell most names apart, are compared first.
    """
    mine, theirs = one.rdns, other.rdns
    if len(mine) != len(theirs):
        return False
    return all(map(_same_part, reversed(mine), reversed(theirs)))


def _same_part(one: x509.RelativeDistinguishedName, other: x509.RelativeDistinguishedName) -> bool:
    mine, theirs = list(one), list(other)
    if len(mine) == len(theirs) == 1:
        return mine[0].oid == theirs[0].oid and _same_text(str(mine[0].value), str(theirs[0].value))
    return _canonical_part(mine) == _canonical_part(theirs)


def _canonical_part(part: list[x509.NameAttribute[str | bytes]]) -> set[tuple[str, str]]:
    return {(a.oid.dotted_string, _canonical_text(str(a.value))) for a in part}


def _same_text(one: str, other: str) -> bool:
    return one == other or _canonical_text(one) == _canonical_text(other)


def _canonical_text(text: str) -> str:
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split())


class ParsedCertificate:
    """A certificate whose names, dates, key and extensions have all been read without error."""

    def __init__(self, der: bytes) -> None:
        """Read `der`.

        Raises:
            MalformedCertificateError: it is not a certificate, or a part of it cannot be read.
        """
        self.der = der
        part = "the certificate"
        try:
            self.x509 = x509.load_der_x509_certificate(der)
            part = "the subject"
            self.subject_name = self.x509.subject
            part = "the issuer"
            self.issuer_name = self.x509.issuer
            part = "the validity"
            self.not_before = self.x509.not_valid_before_utc
            self.not_after = self.x509.not_valid_after_utc
            part = "the extensions"
            self._extensions = {e.oid: e for e in self.x509.extensions}
            part = "the public key"
            self.public_key = self._read_public_key()
            part = "the signature algorithm"
            self.signature_oid = self.x509.signature_algorithm_oid.dotted_string
            #: Name of the signature's hash (``sha256``, ``sm3``); empty where the algorithm has none of its own.
            self.signature_hash = self._read_signature_hash()
        except UNREADABLE as error:
            raise MalformedCertificateError(f"{part} cannot be read ({_reason(error)})") from None

    def _read_public_key(self) -> PublicKey:
        oid = self.x509.public_key_algorithm_oid
        try:
            native = self.x509.public_key()
        except (UnsupportedAlgorithm, ValueError, InternalError):
            spki = sm2.certificate_spki(self.x509)
            if point := sm2.spki_point(spki):
                return describe_sm2_point(point)
            name = getattr(oid, "_name", "Unknown OID")
            kind = f"algorithm {oid.dotted_string}" if name == "Unknown OID" else name
            return PublicKey(kind, 0, "", None, spki)
        return describe_public_key(native, pss=oid == PublicKeyAlgorithmOID.RSASSA_PSS)

    def _read_signature_hash(self) -> str:
        if self.signature_oid == sm2.SIGNATURE_OID:
            return "sm3"
        try:
            algorithm = self.x509.signature_hash_algorithm
        except UnsupportedAlgorithm:
            return _FORGOTTEN_HASHES.get(self.signature_oid, "unknown")
        return algorithm.name if algorithm else ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ParsedCertificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)

    def __repr__(self) -> str:
        return f"<ParsedCertificate {self.label}>"

    @lazy
    def fingerprint(self) -> str:
        """SHA-256 of the DER, lower-case hex."""
        return hashlib.sha256(self.der).hexdigest()

    @lazy
    def subject(self) -> str:
        """The subject as RFC 4514 writes it."""
        return self.subject_name.rfc4514_string()

    @lazy
    def issuer(self) -> str:
        """The issuer as RFC 4514 writes it."""
        return self.issuer_name.rfc4514_string()

    @lazy
    def common_name(self) -> str:
        """The subject's last common name, or empty."""
        names = self.subject_name.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(names[-1].value) if names else ""

    @property
    def label(self) -> str:
        """How messages name the certificate: what people would recognise, bounded, on one line."""
        text = self.common_name or (self.domains[0] if self.domains else "") or self.subject
        return f"“{printable(text, 80)}”" if text else "without a subject"

    @property
    def serial_number(self) -> str:
        """The serial number in hex, lower case, in whole octets as openssl writes it."""
        text = format(self.x509.serial_number, "x")
        return f"0{text}" if len(text) % 2 and not text.startswith("-") else text

    @lazy
    def domains(self) -> tuple[str, ...]:
        """The names it serves: those of the SAN, else the common name if it is one."""
        if self.alternative_names or not looks_like_host(self.common_name):
            return self.alternative_names
        return (self.common_name.lower(),)

    @lazy
    def alternative_names(self) -> tuple[str, ...]:
        """DNS names and IP addresses of the SAN, lower case, without doubles."""
        extension = self.extension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
        found: list[str] = []
        for name in extension if isinstance(extension, x509.SubjectAlternativeName) else ():
            if isinstance(name, x509.DNSName):
                found.append(name.value.lower().rstrip("."))
            elif isinstance(name, x509.IPAddress):
                found.append(str(name.value))
        return tuple(dict.fromkeys(n for n in found if n))

    def extension(self, oid: x509.ObjectIdentifier) -> x509.ExtensionType | None:
        """The value of an extension, or ``None``."""
        found = self._extensions.get(oid)
        return found.value if found is not None else None

    @lazy
    def unknown_critical(self) -> tuple[str, ...]:
        """OIDs of critical extensions that the library does not know (RFC 5280, 4.2: must be refused)."""
        return tuple(
            e.oid.dotted_string
            for e in self._extensions.values()
            if e.critical and isinstance(e.value, x509.UnrecognizedExtension)
        )

    @lazy
    def is_ca(self) -> bool:
        """Whether basic constraints say CA, or a version 1 certificate signed itself (RFC 5280, 6.1.4 (k))."""
        constraints = self.extension(ExtensionOID.BASIC_CONSTRAINTS)
        if isinstance(constraints, x509.BasicConstraints):
            return constraints.ca
        return self.x509.version is x509.Version.v1 and self.is_self_issued and not self.domains

    @lazy
    def path_length(self) -> int | None:
        """How many intermediates may follow below this CA (RFC 5280, 4.2.1.9); ``None`` for any number."""
        constraints = self.extension(ExtensionOID.BASIC_CONSTRAINTS)
        return constraints.path_length if isinstance(constraints, x509.BasicConstraints) else None

    @lazy
    def key_usage(self) -> x509.KeyUsage | None:
        """The key usage extension, if there is one."""
        usage = self.extension(ExtensionOID.KEY_USAGE)
        return usage if isinstance(usage, x509.KeyUsage) else None

    @lazy
    def is_self_issued(self) -> bool:
        """Whether subject and issuer are the same name."""
        return same_name(self.subject_name, self.issuer_name)

    @lazy
    def is_self_signed(self) -> bool:
        """Whether the certificate's own key made its signature."""
        try:
            return self.is_self_issued and self.signed_by(self)
        except MalformedCertificateError:
            return False

    @lazy
    def subject_key_id(self) -> bytes | None:
        """The subject key identifier, if there is one."""
        value = self.extension(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
        return value.digest if isinstance(value, x509.SubjectKeyIdentifier) else None

    @lazy
    def authority_key_id(self) -> bytes | None:
        """The authority key identifier, if there is one."""
        value = self.extension(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
        return value.key_identifier if isinstance(value, x509.AuthorityKeyIdentifier) else None

    @lazy
    def is_public_web(self) -> bool:
        """Whether the certificate itself claims the public web PKI: embedded SCTs, or a CA/B Forum policy."""
        if self.extension(SCT_LIST_OID) is not None:
            return True
        policies = self.extension(ExtensionOID.CERTIFICATE_POLICIES)
        return isinstance(policies, x509.CertificatePolicies) and any(
            p.policy_identifier.dotted_string.startswith(CABF_POLICY_PREFIX) for p in policies
        )

    def issued_by_name(self, issuer: ParsedCertificate) -> bool:
        """Whether the issuer's subject is this certificate's issuer."""
        return same_name(issuer.subject_name, self.issuer_name)

    def signed_by(self, issuer: ParsedCertificate) -> bool:
        """Whether `issuer`'s key made this certificate's signature. Says nothing of names, dates or CA flags.

        A signature by a broken hash proves nothing and is not checked: the names decide, policy refuses.

        Raises:
            MalformedCertificateError: nothing here can check this kind of signature.
        """
        if self.signature_hash in BROKEN_HASHES:
            return self.issued_by_name(issuer)
        key = issuer.public_key.native
        if key is None or isinstance(key, dsa.DSAPublicKey):
            raise MalformedCertificateError(f"signatures by {issuer.public_key.label} keys cannot be checked")
        return signatures.holds(self.x509, self._signed_part, key)

    @lazy
    def _signed_part(self) -> bytes:
        """The TBSCertificate as it stands; the library would encode it anew."""
        outer = der.element(self.der)
        inner = None if outer is None else der.element(self.der, outer.start)
        return b"" if outer is None or inner is None else self.der[outer.start : inner.end]


def looks_like_host(text: str) -> bool:
    """Whether a common name is a host name or an IP address rather than the name of a person or product."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        labels = text.removeprefix("*.").split(".")
        return len(labels) > 1 and all(
            label.isascii() and label.replace("-", "").replace("_", "").isalnum() for label in labels
        )
    return True


def printable(text: str, most: int) -> str:
    """`text` on one line, without control and direction marks, at most `most` characters."""
    clean = "".join(c if c.isprintable() else " " for c in text[: most * 2])
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def _reason(error: Exception) -> str:
    return printable(str(error) or type(error).__name__, 120)


def read_dates(certificate: ParsedCertificate, now: datetime) -> str:
    """``valid``, ``expired`` or ``future`` at `now`; both ends are within validity (RFC 5280, 4.1.2.5)."""
    if now > certificate.not_after:
        return "expired"
    return "future" if now < certificate.not_before else "valid"
