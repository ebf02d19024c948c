"""PEM as people paste it: its blocks, what was mended, and findings for all that cannot be used.

`scan` tells everything about a text; `certificate_blocks` and `private_key_blocks` say it in findings.
No message holds text from a block: places are given as block, line and column, and only known labels are quoted.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from chalicelib.domain.findings import Finding, error, warning
from chalicelib.domain.pemscan import (
    MAX_BLOCKS,
    TRIVIAL,
    Block,
    Fault,
    Problem,
    Repair,
    Scan,
    scan,
)

__all__ = [
    "MAX_BLOCKS",
    "TRIVIAL",
    "Block",
    "Fault",
    "PemText",
    "Problem",
    "Repair",
    "Scan",
    "certificate_blocks",
    "encode",
    "private_key_blocks",
    "scan",
]

_COLUMNS: Final = 64
#: Blocks that belong to a key or a server and say nothing about a certificate.
_SILENT: Final = frozenset(
    {"EC PARAMETERS", "SM2 PARAMETERS", "DH PARAMETERS", "X9.42 DH PARAMETERS", "DSA PARAMETERS"}
)

#: What is neither certificate nor private key: what it is, and what to do.
_OTHERS: Final = {
    "CERTIFICATE REQUEST": (
        "a certificate signing request (CSR)",
        "A CSR is sent to a CA. Send the certificate that came back, or store the CSR with POST /v1/csrs.",
    ),
    "PUBLIC KEY": ("a public key", "The private key is in the file made together with the CSR."),
    "PKCS7": (
        "a PKCS #7 (P7B) container",
        "Convert it with POST /v1/conversions (`from`: `pkcs7`, `to`: `pem`), then send the PEM text.",
    ),
    "PKCS12": (
        "a PKCS #12 (PFX, P12) container",
        "Convert it with POST /v1/conversions (`from`: `pfx`, `to`: `pem`), then send the PEM text.",
    ),
    "X509 CRL": ("a certificate revocation list (CRL)", "Send the certificate itself."),
    "ATTRIBUTE CERTIFICATE": ("an attribute certificate", "Send the X.509 certificate of the public key."),
    "CERTIFICATE": (
        "a certificate",
        "Send the private key that was made together with the CSR; the certificate goes into `certificate`.",
    ),
}
_SAME_AS: Final = {
    "RSA PUBLIC KEY": "PUBLIC KEY",
    "EC PUBLIC KEY": "PUBLIC KEY",
    "SSH2 PUBLIC KEY": "PUBLIC KEY",
    "CMS": "PKCS7",
    "CERTIFICATE CHAIN": "PKCS7",
}
#: These may hold certificates of the chain, so that they are never passed over.
_CONTAINERS: Final = frozenset({"PKCS7", "PKCS12"})


@dataclass(frozen=True, slots=True)
class PemText:
    """What a field holds: certificates and private keys in order, and the findings about the text."""

    certificates: tuple[Block, ...] = ()
    private_keys: tuple[Block, ...] = ()
    findings: tuple[Finding, ...] = ()


def encode(label: str, content: bytes) -> str:
    """Canonical PEM (RFC 7468, 2): 64 columns, LF, a newline at the end."""
    text = base64.b64encode(content).decode("ascii")
    lines = [text[i : i + _COLUMNS] for i in range(0, len(text), _COLUMNS)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def certificate_blocks(text: str, param: str) -> PemText:
    """The blocks of a field that should hold certificates.

    Private keys among them are given too: people send both in one text. Whatever is damaged is an error finding
    with block and line; what is neither is left out with a warning, if certificates were found.

    Args:
        text: as it was sent.
        param: name of the field, for the findings.
    """
    if not text.strip():
        return PemText(
            findings=(error("CertificateMissing", "No certificate was given.", "Send it as PEM text.", param),)
        )
    return _read(text, param, "CertificateFormatIncorrect")


def private_key_blocks(text: str, param: str) -> PemText:
    """The blocks of a field that should hold one private key; certificates among them are given too.

    Encrypted keys are given as they are: `keys.load` says what to do with them.

    Args:
        text: as it was sent.
        param: name of the field, for the findings.
    """
    if not text.strip():
        return PemText(
            findings=(error("PrivateKeyMissing", "No private key was given.", "Send it as PEM text.", param),)
        )
    return _read(text, param, "PrivateKeyFormatIncorrect")


def _read(text: str, param: str, code: str) -> PemText:
    found = scan(text)
    if not found.markers:
        return PemText(findings=(_not_pem(text, param, code),))
    certificates = tuple(b for b in found.blocks if b.label == "CERTIFICATE")
    private_keys = tuple(b for b in found.blocks if b.is_private_key)
    wanted, wrong = certificates, private_keys
    if code == "PrivateKeyFormatIncorrect":
        wanted, wrong = private_keys, certificates
    nothing_else = len(certificates) + len(private_keys) == len(found.blocks)
    if wanted and nothing_else and not found.problems and not found.repairs:
        return PemText(certificates, private_keys)
    others = [b for b in found.blocks if b.label != "CERTIFICATE" and not b.is_private_key]
    findings = [error(_code_of(p, code), p.message, p.hint, param) for p in found.problems]
    findings += _about_others(others, param, code, passable=bool(wanted))
    if not wanted and not findings:
        findings.append(_only_the_other(wrong, param, code))
    if found.blocks:
        findings += _about_repairs(found, param)
    return PemText(certificates, private_keys, tuple(findings))


def _not_pem(text: str, param: str, code: str) -> Finding:
    from chalicelib.domain.looks import looks_like  # for what is no PEM at all

    look = looks_like(text)
    wanted = "certificate" if code == "CertificateFormatIncorrect" else "private key"
    return error(code, f"This is not a PEM {wanted}: it looks like {look.what}.", look.hint, param)


def _code_of(problem: Problem, code: str) -> str:
    """A damaged block speaks for what its label says, wherever it stands."""
    if problem.label.endswith("PRIVATE KEY"):
        return "PrivateKeyFormatIncorrect"
    return "CertificateFormatIncorrect" if problem.label.endswith("CERTIFICATE") else code


def describe(block: Block) -> tuple[str, str]:
    """What a block that cannot be used here is, for a message, and what to do instead."""
    label = _SAME_AS.get(block.label, block.label)
    if label in _OTHERS:
        return _OTHERS[label]
    if label.startswith("PGP"):
        return "a PGP block", "PGP keys are no TLS keys. Send the PEM files of the certificate and its key."
    return "not known here", "Send blocks labelled CERTIFICATE and PRIVATE KEY."


def _about_others(others: list[Block], param: str, code: str, *, passable: bool) -> Iterator[Finding]:
    """Findings on blocks that are neither certificate nor private key."""
    for block in others:
        what, hint = describe(block)
        label = _SAME_AS.get(block.label, block.label)
        known = label in _OTHERS or label.startswith("PGP")
        if label in _SILENT:
            continue
        if passable and known and label not in _CONTAINERS:
            yield warning("InputRepaired", f"{block.where} is {what}, and was left out.", "Nothing needs doing.", param)
        else:
            yield error(code, f"{block.where} is {what}.", hint, param)


def _only_the_other(wrong: tuple[Block, ...], param: str, code: str) -> Finding:
    """What to say when there are only certificates where a key should be, or the reverse, or parameters alone."""
    if code == "PrivateKeyFormatIncorrect":
        what, hint = _OTHERS["CERTIFICATE"]
        got = f"{wrong[0].where} is {what}." if wrong else "The text holds parameters only."
        return error(code, f"There is no private key in the text. {got}", hint, param)
    got = f"{wrong[0].where} is a private key." if wrong else "The text holds parameters only."
    return error(
        code,
        f"There is no certificate in the text. {got}",
        "Send the certificate that the CA issued; the private key goes into `private_key`.",
        param,
    )


def _about_repairs(found: Scan, param: str) -> Iterator[Finding]:
    notable = [repair.value for repair in found.repairs if repair not in TRIVIAL]
    if notable:
        yield warning(
            "InputRepaired",
            f"The text was damaged, and was mended without loss: {'; '.join(notable)}.",
            "Nothing needs doing here; other programs may refuse the same text.",
            param,
        )
