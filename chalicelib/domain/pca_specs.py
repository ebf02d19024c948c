"""What the built-in CA is asked for: authorities and certificates, every field checked before a key is made or opened.

Names are checked as those of signing requests are; here stands what an authority adds: its dates, its path length
(RFC 5280, 4.2.1.9), its name constraints (4.2.1.10), and what servers and clients may be called (CA/Browser Forum,
Baseline Requirements, 7.1.2.7).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from chalicelib.domain import csr, naming, pem
from chalicelib.domain.certificate import ParsedCertificate, printable, same_name
from chalicelib.domain.chain import MAX_DEPTH
from chalicelib.domain.csr import CsrSpec, ParsedCsr, WrongFieldError
from chalicelib.domain.errors import CertificateRefused
from chalicelib.domain.findings import Finding, error
from chalicelib.domain.issuing import BACKDATED, Usage
from chalicelib.domain.pca import Authority, AuthorityKind, Limits

#: How long authorities live when nobody says, in days.
USUAL_DAYS: Final = {AuthorityKind.ROOT: 3650, AuthorityKind.INTERMEDIATE: 1825}
USUAL_LEAF_DAYS: Final = 365
#: A hundred years; nothing in RFC 5280 bounds it.
MAX_DAYS: Final = 36_500
#: An authority's key is to be safe beyond 2030, which RSA 2048 is not (NIST SP 800-57 part 1, table 4).
USUAL_SIZES: Final = {"RSA": 3072}
#: Most authorities one below the other: a path of these and a certificate is one that this service follows.
MAX_AUTHORITIES: Final = MAX_DEPTH - 1
#: Most domains in each of the two lists of name constraints.
MAX_DOMAINS: Final = 100
_DOTTED: Final = re.compile(r"[\w-]+(\.[\w-]+)+\.?", re.ASCII)
USAGES: Final[dict[str, Usage]] = {"server": "server", "client": "client"}


@dataclass(frozen=True, slots=True)
class AuthoritySpec:
    """What a new authority is to be.

    Attributes:
        kind: ``root`` or ``intermediate``.
        common_name: of its subject, as are the fields from `organization` to `locality`.
        parent: id of the authority that signs an intermediate.
        algorithm: RSA, ECC or SM2.
        key_size: in bits; ``None`` for the usual one.
        validity_days: ``None`` for `USUAL_DAYS`, or as many as the parent has left.
        path_length: how many intermediates may follow below; ``None`` for as many as the parent allows.
        permitted: domains below which all names must lie; empty for any.
        excluded: domains below which none may.
    """

    kind: str
    common_name: str
    parent: str | None = None
    algorithm: str = "RSA"
    key_size: int | None = None
    validity_days: int | None = None
    organization: str | None = None
    organizational_unit: str | None = None
    country: str | None = None
    province: str | None = None
    locality: str | None = None
    path_length: int | None = None
    permitted: Sequence[str] = ()
    excluded: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class CheckedAuthority:
    """An authority that can be made."""

    kind: AuthorityKind
    subject: x509.Name
    algorithm: str
    key_size: int
    days: int
    limits: Limits


@dataclass(frozen=True, slots=True)
class LeafSpec:
    """What a certificate for a server or client is to say.

    Attributes:
        common_name: its whole subject; that of the request, else the first host among the names, when absent. A
            server has it among its names, if it is a host or an address.
        sans: as `CsrSpec.sans`; those of the request when ``None``.
        validity_days: how long it is valid.
        usage: ``server`` or ``client``.
        csr: PEM text of a request for it; the key stays where it was made.
        csr_id: a stored request instead; when its key is held here, the certificate has it too.
        algorithm: RSA, ECC or SM2, for a key made here; that of the authority when absent.
        key_size: of that key, in bits; ``None`` for the usual one.
    """

    common_name: str | None = None
    sans: Sequence[str] | None = None
    validity_days: int = USUAL_LEAF_DAYS
    usage: str = "server"
    csr: str | None = None
    csr_id: str | None = None
    algorithm: str | None = None
    key_size: int | None = None


@dataclass(frozen=True, slots=True)
class CheckedLeaf:
    """A certificate that can be issued; algorithm and size are those of a key to be made for it."""

    subject: x509.Name
    names: tuple[x509.GeneralName, ...]
    days: int
    usage: Usage
    algorithm: str
    key_size: int


def certificate_of(authority: Authority) -> ParsedCertificate:
    """The certificate of a built-in authority, whose PEM text is known to be sound."""
    (block,) = pem.scan(authority.certificate).blocks
    return ParsedCertificate(block.der)


def check_authority(spec: AuthoritySpec, path: Sequence[Authority], now: datetime) -> CheckedAuthority:
    """Check every field.

    Args:
        spec: what is asked for.
        path: the parent and what is above it, up to the root; empty for a root.
        now: aware UTC.

    Raises:
        CertificateRefused: an `AuthorityFieldIncorrect` finding for every field that is wrong, and `AuthorityLimit`
            for what the parent does not allow.
    """
    findings: list[Finding] = []
    kind = AuthorityKind(spec.kind) if spec.kind in list(AuthorityKind) else None
    if kind is None:
        findings.append(_incorrect(f"The kind is {_quoted(spec.kind)}.", "Write `root` or `intermediate`.", "kind"))
    findings += _parent_findings(spec, kind, path)
    size = USUAL_SIZES.get(spec.algorithm) if spec.key_size is None else spec.key_size
    checked = _checked(
        CsrSpec(
            common_name=spec.common_name,
            algorithm=spec.algorithm,
            key_size=size,
            organization=spec.organization,
            organizational_unit=spec.organizational_unit,
            country=spec.country,
            province=spec.province,
            locality=spec.locality,
        ),
        "AuthorityFieldIncorrect",
        findings,
    )
    subject = None if checked is None else _as_typed(checked.subject, spec.common_name.strip())
    if subject is not None and any(same_name(subject, certificate_of(a).subject_name) for a in path):
        message = "The name is that of a CA above it, which nobody could tell apart."
        findings.append(_incorrect(message, "Choose another common name.", "common_name"))
    days = spec.validity_days
    if days is None:
        days = USUAL_DAYS[kind or AuthorityKind.ROOT]
        days = max(1, min(days, _days_left(path[0], now))) if path else days
    findings += _days_findings(days, path[0] if path else None, now, ("AuthorityFieldIncorrect", "AuthorityLimit"))
    limits = _limits(spec, path, findings)
    if findings or kind is None or checked is None or subject is None:
        raise CertificateRefused(findings)
    return CheckedAuthority(kind, subject, checked.algorithm, checked.key_size, days, limits)


def _parent_findings(spec: AuthoritySpec, kind: AuthorityKind | None, path: Sequence[Authority]) -> Iterator[Finding]:
    """Whether the parent may issue it."""
    if kind is AuthorityKind.ROOT and spec.parent is not None:
        yield _incorrect("A root signs itself.", "Leave `parent` out, or ask for an intermediate.", "parent")
    if kind is AuthorityKind.INTERMEDIATE and not path:
        yield _incorrect("An intermediate has a CA above it, and none is named.", "Send its id as `parent`.", "parent")
    if path and path[0].limits.path_length == 0:
        message = f"The CA {_name(path[0])} allows no other CA below it (its path length is 0)."
        yield _limit(message, "Choose a parent that allows it, or make one that does.", "parent")
    elif len(path) >= MAX_AUTHORITIES:
        message = f"There are {len(path)} CAs above it; a path has at most {MAX_AUTHORITIES} together."
        yield _limit(message, "Choose a parent further up.", "parent")
    if path and spec.algorithm == "SM2" and path[0].algorithm != "SM2":
        message = f"An SM2 key is certified by an SM2 CA only, and {_name(path[0])} has {path[0].algorithm}."
        yield _limit(message, "Choose a parent with SM2, or another algorithm.", "algorithm")


def _as_typed(subject: x509.Name, common_name: str) -> x509.Name:
    """The subject with its common name as it was typed, where that is no host but looks like one, as ``max.muster``."""
    *others, last = subject
    if naming.to_ascii_domain(common_name) != last.value or len(common_name.encode()) > csr.MAX_COMMON_NAME:
        return subject
    return x509.Name([*others, x509.NameAttribute(last.oid, common_name)])


def _days_findings(days: int, issuer: Authority | None, now: datetime, codes: tuple[str, str]) -> Iterator[Finding]:
    """Whether a validity is one, and ends with that of the issuer at the latest."""
    if not 1 <= days <= MAX_DAYS:
        message = f"The validity is {days} days; 1 to {MAX_DAYS} are possible."
        yield error(codes[0], message, "Choose one of these.", "validity_days")
        return
    end = _begin(now) + timedelta(days=days)
    if issuer is not None and end > issuer.not_after:
        most = _days_left(issuer, now)
        hint = f"Ask for at most {most} days, or have a CA with a later end issue it."
        yield error(
            codes[1],
            f"It would be valid until {end:%Y-%m-%d}, and the CA {_name(issuer)} ends on {issuer.not_after:%Y-%m-%d}.",
            hint if most else "Have a CA with a later end issue it.",
            "validity_days",
        )


def _begin(now: datetime) -> datetime:
    return now.replace(microsecond=0) - BACKDATED


def _days_left(issuer: Authority, now: datetime) -> int:
    """The longest validity of what an authority issues now."""
    return (issuer.not_after - _begin(now)) // timedelta(days=1)


def _limits(spec: AuthoritySpec, path: Sequence[Authority], findings: list[Finding]) -> Limits:
    """What the authority may issue; never more than its parent."""
    above = path[0].limits.path_length if path else None
    length = spec.path_length
    if length is not None and not 0 <= length <= MAX_AUTHORITIES:
        message = f"The path length is {length}; 0 to {MAX_AUTHORITIES} are possible."
        findings.append(_incorrect(message, "Choose one of these, or leave it out.", "path_length"))
    elif above and length is not None and length >= above:
        message = f"The path length is {length}; below {_name(path[0])} at most {above - 1} is possible."
        findings.append(_limit(message, "Choose a shorter one, or leave it out.", "path_length"))
    elif length is None and above:
        length = above - 1
    permitted = _domains(spec.permitted, "permitted", findings)
    excluded = _domains(spec.excluded, "excluded", findings)
    for domain in permitted:
        for authority in path:
            if why := _outside(domain, authority.limits):
                message = f"The CA {_name(authority)} may not certify {_quoted(domain)}: {why}."
                findings.append(_limit(message, "Choose a domain that the CAs above may certify.", "permitted"))
                break
    return Limits(length, permitted, excluded)


def _domains(texts: Sequence[str], param: str, findings: list[Finding]) -> tuple[str, ...]:
    """The domains of a name constraint as certificates hold them; each stands for itself and all below it."""
    if len(texts) > MAX_DOMAINS:
        message = f"There are {len(texts)} domains; at most {MAX_DOMAINS} are taken."
        findings.append(_incorrect(message, "Name domains further up.", param))
        return ()
    found = []
    for number, text in enumerate(texts, 1):
        try:
            name = csr.general_name("DNS:" + text.strip().removeprefix("*").removeprefix("."))
        except WrongFieldError as wrong:
            findings.append(_incorrect(f"Domain {number}: {wrong.message}", wrong.hint, param))
            continue
        if isinstance(name, x509.DNSName) and not name.value.startswith("*"):
            found.append(name.value)
        else:
            message = f"Domain {number}: {_quoted(text)} is an address or wildcard; a domain is wanted."
            findings.append(_incorrect(message, "Write for example example.com, for it and all below it.", param))
    return tuple(dict.fromkeys(found))


def check_leaf(spec: LeafSpec, request: ParsedCsr | None, path: Sequence[Authority], now: datetime) -> CheckedLeaf:
    """Check every field, and the request.

    Args:
        spec: what is asked for.
        request: what its `csr` or `csr_id` is.
        path: the issuing authority and what is above it, up to the root.
        now: aware UTC.

    Raises:
        CertificateRefused: a `CertificateNotIssuable` finding for every field that is wrong or that an authority of
            the path does not allow; for the request WeakKey, UnsupportedAlgorithm, WeakSignature and
            CsrSignatureIncorrect.
    """
    findings: list[Finding] = []
    if spec.usage not in USAGES:
        findings.append(_not_issuable(f"The usage is {_quoted(spec.usage)}.", "Write `server` or `client`.", "usage"))
    sans = request.sans if spec.sans is None and request is not None else spec.sans or ()
    common_name = spec.common_name if spec.common_name is not None else request.common_name if request else ""
    fields = CsrSpec(
        common_name=common_name or _first_host(sans),
        algorithm="RSA" if request is not None else spec.algorithm or path[0].algorithm,
        key_size=None if request is not None else spec.key_size,
        sans=sans,
    )
    found: list[Finding] = []
    checked = _checked(fields, "CertificateNotIssuable", found)
    subject = None if checked is None else checked.subject
    names = _readable(sans)
    if spec.usage == "server":
        names = _for_server(fields, names if checked is None else checked.names)
        found += _server_findings(names, all_read=checked is not None)
    elif subject is not None:
        subject = _as_typed(subject, fields.common_name.strip())
    found += _constraint_findings(fields.common_name, names, path)
    findings += [_of_request(f, spec, request) for f in found]
    findings += _days_findings(spec.validity_days, path[0], now, ("CertificateNotIssuable",) * 2)
    findings += _key_findings(fields.algorithm, request, path)
    if subject is not None and any(same_name(subject, certificate_of(a).subject_name) for a in path):
        message = "The name is that of a CA of its path, which nobody could tell apart."
        findings.append(_not_issuable(message, "Choose another common name.", "common_name"))
    if findings or checked is None or subject is None:
        raise CertificateRefused(findings)
    usage = USAGES[spec.usage]
    return CheckedLeaf(subject, names, spec.validity_days, usage, checked.algorithm, checked.key_size)


def _checked(fields: CsrSpec, code: str, findings: list[Finding]) -> csr.CheckedSpec | None:
    """What `csr.check` makes of the fields; its findings under another code."""
    try:
        return csr.check(fields)
    except CertificateRefused as refused:
        findings += [replace(finding, code=code) for finding in refused.findings]
        return None


def _readable(texts: Sequence[str]) -> tuple[x509.GeneralName, ...]:
    """The names among some texts of which others may be none."""
    found = []
    for text in texts[: csr.MAX_SANS]:
        try:
            found.append(csr.general_name(text))
        except WrongFieldError:
            continue
    return tuple(found)


def _first_host(sans: Sequence[str]) -> str:
    """What a certificate is called whose subject nobody named: its first host or address that is short enough."""
    hosts = (str(n.value) for n in _readable(sans) if isinstance(n, x509.DNSName | x509.IPAddress))
    return next((host for host in hosts if len(host) <= csr.MAX_COMMON_NAME), "")


def _for_server(fields: CsrSpec, names: tuple[x509.GeneralName, ...]) -> tuple[x509.GeneralName, ...]:
    """The names of a server; one without any other is called by its common name, as ``localhost`` (RFC 6125, 6.4.4)."""
    if names:
        return names
    return tuple(n for n in _readable([f"DNS:{fields.common_name}"]) if isinstance(n, x509.DNSName))


def _server_findings(names: Sequence[x509.GeneralName], *, all_read: bool) -> Iterator[Finding]:
    if any(isinstance(n, x509.RFC822Name) for n in names):
        message = "A certificate for a server holds no mail address (CA/B Baseline Requirements, 7.1.2.7.12)."
        yield _not_issuable(message, "Leave it out, or ask with `usage` `client`.", "sans")
    if all_read and not any(isinstance(n, x509.DNSName | x509.IPAddress) for n in names):
        message = "A certificate for a server names a host or an IP address, and neither is given."
        yield _not_issuable(message, "Add the host's name to `sans`.", "sans")


def _constraint_findings(
    common_name: str, names: Sequence[x509.GeneralName], path: Sequence[Authority]
) -> Iterator[Finding]:
    """Host names that an authority of the path may not certify. Its constraints speak of no other kind of name.

    Where there is none among the names, OpenSSL takes a common name with a dot for one, an address included.
    """
    hosts = dict.fromkeys(n.value for n in names if isinstance(n, x509.DNSName))
    param = "sans"
    if not hosts and _DOTTED.fullmatch(common_name.strip()):
        hosts, param = {common_name.strip().lower(): None}, "common_name"
    for host in hosts:
        for authority in path:
            if why := _outside(host, authority.limits):
                message = f"The CA {_name(authority)} may not certify {_quoted(host)}: {why}."
                yield _not_issuable(message, "Leave the name out, or have another CA issue it.", param)
                break


def _outside(host: str, limits: Limits) -> str:
    """Why a host name is outside of name constraints; empty when it is not."""
    if limits.permitted and not any(_below(host, domain) for domain in limits.permitted):
        return f"only names below {', '.join(limits.permitted[:5])} are permitted"
    # A wildcard beside an excluded domain would serve it, though RFC 5280 compares letters only.
    barred = next((d for d in limits.excluded if _below(host, d) or naming.covers(host, d)), "")
    return f"{barred} is excluded" if barred else ""


def _below(host: str, domain: str) -> bool:
    """Whether a name is a domain or lies below it (RFC 5280, 4.2.1.10)."""
    return host == domain or host.endswith(f".{domain}")


def _key_findings(algorithm: str, request: ParsedCsr | None, path: Sequence[Authority]) -> Iterator[Finding]:
    """What is wrong with the key, or with the request that brings it."""
    param, kind = ("algorithm", algorithm) if request is None else ("csr", request.public_key.kind)
    if kind == "SM2" and path[0].algorithm != "SM2":
        message = f"An SM2 key is certified by an SM2 CA only, and {_name(path[0])} has {path[0].algorithm}."
        yield _not_issuable(message, "Choose a CA with SM2, or another algorithm.", param)
    if request is None:
        return
    yield from request.findings("csr")
    if any(request.public_key.same_as(certificate_of(a).public_key) for a in path):
        message = "The request is for the key of a CA of the path."
        yield _not_issuable(message, "Make a key of its own, and a new request.", "csr")


def _of_request(finding: Finding, spec: LeafSpec, request: ParsedCsr | None) -> Finding:
    """A finding about a field, under the name of the field that it came in."""
    given = {"common_name": spec.common_name, "sans": spec.sans}
    if request is not None and finding.param in given and given[finding.param] is None:
        return replace(finding, param="csr")
    return finding


def _incorrect(message: str, hint: str, param: str) -> Finding:
    return error("AuthorityFieldIncorrect", message, hint, param)


def _limit(message: str, hint: str, param: str) -> Finding:
    return error("AuthorityLimit", message, hint, param)


def _not_issuable(message: str, hint: str, param: str) -> Finding:
    return error("CertificateNotIssuable", message, hint, param)


def _quoted(text: str) -> str:
    return f"“{printable(text, 60)}”"


def _name(authority: Authority) -> str:
    return _quoted(authority.subject)
