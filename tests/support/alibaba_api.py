"""Alibaba Cloud PCA without Alibaba Cloud: a fake of `AlibabaApi`, and the kit that the plug-in is built from."""

from __future__ import annotations

import json
from collections import Counter

from cryptography.x509 import DNSName, SubjectAlternativeName

from chalicelib.domain.pca import AuthorityRef
from chalicelib.ports import AlibabaError, SourceKit
from chalicelib.sources import alibaba
from tests.support.authority import Authority, Issued
from tests.support.fakes import FixedClock
from tests.support.records import ACCOUNT

REGION = "cn-hangzhou"
REF = AuthorityRef("alibaba", REGION, "middle")
PLACE = "the secret local/alibaba of AWS Secrets Manager"
KEYS = {"access_key_id": "LTAI5tFake", "access_key_secret": "fake-secret"}


class Given:
    """Credentials of every account, by provider."""

    def __init__(self, **providers):
        self.providers = providers

    def get(self, account_id, provider):
        return self.providers.get(provider)

    def place(self, account_id, provider):
        return PLACE


class FakePca:
    """A fake: answers as the models of the official SDK have it, from lists that a test fills and spoils.

    Attributes:
        authorities: fields by identifier, in order.
        issued: so too, of certificates.
        keys: what `DescribeCertificatePrivateKey` makes of a passphrase, by identifier.
        filters: whether the list of certificates can be had for one CA, which the documents do not say.
        shows: the most items of a page, whatever is asked for.
        refusals: errors by action; one stays until it is taken out.
        revoked: milliseconds by serial number, as the status action has them.
        calls: actions with their parameters.
    """

    def __init__(self, *, filters=True, shows=1000):
        self.authorities = {}
        self.issued = {}
        self.keys = {}
        self.filters = filters
        self.shows = shows
        self.refusals = {}
        self.revoked = {}
        self.calls = []

    @property
    def asked(self):
        return Counter(action for action, _ in self.calls)

    def add_authority(self, identifier, made, parent=None, **more):
        self.authorities[identifier] = {
            **described(made),
            "Identifier": identifier,
            "CertificateType": "SUB_ROOT" if parent else "ROOT",
            "Status": "ISSUE",
            **({"ParentIdentifier": parent} if parent else {}),
            **more,
        }

    def add(self, identifier, made, parent, chain=(), key=True, **more):
        self.issued[identifier] = {
            **described(made),
            "Identifier": identifier,
            "ParentIdentifier": parent,
            "CertificateType": "SERVER",
            "Status": "ISSUE",
            "CertChain": "".join(above.pem for above in chain),
            **more,
        }
        if key:
            self.keys[identifier] = lambda passphrase: made.key_as("pkcs8", passphrase.encode())

    def call(self, action, parameters):
        given = {name: value for name, value in parameters.items() if value is not None}
        self.calls.append((action, given))
        if action in self.refusals:
            raise self.refusals[action]
        return getattr(self, f"_{action}")(**given)

    def _page(self, items, number, size):
        size = min(size, self.shows)
        shown = items[(number - 1) * size : number * size]
        return {"CertificateList": shown, "CurrentPage": number, "ShowSize": size, "TotalCount": len(items)}

    def _DescribeCACertificateList(self, CurrentPage, ShowSize):  # noqa: N802, N803 - Alibaba's names
        return self._page(list(self.authorities.values()), CurrentPage, ShowSize)

    def _DescribeCACertificate(self, Identifier):  # noqa: N802, N803
        return {"Certificate": self._one(self.authorities, Identifier)}

    def _ListClientCertificate(self, CurrentPage, ShowSize, Identifier=None):  # noqa: N802, N803
        wanted = {"ParentIdentifier", "Identifier"} if self.filters else {"Identifier"}
        found = [f for f in self.issued.values() if Identifier is None or Identifier in {f[name] for name in wanted}]
        return self._page(found, CurrentPage, ShowSize)

    def _DescribeClientCertificate(self, Identifier):  # noqa: N802, N803
        return {"Certificate": self._one(self.issued, Identifier)}

    def _DescribeClientCertificateStatus(self, Identifier):  # noqa: N802, N803
        serials = [self.issued[one]["SerialNumber"] for one in Identifier.split(",")]
        found = [{"SerialNumber": s, "Status": "revoked", "RevokeTime": self.revoked.get(s)} for s in serials]
        return {"CertificateStatus": found}

    def _DescribeCertificatePrivateKey(self, Identifier, EncryptedCode):  # noqa: N802, N803
        return {"EncryptedData": self._one(self.keys, Identifier)(EncryptedCode)}

    def _one(self, held, identifier):
        if identifier not in held:
            raise AlibabaError("NotFound", "There is no such thing.", 400, "request-1")
        return held[identifier]


def kit(client, clock=None, credentials=None, authorities=None):
    """What plug-ins are built from; `client` gives an `AlibabaApi` for account, version and region."""

    def nothing(*_):
        raise AssertionError("another cloud is asked")

    return SourceKit(
        region="eu-central-1",
        clock=clock or FixedClock(),
        authorities=authorities,
        credentials=credentials or Given(alibaba=KEYS),
        aws=nothing,
        alibaba=client or nothing,
    )


def described(made: Issued):
    """A certificate's fields as lists have them."""
    own = made.certificate
    names = [
        {"Type": 2, "Value": name}
        for extension in own.extensions
        if isinstance(extension.value, SubjectAlternativeName)
        for name in extension.value.get_values_for_type(DNSName)
    ]
    return {
        "X509Certificate": made.pem,
        "CommonName": own.subject.rdns[-1].rfc4514_string().removeprefix("CN="),
        "SubjectDN": own.subject.rfc4514_string(),
        "SerialNumber": f"{own.serial_number:X}",
        "Sha2": made.fingerprint.upper(),
        "Algorithm": "ECC",
        "KeySize": 256,
        "BeforeDate": int(own.not_valid_before_utc.timestamp() * 1000),
        "AfterDate": int(own.not_valid_after_utc.timestamp() * 1000),
        "Sans": json.dumps(names),
    }


class There:
    """A root, an intermediate, and the plug-in over the fake."""

    def __init__(self, **options):
        self.api = FakePca(**options)
        self.clock = FixedClock()
        self.credentials = Given(alibaba=KEYS)
        self.root = Authority.root("Root")
        self.middle = self.root.intermediate("Middle")
        self.api.add_authority("root", self.root)
        self.api.add_authority("middle", self.middle, "root")
        self.source = alibaba.build(kit(lambda *_: self.api, self.clock, self.credentials))

    def issue(self, identifier, *domains, parent="middle", **more):
        options = {field: more.pop(field) for field in ("number", "not_after", "kind") if field in more}
        made = self.middle.issue(*(domains or (f"{identifier}.example.com",)), **options)
        self.api.add(identifier, made, parent, (self.middle, self.root), **more)
        return made

    def cas(self, limit=100, cursor=None):
        return self.source.authorities(ACCOUNT, REGION, limit=limit, cursor=cursor)

    def page(self, limit=100, cursor=None, ref=REF):
        return self.source.certificates(ACCOUNT, ref, limit=limit, cursor=cursor)

    def everything(self, limit):
        """Each page of the list."""
        page = self.page(limit)
        yield page
        while page.cursor:
            page = self.page(limit, page.cursor)
            yield page

    def fetch(self, *ids, ref=REF):
        return dict(self.source.fetch(ACCOUNT, ref, ids))

    def refuse(self, action, code, status=400):
        self.api.refusals[action] = AlibabaError(code, "Words of theirs.", status, "request-1")
