"""Alibaba Cloud Private CA (PCA): the CAs that an account's access key sees, what they issued, and its keys.

Lists are read in Alibaba's own pages of `PAGE`; a cursor holds the page and the place in it, so that another limit
shifts nothing.

Sources:
    Actions and fields: the official SDK, alibabacloud-cas20200630 2.1.4, and
    https://www.alibabacloud.com/help/en/ssl-certificate/developer-reference/api-cas-2020-06-30-overview
    Which private keys are given:
    https://www.alibabacloud.com/help/en/ssl-certificate/developer-reference/api-cas-2020-06-30-describecertificateprivatekey
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeVar

from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.cursors import decode_cursor, encode_cursor
from chalicelib.domain.errors import CerthavenError, InvalidRequest, NotFound, TooManyRequests, Unprocessable
from chalicelib.domain.model import Page
from chalicelib.domain.pca import (
    Authority,
    AuthorityKind,
    AuthorityRef,
    Fetched,
    IssuedCertificate,
    Unavailable,
    unknown_authority,
)
from chalicelib.ports import AlibabaApi, AlibabaError, SourceKit
from chalicelib.sources import _alibaba_fields as read
from chalicelib.sources._alibaba_fields import ID, REVOKED, Fields

T = TypeVar("T")

#: Of the API.
VERSION: Final = "2020-06-30"
#: Where PCA keeps data of its own: China, and everywhere else.
REGIONS: Final = ("cn-hangzhou", "ap-southeast-1")
#: How many items one request asks for. Alibaba names no bound; 20 is its default.
PAGE: Final = 50
#: How many requests one page of ours may take: where lists have to be filtered here, it may then be a short one.
MOST_REQUESTS: Final = 20
#: The longest passphrase that Alibaba takes has 32 characters; 24 octets are as many in base64.
_PASSPHRASE_OCTETS: Final = 24
_NEEDED: Final = ("access_key_id", "access_key_secret")
_POSITION: Final = re.compile(rf"(ca|all)\.{PAGE}\.([1-9][0-9]{{0,6}})\.([0-9]{{1,5}})")
_CREDENTIALS: Final = (
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "InvalidSecurityToken",
    "MissingSecurityToken",
)
_PERMISSION: Final = ("Forbidden", "NoPermission", "PermissionDenied", "Unauthorized")
_POLICY: Final = "the system policy AliyunYundunCertReadOnlyAccess is for reading certificates"

_MISSING: Final = Unavailable("CertificateNotFound", "Alibaba Cloud PCA knows no such certificate of this CA.")
_NOT_ISSUED: Final = Unavailable(
    "CertificateNotIssued", "Alibaba Cloud PCA has not issued it; when it has, the next synchronisation fetches it."
)
_KEY_OF_REVOKED: Final = "The certificate is revoked, so its private key was not asked for."
_KEY_OF_DAMAGED: Final = "The certificate cannot be read, so its private key was not asked for."
_KEY_UNREADABLE: Final = (
    "What Alibaba Cloud gave as the private key cannot be opened, or belongs to another certificate."
)


def build(kit: SourceKit) -> AlibabaPrivateCa:
    """The plug-in."""
    return AlibabaPrivateCa(kit)


@dataclass(frozen=True, slots=True)
class _At:
    """A place in a list.

    Attributes:
        by: ``ca`` where Alibaba is asked for one CA's certificates, ``all`` where for all.
        page: of Alibaba's, from 1.
        skip: how many items of it come before.
    """

    by: str
    page: int = 1
    skip: int = 0

    def __str__(self) -> str:
        return f"{self.by}.{PAGE}.{self.page}.{self.skip}"


class AlibabaPrivateCa:
    """Implements `chalicelib.ports.CertificateSource` with Alibaba Cloud PCA."""

    id = ID
    title = "Alibaba Cloud Private CA"

    def __init__(self, kit: SourceKit) -> None:
        self._kit = kit

    def regions(self) -> Sequence[str]:
        """China's, and the international one."""
        return REGIONS

    def setup_needed(self, account_id: str) -> str:
        """What is to be set for the access key, as far as it is missing."""
        given = self._kit.credentials.get(account_id, ID) or {}
        missing = [f"`{name}`" for name in _NEEDED if not given.get(name, "").strip()]
        if not missing:
            return ""
        return (
            f"Set {' and '.join(missing)} in {self._place(account_id)}: an access key of a RAM user of your Alibaba "
            f"Cloud account; {_POLICY}. Temporary credentials need `security_token` too."
        )

    def authorities(self, account_id: str, region: str, *, limit: int, cursor: str | None) -> Page[Authority]:
        """The CAs of a region that have a certificate: a request for each `PAGE`."""
        scope = f"alibaba authorities {account_id} {region}"
        start = _position(scope, cursor) or _At("all")
        api = self._api(account_id, region)

        def ask(number: int) -> tuple[list[Fields], bool]:
            with self._explained(account_id, "DescribeCACertificateList") as action:
                return _items(api.call(action, {"CurrentPage": number, "ShowSize": PAGE}), number)

        now = self._kit.clock()
        found, more = _gather(ask, lambda fields: read.authority(account_id, region, fields, now), start, limit)
        return Page(tuple(found), encode_cursor(scope, str(more)) if more else None)

    def authority(self, account_id: str, ref: AuthorityRef) -> Authority:
        """One CA: one request."""
        if ref.source != ID:
            raise unknown_authority(str(ref))
        api = self._api(account_id, ref.region)
        with self._explained(account_id, "DescribeCACertificate") as action:
            try:
                fields = api.call(action, {"Identifier": ref.name}).get("Certificate") or {}
            except AlibabaError as error:
                unknown = _is_missing(error) or error.code.startswith("InvalidParameter")
                if error.is_temporary or not unknown:
                    raise
                fields = {}
        if fields.get("Identifier") != ref.name:
            raise unknown_authority(str(ref))
        found = read.authority(account_id, ref.region, fields, self._kit.clock())
        if found is None:
            raise NotFound(
                "AuthorityNotFound",
                f"CA {ref} has no certificate at Alibaba Cloud PCA.",
                "Enable it there, or take another id from GET /v1/pca/cas.",
            )
        return found

    def certificates(
        self, account_id: str, ref: AuthorityRef, *, limit: int, cursor: str | None
    ) -> Page[IssuedCertificate]:
        """What a CA issued to servers and clients: a request for each `PAGE`, and one for what is revoked of it.

        What is issued while the list is read may shift it, so that certificates come twice. Alibaba's documents do not
        say that the list can be had for one CA. So when that brings nothing, the whole list is read and filtered here;
        as it takes at most `MOST_REQUESTS` at a time, a page may be short, even empty, with a cursor. Roots issue to
        CAs only.
        """
        scope = f"alibaba certificates {account_id} {ref}"
        start = _position(scope, cursor)
        api = self._api(account_id, ref.region)
        probe = self._issued_page(account_id, api, ref, 1, by="ca") if start is None else ([], True)
        if start is None:
            start = _At("ca" if probe[0] else "all")
        if start == _At("all") and self.authority(account_id, ref).kind is AuthorityKind.ROOT:
            return Page((), None)
        by = start.by

        def ask(number: int) -> tuple[list[Fields], bool]:
            return probe if probe[0] and number == 1 else self._issued_page(account_id, api, ref, number, by=by)

        def keep(fields: Fields) -> tuple[Fields, IssuedCertificate] | None:
            made = read.issued(ref, fields)
            return (fields, made) if made else None

        found, more = _gather(ask, keep, start, limit)
        revoked = self._revocations(account_id, api, [fields for fields, _ in found])
        return Page(
            tuple(replace(made, revoked_at=revoked.get(made.id)) for _, made in found),
            encode_cursor(scope, str(more)) if more else None,
        )

    def fetch(
        self, account_id: str, ref: AuthorityRef, ids: Sequence[str]
    ) -> Iterator[tuple[str, Fetched | Unavailable]]:
        """Certificates by their identifiers: two requests each. One without a key at Alibaba says so in its note."""
        return self._fetched(account_id, ref, self._api(account_id, ref.region), ids)

    def _fetched(
        self, account_id: str, ref: AuthorityRef, api: AlibabaApi, ids: Sequence[str]
    ) -> Iterator[tuple[str, Fetched | Unavailable]]:
        for one in ids:
            yield one, self._fetch(account_id, ref, api, one)

    def _fetch(self, account_id: str, ref: AuthorityRef, api: AlibabaApi, one: str) -> Fetched | Unavailable:
        with self._explained(account_id, "DescribeClientCertificate") as action:
            try:
                fields: Fields = api.call(action, {"Identifier": one}).get("Certificate") or {}
            except AlibabaError as error:
                if error.is_temporary or _is_of_access(error):
                    raise
                if _is_missing(error):
                    return _MISSING
                return Unavailable("CertificateNotAvailable", f"Alibaba Cloud refused it ({error}).")
        if fields.get("ParentIdentifier") != ref.name:
            return _MISSING
        text = fields.get("X509Certificate") or ""
        if not text or fields.get("Status") not in {"ISSUE", REVOKED}:
            return _NOT_ISSUED
        leaf = read.parsed(text)
        revoked_at = self._revocations(account_id, api, [fields]).get(one)
        if leaf is None:
            return Fetched(text, (), key_note=_KEY_OF_DAMAGED, revoked_at=revoked_at)
        key, note = None, _KEY_OF_REVOKED
        if revoked_at is None:
            key, note = self._private_key(account_id, api, one, leaf)
        chain = read.chain(leaf, text + "\n" + (fields.get("CertChain") or ""))
        return Fetched(read.encoded(leaf), chain, private_key=key, key_note=note, revoked_at=revoked_at)

    def _private_key(
        self, account_id: str, api: AlibabaApi, one: str, leaf: ParsedCertificate
    ) -> tuple[str | None, str]:
        """The key in PEM, under no passphrase, or why there is none. Alibaba encrypts it under one made for this."""
        passphrase = secrets.token_urlsafe(_PASSPHRASE_OCTETS)
        with self._explained(account_id, "DescribeCertificatePrivateKey") as action:
            try:
                text = api.call(action, {"Identifier": one, "EncryptedCode": passphrase}).get("EncryptedData") or ""
            except AlibabaError as error:
                if error.is_temporary or error.code.startswith(_CREDENTIALS):
                    raise
                return None, _key_note(error, action)
        key = read.private_key(text, passphrase, leaf)
        return key, "" if key else _KEY_UNREADABLE

    def _issued_page(
        self, account_id: str, api: AlibabaApi, ref: AuthorityRef, number: int, *, by: str
    ) -> tuple[list[Fields], bool]:
        """One of Alibaba's pages, as far as it is of this CA, and whether it is the last."""
        asked = {"CurrentPage": number, "ShowSize": PAGE, "Identifier": ref.name if by == "ca" else None}
        with self._explained(account_id, "ListClientCertificate") as action:
            try:
                items, last = _items(api.call(action, asked), number)
            except AlibabaError as error:
                if by == "all" or error.is_temporary or _is_of_access(error):
                    raise
                return [], True
        return [fields for fields in items if fields.get("ParentIdentifier") == ref.name], last

    def _revocations(self, account_id: str, api: AlibabaApi, found: Sequence[Fields]) -> Mapping[str, datetime]:
        """When those were revoked that are, by their identifiers; now, where Alibaba does not tell."""
        revoked = [fields for fields in found if fields.get("Status") == REVOKED]
        times: dict[str, datetime] = {}
        for start in range(0, len(revoked), PAGE):
            identifiers = ",".join(fields["Identifier"] for fields in revoked[start : start + PAGE])
            with self._explained(account_id, "DescribeClientCertificateStatus") as action:
                try:
                    answer = api.call(action, {"Identifier": identifiers})
                except AlibabaError as error:
                    if error.is_temporary:
                        raise
                    break
            for status in answer.get("CertificateStatus") or ():
                if at := read.moment(status.get("RevokeTime")):
                    times[read.serial(status.get("SerialNumber"))] = at
        now = self._kit.clock()
        return {fields["Identifier"]: times.get(read.serial(fields.get("SerialNumber")), now) for fields in revoked}

    def _place(self, account_id: str) -> str:
        return self._kit.credentials.place(account_id, ID)

    def _api(self, account_id: str, region: str) -> AlibabaApi:
        """Raises: Unprocessable: `RegionNotSupported`, `SourceNotConfigured`."""
        if region not in REGIONS:
            raise Unprocessable(
                "RegionNotSupported",
                f"Alibaba Cloud PCA is not to be had in region {region!r:.60}.",
                f"Use {', '.join(REGIONS)}.",
            )
        if needed := self.setup_needed(account_id):
            raise Unprocessable("SourceNotConfigured", f"{self.title} is not configured for this account.", needed)
        return self._kit.alibaba(account_id, VERSION, region)

    @contextmanager
    def _explained(self, account_id: str, action: str) -> Iterator[str]:
        """Gives the action, and errors of Alibaba in our words."""
        try:
            yield action
        except AlibabaError as error:
            raise _refusal(error, action, self._place(account_id)) from None


