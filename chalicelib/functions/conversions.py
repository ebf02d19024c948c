"""The conversion tool. Nothing is stored, and what was sent is in no log and no audit record."""

from __future__ import annotations

from chalicelib.domain import formats
from chalicelib.domain.formats import Conversion


class Conversions:
    """Turns files of one format into another."""

    def convert(
        self,
        source: str,
        target: str,
        text: str,
        *,
        passphrase: str | None = None,
        output_passphrase: str | None = None,
    ) -> Conversion:
        """Convert a file; see `formats.convert` for which there are.

        Args:
            source: format of the input: pem, der, pfx, p12, jks, pkcs7, p7b or pkcs8.
            target: format wanted.
            text: PEM text, or a binary file in base64.
            passphrase: opens the input.
            output_passphrase: protects the output; for PFX, P12 and JKS `passphrase` does when it is absent.

        Raises:
            InvalidRequest: `FormatUnsupported`, `PassphraseMissing`. TooLarge: `RequestTooLarge`.
            Unprocessable: `PassphraseIncorrect`, `IterationsExceeded`, `FormatUnsupported`,
                `ConversionInputIncorrect`, or what is wrong with a private key (`CertificateRefused`).
        """
        return formats.convert(source, target, text, passphrase, output_passphrase)
