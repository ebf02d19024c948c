"""The client for Alibaba Cloud: credentials, signatures, retries, and refusals that tell no secret.

It is the official generic client (``alibabacloud_tea_openapi``), which signs by V3 (ACS3-HMAC-SHA256) and reaches every
product. Parameters go into the form body: in a URL, certificates and keys would reach logs. The official client repeats
nothing by itself, and its errors carry whole answers; both are made good here.

Source of signature, codes and the unit of ``x-acs-retry-after``: the official SDKs (alibabacloud-tea-openapi 0.4.6,
whose retries sleep that many milliseconds).
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol

from chalicelib.domain.certificate import printable
from chalicelib.domain.errors import Unprocessable
from chalicelib.ports import AlibabaError, CredentialStore

#: What accounts' credentials for Alibaba Cloud are kept under.
PROVIDER: Final = "alibaba"
#: Products by the version of their API, which no two of them share.
PRODUCTS: Final[Mapping[str, str]] = {"2020-04-07": "cas", "2020-06-30": "cas"}
#: Hosts by product and region, where the data are different ones: the SDK of cas names its first host for fifty
#: regions more.
ENDPOINTS: Final[Mapping[str, Mapping[str, str]]] = {
    "cas": {"cn-hangzhou": "cas.aliyuncs.com", "ap-southeast-1": "cas.ap-southeast-1.aliyuncs.com"},
}

#: How often an action is tried, and the seconds that all tries with the waits between them may take.
TRIES: Final = 5
PATIENCE: Final = 20.0
#: Seconds to reach the host, and to wait for its answer.
CONNECT_TIMEOUT: Final = 3.0
READ_TIMEOUT: Final = 10.0
#: The longest wait before the second try in seconds; it doubles with each, up to the last.
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 8.0

_NEEDED: Final = ("access_key_id", "access_key_secret")
#: Parameters whose values must not come back in an error's words.
_SECRET_PARAMETERS: Final = frozenset(
    {
        "EncryptedCode",
        "EncryptPrivateKey",
        "Key",
        "PrivateKey",
        "ServerPrivateKey",
        "SignPrivateKey",
        "SSLPri",
    }
)
#: Where a refused signature goes on with what was signed: headers, and with them the security token.
_WHAT_WAS_SIGNED: Final = re.compile(r"\bserver[- ]?(?:string|canonical)", re.IGNORECASE)
#: Signatures of V3 (hex) and V1 (base64 of 20 octets).
_SIGNATURE: Final = re.compile(r"\b[0-9a-fA-F]{64}\b|(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{27}=")
_MOST_SAID: Final = 300
_HIDDEN: Final = "(hidden)"


class Sdk(Protocol):
    """The part of the official generic client that is used."""

    def call_api(self, params: object, request: object, runtime: object) -> Mapping[str, Any]:
        """Sign and send one request."""
        ...


@dataclass(frozen=True, slots=True)
class _Failure:
    """A try that failed; `wait` is how many seconds the product asked for before the next, 0 when it did not."""

    error: AlibabaError
    wait: float = 0.0

    @property
    def is_to_be_repeated(self) -> bool:
        return self.error.is_temporary or self.wait > 0


def client_for(
    credentials: CredentialStore, account_id: str, version: str, region: str, endpoint: str = ""
) -> AlibabaClient:
    """A client for one product in one region with what an account gave. Arguments and errors: as `AlibabaClient`."""
    given = credentials.get(account_id, PROVIDER) or {}
    return AlibabaClient(given, version, region, endpoint, place=credentials.place(account_id, PROVIDER))


class AlibabaClient:
    """Implements `chalicelib.ports.AlibabaApi`.

    Args:
        credentials: `access_key_id`, `access_key_secret`, and `security_token` for temporary ones. Nothing else is
            looked at: no environment variable, no file.
        version: of the product's API, one of `PRODUCTS`.
        region: one in which `ENDPOINTS` knows the product.
        endpoint: host or ``http://host:port`` to ask instead, an emulation; then any region will do.
        place: where the credentials are set, for people.
        sdk: the official client; made when first needed, unless it is given.
        sleep: waits some seconds.
        clock: seconds that only grow.
        chance: gives a number from 0 to 1.

    Raises:
        Unprocessable: `SourceNotConfigured`, a field of the credentials is missing; `RegionNotSupported`.
    """

    def __init__(
        self,
        credentials: Mapping[str, str],
        version: str,
        region: str,
        endpoint: str = "",
        *,
        place: str = "the credentials for Alibaba Cloud",
        sdk: Sdk | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        # A pasted key often ends in a newline, which no header may hold.
        self._credentials = {name: value.strip() for name, value in credentials.items()}
        _require(self._credentials, place)
        _require_ascii(self._credentials, place)
        self._version = version
        self._region = region
        scheme, _, host = (endpoint or _host(version, region)).rpartition("://")
        self._scheme, self._host = scheme or "https", host.rstrip("/")
        self._given_sdk = sdk
        self._sleep = sleep
        self._clock = clock
        self._chance = chance

    def __repr__(self) -> str:
        return f"<AlibabaClient {self._version} at {self._host}>"

    def call(self, action: str, parameters: Mapping[str, object]) -> Mapping[str, Any]:
        """Carry out an action, up to `TRIES` times within `PATIENCE` while the error is a temporary one.

        An action without an answer may have been carried out, so one that makes something should be given a
        ``ClientToken``, or be looked for before it is taken for undone.

        Args:
            action: as ``DescribeCACertificateList``.
            parameters: lists become ``X.1``, ``X.2``; ``None`` values are left out.

        Raises:
            AlibabaError: `status` is 0 for ``NoAnswer`` and ``UnreadableAnswer``. It has neither cause nor context.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        end = self._clock() + PATIENCE
        tried = 0
        while True:
            outcome = self._try(action, given, end - self._clock())
            if not isinstance(outcome, _Failure):
                return outcome
            tried += 1
            wait = outcome.wait + self._chance() * min(LONGEST_WAIT, FIRST_WAIT * 2 ** (tried - 1))
            if not outcome.is_to_be_repeated or tried == TRIES or self._clock() + wait >= end:
                raise outcome.error
            self._sleep(wait)

    def _try(self, action: str, given: Mapping[str, object], left: float) -> Mapping[str, Any] | _Failure:
        """One try. Errors are returned, so that what is raised later does not drag the SDK's along."""
        from alibabacloud_tea_openapi.exceptions import (  # type: ignore[import-untyped]
            AlibabaCloudException,
        )
        from alibabacloud_tea_openapi.utils_models import OpenApiRequest, Params  # type: ignore[import-untyped]
        from darabonba.exceptions import UnretryableException  # type: ignore[import-untyped]
        from darabonba.runtime import RuntimeOptions  # type: ignore[import-untyped]

        params = Params(
            action=action,
            version=self._version,
            protocol=self._scheme.upper(),
            pathname="/",
            method="POST",
            auth_type="AK",
            style="RPC",
            req_body_type="formData",
            body_type="json",
        )
        runtime = RuntimeOptions(
            connect_timeout=_milliseconds(CONNECT_TIMEOUT), read_timeout=_milliseconds(min(READ_TIMEOUT, left))
        )
        try:
            body = self._sdk.call_api(params, OpenApiRequest(body=dict(given)), runtime)["body"]
        except AlibabaCloudException as refusal:
            return self._refused(refusal, given)
        except UnretryableException as failure:
            return _unanswered(failure.inner_exception, self._host)
        if not isinstance(body, Mapping):
            return _Failure(_unreadable(self._host))
        return body

    @cached_property
    def _sdk(self) -> Sdk:
        if self._given_sdk is not None:
            return self._given_sdk
        import logging

        from alibabacloud_tea_openapi.client import Client  # type: ignore[import-untyped] # 0.3 s
        from alibabacloud_tea_openapi.utils_models import Config

        # With DEBUG=sdk in the environment it would log every header, the signature among them.
        logging.getLogger("darabonba-core").setLevel(logging.CRITICAL)
        client: Sdk = Client(
            Config(
                access_key_id=self._credentials["access_key_id"],
                access_key_secret=self._credentials["access_key_secret"],
                security_token=self._credentials.get("security_token") or None,
                region_id=self._region,
                endpoint=self._host,
                protocol=self._scheme.upper(),
                user_agent="certhaven",
            )
        )
        return client

    def _refused(self, refusal: Any, given: Mapping[str, object]) -> _Failure:  # noqa: ANN401 - of the SDK, untyped
        """What the product said, and after how many seconds it wants to be asked again."""
        answer = refusal.data if isinstance(refusal.data, Mapping) else {}
        code = str(answer.get("Code") or answer.get("code") or "Unknown")
        message = str(answer.get("Message") or answer.get("message") or "No reason was given.")
        error = AlibabaError(
            self._clean(code, given),
            self._clean(message, given),
            int(refusal.status_code or 0),
            printable(str(answer.get("RequestId") or answer.get("requestId") or ""), 80),
        )
        return _Failure(error, (refusal.retry_after or 0) / 1000)

    def _clean(self, text: str, given: Mapping[str, object]) -> str:
        """A product's words without credentials, signatures and secret parameters, on one line."""
        text = _WHAT_WAS_SIGNED.split(text, maxsplit=1)[0]
        secret = [str(value) for name, value in given.items() if name in _SECRET_PARAMETERS]
        for value in [*self._credentials.values(), *secret]:
            text = text.replace(value, _HIDDEN) if value else text
        return printable(_SIGNATURE.sub(_HIDDEN, text).strip(), _MOST_SAID)


