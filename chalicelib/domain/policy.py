"""What is too weak, unsupported or risky about a certificate that is well formed; one rule, one function.

Limits stand here, beside the messages that quote them. Nothing here asks whether an issuer is trusted.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import MAXYEAR, UTC, datetime, timedelta
from typing import Final, Protocol

from chalicelib.domain.certificate import BROKEN_HASHES, ParsedCertificate, PublicKey
from chalicelib.domain.findings import Finding, error, warning

MIN_RSA_BITS: Final = 2048
MIN_EC_BITS: Final = 224
SUPPORTED_CURVES: Final = frozenset({"P-256", "P-384", "P-521"})
SUPPORTED_KINDS: Final = frozenset({"RSA", "RSA-PSS", "ECDSA", "Ed25519", "Ed448", "SM2"})
SUPPORTED: Final = "RSA, RSA-PSS, ECDSA (P-256, P-384, P-521), Ed25519, Ed448 and SM2"
DISCOURAGED_HASHES: Final = frozenset({"sha1"})

#: Longest validity that browsers accept, by day of issue: Baseline Requirements 6.3.2 with ballot SC-081.
PUBLIC_VALIDITY_DAYS: Final = (
    (datetime(2029, 3, 15, tzinfo=UTC), 47),
    (datetime(2027, 3, 15, tzinfo=UTC), 100),
    (datetime(2026, 3, 15, tzinfo=UTC), 200),
)
#: What holds for every other certificate, and for public ones of before these dates.
VALIDITY_DAYS: Final = 398


class KeyHolder(Protocol):
    """A certificate or a signing request: what has a public key, and a label for messages."""

    @property
    def public_key(self) -> PublicKey:
        """The key."""

    @property
    def label(self) -> str:
        """How messages name it."""


def key_findings(certificate: KeyHolder, param: str) -> Iterator[Finding]:
    """WeakKey and UnsupportedAlgorithm for the own key of a certificate or signing request."""
    key = certificate.public_key
    if key.kind in {"RSA", "RSA-PSS"} and key.size < MIN_RSA_BITS:
        yield error(
            "WeakKey",
            f"The RSA key of {certificate.label} has {key.size} bits; at least {MIN_RSA_BITS} are wanted.",
            "Make a new key (`openssl genrsa -out new.key 2048`) and have the certificate issued anew.",
            param,
        )
    elif key.kind == "ECDSA" and key.size < MIN_EC_BITS:
        yield error(
            "WeakKey",
            f"The EC key of {certificate.label} has {key.size} bits; at least {MIN_EC_BITS} are wanted.",
            "Make a new key (`openssl ecparam -name prime256v1 -genkey`) and have the certificate issued anew.",
            param,
        )
    elif key.kind not in SUPPORTED_KINDS or (key.kind == "ECDSA" and key.curve not in SUPPORTED_CURVES):
        yield error(
            "UnsupportedAlgorithm",
            f"The key of {certificate.label} is {key.label}; supported are {SUPPORTED}.",
            "Have the certificate issued for a key of a supported algorithm.",
            param,
        )


def signature_findings(certificate: ParsedCertificate, param: str) -> Iterator[Finding]:
    """WeakSignature: a broken hash refuses, SHA-1 warns. A root's own signature proves nothing: not asked."""
    name = certificate.signature_hash
    if name in BROKEN_HASHES:
        yield error(
            "WeakSignature",
            f"{certificate.label} is signed with {name.upper()}, which is broken; SHA-256 or better is wanted.",
            "Have the certificate issued anew; CAs have signed with SHA-256 since 2014.",
            param,
        )
    elif name in DISCOURAGED_HASHES:
        yield warning(
            "WeakSignature",
            f"{certificate.label} is signed with SHA-1, which browsers no longer accept.",
            "Have the certificate issued anew with SHA-256.",
            param,
        )


def leaf_findings(leaf: ParsedCertificate, param: str) -> Iterator[Finding]:
    """SelfSigned, MissingSAN, ValidityTooLong, LeakageRisk: warnings for what clients or prudence object to."""
    if leaf.is_self_signed:
        yield warning(
            "SelfSigned",
            f"{leaf.label} is signed by its own key, so no client trusts it unless told to.",
            "Use it for tests only, or have a CA issue one.",
            param,
        )
    if not leaf.alternative_names:
        yield warning(
            "MissingSAN",
            f"{leaf.label} names no host in its subject alternative names; browsers ignore the common name.",
            "Have it issued with every host name as subject alternative name.",
            param,
        )
    limit = validity_limit_days(leaf)
    days = -((leaf.not_before - leaf.not_after) // timedelta(days=1))  # one that has begun counts
    if days > limit:
        yield warning(
            "ValidityTooLong",
            f"{leaf.label} is valid for {days} days; clients accept at most {limit}.",
            "Have it issued for a shorter time, and renewed automatically.",
            param,
        )
    if not leaf.is_public_web and not leaf.is_self_signed:
        yield from leakage_findings(leaf, param)


def leakage_findings(leaf: ParsedCertificate, param: str) -> Iterator[Finding]:
    """LeakageRisk, for a certificate of a private CA that is valid for more than one calendar year."""
    if leaf.not_after > one_year_after(leaf.not_before):
        days = -((leaf.not_before - leaf.not_after) // timedelta(days=1))
        yield warning(
            "LeakageRisk",
            f"{leaf.label} was not issued by a public CA and is valid for {days} days; whoever gets hold of its key "
            "can use it for as long.",
            "Issue private-CA certificates for one year or less.",
            param,
        )


def one_year_after(moment: datetime) -> datetime:
    """The same time of the same day, one calendar year on; 1 March after a 29 February."""
    if moment.year == MAXYEAR:
        return datetime.max.replace(tzinfo=UTC)
    if (moment.month, moment.day) == (2, 29):
        return moment.replace(year=moment.year + 1, month=3, day=1)
    return moment.replace(year=moment.year + 1)


def validity_limit_days(leaf: ParsedCertificate) -> int:
    """The longest validity in days that clients accept of this certificate."""
    if leaf.is_public_web:
        for since, days in PUBLIC_VALIDITY_DAYS:
            if leaf.not_before >= since:
                return days
    return VALIDITY_DAYS
