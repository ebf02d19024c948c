"""Certificate signing requests: made here with a key that never leaves, or stored with or without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chalicelib.domain import keys, naming, pem
from chalicelib.domain.errors import CertificateRefused, NotFound, TooLarge, Unprocessable
from chalicelib.domain.findings import Finding, Severity, error
from chalicelib.domain.keys import PrivateKey
from chalicelib.domain.model import Caller, Csr, KeyContext, Page
from chalicelib.functions.audit import Audit, new_id
from chalicelib.ports import Clock, CsrStore, KeyVault

if TYPE_CHECKING:
    from chalicelib.domain.csr import CsrSpec, ParsedCsr

#: Largest request that is stored, in bytes of DER: an RSA-8192 key and a hundred names have a third of it.
MAX_REQUEST: Final = 16_384
#: Name of the box that a sealed key lies in.
KEY_BOX = "signing"


class Csrs:
    """The caller's certificate signing requests."""

    def __init__(self, store: CsrStore, vault: KeyVault, audit: Audit, clock: Clock) -> None:
        self._store = store
        self._vault = vault
        self._audit = audit
        self._clock = clock

    def create(self, caller: Caller, spec: CsrSpec) -> Csr:
        """Make a key and a request for it; the key is sealed and never shown.

        Raises:
            CertificateRefused: a `CsrFieldIncorrect` finding for each field that cannot stand in a certificate.
        """
        from chalicelib.domain import csr  # an upload only looks for the key of a request

        checked = csr.check(spec)
        key = keys.generate(checked.algorithm, checked.key_size)
        return self._keep(caller, "csr.create", spec.name, csr.ParsedCsr(csr.make(checked, key)), key)

    def store(self, caller: Caller, name: str | None, csr_pem: str, private_key_pem: str | None) -> Csr:
        """Store a request made elsewhere, with its private key if that is given.

        A private key in the text of the request is taken as if it had been given apart.

        Args:
            caller: whose it becomes.
            name: what it is called in the list; made of the common name when absent.
            csr_pem: PEM text with one request.
            private_key_pem: PEM text with its key.

        Raises:
            TooLarge: `RequestTooLarge`. Unprocessable: `CsrFormatIncorrect`.
            CertificateRefused: with a finding for each of WeakKey, UnsupportedAlgorithm, WeakSignature,
                CsrSignatureIncorrect, KeyMismatch, and what is wrong with the private key itself.
        """
        parsed, inside = read_request(csr_pem)
        if len(parsed.der) > MAX_REQUEST:
            raise TooLarge(
                "RequestTooLarge", f"The request has {len(parsed.der)} bytes in DER; at most {MAX_REQUEST} are kept."
            )
        findings = [*parsed.findings("csr")]
        key = self._given_key(parsed, private_key_pem or inside, findings)
        if any(f.severity is Severity.ERROR for f in findings):
            raise CertificateRefused(findings)
        return self._keep(caller, "csr.store", name, parsed, key)

    def _given_key(self, parsed: ParsedCsr, text: str | None, findings: list[Finding]) -> PrivateKey | None:
        """The key in `text`, if there is one; what is wrong with it goes to `findings`."""
        if text is None or not text.strip():
            return None
        found = pem.private_key_blocks(text, "private_key")
        findings += [f for f in found.findings if f.severity is Severity.ERROR]
        loaded = [keys.load(block, "private_key") for block in found.private_keys]
        findings += [k for k in loaded if isinstance(k, Finding)]
        usable = [k for k in loaded if isinstance(k, PrivateKey)]
        match = next((k for k in usable if keys.matches(k, parsed.public_key)), None)
        if match is None and usable:
            findings.append(
                error(
                    "KeyMismatch",
                    f"The private key ({usable[0].label}) does not belong to {parsed.label} "
                    f"({parsed.public_key.label}).",
                    "Send the key that was made together with this request, or store the request without one.",
                    "private_key",
                )
            )
        return match

    def _keep(self, caller: Caller, action: str, name: str | None, parsed: ParsedCsr, key: PrivateKey | None) -> Csr:
        public = parsed.public_key
        request = Csr(
            id=new_id(self._clock),
            account_id=caller.account_id,
            name=name or _default_name(parsed),
            common_name=parsed.common_name,
            sans=parsed.sans,
            algorithm=public.kind,
            key_size=public.size,
            subject=parsed.subject,
            public_key_fingerprint=public.fingerprint,
            pem=pem.encode("CERTIFICATE REQUEST", parsed.der),
            has_private_key=key is not None,
            created_at=self._clock(),
        )
        sealed = None if key is None else self._vault.seal(_context(request), {KEY_BOX: key.pem()})
        event = self._audit.event(
            caller, action, request.id, name=request.name, public_key_sha256=request.public_key_fingerprint
        )
        self._store.add(request, sealed, event)
        return request

    def page(self, caller: Caller, *, limit: int, cursor: str | None) -> Page[Csr]:
        """Requests of the caller's account, newest first. Raises: InvalidRequest: `InvalidCursor`."""
        return self._store.page(caller.account_id, limit=limit, cursor=cursor)

    def get(self, caller: Caller, csr_id: str) -> Csr:
        """One request. Raises: NotFound."""
        return self._store.get(caller.account_id, csr_id)

    def delete(self, caller: Caller, csr_id: str) -> None:
        """Delete a request and its key, for good. Raises: NotFound."""
        request = self._store.get(caller.account_id, csr_id)
        event = self._audit.event(
            caller, "csr.delete", csr_id, name=request.name, public_key_sha256=request.public_key_fingerprint
        )
        self._store.delete(caller.account_id, csr_id, event)

    def for_public_key(self, account_id: str, public_key_fingerprint: str) -> Csr | None:
        """The request for a public key, whose SHA-256 is that of `PublicKey.fingerprint`; ``None`` if none fits."""
        return self._store.by_public_key(account_id, public_key_fingerprint)

    def key_of(self, request: Csr) -> PrivateKey:
        """The private key of a request that has one; for uploads, which record it, never for showing.

        Raises: NotFound, when it was deleted in the meantime.
        """
        sealed = self._store.keys(request.account_id, request.id)
        if sealed is None:
            raise NotFound("NotFound", f"There is no CSR {request.id!r:.70} in this account.")
        text = self._vault.open(_context(request), sealed)[KEY_BOX].decode("ascii")
        (block,) = pem.scan(text).blocks
        key = keys.load(block)
        if isinstance(key, Finding):
            raise CertificateRefused([key])
        return key