def _refusal(error: AlibabaError, action: str, place: str) -> CerthavenError:
    if error.is_temporary:
        return TooManyRequests(
            "SourceBusy", f"Alibaba Cloud does not carry out {action} now, after all retries ({error})."
        )
    number = f" Its number there is {error.request_id}." if error.request_id else ""
    message = f"Alibaba Cloud refused {action} ({error}).{number}"
    if error.code.startswith(_CREDENTIALS):
        hint = f"Check `access_key_id` and `access_key_secret` in {place}, and that the key is enabled in RAM."
        if "SecurityToken" in error.code:
            hint = f"Set new temporary credentials in {place}: all three fields, or a lasting key without token."
        return Unprocessable("SourceRefused", message, hint)
    if error.code.startswith(_PERMISSION):
        hint = f"Allow the RAM user the action yundun-cert:{action}; {_POLICY}. Its access key is set in {place}."
        return Unprocessable("SourceRefused", message, hint)
    return Unprocessable(
        "SourceRefused", message, f"Check at Alibaba Cloud that PCA is in use there; the access key is set in {place}."
    )


def _is_of_access(error: AlibabaError) -> bool:
    return error.code.startswith(_CREDENTIALS + _PERMISSION)


def _is_missing(error: AlibabaError) -> bool:
    """Whether what was asked for is not there; an action that is unknown is another matter."""
    other = error.code.startswith(("InvalidAction", *_CREDENTIALS))
    return not other and ("NotFound" in error.code or "NotExist" in error.code)


