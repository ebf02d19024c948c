"""The built-in CA: authorities are made, issue certificates, and revoke them.

Every key lies sealed; opening an authority's is told in the audit trail, by the event of what it signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chalicelib.domain import keys, pem
from chalicelib.domain.certificate import ParsedCertificate, PublicKey
from chalicelib.domain.errors import CertificateRefused, Conflict, InvalidRequest, NotFound, TooLarge
from chalicelib.domain.findings import Finding, warning
from chalicelib.domain.issuing import Issuer, make_authority, make_certificate, make_crl
from chalicelib.domain.keys import PrivateKey
from chalicelib.domain.model import Caller, Csr, KeyContext, Material
from chalicelib.domain.pca import (
    BUILTIN,
    Authority,
    AuthorityKind,
    AuthorityRef,
    AuthorityStatus,
    IssuedCertificate,
    Revoked,
    authority_object_id,
    issued_object_id,
    seen_at,
)
from chalicelib.domain.pca_specs import (
    AuthoritySpec,
    CheckedLeaf,
    LeafSpec,
    certificate_of,
    check_authority,
    check_leaf,
)
from chalicelib.domain.reading import Bundle, read
from chalicelib.domain.validation import judge
from chalicelib.functions.audit import Audit, new_id
from chalicelib.functions.csrs import KEY_BOX, MAX_REQUEST, Csrs, read_request
from chalicelib.ports import AuthorityStore, Clock, KeyVault

__all__ = ["REASONS", "AuthoritySpec", "LeafSpec", "PrivateCa"]

#: Reasons for a revocation (RFC 5280, 5.3.1). Without ``certificate_hold`` and ``remove_from_crl``: nothing here lets
#: go again of what was held.
REASONS: Final = (
    "unspecified",
    "key_compromise",
    "ca_compromise",
    "affiliation_changed",
    "superseded",
    "cessation_of_operation",
    "privilege_withdrawn",
    "aa_compromise",
)


_KEY_ELSEWHERE: Final = warning(
    "PrivateKeyElsewhere",
    "The certificate was issued for a CSR: its private key lies where that was made.",
    "It is watched for expiry; to deploy it from here, store the CSR with its key before it is issued.",
    "private_key",
)


@dataclass(frozen=True, slots=True)
class _Key:
    """The key that a certificate is for: its public half, and the private one where it is had."""

    public: PublicKey
    private: PrivateKey | None
    stored: Csr | None = None


class PrivateCa:
    """The built-in CA of the caller's account."""

    def __init__(
        self, store: AuthorityStore, csrs: Csrs, vault: KeyVault, *, audit: Audit, clock: Clock, region: str
    ) -> None:
        self._store = store
        self._csrs = csrs
        self._vault = vault
        self._audit = audit
        self._clock = clock
        self._region = region

    def create(self, caller: Caller, spec: AuthoritySpec) -> Authority:
        """Make a root or an intermediate; its key is sealed and never shown.

        Raises:
            CertificateRefused: an `AuthorityFieldIncorrect` or `AuthorityLimit` finding for each field that is wrong.
            NotFound: `AuthorityNotFound`, the parent. Conflict: `AuthorityNotActive`, the parent or one above it.
        """
        below = spec.kind == AuthorityKind.INTERMEDIATE and spec.parent is not None
        path = self._active_path(caller, spec.parent) if below and spec.parent is not None else []
        now = self._clock()
        checked = check_authority(spec, path, now)
        key = keys.generate(checked.algorithm, checked.key_size)
        signer = self._signer(path[0]) if path else None
        content = make_authority(checked.subject, checked.limits, key, signer, now=now, days=checked.days)
        made = ParsedCertificate(content)
        authority = Authority(
            account_id=caller.account_id,
            ref=AuthorityRef(BUILTIN, "", new_id(self._clock)),
            region="",
            kind=checked.kind,
            parent=path[0].id if path else None,
            subject=made.subject,
            algorithm=checked.algorithm,
            key_size=checked.key_size,
            serial_number=made.serial_number,
            not_before=made.not_before,
            not_after=made.not_after,
            status=AuthorityStatus.ACTIVE,
            certificate=pem.encode("CERTIFICATE", made.der),
            limits=checked.limits,
        )
        sealed = self._vault.seal(_context(authority, made), {KEY_BOX: key.pem()})
        event = self._audit.event(
            caller, "ca.create", authority.id, kind=checked.kind, fingerprint=made.fingerprint, **_opened(path)
        )
        self._store.add(authority, sealed, event)
        return self._seen(authority)

    def issue(self, caller: Caller, authority_id: str, spec: LeafSpec) -> tuple[IssuedCertificate, Material]:
        """Issue a certificate for a server or client: for a request, or for a key made here, which is sealed.

        Raises:
            NotFound: `AuthorityNotFound`; or `csr_id` names no CSR. Conflict: `AuthorityNotActive`.
            InvalidRequest, Unprocessable: `CsrFormatIncorrect`. TooLarge: the request is.
            CertificateRefused: with a finding for all that is wrong, see `check_leaf`.
        """
        path = self._active_path(caller, authority_id)
        text, stored = self._request(caller, spec)
        request = None if text is None else read_request(text)[0]
        if request is not None and len(request.der) > MAX_REQUEST:
            raise TooLarge(
                "RequestTooLarge", f"The request has {len(request.der)} bytes in DER; at most {MAX_REQUEST} are taken."
            )
        now = self._clock()
        checked = check_leaf(spec, request, path, now)
        key = self._key(checked, None if request is None else request.public_key, stored)
        content = make_certificate(
            checked.subject,
            checked.names,
            key.public,
            self._signer(path[0]),
            now=now,
            days=checked.days,
            usage=checked.usage,
        )
        return self._keep(caller, path, checked, key, ParsedCertificate(content))

    def _request(self, caller: Caller, spec: LeafSpec) -> tuple[str | None, Csr | None]:
        """PEM text of the request that is meant, and the stored one if it is that."""
        if spec.csr is not None and spec.csr_id is not None:
            raise InvalidRequest("InvalidRequest", "The request has both `csr` and `csr_id`; one of them is meant.")
        if spec.csr is None and spec.csr_id is None:
            return None, None
        if spec.algorithm is not None or spec.key_size is not None:
            raise InvalidRequest(
                "InvalidRequest",
                "`algorithm` and `key_size` are those of a key made here; a certificate for a CSR has the CSR's key.",
            )
        stored = None if spec.csr_id is None else self._csrs.get(caller, spec.csr_id)
        return (spec.csr if stored is None else stored.pem), stored

    def _key(self, checked: CheckedLeaf, public: PublicKey | None, stored: Csr | None) -> _Key:
        """The key that a certificate is to be for; that of a stored CSR is opened only now."""
        if public is None:
            made = keys.generate(checked.algorithm, checked.key_size)
            return _Key(made.public, made)
        if stored is None or not stored.has_private_key:
            return _Key(public, None)
        return _Key(public, self._csrs.key_of(stored), stored)

    def _keep(
        self, caller: Caller, path: Sequence[Authority], checked: CheckedLeaf, key: _Key, made: ParsedCertificate
    ) -> tuple[IssuedCertificate, Material]:
        """Judge what was made as every upload is, and store it."""
        bundle = Bundle(
            pem.encode("CERTIFICATE", made.der),
            None if key.private is None else key.private.pem().decode("ascii"),
            "".join(authority.certificate for authority in path),
        )
        verdict = judge(read(bundle), self._clock(), key_required=False)
        if verdict.refused:
            raise RuntimeError(f"what was issued is refused: {', '.join(f.code for f in verdict.findings)}")
        certificate = IssuedCertificate(
            id=f"{path[0].id}.{new_id(self._clock)}",
            authority_id=path[0].id,
            common_name=made.common_name,
            sans=tuple(str(name.value) for name in checked.names),
            serial_number=made.serial_number,
            not_before=made.not_before,
            not_after=made.not_after,
            fingerprint=made.fingerprint,
            algorithm=made.public_key.kind,
            key_size=made.public_key.size,
            usage=checked.usage,
            has_private_key=key.private is not None,
        )
        context = KeyContext(caller.account_id, issued_object_id(certificate.id), made.fingerprint)
        material = Material(
            certificate=bundle.certificate or "",
            chain=tuple(authority.certificate for authority in path),
            encryption_certificate=None,
            keys=None if key.private is None else self._vault.seal(context, {KEY_BOX: key.private.pem()}),
            findings=verdict.findings if key.private is not None else (*verdict.findings, _KEY_ELSEWHERE),
            domains=made.domains,
        )
        event = self._audit.event(
            caller,
            "ca.issue",
            certificate.id,
            serial_number=made.serial_number,
            fingerprint=made.fingerprint,
            **_opened(path),
            **({} if key.stored is None else {"csr": key.stored.id}),
        )
        self._store.issue(caller.account_id, certificate, material, event)
        return certificate, material

    def revoke(self, caller: Caller, certificate_id: str, reason: str = "unspecified") -> IssuedCertificate:
        """Revoke a certificate, for good; one that is revoked keeps its date.

        Raises: NotFound. InvalidRequest: `InvalidParameter`, the reason.
        """
        _check_reason(reason)
        certificate = self._store.certificate(caller.account_id, certificate_id)
        if certificate.revoked_at is not None:
            return certificate
        revoked = self._revoked(certificate.serial_number, reason)
        event = self._audit.event(
            caller,
            "ca.revoke-certificate",
            certificate.id,
            reason=reason,
            serial_number=certificate.serial_number,
        )
        self._store.revoke_certificate(caller.account_id, certificate, revoked, event)
        return self._store.certificate(caller.account_id, certificate_id)

    def revoke_authority(self, caller: Caller, authority_id: str, reason: str = "unspecified") -> Authority:
        """Revoke an intermediate, for good; one that is revoked keeps its date.

        Raises:
            NotFound: `AuthorityNotFound`. Conflict: `RootNotRevocable`. InvalidRequest: `InvalidParameter`.
        """
        _check_reason(reason)
        authority = self._own(caller, authority_id)
        if authority.kind is AuthorityKind.ROOT:
            raise Conflict(
                "RootNotRevocable", f"{authority.subject} is a root: no list above it could name it as revoked."
            )
        if authority.revoked_at is not None:
            return authority
        revoked = self._revoked(authority.serial_number, reason)
        event = self._audit.event(
            caller, "ca.revoke", authority.id, reason=reason, serial_number=authority.serial_number
        )
        self._store.revoke(authority, revoked, event)
        return self._own(caller, authority_id)

    def crl(self, caller: Caller, authority_id: str) -> bytes:
        """The revocation list of an authority in DER, signed anew, under the next number.

        Raises: NotFound: `AuthorityNotFound`.
        """
        authority = self._own(caller, authority_id)
        number = self._store.next_crl_number(caller.account_id, authority.ref.name)
        revoked = self._store.revoked(caller.account_id, authority.ref.name)
        self._audit.accessed(caller, "ca.crl", authority.id, number=str(number))
        return make_crl(self._signer(authority), revoked, number, self._clock())

    def _own(self, caller: Caller, authority_id: str) -> Authority:
        """An authority of the caller's account. Raises: NotFound: `AuthorityNotFound`."""
        ref = AuthorityRef.parse(authority_id)
        if ref.source != BUILTIN:
            words = f"The CA {authority_id!r:.140} is of source {ref.source}; only the built-in CA does this here."
            raise NotFound("AuthorityNotFound", words, "Do it where the CA is at home.")
        return self._seen(self._store.get(caller.account_id, ref.name))

    def _seen(self, authority: Authority) -> Authority:
        return seen_at(authority, self._clock(), self._region)

    def _active_path(self, caller: Caller, authority_id: str) -> list[Authority]:
        """An authority and what is above it, up to the root. Raises: NotFound; Conflict: `AuthorityNotActive`."""
        path = [self._own(caller, authority_id)]
        while path[-1].parent is not None:
            path.append(self._own(caller, path[-1].parent))
        for authority in path:
            if authority.status is not AuthorityStatus.ACTIVE:
                since = authority.revoked_at or authority.not_after
                above = "" if authority is path[0] else f", which is above {path[0].id},"
                raise Conflict(
                    "AuthorityNotActive",
                    f"The CA {authority.id} ({authority.subject}){above} is {authority.status} since "
                    f"{since:%Y-%m-%d %H:%M:%S} UTC.",
                )
        return path

    def _signer(self, authority: Authority) -> Issuer:
        """An authority with its key opened. Who asks for it tells the audit trail."""
        certificate = certificate_of(authority)
        sealed = self._store.keys(authority.account_id, authority.ref.name)
        text = self._vault.open(_context(authority, certificate), sealed)[KEY_BOX].decode("ascii")
        (block,) = pem.scan(text).blocks
        key = keys.load(block)
        if isinstance(key, Finding):
            raise CertificateRefused([key])
        return Issuer(certificate, key)

    def _revoked(self, serial_number: str, reason: str) -> Revoked:
        """An entry of now; revocation lists know no fractions of a second."""
        return Revoked(int(serial_number, 16), self._clock().replace(microsecond=0), reason)


def _context(authority: Authority, certificate: ParsedCertificate) -> KeyContext:
    """What an authority's key is sealed under."""
    return KeyContext(authority.account_id, authority_object_id(authority.ref.name), certificate.fingerprint)


def _opened(path: Sequence[Authority]) -> dict[str, str]:
    """For the audit trail: the authority whose key was opened to sign."""
    return {"opened_key_of": path[0].id} if path else {}


def _check_reason(reason: str) -> None:
    """Raises: InvalidRequest: `InvalidParameter`."""
    if reason not in REASONS:
        raise InvalidRequest(
            "InvalidParameter",
            f"The reason is {reason!r:.60}; possible are {', '.join(REASONS)}.",
            "Choose one of these.",
        )
