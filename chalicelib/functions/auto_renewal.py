"""Certificates of the built-in CA that renew by themselves, when they are told to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from chalicelib.domain.errors import CerthavenError, Conflict, NotFound, TooManyRequests
from chalicelib.domain.model import Caller, Certificate, Role
from chalicelib.domain.renewals import PlannedRenewal, renewal_at, wait_after
from chalicelib.functions.audit import Audit
from chalicelib.functions.pca_renewal import PcaRenewal
from chalicelib.ports import CertificateStore, Clock, RenewalStore


class AutoRenewal:
    """Plans renewals and carries them out."""

    def __init__(
        self, plans: RenewalStore, store: CertificateStore, renewal: PcaRenewal, audit: Audit, clock: Clock
    ) -> None:
        self._plans = plans
        self._store = store
        self._renewal = renewal
        self._audit = audit
        self._clock = clock

    def plan(self, caller: Caller, certificate_id: str) -> None:
        """Plan the renewal of a certificate that is about to be told to renew by itself.

        Raises: NotFound. InvalidRequest: `SourceCannotRenew`. Conflict: `AlreadyReplaced`.
        """
        certificate = self._store.get(caller.account_id, certificate_id)
        self._renewal.check(certificate)
        self._keep(certificate)

    def run(self) -> Mapping[str, int]:
        """Renew what is due.

        Returns:
            How many were renewed, and how many failed and will be tried again.

        Raises:
            ExceptionGroup: what failed unforeseen, after everything else was done.
        """
        counts = {"renewed": 0, "failed": 0}
        failures: list[Exception] = []
        for planned in self._plans.due(self._clock()):
            try:
                outcome = self._renew(planned)
            except Exception as failure:  # noqa: BLE001 - raised below
                failures.append(failure)
                continue
            if outcome is not None:
                counts[outcome] += 1
        if failures:
            raise ExceptionGroup("renewals failed", failures)
        return counts

    def _renew(self, planned: PlannedRenewal) -> str | None:
        """Renew one, unless that is no longer wanted; what was done, if anything."""
        certificate = self._store.several(planned.account_id, [planned.certificate_id]).get(planned.certificate_id)
        if certificate is None or not certificate.auto_renew or certificate.revoked_at is not None:
            self._plans.done(planned)
            return None
        caller = Caller(planned.account_id, Role.MANAGER, "auto-renewal", "", "schedule")
        try:
            new, _ = self._renewal.renew(caller, certificate.id)
        except (Conflict, NotFound) as refusal:
            if refusal.code != "AlreadyReplaced":
                return self._failed(caller, planned, certificate, refusal)
            # By a run that was killed before it planned the next one, or by hand.
            self._plan_next(certificate)
            self._plans.done(planned)
            return None
        except TooManyRequests:
            raise
        except CerthavenError as refusal:
            return self._failed(caller, planned, certificate, refusal)
        except Exception:
            self._failed(caller, planned, certificate, CerthavenError("InternalError", "The renewal failed."))
            raise
        self._keep(new)
        self._plans.done(planned)
        return "renewed"

    def _plan_next(self, certificate: Certificate) -> None:
        found = self._store.several(certificate.account_id, [certificate.replaced_by or ""])
        for new in found.values():
            if new.auto_renew:
                self._keep(new)

    def _keep(self, certificate: Certificate) -> None:
        self._plans.plan(PlannedRenewal(certificate.account_id, certificate.id, renewal_at(certificate)))

    def _failed(
        self, caller: Caller, planned: PlannedRenewal, certificate: Certificate, refusal: CerthavenError
    ) -> str:
        """Say on the certificate and in the trail what stood in the way, and try again later."""
        self._audit.refused(caller, "certificate.renew", certificate.id, refusal.code)
        if certificate.renewal_problem != refusal.code:
            told = replace(
                certificate,
                renewal_problem=refusal.code,
                version=certificate.version + 1,
                updated_at=self._clock(),
            )
            event = self._audit.event(caller, "certificate.renewal-failed", certificate.id, code=refusal.code)
            self._store.update(certificate, told, event)
        later = self._clock() + wait_after(planned.tries)
        self._plans.plan(replace(planned, at=later, tries=planned.tries + 1))
        self._plans.done(planned)
        return "failed"
