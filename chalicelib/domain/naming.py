"""Names: what a certificate is called when nobody says, and which host names a domain pattern covers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from chalicelib.domain.certificate import ParsedCertificate

#: Longest name of a certificate or signing request, in characters.
MAX_NAME: Final = 63
#: How many characters of the id a derived name ends with: 50 bits of the fingerprint.
DERIVED_MARK: Final = 10
_DERIVED: Final = re.compile(f"~[0-9a-z]{{{DERIVED_MARK}}}$")
#: What separates labels beside the ASCII dot (UTS #46, 2.3).
_DOTS: Final = re.compile("[\u3002\uff0e\uff61]")


def suggested_name(leaf: ParsedCertificate) -> str:
    """``domain-year-algorithm``, as in ``example.com-2026-rsa2048``; the year is that of issue.

    A wildcard's ``*`` is written ``wildcard``. A long domain loses its leftmost characters.
    """
    domain = leaf.domains[0] if leaf.domains else (leaf.common_name or "certificate")
    domain = domain.replace("*", "wildcard")
    domain = "".join(c if c.isalnum() or c in "._-" else "-" for c in domain).strip("-.") or "certificate"
    tail = f"-{leaf.not_before.year}-{algorithm_slug(leaf)}"
    return domain[-(MAX_NAME - len(tail)) :].lstrip("-.") + tail


def algorithm_slug(leaf: ParsedCertificate) -> str:
    """The algorithm as names carry it: ``rsa2048``, ``ecdsa256``, ``ed25519``, ``sm2``."""
    key = leaf.public_key
    kind = key.kind.lower().replace("-", "").replace(" ", "")
    return f"{kind}{key.size}" if key.kind in {"RSA", "RSA-PSS", "ECDSA"} else kind


def derived_name(leaf: ParsedCertificate, certificate_id: str) -> str:
    """A name that no other certificate has, and nobody can choose: the suggested one, ``~``, and the end of the id."""
    tail = f"~{certificate_id[-DERIVED_MARK:].lower()}"
    return suggested_name(leaf)[: MAX_NAME - len(tail)] + tail


def is_derived(name: str) -> bool:
    """Whether a name is of the kind that `derived_name` makes, which nobody else may give."""
    return _DERIVED.search(name) is not None


def without_mark(name: str) -> str:
    """A derived name as it was suggested; any other as it is."""
    return _DERIVED.sub("", name)


def free_name(wanted: str, taken: Callable[[str], bool], mark: str) -> str:
    """`wanted`, or the first of ``wanted-2`` to ``wanted-5`` that is not taken, or one with the beginning of `mark`.

    Args:
        wanted: the name; it is cut to 63 characters with whatever is added.
        taken: asks whether a name is taken.
        mark: what no other certificate has, as its fingerprint.
    """
    for tail in ("", "-2", "-3", "-4", "-5"):
        name = wanted[: MAX_NAME - len(tail)] + tail
        if not taken(name):
            return name
    return f"{wanted[: MAX_NAME - 13]}-{mark[:12]}"


def to_ascii_domain(domain: str) -> str:
    """A domain as certificates hold it: lower case, without a final dot, IDN labels as A-labels.

    What people type is mapped first, as browsers do (RFC 5891; UTS #46, non-transitional). A label that cannot be
    encoded stays as it is: it matches nothing, which is the right answer.
    """
    typed = domain.strip().lower()
    if typed.isascii():
        return typed.rstrip(".")
    return ".".join(_a_label(label) for label in _DOTS.sub(".", typed).rstrip(".").split("."))


def _a_label(label: str) -> str:
    if label.isascii():
        return label
    import idna  # 8 ms of tables that few names need

    try:
        return idna.encode(label, uts46=True).decode("ascii")
    except idna.IDNAError:
        return label


def covers(pattern: str, host: str) -> bool:
    """Whether a certificate's name covers a host: equal, or a wildcard for exactly one label (RFC 9525, 6.3)."""
    if pattern == host:
        return True
    if not pattern.startswith("*."):
        return False
    first, _, rest = host.partition(".")
    return bool(first) and rest == pattern[2:]
