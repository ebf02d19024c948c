"""What is said of dropped files: receipts and reports, and where these and the files themselves go."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from chalicelib.domain.findings import Finding, Severity, error
from chalicelib.domain.model import Certificate
from chalicelib.domain.reading import Reading
from chalicelib.ports import DroppedObject

#: Longest key of an S3 object, in bytes of UTF-8.
MAX_KEY: Final = 1024


def receipt_key(account_id: str, stem: str) -> str:
    """Where the receipt of an upload lies."""
    return _fitting(f"done/{account_id}", f"{stem}.json")


def report_key(account_id: str, stem: str) -> str:
    """Where the report of a refused upload lies."""
    return _fitting(f"failed/{account_id or 'unknown'}", f"{stem}.json")


def aside_key(account_id: str, rest: str) -> str:
    """Where a refused file goes; `rest` is its key below the drop folder. It never takes a report's place."""
    name = rest.removeprefix(f"{account_id}/")
    return _fitting(f"failed/{account_id or 'unknown'}", f"{name}.dropped" if name.lower().endswith(".json") else name)


def _fitting(folder: str, name: str) -> str:
    """A key; with a name too long for S3, one made of its hash and its ending."""
    key = f"{folder}/{name}"
    if len(key.encode()) <= MAX_KEY:
        return key
    return f"{folder}/{hashlib.sha256(name.encode()).hexdigest()}.{name.rpartition('.')[2][-20:]}"


def receipt(certificate: Certificate, findings: Sequence[Finding], objects: Sequence[DroppedObject]) -> bytes:
    """What is written when an upload was stored."""
    return _json(
        {
            "certificate_id": certificate.id,
            "name": certificate.name,
            "fingerprint_sha256": certificate.fingerprint,
            "domains": list(certificate.domains),
            "not_after": _time(certificate.not_after),
            "findings": [_finding(f) for f in findings],
            "objects": {item.key: item.version for item in objects},
            "stored_at": _time(certificate.created_at),
        }
    )


def report(findings: Sequence[Finding], objects: Sequence[DroppedObject], now: datetime) -> bytes:
    """What is written when an upload was refused, in the shape of every refusal."""
    first = next(f for f in findings if f.severity is Severity.ERROR)
    return _json(
        {
            "error": {
                "code": first.code,
                "message": first.message,
                "hint": first.hint,
                "findings": [_finding(f) for f in findings],
            },
            "objects": {item.key: item.version for item in objects},
            "refused_at": _time(now),
            "expires": "This report and the objects beside it are deleted after 7 days.",
        }
    )


def half(reading: Reading) -> Finding:
    """That half of an upload waited in vain for the other."""
    if reading.leaf is not None:
        label, missing, param = f"The certificate {reading.leaf.label}", "private key", "private_key"
    elif reading.encryption_leaf is not None:
        label, missing, param = (
            f"The encryption certificate {reading.encryption_leaf.label}",
            "signing pair",
            "certificate",
        )
    else:
        label, missing, param = "A private key", "certificate", "certificate"
    return error(
        "DropIncomplete",
        f"{label} waited 24 hours for its {missing}, and none came under the same name.",
        "Drop all parts again under the same name, or drop one file with certificate, chain and key.",
        param,
    )


def _finding(finding: Finding) -> dict[str, str]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "message": finding.message,
        "hint": finding.hint,
        "param": finding.param,
    }


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()
