"""Envelope encryption of private keys (NIST SP 800-38D for AES-GCM).

One KMS data key for each certificate or CSR; each key under it in a box of its own. What a box belongs to
(account, object, fingerprint) is associated data of the cipher and KMS encryption context, so that a sealed
key that is moved to another record cannot be opened there. Plain keys live in memory only while needed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chalicelib.domain.model import KeyContext, SealedKeys
from chalicelib.ports import KeyVaultError

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

#: 96 random bits; a data key seals two boxes at most, so nonces do not meet.
NONCE_BYTES: Final = 12
_REFUSED: Final = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})


class KmsKeyVault:
    """Implements `chalicelib.ports.KeyVault` with AWS KMS."""

    def __init__(self, client: KMSClient, key_id: str) -> None:
        self._client = client
        self._key_id = key_id

    def seal(self, context: KeyContext, keys: Mapping[str, bytes]) -> SealedKeys:
        """Encrypt keys under a new data key: one KMS request."""
        made = self._client.generate_data_key(
            KeyId=self._key_id, KeySpec="AES_256", EncryptionContext=context.as_mapping()
        )
        cipher = AESGCM(made["Plaintext"])
        boxes = {}
        for name, plain in keys.items():
            nonce = os.urandom(NONCE_BYTES)
            boxes[name] = nonce + cipher.encrypt(nonce, plain, associated_data(context, name))
        return SealedKeys(kms_key_id=made["KeyId"], data_key=made["CiphertextBlob"], boxes=boxes)

    def open(self, context: KeyContext, sealed: SealedKeys) -> Mapping[str, bytes]:
        """The keys again: one KMS request."""
        try:
            answer = self._client.decrypt(
                CiphertextBlob=sealed.data_key, KeyId=sealed.kms_key_id, EncryptionContext=context.as_mapping()
            )
            cipher = AESGCM(answer["Plaintext"])
            return {
                name: cipher.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], associated_data(context, name))
                for name, box in sealed.boxes.items()
            }
        except (InvalidTag, ValueError):  # the latter for a box that is too short to hold a nonce
            raise KeyVaultError("a sealed key was changed, or belongs to another record") from None
        except ClientError as error:
            if error.response["Error"]["Code"] in _REFUSED:
                raise KeyVaultError("KMS refused a data key: it was changed, or belongs to another record") from None
            raise


def associated_data(context: KeyContext, name: str) -> bytes:
    """What binds a box to its record and to its name within it."""
    return json.dumps({**context.as_mapping(), "key": name}, sort_keys=True, separators=(",", ":")).encode()
