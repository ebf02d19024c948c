"""Batch synchronisation of 10,000 certificates of the built-in CA: certificates per second, and DynamoDB's units."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

from cryptography import x509
from cryptography.x509.oid import NameOID

from chalicelib.config import Settings
from chalicelib.domain import keys, pem
from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.issuing import Issuer, make_certificate
from chalicelib.domain.model import Caller, KeyContext, Material, Role, SealedKeys
from chalicelib.domain.pca import Authority, IssuedCertificate, issued_object_id
from chalicelib.domain.pca_specs import AuthoritySpec
from chalicelib.domain.sync import SyncJob, Task
from chalicelib.functions.audit import new_id
from chalicelib.store.authorities import _issued_row
from chalicelib.store.materials import material_row
from chalicelib.store.tables import IssuedRow, MaterialRow
from chalicelib.wiring import AwsServices
from tests.e2e.conftest import Stack, free_port
from tests.support.capacity import Meter, WrittenSizes, metered

COUNT = 10_000
#: A whole job may take so long, in seconds.
PATIENCE = 600


class InProcess:
    """A queue that is worked off here, so that what the workers ask of DynamoDB can be counted."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def send(self, tasks: Sequence[Task], *, delay: int = 0) -> None:
        """Keep messages."""
        del delay
        self.tasks += tasks


@dataclass(frozen=True)
class Figures:
    """What a run over all certificates took.

    Attributes:
        rate: certificates per second.
        write: write units for each certificate; 0 where they cannot be counted.
        read: read units for each.
        uploaded: how many came into the inventory.
    """

    rate: float
    write: float
    read: float
    uploaded: int


@contextmanager
def _service() -> Iterator[tuple[Stack, AwsServices]]:
    """The running service, and its functions in this process over the same tables."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), free_port())
        stack.start()
        environment = {name: value for name, value in stack.values.items() if name.startswith("AWS_")}
        try:
            with mock.patch.dict(os.environ, environment):
                key = stack.aws("kms").list_keys()["Keys"][0]["KeyArn"]
                settings = Settings(region="us-east-1", table_prefix="certhaven-local-", kms_key_id=key)
                yield stack, AwsServices(settings)
        finally:
            stack.stop()


def measure() -> Iterator[tuple[str, Figures]]:
    """Each run's name and figures: one worker here, counted; its repeat; then the service's own workers."""
    with _service() as (stack, services):
        services.sync_queue = InProcess()
        caller = Caller(stack.values["CERTHAVEN_ACCOUNT"], Role.ADMIN, "benchmark", "", "benchmark")
        first, second = (_filled(services, caller) for _ in range(2))
        yield "one worker", _worked_off(services, caller, first)
        yield "its repeat", _worked_off(services, caller, first)
        yield "the service", _by_the_service(stack, second)


def _worked_off(services: AwsServices, caller: Caller, ca: Authority) -> Figures:
    queue = services.sync_queue
    assert isinstance(queue, InProcess)
    with metered(WrittenSizes()) as meter:
        began = time.perf_counter()
        job = services.pca_batch_sync.start(caller, ca.id, None, source=None, region=None)
        while queue.tasks:
            services.pca_batch_sync.run(queue.tasks.pop(0), last_try=False)
        seconds = time.perf_counter() - began
    return _figures(services.pca_batch_sync.job(caller, job.id)[0], seconds, meter)


def _figures(job: SyncJob, seconds: float, meter: Meter) -> Figures:
    assert job.done
    assert job.uploaded + job.skipped == job.total == COUNT
    return Figures(COUNT / seconds, meter.write / COUNT, meter.read / COUNT, job.uploaded)


def _by_the_service(stack: Stack, ca: Authority) -> Figures:
    with stack.client() as client:
        began = time.perf_counter()
        job = client.post("/v1/pca/sync-jobs", json={"ca": ca.id}).json()
        while job["state"] != "done" and time.perf_counter() - began < PATIENCE:
            time.sleep(0.5)
            job = client.get(f"/v1/pca/sync-jobs/{job['id']}").json()
        seconds = time.perf_counter() - began
    assert job["uploaded"] == COUNT, job
    return Figures(COUNT / seconds, 0, 0, job["uploaded"])


@dataclass(frozen=True)
class _Issuing:
    """An authority that issues for a benchmark: one sealed key for all, since synchronising opens none."""

    ca: Authority
    signer: Issuer
    chain: tuple[str, ...]
    sealed: SealedKeys

    def issue(self, certificate_id: str, host: str) -> tuple[IssuedCertificate, Material]:
        """A certificate as the CA keeps it."""
        key = keys.generate("ECC", 256)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        now = datetime.now(UTC)
        der = make_certificate(
            subject, [x509.DNSName(host)], key.public, self.signer, now=now, days=365, usage="server"
        )
        made = ParsedCertificate(der)
        issued = IssuedCertificate(
            id=f"{self.ca.id}.{certificate_id}",
            authority_id=self.ca.id,
            common_name=host,
            sans=(host,),
            serial_number=made.serial_number,
            not_before=made.not_before,
            not_after=made.not_after,
            fingerprint=made.fingerprint,
            algorithm=made.public_key.kind,
            key_size=made.public_key.size,
            usage="server",
            has_private_key=True,
        )
        text = pem.encode("CERTIFICATE", der)
        return issued, Material(text, self.chain, None, self.sealed, (), (host,))


def _filled(services: AwsServices, caller: Caller) -> Authority:
    """A new intermediate with all its certificates, written as the CA writes them, but many to a request."""
    ours = services.private_ca
    root = ours.create(caller, AuthoritySpec(kind="root", common_name="Example Root", algorithm="ECC"))
    spec = AuthoritySpec(kind="intermediate", common_name="Example Issuing", parent=root.id, algorithm="ECC")
    ca = ours.create(caller, spec)
    context = KeyContext(caller.account_id, "benchmark", "0" * 64)
    sealed = services.vault.seal(context, {"signing": keys.generate("ECC", 256).pem()})
    signer = ours._signer(ca)  # noqa: SLF001 - issuing 10,000 through it takes minutes
    issuing = _Issuing(ca, signer, (ca.certificate, root.certificate), sealed)
    with IssuedRow.batch_write() as rows, MaterialRow.batch_write() as materials:
        for number in range(COUNT):
            issued, material = issuing.issue(new_id(services.clock), f"host-{number:05}.example.com")
            rows.save(_issued_row(caller.account_id, issued))
            materials.save(material_row(caller.account_id, issued_object_id(issued.id), material))
    return ca
