"""The built-in private CA as a source. No key is opened: what is synchronised lies here already, sealed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from chalicelib.domain.errors import Unprocessable
from chalicelib.domain.model import Material, Page
from chalicelib.domain.pca import (
    BUILTIN,
    Authority,
    AuthorityRef,
    Fetched,
    IssuedCertificate,
    Unavailable,
    issued_object_id,
    seen_at,
    unknown_authority,
)
from chalicelib.ports import SourceKit

#: How many certificates are asked for together.
BATCH: Final = 100
_KEY_ELSEWHERE: Final = "The certificate was issued for a signing request; its key is where that was made."


def build(kit: SourceKit) -> BuiltinSource:
    """The plug-in over the service's own store."""
    return BuiltinSource(kit)


class BuiltinSource:
    """Implements `chalicelib.ports.CertificateSource`."""

    id = BUILTIN
    title = "Built-in private CA"

    def __init__(self, kit: SourceKit) -> None:
        self._kit = kit

    def regions(self) -> Sequence[str]:
        """The region of the service."""
        return (self._kit.region,)

    def setup_needed(self, account_id: str) -> str:
        """Nothing: it is there for every account."""
        del account_id
        return ""

    def authorities(self, account_id: str, region: str, *, limit: int, cursor: str | None) -> Page[Authority]:
        """The account's CAs, each after its parent. Raises: Unprocessable: `RegionNotSupported`; InvalidRequest."""
        if region != self._kit.region:
            raise Unprocessable(
                "RegionNotSupported",
                f"The built-in CA is in {self._kit.region}, where the service runs, not {region!r:.40}.",
            )
        page = self._kit.authorities.page(account_id, limit=limit, cursor=cursor)
        return replace(page, items=tuple(map(self._seen, page.items)))

    def authority(self, account_id: str, ref: AuthorityRef) -> Authority:
        """One CA. Raises: NotFound: `AuthorityNotFound`."""
        if ref.source != BUILTIN:
            raise unknown_authority(str(ref))
        return self._seen(self._kit.authorities.get(account_id, ref.name))

    def certificates(
        self, account_id: str, ref: AuthorityRef, *, limit: int, cursor: str | None
    ) -> Page[IssuedCertificate]:
        """What a CA issued. Raises: NotFound: `AuthorityNotFound`; InvalidRequest: `InvalidCursor`."""
        authority = self.authority(account_id, ref)
        return self._kit.authorities.certificates(account_id, authority.ref.name, limit=limit, cursor=cursor)

    def fetch(
        self, account_id: str, ref: AuthorityRef, ids: Sequence[str]
    ) -> Iterator[tuple[str, Fetched | Unavailable]]:
        """Certificates by their ids, with where their material lies; `BATCH` are read at once."""
        for start in range(0, len(ids), BATCH):
            wanted = ids[start : start + BATCH]
            own = [i for i in wanted if i.rpartition(".")[0] == ref.name]
            found = self._kit.authorities.several(account_id, own) if own else {}
            for certificate_id in wanted:
                held = found.get(certificate_id)
                missing = Unavailable("NotFound", f"The CA {ref} has no certificate {certificate_id!r:.70}.")
                yield certificate_id, missing if held is None else _fetched(*held)

    def _seen(self, authority: Authority) -> Authority:
        return seen_at(authority, self._kit.clock(), self._kit.region)


def _fetched(certificate: IssuedCertificate, material: Material) -> Fetched:
    return Fetched(
        certificate=material.certificate,
        chain=material.chain,
        key_note="" if material.keys is not None else _KEY_ELSEWHERE,
        material_id=issued_object_id(certificate.id),
        has_private_key=material.keys is not None,
        revoked_at=certificate.revoked_at,
    )
