"""Uploads per second: through the function on moto, and through the running service over HTTP."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx

from chalicelib.config import Settings
from chalicelib.domain.model import Caller, Role
from chalicelib.domain.reading import Bundle
from chalicelib.functions.upload_validate import Upload
from chalicelib.wiring import AwsServices
from tests.e2e.conftest import Stack, free_port
from tests.support.authority import Authority, Issued
from tests.support.tables import REGION, moto_aws

KINDS = {"RSA-2048": "rsa2048", "ECDSA P-256": "p256"}
COUNT = 100
CLIENTS = 8
#: Uploads before anything is measured: each client's functions have to start first.
WARM = 5 * CLIENTS
CALLER = Caller("1000000000000001", Role.MANAGER, "token", "192.0.2.1", "request")


def on_moto() -> Iterator[tuple[str, float]]:
    """Name of each kind, and its uploads per second."""
    for name, kind in KINDS.items():
        bundles = [Bundle(leaf.pem, leaf.key_pem, chain) for leaf, chain in _leaves(kind, COUNT + 1)]
        with moto_aws() as prefix:
            key = boto3.client("kms", region_name=REGION).create_key()["KeyMetadata"]["KeyId"]
            services = AwsServices(Settings(region=REGION, table_prefix=prefix, kms_key_id=key))
            services.upload_validate.upload(CALLER, Upload(bundles.pop()))
            began = time.perf_counter()
            for bundle in bundles:
                services.upload_validate.upload(CALLER, Upload(bundle))
            yield name, COUNT / (time.perf_counter() - began)


def on_the_running_service() -> Iterator[tuple[str, float, float]]:
    """Name of each kind, and its uploads per second with one client and with several."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), free_port())
        stack.start()
        try:
            for name, kind in KINDS.items():
                leaves = list(_leaves(kind, 2 * COUNT + WARM))
                bodies = [
                    {"certificate": leaf.pem, "private_key": leaf.key_pem, "chain": chain} for leaf, chain in leaves
                ]
                _rate(stack, bodies[:WARM], CLIENTS)
                alone = _rate(stack, bodies[WARM : WARM + COUNT], 1)
                yield name, alone, _rate(stack, bodies[WARM + COUNT :], CLIENTS)
        finally:
            stack.stop()


def _rate(stack: Stack, bodies: list[dict[str, Any]], clients: int) -> float:
    def work(own: list[dict[str, Any]]) -> None:
        with stack.client() as client:
            for body in own:
                _upload(client, body)

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(work, (bodies[number::clients] for number in range(clients))))
    return len(bodies) / (time.perf_counter() - began)


def _upload(client: httpx.Client, body: dict[str, Any]) -> None:
    answer = client.post("/v1/certificates", json=body)
    assert answer.status_code == httpx.codes.CREATED, answer.text


def _leaves(kind: str, count: int) -> Iterator[tuple[Issued, str]]:
    """Leaves that are valid today, each with its two intermediates; they share one key, which nothing minds."""
    begin = datetime.now(UTC) - timedelta(days=1)
    root = Authority.root(kind=kind, not_before=begin)
    upper = root.intermediate("Upper", number=1001, kind=kind, not_before=begin)
    lower = upper.intermediate("Lower", number=1002, kind=kind, not_before=begin)
    for number in range(count):
        yield lower.issue(f"host-{number}.example.com", kind=kind, not_before=begin), lower.pem + upper.pem
