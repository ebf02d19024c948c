"""Audit reports of AWS Private CA, in JSON: what they say of the certificates that a CA issued.

Source: https://docs.aws.amazon.com/privateca/latest/userguide/PcaAuditReport.html, which has the fields by example;
names of templates: https://docs.aws.amazon.com/privateca/latest/userguide/template-definitions.html
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

import msgspec

from chalicelib.domain.pca import AuthorityRef, IssuedCertificate

#: One part of a name as Java writes it: RFC 2253, with quotes allowed.
_NAME_PART: Final = re.compile(r'(?:^|[,+]) *([^=,+]*)= *("(?:[^"\\]|\\.)*"|(?:[^,+\\]|\\.)*)', re.DOTALL)
_COMMON_NAME: Final = frozenset({"CN", "2.5.4.3"})


class ReportEntry(msgspec.Struct, rename="camel", frozen=True, gc=False):
    """One certificate of a report, without what is not used here.

    Dates are as ``2020-02-26T18:39:57+0000``; `serial` is in hex with colons; `template_arn` was not always there.
    """

    certificate_arn: str
    serial: str
    not_before: str
    not_after: str
    issued_at: str
    subject: str = ""
    revoked_at: str | None = None
    template_arn: str | None = None


def read_entries(report: bytes) -> list[ReportEntry]:
    """The entries of a report. Raises: ValueError: it is none; the text says where."""
    return msgspec.json.decode(report, type=list[ReportEntry])


def of_authority(entry: ReportEntry) -> bool:
    """Whether a CA was given this certificate (``RootCACertificate``, ``SubordinateCACertificate_PathLen0``)."""
    return "CACertificate" in (entry.template_arn or "")


def issued(ref: AuthorityRef, entry: ReportEntry) -> IssuedCertificate:
    """The certificate that CA `ref` issued; its id is the last part of its ARN. Raises: ValueError: a strange date."""
    return IssuedCertificate(
        id=entry.certificate_arn.rpartition("/")[2],
        authority_id=str(ref),
        common_name=common_name(entry.subject),
        sans=(),
        serial_number=serial_hex(entry.serial),
        not_before=_moment(entry.not_before),
        not_after=_moment(entry.not_after),
        revoked_at=_moment(entry.revoked_at) if entry.revoked_at else None,
    )


def common_name(subject: str) -> str:
    """The most specific common name of a subject, or empty; RFC 2253 puts it first.

    Values in hex (``#0c03...``) are of types that are no text; they are left out.
    """
    for part in _NAME_PART.finditer(subject):
        if part[1].strip().upper() in _COMMON_NAME and not part[2].startswith("#"):
            return _unescaped(part[2])
    return ""


def _unescaped(value: str) -> str:
    """A value without quotes and backslashes (RFC 2253, 2.4): octets in hex are UTF-8."""
    inner = value[1:-1] if len(value) > 1 and value.startswith('"') else value

    def plain(escaped: re.Match[str]) -> str:
        return escaped[2] or bytes.fromhex(escaped[1].replace("\\", "")).decode(errors="replace")

    return re.sub(r"((?:\\[0-9A-Fa-f]{2})+)|\\(.)", plain, inner, flags=re.DOTALL)


def serial_hex(serial: str) -> str:
    """A serial number as `ParsedCertificate` writes it: without colons and leading octets of zeros."""
    digits = serial.replace(":", "").lower().lstrip("0")
    return f"0{digits}" if len(digits) % 2 else digits


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
