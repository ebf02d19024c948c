"""A private CA system in memory: a fake `CertificateSource` that can be busy, refuse, and give bad certificates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from cryptography.hazmat.primitives.serialization import Encoding

from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.model import Page
from chalicelib.domain.pca import (
    Authority,
    AuthorityKind,
    AuthorityRef,
    AuthorityStatus,
    Fetched,
    IssuedCertificate,
    Unavailable,
    unknown_authority,
)
from tests.support.authority import Authority as Maker
from tests.support.authority import Issued

REF = AuthorityRef("fake", "here", "one")


class FakeSource:
    """One CA, `REF`, with whatever it is given; `tells` is whether its list has fingerprints."""

    id = "fake"
    title = "Fake CA"

    def __init__(self, *, tells: bool = True, needed: str = "") -> None:
        self.tells = tells
        self.needed = needed
        self.root = Maker.root()
        self.middle = self.root.intermediate()
        self.status = AuthorityStatus.ACTIVE
        self.held: dict[str, tuple[Issued, str | None]] = {}
        self.revoked: dict[str, datetime] = {}
        #: Raised by the next requests, one each.
        self.failures: list[Exception | None] = []
        self.fetched: list[str] = []
        #: Raised whenever these are fetched.
        self.poison: dict[str, Exception] = {}
        #: How many certificates were asked for, and what happens before each.
        self.asked = 0
        self.before = lambda: None

    def issue(self, one: str, *domains: str, key: bool = True, **options) -> Issued:
        """A certificate under an id."""
        made = self.middle.issue(*(domains or (f"{one}.example.com",)), **options)
        self.held[one] = made, made.key_pem if key else None
        return made

    def regions(self) -> Sequence[str]:
        return ("here",)

    def setup_needed(self, account_id: str) -> str:
        return self.needed

    def authorities(self, account_id: str, region: str, *, limit: int, cursor: str | None) -> Page[Authority]:
        return Page((self.authority(account_id, REF),), None)

    def authority(self, account_id: str, ref: AuthorityRef) -> Authority:
        self._fail()
        if ref != REF:
            raise unknown_authority(str(ref))
        own = ParsedCertificate(self.middle.certificate.public_bytes(Encoding.DER))
        return Authority(
            account_id,
            REF,
            "here",
            AuthorityKind.INTERMEDIATE,
            None,
            own.subject,
            "ECC",
            256,
            own.serial_number,
            own.not_before,
            own.not_after,
            self.status,
        )

    def certificates(
        self, account_id: str, ref: AuthorityRef, *, limit: int, cursor: str | None
    ) -> Page[IssuedCertificate]:
        self._fail()
        ids = sorted(self.held)[int(cursor or 0) :]
        more = str(int(cursor or 0) + limit) if len(ids) > limit else None
        return Page(tuple(map(self._listed, ids[:limit])), more)

    def fetch(
        self, account_id: str, ref: AuthorityRef, ids: Sequence[str]
    ) -> Iterator[tuple[str, Fetched | Unavailable]]:
        for one in ids:
            self._fail()
            self.asked += 1
            self.before()
            if one in self.poison:
                raise self.poison[one]
            self.fetched.append(one)
            if one not in self.held:
                yield one, Unavailable("CertificateNotFound", f"There is no certificate {one}.")
                continue
            made, key = self.held[one]
            note = "" if key else "The key was never given to this CA."
            yield one, Fetched(made.pem, (self.middle.pem, self.root.pem), key, note, revoked_at=self.revoked.get(one))

    def _listed(self, one: str) -> IssuedCertificate:
        made, key = self.held[one]
        own = ParsedCertificate(made.der)
        return IssuedCertificate(
            id=one,
            authority_id=str(REF),
            common_name=own.common_name,
            sans=own.domains,
            serial_number=own.serial_number,
            not_before=own.not_before,
            not_after=own.not_after,
            fingerprint=own.fingerprint if self.tells else "",
            revoked_at=self.revoked.get(one),
            has_private_key=key is not None,
        )

    def _fail(self) -> None:
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