def read_request(text: str) -> tuple[ParsedCsr, str | None]:
    """The one request in a PEM text, and the text again if there is a private key in it.

    Raises:
        Unprocessable: `CsrFormatIncorrect`.
    """
    from chalicelib.domain import csr, looks  # as above

    found = pem.scan(text)
    if not found.markers:
        look = looks.looks_like(text)
        raise _format_incorrect(f"This is not a PEM certificate signing request: it looks like {look.what}.")
    if found.problems:
        raise _format_incorrect(found.problems[0].message, found.problems[0].hint)
    requests = [b for b in found.blocks if b.label == "CERTIFICATE REQUEST"]
    if len(requests) != 1:
        what = f"{len(requests)} certificate signing requests"
        if not requests:
            what = f"no certificate signing request; {found.blocks[0].where} is {pem.describe(found.blocks[0])[0]}"
        raise _format_incorrect(f"The text holds {what}.")
    try:
        parsed = csr.ParsedCsr(requests[0].der)
    except csr.MalformedCsrError as malformed:
        raise _format_incorrect(f"The certificate signing request is not well-formed: {malformed}.") from None
    return parsed, text if any(b.is_private_key for b in found.blocks) else None


def _format_incorrect(message: str, hint: str = "") -> Unprocessable:
    return Unprocessable("CsrFormatIncorrect", message, hint)


def _context(request: Csr) -> KeyContext:
    return KeyContext(request.account_id, request.id, request.public_key_fingerprint)


def _default_name(parsed: ParsedCsr) -> str:
    """``example.com-csr``: of the common name or first alternative name, at most 63 characters."""
    wanted = (parsed.common_name or next(iter(parsed.sans), "")).replace("*", "wildcard")
    safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in wanted).strip("-.")
    return f"{(safe or 'unnamed')[: naming.MAX_NAME - 4]}-csr"