def _require(credentials: Mapping[str, str], place: str) -> None:
    missing = [f"`{name}`" for name in _NEEDED if not credentials.get(name)]
    if missing:
        raise Unprocessable(
            "SourceNotConfigured",
            f"{' and '.join(missing)} for Alibaba Cloud {'is' if len(missing) == 1 else 'are'} not set.",
            f"Set {' and '.join(missing)} in {place}: an access key of a RAM user.",
        )


def _require_ascii(credentials: Mapping[str, str], place: str) -> None:
    odd = [f"`{name}`" for name, value in credentials.items() if not (value.isascii() and value.isprintable())]
    if odd:
        raise Unprocessable(
            "SourceRefused",
            f"{' and '.join(odd)} for Alibaba Cloud has characters that no access key has.",
            f"Set it again in {place}, as RAM shows it.",
        )


def _host(version: str, region: str) -> str:
    """Raises: Unprocessable: `RegionNotSupported`. KeyError: there is no product of this version."""
    product = PRODUCTS[version]
    hosts = ENDPOINTS[product]
    if region not in hosts:
        raise Unprocessable(
            "RegionNotSupported",
            f"Alibaba Cloud has no {product} in region {region!r:.60}.",
            f"Use {', '.join(hosts)}.",
        )
    return hosts[region]


def _unanswered(inner: BaseException, host: str) -> _Failure:
    """No answer at all, or one that the SDK cannot read: a gateway's page, for example."""
    from darabonba.exceptions import RetryError

    if not isinstance(inner, RetryError):
        return _Failure(_unreadable(host))
    # The text may name a proxy with its password, so that only its kind is told.
    how = "did not answer in time" if "timed out" in str(inner.message) else "could not be reached"
    return _Failure(AlibabaError("NoAnswer", f"{host} {how}.", 0))


def _unreadable(host: str) -> AlibabaError:
    return AlibabaError("UnreadableAnswer", f"{host} gave an answer that is not JSON as its API has it.", 0)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