def _key_note(error: AlibabaError, action: str) -> str:
    if error.code.startswith(_PERMISSION):
        return f"Alibaba Cloud refused the private key ({error.code}): the RAM user needs yundun-cert:{action}."
    return (
        f"Alibaba Cloud gives no private key of this certificate ({error.code}): it has those that it made, not those "
        "of signing requests made elsewhere. To have it here, upload the certificate with its key."
    )


def _position(scope: str, cursor: str | None) -> _At | None:
    """Where a list goes on; ``None`` for its beginning. Raises: InvalidRequest: `InvalidCursor`."""
    text = decode_cursor(scope, cursor)
    if text is None:
        return None
    parts = _POSITION.fullmatch(text)
    if parts is None:
        raise InvalidRequest("InvalidCursor", "The cursor does not belong to this list.")
    return _At(parts[1], int(parts[2]), int(parts[3]))


def _gather(
    ask: Callable[[int], tuple[list[Fields], bool]], keep: Callable[[Fields], T | None], start: _At, limit: int
) -> tuple[list[T], _At | None]:
    """Up to `limit` items of a list, and where it goes on.

    Args:
        ask: gives a page by its number, and whether it is the last.
        keep: what to make of an item; ``None`` to leave it out.
        start: where to begin.
        limit: how many at most.
    """
    found: list[T] = []
    at = start
    for _ in range(MOST_REQUESTS):
        items, last = ask(at.page)
        for place, fields in enumerate(items[at.skip :], at.skip):
            if len(found) == limit:
                return found, _At(at.by, at.page, place)
            if (one := keep(fields)) is not None:
                found.append(one)
        if last:
            return found, None
        at = _At(at.by, at.page + 1)
        if len(found) == limit:
            break
    return found, at


def _items(answer: Fields, number: int) -> tuple[list[Fields], bool]:
    """The items of an answer that have an identifier, and whether page `number` is the last.

    Alibaba may show fewer than were asked for; how many it does it says.
    """
    listed = answer.get("CertificateList") or []
    shown = answer.get("ShowSize") or PAGE
    total = answer.get("TotalCount")
    last = not listed or (len(listed) < shown if total is None else number * shown >= total)
    return [fields for fields in listed if fields.get("Identifier")], last
