"""The only place that builds clients and picks implementations.

Everything is made when first asked for and kept while the function lives: a function that reads no bucket
never imports an S3 client.
"""

from __future__ import annotations

import os
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
    from chalicelib.functions.upload_validate import UploadValidate
    from chalicelib.ports import (
        AccountStore,
        AuditStore,
        CertificateStore,
        CsrStore,
        DropBox,
        IdempotencyStore,
        KeyVault,
    )


def utc_now() -> datetime:
    """Now, aware, in UTC, to the millisecond (what the tables keep)."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class Services:
    """The service's functions, wired to AWS."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = utc_now

    @cached_property
    def log(self) -> Logger:
        """Structured log lines on standard error; never given key, token or certificate text."""
        from aws_lambda_powertools import Logger

        return Logger(service=self.settings.service_name, level=self.settings.log_level)

    def _client(self, name: str) -> Any:  # noqa: ANN401 - boto3 makes its clients at run time
        import boto3
        from botocore.config import Config

        return boto3.client(name, config=Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard"}))


@cache
def services() -> Services:
    """The services of this process."""
    return Services(Settings.from_environment(os.environ))
