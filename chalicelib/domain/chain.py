"""The chain of a leaf out of a heap of certificates: any order, doubles, cross-signed ones, gaps.

A small backtracking path builder in the manner of RFC 4158: from the leaf, every certificate whose subject is the
issuer's name is tried (those whose key identifier fits first), signatures decide. All paths within the
bounds are compared and the best one kept. Trust is not decided here: a chain is good when every link holds,
wherever it ends. CA flags, path lengths and key usage are checked on the path; what needs more than that
(name constraints, critical extensions) is left to OpenSSL, see `constraint_problem`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography.x509.oid import ExtensionOID

from chalicelib.domain.certificate import MalformedCertificateError, ParsedCertificate

#: A path has at most this many certificates, leaf and root included.
MAX_DEPTH: Final = 10
#: The search gives up after this many links tried: hostile heaps of same-named CAs end here.
MAX_STEPS: Final = 200
#: And after this many paths looked at: cross-signed certificates multiply them, and real ones have a handful.
MAX_PATHS: Final = 2000


@dataclass(slots=True)
class Chain:
    """What the heap holds for a leaf.

    Attributes:
        path: leaf first, each followed by its issuer; the root last when it was given.
        alternatives: certificates that belong to another path of the same leaf (cross-signed ones).
        strangers: certificates that no path of the leaf uses.
        wrong_signatures: (certificate, supposed issuer) whose names fit and whose signature does not.
        uncheckable: why a signature could not be checked at all, by certificate.
    """

    path: tuple[ParsedCertificate, ...]
    alternatives: tuple[ParsedCertificate, ...] = ()
    strangers: tuple[ParsedCertificate, ...] = ()
    wrong_signatures: tuple[tuple[ParsedCertificate, ParsedCertificate], ...] = ()
    uncheckable: tuple[tuple[ParsedCertificate, str], ...] = ()

    @property
    def leaf(self) -> ParsedCertificate:
        """The certificate the chain is for."""
        return self.path[0]

    @property
    def issuers(self) -> tuple[ParsedCertificate, ...]:
        """The rest of the path, the leaf's issuer first."""
        return self.path[1:]

    @property
    def is_complete(self) -> bool:
        """Whether the certificate that signed the leaf is there, or the leaf signed itself."""
        return len(self.path) > 1 or self.leaf.is_self_signed


@dataclass(slots=True)
class _Search:
    pool: Sequence[ParsedCertificate]
    now: datetime
    best: tuple[ParsedCertificate, ...] = ()
    best_score: tuple[bool, bool, bool, int] = (False, False, False, 0)
    used: set[bytes] = field(default_factory=set)
    wrong: dict[tuple[bytes, bytes], tuple[ParsedCertificate, ParsedCertificate]] = field(default_factory=dict)
    uncheckable: dict[bytes, tuple[ParsedCertificate, str]] = field(default_factory=dict)
    links: dict[tuple[bytes, bytes], bool] = field(default_factory=dict)
    steps: int = 0
    paths: int = 0

    def walk(self, path: tuple[ParsedCertificate, ...]) -> None:
        """Follow every issuer of the path's end; remember the best path seen."""
        self.paths += 1
        self.used.update(c.der for c in path)
        end = path[-1]
        score = (
            len(path) > 1,
            all(c.not_before <= self.now <= c.not_after for c in path[1:]),
            end.is_self_issued,
            len(path),
        )
        if not self.best or score > self.best_score:
            self.best, self.best_score = path, score
        if len(path) == MAX_DEPTH or (end.is_self_issued and end.is_self_signed):
            return
        for issuer in self.issuers_of(end, path):
            if self.paths < MAX_PATHS:
                self.walk((*path, issuer))

    def issuers_of(self, child: ParsedCertificate, path: tuple[ParsedCertificate, ...]) -> list[ParsedCertificate]:
        """The certificates of the pool that signed `child`, best key identifier first."""
        named = [c for c in self.pool if c not in path and child.issued_by_name(c)]
        if len(named) > 1 and child.authority_key_id is not None:
            named.sort(key=lambda c: c.subject_key_id != child.authority_key_id)
        return [c for c in named if self.holds(child, c)]

    def holds(self, child: ParsedCertificate, issuer: ParsedCertificate) -> bool:
        """Whether `issuer` signed `child`; each pair is computed once, and at most `MAX_STEPS` pairs."""
        pair = (child.der, issuer.der)
        if pair in self.links:
            return self.links[pair]
        if self.steps >= MAX_STEPS:
            return False
        self.steps += 1
        try:
            good = child.signed_by(issuer)
        except MalformedCertificateError as error:
            self.uncheckable[child.der] = (child, str(error))
            good = False
        if not good:
            self.wrong[pair] = (child, issuer)
        self.links[pair] = good
        return good


