"""Every refusal of the service, in one hierarchy.

::

    CerthavenError
    ├── InvalidRequest      400  the request itself cannot be understood
    ├── Unauthenticated     401  nobody we know is calling
    ├── Forbidden           403  the caller's role does not reach this far
    ├── NotFound            404  no such thing in the caller's account
    ├── Conflict            409  the state of things does not allow it
    │   ├── DuplicateCertificate
    │   ├── NameTaken
    │   └── QuotaInsufficient    with what remains and what is required
    ├── TooLarge            413  more than the service takes
    ├── Unprocessable       422  understood, and refused for what it says
    │   └── CertificateRefused   with every finding
    └── TooManyRequests     429  slow down

The class says the kind, and `chalicelib.api.blueprint` maps kinds to HTTP statuses, in one place.
The code says the case: stable, listed in `ERRORS`, each with a hint. Messages never hold key text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chalicelib.domain.findings import Finding, Severity


class CerthavenError(Exception):
    """A refusal with a stable code, what was got and wanted, and what to do next."""

    def __init__(self, code: str, message: str, hint: str = "", findings: Sequence[Finding] = ()) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.hint = hint or ERRORS[code]
        self.findings = tuple(findings)
        #: Numbers that say how far it was from being allowed, by name.
        self.figures: Mapping[str, int] = {}


class InvalidRequest(CerthavenError):
    """The request itself cannot be understood."""


class Unauthenticated(CerthavenError):
    """Nobody we know is calling."""


class Forbidden(CerthavenError):
    """The caller's role does not reach this far."""


class NotFound(CerthavenError):
    """No such thing in the caller's account; a foreign id answers the same."""


class Conflict(CerthavenError):
    """The state of things does not allow it."""


class DuplicateCertificate(Conflict):
    """The account holds a certificate with this fingerprint already: `existing_id`."""

    def __init__(self, existing_id: str, findings: Sequence[Finding] = ()) -> None:
        message = f"This certificate is already held, as {existing_id}."
        super().__init__("DuplicateCertificate", message, findings=findings)
        self.existing_id = existing_id


class NameTaken(Conflict):
    """Another certificate of the account has this name."""

    def __init__(self, name: str, findings: Sequence[Finding] = ()) -> None:
        super().__init__("NameTaken", f"The name “{name}” is taken.", findings=findings)


class TooLarge(CerthavenError):
    """More than the service takes."""


class Unprocessable(CerthavenError):
    """Understood, and refused for what it says."""


class TooManyRequests(CerthavenError):
    """Slow down and try again."""


class CertificateRefused(Unprocessable):
    """A certificate was refused; `code` is that of the first error finding, and all are kept."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        first = next(f for f in findings if f.severity is Severity.ERROR)
        super().__init__(first.code, first.message, first.hint, findings)


#: Every code that is not a finding's, with the hint given when the place of the error has no better one.
ERRORS: dict[str, str] = {
    "InvalidRequest": "Compare the request with GET /v1/openapi.json.",
    "InvalidParameter": "Compare the parameter with GET /v1/openapi.json.",
    "InvalidCursor": "Take `next_cursor` from the previous page as it is, or start without a cursor.",
    "TokenMissing": "Send the header `Authorization: Bearer <token>`.",
    "TokenInvalid": "Use a token as it was shown when it was created; ask an admin for a new one.",
    "TokenExpired": "Ask an admin of the account for a new token.",
    "TokenRevoked": "Ask an admin of the account for a new token.",
    "AdminTokenExists": "Ask an admin of the account for a token, or to revoke what was lost.",
    "RoleInsufficient": "Use a token with the role named in the message.",
    "NotFound": "Check the id, and that the token belongs to the account that owns it.",
    "DuplicateCertificate": "Use the certificate named in the message, or delete it first.",
    "NameTaken": "Choose another name, or leave the name out to get a suggested one.",
    "ConcurrentChange": "Read it again and repeat the change.",
    "ConfirmationMissing": "Repeat with `?confirm=` and the exact name.",
    "SourceNotDownloadable": "Ask the owner of the certificate.",
    "SourceCannotRenew": "Send the replacement in the body: certificate, private_key, chain.",
    "AlreadyReplaced": "Renew the certificate that replaced it.",
    "PrivateKeyAbsent": "Download with `format=pem`, or upload the certificate with its key.",
    "PassphraseMissing": "Send a passphrase.",
    "PassphraseIncorrect": "Check the passphrase of the file.",
    "FormatUnsupported": "See the table of conversions in REFERENCE.md.",
    "IterationsExceeded": "Write the file anew with fewer iterations, for example with `openssl pkcs12 -export`.",
    "ConversionInputIncorrect": "Check that `from` names the format of the input.",
    "CsrFormatIncorrect": "Send one PEM block `CERTIFICATE REQUEST`.",
    "IdempotencyKeyReused": "Use a new Idempotency-Key for a different request.",
    "IdempotencyInProgress": "The first request with this key is still running; repeat in a few seconds.",
    "IdempotencySecretShown": "The secret was shown once. Revoke the token and create a new one.",
    "RequestTooLarge": "Send less: one certificate with its chain and key is a few kilobytes.",
    "TooManyRequests": "Wait for the seconds in `Retry-After` and repeat.",
    "AccountNotFound": "Put the file under `drop/<account id>/`.",
    "DropIncomplete": "Drop the missing half of the pair under the same name.",
    "AuthorityNotFound": "Take an id from GET /v1/pca/cas.",
    "AuthorityNotActive": "Use a CA whose status is active, or make a new one.",
    "RootNotRevocable": "Revoke the intermediates below it, and take the root out of the trust stores.",
    "SourceNotFound": "Take an id from GET /v1/pca/sources.",
    "SourceNotConfigured": "Set the credentials as the message says.",
    "SourceRefused": "Check the credentials and what they are allowed to do.",
    "TooManyCertificates": "Leave `certificate_ids` out to take the whole CA, or send several requests.",
    "SourceBusy": "Wait a minute and repeat.",
    "RegionNotSupported": "Take a region from GET /v1/pca/sources.",
    "QuotaInsufficient": "Buy units with POST /v1/notification-quota/purchases, or switch other notices off.",
    "PurchaseClosed": "Look at GET /v1/notification-quota/purchases; order again if units are needed.",
    "TooManyPurchases": "Wait until the operator has fulfilled one.",
    "TooManyContacts": "Delete a contact, or add a channel to one.",
    "InternalError": "Try again; if it happens again, give the request id to the operator.",
}
