"""Clients for the AWS accounts of those who use the service, each under the role that its owner named.

The role is assumed with the account's id as external id, so that one account cannot have another's role used
(AWS IAM User Guide, "The confused deputy problem").
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from chalicelib.domain.errors import TooManyRequests, Unprocessable
from chalicelib.ports import Clock, CredentialStore

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient

#: What the name of a role begins with: the functions may assume no other.
ROLE_PREFIX: Final = "certhaven-"
#: A session ends after 15 minutes, the shortest that AWS gives; it is used for less.
SESSION: Final = timedelta(minutes=15)
_REFUSED: Final = frozenset({"AccessDenied", "ValidationError", "InvalidClientTokenId", "RegionDisabledException"})


class AwsRoles:
    """Assumes the roles that accounts named in their credentials for ``aws``."""

    def __init__(
        self,
        credentials: CredentialStore,
        sts: Callable[[], STSClient],
        make: Callable[..., Any],
        clock: Clock,
    ) -> None:
        """Take what is needed.

        Args:
            credentials: where accounts name their role, as ``role_arn``.
            sts: gives the client that assumes it.
            make: makes a client of (service, region) and the session's credentials.
            clock: tells when a session ends.
        """
        self._credentials = credentials
        self._sts = sts
        self._make = make
        self._clock = clock
        self._sessions: dict[tuple[str, str], tuple[datetime, dict[str, str]]] = {}

    def client(self, account_id: str, service: str, region: str) -> Any:  # noqa: ANN401 - made at run time
        """A client of a service in a region, under the account's role.

        Raises:
            Unprocessable: `SourceNotConfigured`, no role is named; `SourceRefused`, it cannot be assumed.
            TooManyRequests: `SourceBusy`.
        """
        fields = self._credentials.get(account_id, "aws") or {}
        role = fields.get("role_arn", "")
        if not role:
            place = self._credentials.place(account_id, "aws")
            raise Unprocessable("SourceNotConfigured", "No AWS role is named.", f"Set `role_arn` in {place}.")
        return self._make(service, region, **self._session(account_id, role))

    def _session(self, account_id: str, role: str) -> dict[str, str]:
        now = self._clock()
        until, session = self._sessions.get((account_id, role), (now, {}))
        if until <= now:
            session = self._assume(account_id, role)
            self._sessions[account_id, role] = now + SESSION / 2, session
        return session

    def _assume(self, account_id: str, role: str) -> dict[str, str]:
        try:
            answer = self._sts().assume_role(
                RoleArn=role,
                RoleSessionName=f"certhaven-{account_id}",
                ExternalId=account_id,
                DurationSeconds=int(SESSION.total_seconds()),
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in _REFUSED:
                raise TooManyRequests("SourceBusy", f"AWS did not give a session for {role}: {code}.") from None
            raise Unprocessable(
                "SourceRefused",
                f"The role {role} cannot be assumed: {code}.",
                f"Its name must begin with {ROLE_PREFIX}, and its trust policy must allow the service's functions "
                f"sts:AssumeRole with the external id {account_id}.",
            ) from None
        except ParamValidationError:
            place = self._credentials.place(account_id, "aws")
            raise Unprocessable(
                "SourceRefused",
                f"`role_arn` is {role!r:.80}, which is no ARN of a role.",
                f"Set it in {place}, as arn:aws:iam::<AWS account>:role/{ROLE_PREFIX}….",
            ) from None
        except BotoCoreError:
            raise TooManyRequests("SourceBusy", "AWS did not answer when the role was to be assumed.") from None
        given = answer["Credentials"]
        return {
            "aws_access_key_id": given["AccessKeyId"],
            "aws_secret_access_key": given["SecretAccessKey"],
            "aws_session_token": given["SessionToken"],
        }
