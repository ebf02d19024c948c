"""What a newcomer finds: a root, two intermediates of which one is revoked, and certificates of every kind.

All is made by the domain's own code; names and identifiers are the same in every new world.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography import x509

from chalicelib.domain import issuing, keys
from tests.support.alibaba import cas, certificates, issue
from tests.support.alibaba.pca import Pca
from tests.support.alibaba.protocol import Parameters
from tests.support.alibaba.state import State

ROOT = "Example Root CA"
ACTIVE = "Example Services CA"
RETIRED = "Example Services CA (retired)"

#: Certificates below the active intermediate, by what is special about them.
EXPIRED = "legacy.example.com"
REVOKED = "old-mail.example.com"
TWO_YEARS = "kiosk.example.com"
DAMAGED = "damaged.example.com"
RSA = "partner.example.com"
WITHOUT_KEY = ("hsm.example.com", "appliance.example.com")
SERVERS = tuple(
    f"{name}.example.com"
    for name in (
        "www", "shop", "api", "mail", "vpn", "wiki", "git", "ci", "chat", "files", "search", "status", "login", "cdn",
    )
)  # fmt: skip
CLIENTS = ("Batch Importer", "Billing Service", "Backup Agent", "Monitoring Probe")
#: All of them: common names as the list gives them, the newest first.
NAMES = tuple(reversed((*SERVERS, RSA, *CLIENTS, TWO_YEARS, *WITHOUT_KEY, REVOKED, EXPIRED, DAMAGED)))
#: How long all but `TWO_YEARS` are valid.
USUAL_DAYS = 300


def seed(state: State, clock: Callable[[], datetime]) -> None:
    """Fill an empty state; one that holds something is left as it is."""
    with state.lock:
        if not state.is_empty:
            return
        _fill(state, clock)
        state.save()


def _fill(state: State, clock: Callable[[], datetime]) -> None:
    pca = Pca(state, clock)
    root = pca.create_root(_authority(ROOT, Years="10"))["Identifier"]
    retired = pca.create_intermediate(_authority(RETIRED, Years="5", ParentIdentifier=root))["Identifier"]
    _add(pca, retired, "retired.example.com")
    pca.revoke_authority(Parameters({"Identifier": retired, "Status": "REVOKE"}))
    active = pca.create_intermediate(_authority(ACTIVE, Years="5", ParentIdentifier=root))["Identifier"]
    fill(pca, active, SERVERS)
    _add(pca, active, RSA, algorithm="RSA_2048")
    for name in CLIENTS:
        mail = f"{name.lower().replace(' ', '-')}@example.com"
        given = {"CommonName": name, "Days": str(USUAL_DAYS), "SanType": "1", "SanValue": mail}
        pca.create(Parameters({**given, "ParentIdentifier": active, "Algorithm": "ECC_256"}), "client")
    _add(pca, active, TWO_YEARS, days=730)
    for name in WITHOUT_KEY:
        _add_without_key(pca, active, name, clock())
    pca.revoke(Parameters({"Identifier": _add(pca, active, REVOKED)}))
    _add_expired(pca, active, clock())
    record = pca.find(_add(pca, active, DAMAGED))
    record["fields"]["X509Certificate"] = certificates.damaged(record["fields"]["X509Certificate"])
    for name, status in (("www.example.com", "ISSUED"), ("new.example.com", "PAYED")):
        number = state.next_number()
        state["orders"][str(number)] = cas.order(number, name, status, clock() - timedelta(days=20))


def fill(pca: Pca, authority: str, names: tuple[str, ...]) -> None:
    """Have an authority issue to some servers."""
    for name in names:
        _add(pca, authority, name)


def _authority(name: str, **more: str) -> Parameters:
    told = {
        "CommonName": name,
        "Organization": "Example",
        "OrganizationUnit": "Operations",
        "Locality": "Hangzhou",
        "State": "Zhejiang",
        "CountryCode": "CN",
        "Algorithm": "ECC_256",
    }
    return Parameters({**told, **more})


def _add(pca: Pca, authority: str, name: str, *, days: int = USUAL_DAYS, algorithm: str = "ECC_256") -> str:
    given = {"ParentIdentifier": authority, "CommonName": name, "Days": str(days), "Algorithm": algorithm}
    return pca.create(Parameters(given), "server")["Identifier"]


def _add_without_key(pca: Pca, authority: str, name: str, now: datetime) -> str:
    """As for a CSR that was made elsewhere: the key is not Alibaba's."""
    return _add_made(pca, authority, name, now, keep_key=False)


def _add_expired(pca: Pca, authority: str, now: datetime) -> str:
    return _add_made(pca, authority, EXPIRED, now - timedelta(days=USUAL_DAYS + 30), keep_key=True)


def _add_made(pca: Pca, authority: str, name: str, now: datetime, *, keep_key: bool) -> str:
    parent = pca.find_authority(authority)
    key = keys.generate("ECC", 256)
    der = issuing.make_certificate(
        certificates.subject(Organization="Example", CommonName=name),
        [x509.DNSName(name)],
        key.public,
        certificates.issuer(parent),
        now=now,
        days=USUAL_DAYS,
        usage="server",
    )
    made = issue.record(der, parent, "server", key if keep_key else None)
    return pca.add(made)["Identifier"]
