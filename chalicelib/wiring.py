"""The only place that builds clients and picks implementations.

Everything is made when first asked for and kept while the function lives: a function that reads no bucket never
imports an S3 client.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from chalicelib.config import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

    from chalicelib.aws_roles import AwsRoles
    from chalicelib.functions.access import Access
    from chalicelib.functions.audit import Audit
    from chalicelib.functions.auto_renewal import AutoRenewal
    from chalicelib.functions.catalogue import Catalogue
    from chalicelib.functions.contacts import Contacts
    from chalicelib.functions.conversions import Conversions
    from chalicelib.functions.csrs import Csrs
    from chalicelib.functions.drop import Drop
    from chalicelib.functions.pca_batch_sync import PcaBatchSync
    from chalicelib.functions.pca_intake import PcaIntake
    from chalicelib.functions.pca_renewal import PcaRenewal
    from chalicelib.functions.private_ca import PrivateCa
    from chalicelib.functions.private_cas import PrivateCas
    from chalicelib.functions.quota import NotificationQuota
    from chalicelib.functions.scan import Scan
    from chalicelib.functions.summary import Summary
    from chalicelib.functions.upload_validate import UploadValidate
    from chalicelib.ports import (
        AccountStore,
        AlibabaApi,
        AuditStore,
        AuthorityStore,
        CertificateSource,
        CertificateStore,
        Clock,
        ContactStore,
        CredentialStore,
        CsrStore,
        DropBox,
        IdempotencyStore,
        KeyVault,
        Notifier,
        QuotaStore,
        RenewalStore,
        ScanQueue,
        ScanStore,
        SummaryStore,
        SyncStore,
        TaskQueue,
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
    idempotency: IdempotencyStore
    vault: KeyVault
    drop_box: DropBox
    authority_store: AuthorityStore
    sync_store: SyncStore
    renewal_store: RenewalStore
    summary_store: SummaryStore
    quota_store: QuotaStore
    sync_queue: TaskQueue
    sources: Mapping[str, CertificateSource]
    contact_store: ContactStore
    scan_store: ScanStore
    scan_queue: ScanQueue
    notifiers: Mapping[str, Notifier]

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

    @cached_property
    def private_cas(self) -> PrivateCas:
        """Private CAs of every source."""
        from chalicelib.functions.private_cas import PrivateCas

        return PrivateCas(self.sources, self.certificate_store, self.sync_store)

    @cached_property
    def pca_batch_sync(self) -> PcaBatchSync:
        """Batch synchronisation."""
        from chalicelib.functions.pca_batch_sync import PcaBatchSync

        return PcaBatchSync(
            self.private_cas,
            self.sync_store,
            self.certificate_store,
            self._pca_intake,
            self.sync_queue,
            audit=self.audit,
            clock=self.clock,
        )

    @cached_property
    def contacts(self) -> Contacts:
        """Contacts, the policy of reminders, and sending."""
        from chalicelib.functions.contacts import Contacts

        return Contacts(self.contact_store, self.vault, self.notifiers, audit=self.audit, clock=self.clock)

    @cached_property
    def scan(self) -> Scan:
        """The daily scan."""
        from chalicelib.functions.delivery import Delivery
        from chalicelib.functions.scan import Scan

        return Scan(
            self.account_store,
            self.certificate_store,
            self.contact_store,
            self.scan_store,
            delivery=Delivery(self.scan_store, self.certificate_store, self.contacts, clock=self.clock),
            queue=self.scan_queue,
            clock=self.clock,
            hour=int(self.settings.scan_hour),
        )

    @cached_property
    def pca_renewal(self) -> PcaRenewal:
        """Renewal by the built-in CA."""
        from chalicelib.functions.pca_renewal import PcaRenewal

        return PcaRenewal(self.certificate_store, self.authority_store, self.private_ca, self.audit, self.clock)

    @cached_property
    def auto_renewal(self) -> AutoRenewal:
        """Certificates that renew by themselves."""
        from chalicelib.functions.auto_renewal import AutoRenewal

        return AutoRenewal(self.renewal_store, self.certificate_store, self.pca_renewal, self.audit, self.clock)

    @cached_property
    def summary(self) -> Summary:
        """Pending items, and the figures of the dashboard."""
        from chalicelib.functions.summary import Summary

        return Summary(
            self.summary_store,
            self.certificate_store,
            self.sync_store,
            self.quota_store,
            audit=self.audit,
            clock=self.clock,
        )

    @cached_property
    def quota(self) -> NotificationQuota:
        """The notification quota."""
        from chalicelib.functions.quota import NotificationQuota

        return NotificationQuota(
            self.quota_store,
            self.certificate_store,
            audit=self.audit,
            clock=self.clock,
            needed=lambda account_id: self.summary_store.read(account_id, self.clock()).figures.units,
            by_operator=self.settings.quota_fulfilment == "operator",
        )

    @cached_property
    def _pca_intake(self) -> PcaIntake:
        from chalicelib.functions.pca_intake import PcaIntake

        return PcaIntake(self.certificate_store, self.csrs, self.vault, self.audit, self.clock)


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

        return DynamoCertificateStore(free_units=int(self.settings.free_notifications))

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

    @cached_property
    def authority_store(self) -> AuthorityStore:  # type: ignore[override]
        """The tables of the built-in CA."""
        from chalicelib.store.authorities import DynamoAuthorityStore

        return DynamoAuthorityStore()

    @cached_property
    def sync_store(self) -> SyncStore:  # type: ignore[override]
        """The table of batch synchronisation."""
        from chalicelib.store.syncs import DynamoSyncStore

        return DynamoSyncStore()

    @cached_property
    def renewal_store(self) -> RenewalStore:  # type: ignore[override]
        """Planned renewals, in the same table."""
        from chalicelib.store.renewals import DynamoRenewalStore

        return DynamoRenewalStore()

    @cached_property
    def summary_store(self) -> SummaryStore:  # type: ignore[override]
        """The table of counters."""
        from chalicelib.store.summary import DynamoSummaryStore

        return DynamoSummaryStore()

    @cached_property
    def quota_store(self) -> QuotaStore:  # type: ignore[override]
        """The table of the notification quota."""
        from chalicelib.store.quota import DynamoQuotaStore

        return DynamoQuotaStore(int(self.settings.free_notifications))

    @cached_property
    def sync_queue(self) -> TaskQueue:  # type: ignore[override]
        """The queue of batch synchronisation."""
        from chalicelib.store.taskqueue import SqsTaskQueue

        return SqsTaskQueue(self._client("sqs"), self.settings.sync_queue_url)

    @cached_property
    def credentials(self) -> CredentialStore:
        """What accounts gave for their other clouds."""
        from chalicelib.store.credentials import SecretsManagerCredentials

        return SecretsManagerCredentials(self._client("secretsmanager"), self.settings.stage, self.clock)

    @cached_property
    def sources(self) -> Mapping[str, CertificateSource]:  # type: ignore[override]
        """Every private CA system, by its id."""
        from chalicelib import sources
        from chalicelib.ports import SourceKit

        kit = SourceKit(
            region=self.settings.region,
            clock=self.clock,
            authorities=self.authority_store,
            credentials=self.credentials,
            aws=self._aws_roles.client,
            alibaba=self._alibaba,
        )
        return sources.load(kit)

    @cached_property
    def contact_store(self) -> ContactStore:  # type: ignore[override]
        """The table of contacts."""
        from chalicelib.store.contacts import DynamoContactStore

        return DynamoContactStore()

    @cached_property
    def scan_store(self) -> ScanStore:  # type: ignore[override]
        """The table of the scan."""
        from chalicelib.store.scans import DynamoScanStore

        return DynamoScanStore()

    @cached_property
    def scan_queue(self) -> ScanQueue:  # type: ignore[override]
        """The queue of the scan."""
        from chalicelib.store.taskqueue import SqsScanQueue

        return SqsScanQueue(self._client("sqs"), self.settings.scan_queue_url)

    @cached_property
    def notifiers(self) -> Mapping[str, Notifier]:  # type: ignore[override]
        """Every kind of channel, by its name."""
        from chalicelib import notifiers
        from chalicelib.ports import NotifierKit

        kit = NotifierKit(
            mail_from=self.settings.mail_from,
            ses=lambda: self._ses,
            private=bool(self.settings.allow_private_addresses),
        )
        return notifiers.load(kit)

    @cached_property
    def _ses(self) -> Any:  # noqa: ANN401 - boto3 makes its clients at run time
        return self._client("sesv2")

    @cached_property
    def _aws_roles(self) -> AwsRoles:
        from chalicelib.aws_roles import AwsRoles

        return AwsRoles(self.credentials, lambda: self._client("sts"), _make_client, self.clock)

    def _alibaba(self, account_id: str, version: str, region: str) -> AlibabaApi:
        from chalicelib.alibaba import client_for

        return client_for(self.credentials, account_id, version, region, self.settings.alibaba_endpoint)

    def _client(self, name: str) -> Any:  # noqa: ANN401 - boto3 makes its clients at run time
        return _make_client(name, self.settings.region)


def _make_client(name: str, region: str, **credentials: str) -> Any:  # noqa: ANN401 - as above
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "max_attempts": 4})
    make: Any = boto3.client
    return make(name, region_name=region, config=config, **credentials)


@cache
def services() -> Services:
    """The services of this process."""
    return AwsServices(Settings.from_environment(os.environ))
