"""The only place that builds clients and picks implementations.

Everything is made when first asked for and kept while the function lives: a function that reads no bucket never
imports an S3 client.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from chalicelib.config import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

    from chalicelib.functions.access import Access
    from chalicelib.functions.audit import Audit
    from chalicelib.functions.catalogue import Catalogue
    from chalicelib.functions.conversions import Conversions
    from chalicelib.functions.csrs import Csrs
    from chalicelib.functions.drop import Drop
    from chalicelib.functions.private_ca import PrivateCa
    from chalicelib.functions.upload_validate import UploadValidate
    from chalicelib.ports import (
        AccountStore,
        AuditStore,
        AuthorityStore,
        CertificateStore,
        Clock,
        CsrStore,
        DropBox,
        IdempotencyStore,
        KeyVault,
    )


def utc_now() -> datetime:
    """Now, aware, in UTC."""
    return datetime.now(UTC)


class Services:
    """The service's functions, over whatever stores a subclass gives. Tests give fakes."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock

    certificate_store: CertificateStore
    csr_store: CsrStore
    account_store: AccountStore
    audit_store: AuditStore
    authority_store: AuthorityStore
    idempotency: IdempotencyStore
    vault: KeyVault
    drop_box: DropBox

    @cached_property
    def log(self) -> Logger:
        """Structured log lines on standard error; never given key, token or certificate text."""
        from aws_lambda_powertools import Logger

        return Logger(service=self.settings.service_name, level=self.settings.log_level, stream=sys.stderr)

    @cached_property
    def audit(self) -> Audit:
        """The audit trail."""
        from chalicelib.functions.audit import Audit

        return Audit(self.audit_store, self.clock)

    @cached_property
    def access(self) -> Access:
        """Tokens and accounts."""
        from chalicelib.functions.access import Access

        return Access(self.account_store, self.audit, self.clock)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The inventory."""
        from chalicelib.functions.catalogue import Catalogue

        return Catalogue(self.certificate_store, self.vault, self.audit, self.clock)

    @cached_property
    def csrs(self) -> Csrs:
        """Certificate signing requests."""
        from chalicelib.functions.csrs import Csrs

        return Csrs(self.csr_store, self.vault, self.audit, self.clock)

    @cached_property
    def private_ca(self) -> PrivateCa:
        """The built-in CA."""
        from chalicelib.functions.private_ca import PrivateCa

        return PrivateCa(
            self.authority_store,
            self.csrs,
            self.vault,
            audit=self.audit,
            clock=self.clock,
            region=self.settings.region,
        )

    @cached_property
    def conversions(self) -> Conversions:
        """The conversion tool."""
        from chalicelib.functions.conversions import Conversions

        return Conversions()

    @cached_property
    def upload_validate(self) -> UploadValidate:
        """Upload and validation."""
        from chalicelib.functions.upload_validate import UploadValidate

        return UploadValidate(self.certificate_store, self.csrs, self.vault, self.audit, self.clock)

    @cached_property
    def drop(self) -> Drop:
        """Dropped files."""
        from chalicelib.functions.drop import Drop

        return Drop(
            self.drop_box,
            self.upload_validate,
            self.certificate_store,
            self.account_store,
            audit=self.audit,
            clock=self.clock,
        )


class AwsServices(Services):
    """The service's functions on AWS."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, utc_now)
        from chalicelib.store import tables

        tables.bind(settings.table_prefix, settings.region)

    @cached_property
    def certificate_store(self) -> CertificateStore:  # type: ignore[override]
        """The inventory's tables."""
        from chalicelib.store.certificates import DynamoCertificateStore

        return DynamoCertificateStore()

    @cached_property
    def csr_store(self) -> CsrStore:  # type: ignore[override]
        """The table of signing requests."""
        from chalicelib.store.csrs import DynamoCsrStore

        return DynamoCsrStore()

    @cached_property
    def account_store(self) -> AccountStore:  # type: ignore[override]
        """The tables of accounts and tokens."""
        from chalicelib.store.accounts import DynamoAccountStore

        return DynamoAccountStore()

    @cached_property
    def audit_store(self) -> AuditStore:  # type: ignore[override]
        """The table of the audit trail."""
        from chalicelib.store.audit import DynamoAuditStore

        return DynamoAuditStore()

    @cached_property
    def authority_store(self) -> AuthorityStore:  # type: ignore[override]
        """The tables of the built-in CA."""
        from chalicelib.store.authorities import DynamoAuthorityStore

        return DynamoAuthorityStore()

    @cached_property
    def idempotency(self) -> IdempotencyStore:  # type: ignore[override]
        """The table of remembered answers."""
        from chalicelib.store.idempotency import DynamoIdempotencyStore

        return DynamoIdempotencyStore()

    @cached_property
    def vault(self) -> KeyVault:  # type: ignore[override]
        """KMS."""
        from chalicelib.vault import KmsKeyVault

        return KmsKeyVault(self._client("kms"), self.settings.kms_key_id)

    @cached_property
    def drop_box(self) -> DropBox:  # type: ignore[override]
        """The drop bucket."""
        from chalicelib.store.dropbox import S3DropBox

        return S3DropBox(self._client("s3"), self.settings.drop_bucket)

    def _client(self, name: str) -> Any:  # noqa: ANN401 - boto3 makes its clients at run time
        import boto3
        from botocore.config import Config

        config = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "max_attempts": 4})
        make: Any = boto3.client
        return make(name, region_name=self.settings.region, config=config)


@cache
def services() -> Services:
    """The services of this process."""
    return AwsServices(Settings.from_environment(os.environ))
