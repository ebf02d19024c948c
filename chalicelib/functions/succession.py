"""What a certificate leaves to the one that replaces it, and what it is called afterwards."""

from __future__ import annotations

from dataclasses import replace

from chalicelib.domain import naming
from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.errors import Conflict, NotFound
from chalicelib.domain.model import Certificate
from chalicelib.ports import CertificateStore


def refuse_replaced(store: CertificateStore, old: Certificate) -> None:
    """Raises: Conflict: `AlreadyReplaced`, unless the replacement was deleted since."""
    if old.replaced_by is None:
        return
    try:
        store.get(old.account_id, old.replaced_by)
    except NotFound:
        return
    raise Conflict("AlreadyReplaced", f"This certificate was already replaced, by {old.replaced_by}.")


def name_after(store: CertificateStore, old: Certificate, leaf: ParsedCertificate | None) -> str:
    """What the replacement of a certificate is called: the same, or a free name like it where that is derived."""
    if leaf is None or not naming.is_derived(old.name):
        return old.name.removesuffix(_tail(old))
    wanted = naming.without_mark(old.name)
    return naming.free_name(wanted, lambda name: store.name_taken(old.account_id, name), leaf.fingerprint)


def retired(old: Certificate, new: Certificate) -> Certificate:
    """The old certificate once it was replaced; it gives up its name when the new one has it."""
    tail = _tail(old)
    return replace(
        old,
        name=old.name[: naming.MAX_NAME - len(tail)] + tail if new.name == old.name else old.name,
        notifications=False,
        replaced_by=new.id,
        version=old.version + 1,
        updated_at=new.created_at,
    )


def _tail(old: Certificate) -> str:
    return f"-replaced-{old.id[-6:].lower()}"
