"""What every key vault does."""

from __future__ import annotations

from dataclasses import replace

import boto3
import pytest

from chalicelib.domain.model import KeyContext
from chalicelib.ports import KeyVaultError
from chalicelib.vault import KmsKeyVault
from tests.support.fakes import MemoryKeyVault
from tests.support.tables import REGION

CONTEXT = KeyContext("1000000000000001", "certificate-1", "f" * 64)
KEYS = {"signing": b"a private key", "encryption": b"another"}


@pytest.fixture(params=["fake", "kms"])
def vault(request):
    if request.param == "fake":
        return MemoryKeyVault()
    request.getfixturevalue("aws")
    client = boto3.client("kms", region_name=REGION)
    return KmsKeyVault(client, client.create_key()["KeyMetadata"]["KeyId"])


def test_sealed_keys_open_under_their_own_context(vault):
    assert dict(vault.open(CONTEXT, vault.seal(CONTEXT, KEYS))) == KEYS


def test_a_sealed_key_shows_nothing_of_itself(vault):
    sealed = vault.seal(CONTEXT, KEYS)
    assert b"a private key" not in b"".join(sealed.boxes.values()) + sealed.data_key


def test_the_same_key_is_sealed_differently_each_time(vault):
    assert vault.seal(CONTEXT, KEYS).boxes != vault.seal(CONTEXT, KEYS).boxes


@pytest.mark.parametrize("field", ["account_id", "object_id", "fingerprint"])
def test_sealed_keys_do_not_open_under_another_context(vault, field):
    sealed = vault.seal(CONTEXT, KEYS)
    with pytest.raises(KeyVaultError):
        vault.open(replace(CONTEXT, **{field: "another"}), sealed)


def test_a_changed_box_does_not_open(vault):
    sealed = vault.seal(CONTEXT, KEYS)
    box = sealed.boxes["signing"]
    changed = replace(sealed, boxes={**sealed.boxes, "signing": box[:-1] + bytes([box[-1] ^ 1])})
    with pytest.raises(KeyVaultError):
        vault.open(CONTEXT, changed)


def test_boxes_do_not_open_under_each_others_names(vault):
    sealed = vault.seal(CONTEXT, KEYS)
    swapped = replace(
        sealed, boxes={"signing": sealed.boxes["encryption"], "encryption": sealed.boxes["signing"]}
    )
    with pytest.raises(KeyVaultError):
        vault.open(CONTEXT, swapped)
