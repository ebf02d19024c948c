"""What validation has to say about a certificate: findings, and the catalogue of their codes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """An error refuses the certificate; a warning is stored with it."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem, told so that the reader can mend it.

    Attributes:
        code: stable name from `CODES`.
        severity: whether it refuses the certificate.
        message: what was got and what was wanted, in plain words. Never holds key text.
        hint: what to do next.
        param: the request field it speaks of, e.g. ``private_key``.
    """

    code: str
    severity: Severity
    message: str
    hint: str
    param: str


def error(code: str, message: str, hint: str, param: str) -> Finding:
    """A finding that refuses the certificate."""
    return Finding(code, Severity.ERROR, message, hint, param)


def warning(code: str, message: str, hint: str, param: str) -> Finding:
    """A finding that is stored with the certificate."""
    return Finding(code, Severity.WARNING, message, hint, param)


#: Every finding code, with what it means. The documentation test holds REFERENCE.md against it.
CODES: dict[str, str] = {
    "CertificateFormatIncorrect": "The text is not a PEM certificate, or its markers are damaged.",
    "CertificateMissing": "No certificate was given.",
    "PrivateKeyEncrypted": "A passphrase protects the private key.",
    "PrivateKeyFormatIncorrect": "The text is not a PEM private key.",
    "PrivateKeyMissing": "No private key was given and no stored CSR fits.",
    "PrivateKeyElsewhere": "The stored CSR that fits has no private key here.",
    "KeyMismatch": "Certificate and private key do not match.",
    "ChainIncomplete": "The intermediate that signed the certificate is missing.",
    "ChainBroken": "A certificate does not belong to the chain, or a signature is wrong.",
    "ChainReordered": "The certificates came in another order than servers send them.",
    "CertificateExpired": "The certificate's validity has ended.",
    "CertificateNotYetValid": "The certificate's validity has not begun.",
    "IntermediateExpired": "A certificate of the chain has expired.",
    "NotALeaf": "The certificate that the key belongs to is a CA certificate.",
    "WeakKey": "The key is too short to be safe.",
    "WeakSignature": "The signature uses a broken hash.",
    "UnsupportedAlgorithm": "The algorithm is not supported.",
    "EncryptionCertificateMissing": "An SM2 signing certificate came without its encryption pair.",
    "EncryptionCertificateUnexpected": "Only SM2 has a separate encryption certificate.",
    "SubjectMismatch": "The two SM2 certificates do not name the same subject and issuer.",
    "SelfSigned": "Nobody but its owner vouches for the certificate.",
    "MissingSAN": "The certificate names no host in its subject alternative names.",
    "ValidityTooLong": "The certificate is valid for longer than browsers accept.",
    "LeakageRisk": "A private-CA certificate is valid for more than one year.",
    "InputRepaired": "The text was damaged in a way that loses nothing; it was repaired.",
    "DuplicateInput": "The same certificate was given more than once.",
    "DomainsDiffer": "The replacement does not cover the domains of the certificate it replaces.",
    "ChainAlternative": "A cross-signed certificate belongs to another path of the chain.",
    "EncryptionKeyReused": "The two SM2 certificates have the same key.",
    "ContactFieldIncorrect": "A field of a contact or of the reminder policy cannot be so.",
    "CsrFieldIncorrect": "A field of the signing request cannot stand in a certificate.",
    "CsrSignatureIncorrect": "The signing request is not signed by the key that it names.",
    "AuthorityFieldIncorrect": "A field of the CA to be made cannot stand in its certificate.",
    "AuthorityLimit": "The parent does not allow a CA like this below it.",
    "CertificateNotIssuable": "The CA cannot issue a certificate that says this.",
    "KeyUsageUnsuitable": "The key usage does not allow what the certificate is for.",
}

#: Warnings that stay true of the certificate as long as it is held: its risk tags.
RISKS: frozenset[str] = frozenset(
    {
        "EncryptionCertificateMissing",
        "EncryptionKeyReused",
        "IntermediateExpired",
        "LeakageRisk",
        "MissingSAN",
        "NotALeaf",
        "SelfSigned",
        "ValidityTooLong",
        "WeakSignature",
    }
)
