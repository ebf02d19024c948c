"""Certificate texts and sealed keys as rows, and back."""

from __future__ import annotations

from chalicelib.domain.findings import Finding, Severity
from chalicelib.domain.model import Material, SealedKeys
from chalicelib.store.tables import MaterialRow


def key_id(csr_id: str) -> str:
    """Where the key of a CSR lies; never where a certificate's material does."""
    return f"csr#{csr_id}"


def key_row(account_id: str, object_id: str, keys: SealedKeys) -> MaterialRow:
    """The row of a sealed key alone: of a CSR, or of an authority."""
    return _with_keys(MaterialRow(account_id, object_id), keys)


def material_row(account_id: str, object_id: str, material: Material) -> MaterialRow:
    """The row of a certificate's heavy part."""
    row = MaterialRow(
        account_id,
        object_id,
        certificate=material.certificate,
        chain=list(material.chain),
        encryption_certificate=material.encryption_certificate,
        domains=list(material.domains),
        findings=[
            {"code": f.code, "severity": f.severity.value, "message": f.message, "hint": f.hint, "param": f.param}
            for f in material.findings
        ],
    )
    return row if material.keys is None else _with_keys(row, material.keys)


def _with_keys(row: MaterialRow, keys: SealedKeys) -> MaterialRow:
    row.kms_key_id = keys.kms_key_id
    row.data_key = keys.data_key
    row.signing_box = keys.boxes.get("signing")
    row.encryption_box = keys.boxes.get("encryption")
    return row


def keys_of(row: MaterialRow) -> SealedKeys | None:
    """The sealed keys of a row, if it has any."""
    if not row.data_key:
        return None
    found: dict[str, bytes | None] = {"signing": row.signing_box, "encryption": row.encryption_box}
    boxes = {name: box for name, box in found.items() if box is not None}
    return SealedKeys(row.kms_key_id, row.data_key, boxes)


def material_of(row: MaterialRow) -> Material:
    """The heavy part again."""
    return Material(
        certificate=row.certificate,
        chain=tuple(row.chain or ()),
        encryption_certificate=row.encryption_certificate,
        keys=keys_of(row),
        findings=tuple(Finding(**{**f, "severity": Severity(f["severity"])}) for f in row.findings or ()),
        domains=tuple(row.domains or ()),
    )
