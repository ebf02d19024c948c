"""Domain values as the wire shows them."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import TYPE_CHECKING, Any

from chalicelib.api import types
from chalicelib.domain import pem
from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.findings import CODES, Finding
from chalicelib.domain.model import Account, AuditEvent, Caller, Certificate, Csr, Material, Token
from chalicelib.domain.status import days_left, status_at, status_between

if TYPE_CHECKING:
    from chalicelib.domain.formats import Conversion
    from chalicelib.functions.upload_validate import Parsed


def finding_view(finding: Finding) -> types.FindingView:
    """One finding."""
    return types.FindingView(
        code=finding.code,
        severity=finding.severity.value,
        message=finding.message,
        hint=finding.hint,
        param=finding.param,
    )


def risk_view(code: str) -> types.RiskView:
    """One lasting risk."""
    return types.RiskView(code=code, message=CODES[code], hint=RISK_HINTS.get(code, ""))


RISK_HINTS = {
    "EncryptionCertificateMissing": "Upload the pair anew, with its encryption certificate.",
    "EncryptionKeyReused": "Order the pair anew with two keys.",
    "IntermediateExpired": "Upload the certificate anew with the CA's current intermediate.",
    "LeakageRisk": "Issue private-CA certificates for one year or less.",
    "MissingSAN": "Have it issued with every host name as subject alternative name.",
    "NotALeaf": "Have a certificate without the CA flag issued for servers.",
    "SelfSigned": "Use it for tests only, or have a CA issue one.",
    "ValidityTooLong": "Have it issued for a shorter time, and renewed automatically.",
    "WeakSignature": "Have it issued anew with SHA-256.",
}


def certificate_view(certificate: Certificate, now: datetime) -> types.CertificateView:
    """A certificate as lists show it."""
    return types.CertificateView(**_common(certificate, now))


def _common(certificate: Certificate, now: datetime) -> dict[str, Any]:
    return {
        "id": certificate.id,
        "name": certificate.name,
        "source": certificate.source.value,
        "status": status_at(certificate, now).value,
        "domains": list(certificate.domains),
        "domains_total": certificate.domains_total,
        "algorithm": certificate.algorithm,
        "key_size": certificate.key_size,
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "serial_number": certificate.serial_number,
        "fingerprint_sha256": certificate.fingerprint,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "days_left": days_left(certificate.not_after, now),
        "risks": [risk_view(code) for code in certificate.risks],
        "resource_group": certificate.resource_group,
        "tags": dict(certificate.tags),
        "notifications": certificate.notifications,
        "has_private_key": certificate.has_private_key,
        "created_at": certificate.created_at,
        "updated_at": certificate.updated_at,
        "replaces": certificate.replaces,
        "replaced_by": certificate.replaced_by,
        "auto_renew": certificate.auto_renew,
        "renewal_problem": certificate.renewal_problem,
    }


def certificate_detail(certificate: Certificate, material: Material, now: datetime) -> types.CertificateDetail:
    """A certificate with all that is held of it, its private key excepted."""
    common = _common(certificate, now) | {"domains": list(material.domains)}
    return types.CertificateDetail(
        **common,
        chain=[chain_link(_parsed(text)) for text in material.chain],
        findings=[finding_view(f) for f in material.findings],
        deployments=[],
        certificate_pem=material.certificate,
        chain_pem="".join(material.chain),
        encryption_certificate_pem=material.encryption_certificate,
    )


def _parsed(text: str) -> ParsedCertificate:
    (block,) = pem.certificate_blocks(text, "chain").certificates
    return ParsedCertificate(block.der)


def chain_link(certificate: ParsedCertificate) -> types.ChainLink:
    """One certificate above the leaf."""
    return types.ChainLink(
        subject=certificate.subject,
        issuer=certificate.issuer,
        serial_number=certificate.serial_number,
        fingerprint_sha256=certificate.fingerprint,
        algorithm=certificate.public_key.kind,
        key_size=certificate.public_key.size,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        self_signed=certificate.is_self_signed,
    )


def parse_answer(made: Parsed, now: datetime) -> types.ParseAnswer:
    """What an upload would see and say."""
    verdict, parsed = made.verdict, None
    leaf = verdict.leaf
    if leaf is not None:
        parsed = types.ParsedView(
            domains=list(leaf.domains),
            algorithm=leaf.public_key.kind,
            key_size=leaf.public_key.size,
            subject=leaf.subject,
            issuer=leaf.issuer,
            serial_number=leaf.serial_number,
            fingerprint_sha256=leaf.fingerprint,
            not_before=leaf.not_before,
            not_after=leaf.not_after,
            days_left=days_left(leaf.not_after, now),
            status=status_between(leaf.not_before, leaf.not_after, now).value,
            has_private_key=made.has_key,
            chain=[chain_link(c) for c in verdict.chain],
        )
    return types.ParseAnswer(
        certificate=parsed,
        suggested_name=made.suggested_name,
        findings=[finding_view(f) for f in verdict.findings],
    )


def csr_view(csr: Csr) -> types.CsrView:
    """A CSR; its private key is never shown."""
    return types.CsrView(
        id=csr.id,
        name=csr.name,
        common_name=csr.common_name,
        sans=list(csr.sans),
        algorithm=csr.algorithm,
        key_size=csr.key_size,
        subject=csr.subject,
        public_key_sha256=csr.public_key_fingerprint,
        has_private_key=csr.has_private_key,
        csr=csr.pem,
        created_at=csr.created_at,
    )


def conversion_answer(made: Conversion) -> types.ConversionAnswer:
    """A converted file: text as it is, bytes in base64."""
    return types.ConversionAnswer(
        format=made.format,
        encoding="text" if made.is_text else "base64",
        output=made.content.decode() if made.is_text else base64.b64encode(made.content).decode(),
        file_name=made.file_name,
        contents=list(made.contents),
    )


def _account_fields(account: Account) -> dict[str, Any]:
    entity: Any = account.entity
    return {
        "id": account.id,
        "name": account.name,
        "site": account.site.value,
        "entity": types.EntityView(id=entity.id, kind=entity.kind, verified=entity.verified),
        "created_at": account.created_at,
    }


def account_view(account: Account) -> types.AccountView:
    """An account."""
    return types.AccountView(**_account_fields(account))


def me_view(account: Account, caller: Caller) -> types.MeView:
    """Who a caller is."""
    role: Any = caller.role.label
    return types.MeView(account=account_view(account), role=role, token_id=caller.token_id)


def new_account_view(account: Account, token: str) -> types.NewAccountView:
    """A new account with its first token."""
    return types.NewAccountView(**_account_fields(account), token=token)


def _token_fields(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role.label,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
        "revoked_at": token.revoked_at,
    }


def token_view(token: Token) -> types.TokenView:
    """A token as it is kept."""
    return types.TokenView(**_token_fields(token))


def new_token_view(token: Token, plain: str) -> types.NewTokenView:
    """A new token, with the token itself."""
    return types.NewTokenView(**_token_fields(token), token=plain)


def audit_view(event: AuditEvent) -> types.AuditView:
    """One line of the audit trail."""
    return types.AuditView(
        id=event.id,
        at=event.at,
        actor=event.actor,
        role=event.role,
        action=event.action,
        target=event.target,
        source_ip=event.source_ip,
        request_id=event.request_id,
        result=event.result,
        detail=dict(event.detail),
    )