def build_chain(leaf: ParsedCertificate, others: Sequence[ParsedCertificate], now: datetime) -> Chain:
    """Find the best path from `leaf` through `others`.

    Best means: with an issuer at all, then every issuer valid at `now`, then ending in a given root, then longest.

    Args:
        leaf: where the path begins.
        others: the rest of the heap, in any order; the leaf and doubles in it are ignored.
        now: aware UTC, to prefer a path of valid certificates.
    """
    pool = [c for c in dict.fromkeys(others) if c != leaf]
    search = _Search(pool, now)
    search.walk((leaf,))
    path = search.best
    return Chain(
        path=path,
        alternatives=tuple(c for c in pool if c.der in search.used and c not in path),
        strangers=tuple(c for c in pool if c.der not in search.used),
        wrong_signatures=tuple(
            pair for pair in search.wrong.values() if pair[0] == path[-1] and pair[0].der not in search.uncheckable
        ),
        uncheckable=tuple(search.uncheckable.values()),
    )


def link_problem(chain: Chain) -> str | None:
    """Why a link of the path may not sign the one below it, or ``None`` (RFC 5280, 6.1.4 (k)-(n)).

    Not checked: trust, revocation, and what `constraint_problem` looks at.
    """
    below = 0
    for issuer in chain.issuers:
        if not issuer.is_ca:
            return f"the certificate {issuer.label} signed another one and is not a CA certificate"
        if issuer.path_length is not None and below > issuer.path_length:
            return f"the CA {issuer.label} allows {issuer.path_length} intermediate(s) below it, and there are {below}"
        usage = issuer.key_usage
        if usage is not None and not usage.key_cert_sign:
            return f"the key usage of {issuer.label} does not allow it to sign certificates"
        if not issuer.is_self_issued:
            below += 1
    return None


def constraint_problem(chain: Chain) -> str | None:
    """What OpenSSL objects to in name constraints and critical extensions, or ``None``.

    Asked only when the path has either, since it costs as much as all the rest (RFC 5280, 4.2.1.10 and 4.2).
    """
    if not any(c.unknown_critical or c.extension(ExtensionOID.NAME_CONSTRAINTS) is not None for c in chain.path):
        return None
    from OpenSSL import crypto  # 90 ms that few certificates need

    store = crypto.X509Store()
    # X509_V_FLAG_NO_CHECK_TIME (0x200000): validity has findings of its own.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN | 0x200000)
    store.add_cert(crypto.X509.from_cryptography(chain.path[-1].x509))
    links = [crypto.X509.from_cryptography(c.x509) for c in chain.path]
    try:
        crypto.X509StoreContext(store, links[0], links[1:]).verify_certificate()
    except crypto.X509StoreContextError as error:
        if error.errors[0] in _CONSTRAINT_ERRORS:
            at = chain.path[min(error.errors[1], len(chain.path) - 1)]
            return f"{error.errors[2]} (at {at.label})"
    return None


#: X509_V_ERR_*: unhandled critical extension, and the name constraint family.
_CONSTRAINT_ERRORS: Final = frozenset({34, 47, 48, 49, 51, 52, 53})
