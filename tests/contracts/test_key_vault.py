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
KEYS = {"signing": b"a private key", "encryption": b"another private key"}


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
    swapped = replace(sealed, boxes={"signing": sealed.boxes["encryption"], "encryption": sealed.boxes["signing"]})
    with pytest.raises(KeyVaultError):
        vault.open(CONTEXT, swapped)


def test_a_changed_data_key_opens_nothing(vault):
    sealed = vault.seal(CONTEXT, KEYS)
    for changed in (sealed.data_key[:-1], sealed.data_key[:-1] + bytes([sealed.data_key[-1] ^ 1]), b"x"):
        with pytest.raises(KeyVaultError):
            vault.open(CONTEXT, replace(sealed, data_key=changed))


def test_a_box_cut_short_does_not_open(vault):
    sealed = vault.seal(CONTEXT, KEYS)
    for length in (0, 1, 7, 8, 11, 12, 13, 27, 28, len(sealed.boxes["signing"]) - 1):
        boxes = {**sealed.boxes, "signing": sealed.boxes["signing"][:length]}
        with pytest.raises(KeyVaultError):
            vault.open(CONTEXT, replace(sealed, boxes=boxes))


def test_a_box_of_another_record_does_not_open(vault):
    other = replace(CONTEXT, object_id="certificate-2")
    one, two = vault.seal(CONTEXT, KEYS), vault.seal(other, KEYS)
    with pytest.raises(KeyVaultError):
        vault.open(CONTEXT, replace(one, boxes=two.boxes))


def test_neither_errors_nor_representations_show_a_key(vault):
    sealed = vault.seal(CONTEXT, KEYS)
    with pytest.raises(KeyVaultError) as refused:
        vault.open(replace(CONTEXT, account_id="another"), sealed)
    seen, error = [repr(vault), repr(sealed)], refused.value
    while error is not None:
        seen += [str(error), repr(error), repr(vars(error))]
        error = error.__context__
    for key in KEYS.values():
        assert key.decode() not in " ".join(seen)
