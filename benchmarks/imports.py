"""Importing what a cold upload function imports, against importing the libraries that it cannot do without."""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.measure import Ratio
from infra.package import ROOT

LIMIT = 1.3
ROUNDS = 9
#: What receiving, checking, sealing and storing an upload takes, whoever writes it: Chalice receives, msgspec checks,
#: cryptography validates and seals, PynamoDB stores, botocore talks to KMS, Powertools logs.
FLOOR = """
import chalice, msgspec, ulid
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_der_private_key
import pynamodb.models, pynamodb.connection, pynamodb.transactions
import boto3
from aws_lambda_powertools import Logger
"""
#: The whole package as Lambda imports it, and what an upload has `wiring` import after that.
OURS = """
import app
import chalicelib.functions.access, chalicelib.functions.upload_validate, chalicelib.vault
import chalicelib.store.accounts, chalicelib.store.audit, chalicelib.store.certificates, chalicelib.store.csrs
import chalicelib.store.idempotency
import boto3
from aws_lambda_powertools import Logger
"""
_TIMED = "import time; began = time.perf_counter()\n{work}\nprint(time.perf_counter() - began)"


def measure() -> Ratio:
    """Both in fresh interpreters, in turns."""
    _seconds(OURS), _seconds(FLOOR)
    pairs = [(_seconds(OURS), _seconds(FLOOR)) for _ in range(ROUNDS)]
    return Ratio(
        ours=statistics.median(ours for ours, _ in pairs),
        floor=statistics.median(floor for _, floor in pairs),
        ratio=statistics.median(ours / floor for ours, floor in pairs),
    )


def _seconds(work: str) -> float:
    environment = {"AWS_DEFAULT_REGION": "us-east-1", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", _TIMED.format(work=work)], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    return float(done.stdout)
