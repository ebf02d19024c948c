"""Renewal by the source itself: the built-in CA issues a certificate anew, which takes the old one's place."""

from __future__ import annotations

from dataclasses import replace

from chalicelib.domain.errors import InvalidRequest
from chalicelib.domain.model import Caller, Certificate, Material, Source
from chalicelib.domain.pca import IssuedCertificate, issued_object_id
from chalicelib.domain.reading import Bundle, read
from chalicelib.domain.validation import judge
from chalicelib.functions.audit import Audit
from chalicelib.functions.pca_intake import origin_of
from chalicelib.functions.private_ca import LeafSpec, PrivateCa
from chalicelib.functions.records import record_of
from chalicelib.functions.succession import name_after, refuse_replaced, retired
from chalicelib.ports import AuthorityStore, CertificateStore, Clock


class PcaRenewal:
    """Has the built-in CA renew what it issued."""

    def __init__(
        self, store: CertificateStore, authorities: AuthorityStore, ca: PrivateCa, audit: Audit, clock: Clock
    ) -> None:
        self._store = store
        self._authorities = authorities
        self._ca = ca
        self._audit = audit
        self._clock = clock

    def renew(self, caller: Caller, certificate_id: str) -> tuple[Certificate, Material]:
        """Issue a certificate like an old one, for the same names and as long, with a new key, in its place.

        It takes over name, tags, group and notices; the old one stays, as after a renewal by upload.

        Raises:
            NotFound. InvalidRequest: `SourceCannotRenew`, the built-in CA did not issue it, or for a key that lies
            elsewhere. Conflict: `AlreadyReplaced`, `AuthorityNotActive`, `ConcurrentChange`.
            CertificateRefused: the CA may not issue it any more.
        """
        old = self._store.get(caller.account_id, certificate_id)
        refuse_replaced(self._store, old)
        before = self._issued(old)
        issued, material = self._ca.issue(caller, before.authority_id, self._like(caller, before))
        new = self._record(caller, old, issued, material)
        event = self._audit.event(
            caller,
            "certificate.renew",
            new.id,
            replaces=old.id,
            name=new.name,
            fingerprint=new.fingerprint,
            issued=issued.id,
        )
        self._store.replace(old, retired(old, new), new, material, event)
        return new, material

    def check(self, certificate: Certificate) -> None:
        """Whether the built-in CA can renew a certificate.

        Raises: InvalidRequest: `SourceCannotRenew`. Conflict: `AlreadyReplaced`.
        """
        refuse_replaced(self._store, certificate)
        self._issued(certificate)

    def _issued(self, old: Certificate) -> IssuedCertificate:
        """What the built-in CA knows of a certificate. Raises: InvalidRequest: `SourceCannotRenew`."""
        origin = (old.origin or "").removeprefix("pca:")
        if old.source is not Source.PCA or old.material_id is None:
            raise InvalidRequest(
                "SourceCannotRenew",
                f"A certificate of source {old.source} that the built-in CA did not issue is renewed by uploading its "
                "replacement; none was sent.",
            )
        found = self._authorities.certificate(old.account_id, origin)
        if not found.has_private_key:
            raise InvalidRequest(
                "SourceCannotRenew",
                "The private key of this certificate was made elsewhere, and so must be that of its replacement.",
                "Issue a certificate for a new CSR (POST /v1/pca/cas/{ca}/certificates), and send it here.",
            )
        return found

    def _like(self, caller: Caller, before: IssuedCertificate) -> LeafSpec:
        """The same once more, at most as long as the CA still lives."""
        authority = self._authorities.get(caller.account_id, before.authority_id)
        left = (authority.not_after - self._clock()).days
        return LeafSpec(
            common_name=before.common_name or None,
            sans=before.sans,
            validity_days=max(1, min((before.not_after - before.not_before).days, left)),
            usage=before.usage,
            algorithm="ECC" if before.algorithm == "ECDSA" else before.algorithm,
            key_size=before.key_size,
        )

    def _record(self, caller: Caller, old: Certificate, issued: IssuedCertificate, material: Material) -> Certificate:
        now = self._clock()
        verdict = judge(read(Bundle(material.certificate, None, "".join(material.chain))), now, key_required=False)
        assert verdict.leaf is not None  # the CA judged it before it kept it
        made = record_of(
            verdict.leaf,
            verdict,
            account_id=caller.account_id,
            name=name_after(self._store, old, verdict.leaf),
            source=Source.PCA,
            created_by=caller.token_id,
            now=now,
        )
        return replace(
            made,
            resource_group=old.resource_group,
            tags=old.tags,
            notifications=old.notifications,
            deployed=old.deployed,
            replaces=old.id,
            has_private_key=True,
            auto_renew=old.auto_renew,
            origin=origin_of(issued.authority_id, issued.id),
            material_id=issued_object_id(issued.id),
        )
