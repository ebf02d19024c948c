"""The inventory: list, show, change, delete and download certificates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from chalicelib.domain.errors import Forbidden, InvalidRequest, Unprocessable
from chalicelib.domain.model import (
    Caller,
    Certificate,
    CertificateFilter,
    Material,
    Page,
    Source,
)
from chalicelib.domain.naming import to_ascii_domain
from chalicelib.functions.audit import Audit
from chalicelib.ports import CertificateStore, Clock, KeyVault


@dataclass(frozen=True, slots=True)
class CertificateChange:
    """What of a certificate is to change; ``None`` stays as it is."""

    name: str | None = None
    tags: Mapping[str, str] | None = None
    resource_group: str | None = None
    notifications: bool | None = None
    auto_renew: bool | None = None


@dataclass(frozen=True, slots=True)
class Download:
    """A file to hand out. `content` may hold a private key: it is not to be logged or kept."""

    content: bytes
    content_type: str
    file_name: str

    def __repr__(self) -> str:
        return f"<Download {self.file_name}, {len(self.content)} bytes>"


CONTENT_TYPES = {
    "pem": "application/x-pem-file",
    "pfx": "application/x-pkcs12",
    "jks": "application/x-java-keystore",
}


class Catalogue:
    """The caller's certificates."""

    def __init__(self, store: CertificateStore, vault: KeyVault, audit: Audit, clock: Clock) -> None:
        self._store = store
        self._vault = vault
        self._audit = audit
        self._clock = clock

    def page(self, caller: Caller, wanted: CertificateFilter, *, limit: int, cursor: str | None) -> Page[Certificate]:
        """Certificates that fit, soonest expiry first. Raises: InvalidRequest: `InvalidCursor`."""
        if wanted.domain is not None:
            wanted = replace(wanted, domain=to_ascii_domain(wanted.domain))
        return self._store.page(caller.account_id, wanted, now=self._clock(), limit=limit, cursor=cursor)

    def show(self, caller: Caller, certificate_id: str) -> tuple[Certificate, Material]:
        """One certificate with its heavy part. Raises: NotFound."""
        certificate = self._store.get(caller.account_id, certificate_id)
        return certificate, self._store.material(certificate)

    def change(self, caller: Caller, certificate_id: str, change: CertificateChange) -> Certificate:
        """Change name, tags, resource group, notifications, or whether it renews by itself.

        Raises:
            NotFound. InvalidRequest: nothing to change. Conflict: `NameTaken`, `ConcurrentChange`.
        """
        given = {
            name: value
            for name in ("name", "tags", "resource_group", "notifications", "auto_renew")
            if (value := getattr(change, name)) is not None
        }
        if not given:
            raise InvalidRequest("InvalidRequest", "The request names nothing to change.")
        old = self._store.get(caller.account_id, certificate_id)
        new = replace(old, **given, version=old.version + 1, updated_at=self._clock())
        event = self._audit.event(caller, "certificate.change", old.id, fields=" ".join(sorted(given)))
        self._store.update(old, new, event)
        return new

    def delete(self, caller: Caller, certificate_id: str, confirm: str | None) -> None:
        """Delete a certificate with its key, for good. Deployments made stay as they are.

        Raises:
            NotFound. InvalidRequest: `ConfirmationMissing`, unless `confirm` is the exact name.
            Conflict: `ConcurrentChange`.
        """
        certificate = self._store.get(caller.account_id, certificate_id)
        if confirm != certificate.name:
            got = "nothing" if confirm is None else "another text"
            raise InvalidRequest(
                "ConfirmationMissing",
                f"Deleting cannot be undone: `confirm` must be the name “{certificate.name}”; got {got}.",
            )
        event = self._audit.event(
            caller,
            "certificate.delete",
            certificate.id,
            name=certificate.name,
            fingerprint=certificate.fingerprint,
        )
        self._store.delete(certificate, event)

    def download(self, caller: Caller, certificate_id: str, kind: str, passphrase: str | None) -> Download:
        """The certificate with chain and private key as a file; recorded before it is handed out.

        Args:
            caller: an admin.
            certificate_id: of the caller's account.
            kind: ``pem``, ``pfx`` or ``jks``.
            passphrase: protects the file; wanted for pfx and jks, not used for pem.

        Raises:
            NotFound. Forbidden: `SourceNotDownloadable`, it was shared by another account.
            InvalidRequest: `PassphraseMissing`. Unprocessable: `PrivateKeyAbsent`, `FormatUnsupported`.
        """
        from chalicelib.domain.formats import Bundle, to_jks, to_pfx  # 8 ms that nothing else here needs

        certificate, material = self.show(caller, certificate_id)
        if certificate.source is Source.SHARED:
            raise Forbidden("SourceNotDownloadable", "A shared certificate is downloaded by its owner only.")
        if kind != "pem" and not passphrase:
            raise InvalidRequest(
                "PassphraseMissing",
                f"A {kind} file is protected by a passphrase.",
                "Send it in the header `X-Passphrase`.",
            )
        if kind != "pem" and material.keys is None:
            raise Unprocessable("PrivateKeyAbsent", f"A {kind} file needs the private key, which is not held here.")
        keys = self._open(certificate, material)
        bundle = Bundle(
            certificate=material.certificate,
            chain=material.chain,
            private_key=keys.get("signing"),
            encryption_certificate=material.encryption_certificate,
            encryption_private_key=keys.get("encryption"),
        )
        if kind == "pem":
            content = bundle.pem()
        else:
            write = to_pfx if kind == "pfx" else to_jks
            content = write(bundle, certificate.name, passphrase or "")
        self._audit.accessed(caller, "certificate.download", certificate.id, format=kind)
        return Download(content, CONTENT_TYPES[kind], f"{_file_stem(certificate.name)}.{kind}")

    def _open(self, certificate: Certificate, material: Material) -> Mapping[str, bytes]:
        if material.keys is None:
            return {}
        return self._vault.open(certificate.key_context, material.keys)


def _file_stem(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
