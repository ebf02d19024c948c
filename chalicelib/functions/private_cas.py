"""Private CAs of every source: which there are, their trees, and how far their certificates are synchronised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from chalicelib.domain.errors import CerthavenError, NotFound, Unprocessable
from chalicelib.domain.model import Caller, Page, certificate_id
from chalicelib.domain.pca import (
    BUILTIN,
    Authority,
    AuthorityRef,
    IssuedCertificate,
    SyncStatus,
    unknown_authority,
)
from chalicelib.domain.sync import Link
from chalicelib.ports import CertificateSource, CertificateStore, SyncStore


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source, and whether an account can use it: `setup_needed` is empty then."""

    source: CertificateSource
    setup_needed: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A certificate of a CA, and where it stands on its way into the inventory."""

    certificate: IssuedCertificate
    status: SyncStatus
    certificate_id: str | None = None
    code: str = ""
    reason: str = ""


class PrivateCas:
    """The private CAs that a caller can reach."""

    def __init__(
        self, sources: Mapping[str, CertificateSource], certificates: CertificateStore, syncs: SyncStore
    ) -> None:
        self._sources = sources
        self._certificates = certificates
        self._syncs = syncs

    def sources(self, caller: Caller) -> Sequence[SourceState]:
        """Every source, configured or not."""
        return [SourceState(source, _setup_needed(source, caller.account_id)) for source in self._sources.values()]

    def source(self, name: str) -> CertificateSource:
        """One source. Raises: NotFound: `SourceNotFound`."""
        try:
            return self._sources[name]
        except KeyError:
            known = ", ".join(self._sources)
            raise NotFound("SourceNotFound", f"There is no source {name!r:.70}; there are {known}.") from None

    def authorities(
        self, caller: Caller, source: str | None, region: str | None, *, limit: int, cursor: str | None
    ) -> Page[Authority]:
        """The CAs of a source in a region, parents before children where the source says who they are.

        Args:
            caller: for whose account.
            source: the built-in one when absent.
            region: the source's first one when absent.
            limit: of the page.
            cursor: of the page before.

        Raises:
            NotFound: `SourceNotFound`. InvalidRequest: `InvalidCursor`. TooManyRequests: `SourceBusy`.
            Unprocessable: `SourceNotConfigured`, `SourceRefused`, `RegionNotSupported`.
        """
        chosen = self._ready(caller, source or BUILTIN)
        where = region or chosen.regions()[0]
        _check_region(chosen, where)
        return chosen.authorities(caller.account_id, where, limit=limit, cursor=cursor)

    def authority(self, caller: Caller, ca: str, *, source: str | None, region: str | None) -> Authority:
        """One CA; `source` and `region` must be its own when they are given.

        Raises: as `authorities`, and NotFound: `AuthorityNotFound`.
        """
        if source is not None:
            self.source(source)
        ref = AuthorityRef.parse(ca)
        if ref.source not in self._sources:
            raise unknown_authority(ca)
        if source is not None and source != ref.source:
            words = f"The CA {ca!r:.140} is of source {ref.source}, not {source}."
            raise NotFound("AuthorityNotFound", words, "Leave `source` and `region` out: the id names them.")
        chosen = self._ready(caller, ref.source)
        if region is not None:
            _check_region(chosen, region)
        if ref.region:
            _check_region(chosen, ref.region)
        found = chosen.authority(caller.account_id, ref)
        if region is not None and region != found.region:
            raise unknown_authority(ca)
        return found

    def certificates(
        self, caller: Caller, ca: str, *, source: str | None, region: str | None, limit: int, cursor: str | None
    ) -> Page[Listed]:
        """What a CA issued, with each certificate's status of synchronisation. Raises: as `authority`."""
        authority = self.authority(caller, ca, source=source, region=region)
        page = self.source(authority.ref.source).certificates(
            caller.account_id, authority.ref, limit=limit, cursor=cursor
        )
        return Page(tuple(self._listed(caller.account_id, authority.id, page.items)), page.cursor)

    def issued_id(self, caller: Caller, one: str) -> str:
        """The id at the built-in CA of a certificate that is named by it, or by its id in the inventory."""
        held = None if "." in one else self._certificates.several(caller.account_id, [one]).get(one)
        origin = "" if held is None else held.origin or ""
        return origin.removeprefix("pca:") if origin.startswith("pca:") else one

    def _listed(self, account_id: str, ca: str, items: Sequence[IssuedCertificate]) -> Iterator[Listed]:
        links = self._syncs.links(account_id, ca, [c.id for c in items])
        ids = {c.id: _inventory_id(c, links.get(c.id)) for c in items}
        held = self._certificates.several(account_id, [one for one in ids.values() if one])
        everything, named = self._underway(account_id, ca)
        for item in items:
            known, link = ids[item.id], links.get(item.id)
            if known is not None and known in held:
                yield Listed(item, SyncStatus.UPLOADED, known)
            elif everything or item.id in named:
                yield Listed(item, SyncStatus.SYNCING)
            elif link is not None and link.code:
                yield Listed(item, SyncStatus.FAILED, None, link.code, link.reason)
            else:
                yield Listed(item, SyncStatus.NOT_UPLOADED)

    def _underway(self, account_id: str, ca: str) -> tuple[bool, frozenset[str]]:
        """Whether a job over the whole CA runs, and the certificates that other running jobs were given."""
        named: set[str] = set()
        for job in self._syncs.active_for(account_id, ca):
            if not job.selected:
                return True, frozenset()
            for chunk in self._syncs.chunks(account_id, job.id, 0, job.chunks):
                named |= {w.id for w in chunk.wanted if chunk.results is None}
        return False, frozenset(named)

    def _ready(self, caller: Caller, name: str) -> CertificateSource:
        """A source that the account can use. Raises: NotFound; Unprocessable: `SourceNotConfigured`."""
        source = self.source(name)
        needed = source.setup_needed(caller.account_id)
        if needed:
            raise Unprocessable("SourceNotConfigured", f"{source.title} is not configured for this account.", needed)
        return source


def _setup_needed(source: CertificateSource, account_id: str) -> str:
    """What is to be done before an account can use a source; what is wrong with what it set too."""
    try:
        return source.setup_needed(account_id)
    except CerthavenError as refusal:
        return f"{refusal.message} {refusal.hint}"


def _check_region(source: CertificateSource, region: str) -> None:
    if region not in source.regions():
        there = ", ".join(source.regions())
        raise Unprocessable(
            "RegionNotSupported", f"{source.title} is not to be had in {region!r:.70}.", f"Use {there}."
        )


def _inventory_id(certificate: IssuedCertificate, link: Link | None) -> str | None:
    if certificate.fingerprint:
        return certificate_id(certificate.not_after, certificate.fingerprint)
    return None if link is None else link.certificate_id
