"""Every setting of the service: its environment variable, default and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


def _setting(variable: str, default: str, meaning: str) -> Any:  # noqa: ANN401 - as dataclasses.field has it
    return field(default=default, metadata={"variable": variable, "meaning": meaning})


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings, read from the environment once per start of a function."""

    stage: str = _setting("CERTHAVEN_STAGE", "local", "Name of the deployment; part of log lines.")
    region: str = _setting("AWS_REGION", "us-east-1", "AWS region of tables, key and bucket; Lambda sets it.")
    table_prefix: str = _setting("CERTHAVEN_TABLE_PREFIX", "certhaven-", "What every table name begins with.")
    kms_key_id: str = _setting("CERTHAVEN_KMS_KEY_ID", "alias/certhaven", "KMS key that wraps the data keys.")
    drop_bucket: str = _setting("CERTHAVEN_DROP_BUCKET", "", "Bucket that certificates are dropped into.")
    sync_queue_url: str = _setting(
        "CERTHAVEN_SYNC_QUEUE_URL", "", "Queue that the workers of batch synchronisation read."
    )
    scan_queue_url: str = _setting("CERTHAVEN_SCAN_QUEUE_URL", "", "Queue that the workers of the daily scan read.")
    scan_hour: str = _setting("CERTHAVEN_SCAN_HOUR", "6", "Hour of the day, in UTC, from which on the daily scan runs.")
    free_notifications: str = _setting(
        "CERTHAVEN_FREE_NOTIFICATIONS", "20", "Units of the notification quota that every account has for nothing."
    )
    quota_fulfilment: str = _setting(
        "CERTHAVEN_QUOTA_FULFILMENT", "automatic", "`operator`: units that were ordered wait until the operator agrees."
    )
    alibaba_endpoint: str = _setting(
        "CERTHAVEN_ALIBABA_ENDPOINT", "", "Where Alibaba Cloud is asked instead of its own endpoints: an emulation."
    )
    mail_from: str = _setting(
        "CERTHAVEN_MAIL_FROM", "certhaven@localhost.localdomain", "Address that mail comes from; verified with SES."
    )
    allow_private_addresses: str = _setting(
        "CERTHAVEN_ALLOW_PRIVATE_ADDRESSES", "", "Anything: Apprise may send to private addresses, and without TLS."
    )
    log_level: str = _setting("LOG_LEVEL", "INFO", "Least severity that is logged.")
    service_name: str = _setting("POWERTOOLS_SERVICE_NAME", "certhaven", "Name of the service in log lines.")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """The settings that `environment` gives, defaults for the rest."""
        return cls(
            **{
                f.name: environment[f.metadata["variable"]]
                for f in fields(cls)
                if f.metadata["variable"] in environment
            }
        )


def documented_settings() -> list[tuple[str, str, str]]:
    """Variable, default and meaning of every setting, for the documentation and its test."""
    return [(f.metadata["variable"], str(f.default), f.metadata["meaning"]) for f in fields(Settings)]
