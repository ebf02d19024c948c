"""Credentials of accounts for their other clouds, in AWS Secrets Manager: one secret for each account and provider."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from chalicelib.domain.errors import Unprocessable
from chalicelib.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

#: For so long a function uses what it read, so that one request does not read it ten times.
KEPT: Final = timedelta(minutes=1)
#: What Secrets Manager says of a secret that is not there, or on its way out.
_ABSENT: Final = frozenset({"ResourceNotFoundException", "InvalidRequestException"})
#: What it says when it may not be read, or not be decrypted.
_REFUSED: Final = frozenset({"AccessDeniedException", "DecryptionFailure", "InvalidParameterException"})


class SecretsManagerCredentials:
    """Implements `chalicelib.ports.CredentialStore`."""

    def __init__(self, client: SecretsManagerClient, prefix: str, clock: Clock) -> None:
        self._client = client
        self._prefix = prefix
        self._clock = clock
        self._known: dict[str, tuple[datetime, Mapping[str, str] | None]] = {}

    def get(self, account_id: str, provider: str) -> Mapping[str, str] | None:
        """The fields set for a provider; ``None`` when there is no secret.

        Raises:
            Unprocessable: `SourceRefused`, the secret is not a JSON object of texts.
        """
        name, now = self._name(account_id, provider), self._clock()
        read_at, fields = self._known.get(name, (None, None))
        if read_at is None or now - read_at > KEPT:
            fields = self._read(name)
            self._known[name] = now, fields
        return fields

    def place(self, account_id: str, provider: str) -> str:
        """The secret's name, for people."""
        return f"the secret {self._name(account_id, provider)} of AWS Secrets Manager"

    def _name(self, account_id: str, provider: str) -> str:
        return f"{self._prefix}/{provider}/{account_id}"

    def _read(self, name: str) -> Mapping[str, str] | None:
        try:
            text = self._client.get_secret_value(SecretId=name).get("SecretString", "")
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _ABSENT:
                return None
            if code in _REFUSED:
                raise Unprocessable(
                    "SourceRefused",
                    f"The secret {name} cannot be read: {code}.",
                    "Check its resource policy and its KMS key: the service's functions must be allowed to read it.",
                ) from None
            raise
        try:
            fields = json.loads(text)
        except ValueError:
            fields = None
        if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
            raise Unprocessable(
                "SourceRefused",
                f"The secret {name} is not a JSON object whose values are texts.",
                "Write it again, for example by `aws secretsmanager put-secret-value`.",
            )
        return fields
