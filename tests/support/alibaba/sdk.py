"""The official SDKs of Alibaba Cloud against the emulation, in short words."""

from __future__ import annotations

from alibabacloud_cas20200407 import models as cas_models
from alibabacloud_cas20200407.client import Client as CasClient
from alibabacloud_cas20200630 import models as pca_models
from alibabacloud_cas20200630.client import Client as PcaClient
from alibabacloud_tea_openapi.utils_models import Config, OpenApiRequest, Params
from darabonba.runtime import RuntimeOptions

from tests.support.alibaba import world
from tests.support.alibaba.server import KEY

#: Passphrase of the private keys that are asked for, of every kind of character that is allowed.
CODE = "Secret,.+-_#1"


def config(double, credential=KEY, **more):
    return Config(
        access_key_id=credential.access_key_id,
        access_key_secret=credential.access_key_secret,
        security_token=credential.security_token,
        endpoint=double.address,
        protocol="http",
        connect_timeout=5000,
        read_timeout=5000,
        **more,
    )


def pca(double, credential=KEY, **more):
    return PcaClient(config(double, credential, **more))


def cas(double, credential=KEY):
    return CasClient(config(double, credential))


def call(double, version, action, parameters):
    """By the generic client, as the plug-ins do: parameters in the form."""
    params = Params(
        action=action, version=version, protocol="HTTP", pathname="/", method="POST",
        auth_type="AK", style="RPC", req_body_type="formData", body_type="json",
    )  # fmt: skip
    return pca(double).call_api(params, OpenApiRequest(body=parameters), RuntimeOptions())["body"]


def create_root(client):
    request = pca_models.CreateRootCACertificateRequest(
        algorithm="ECC_256", common_name="Root", organization="Example", organization_unit="Operations",
        locality="Hangzhou", state="Zhejiang", country_code="CN", years=10,
    )  # fmt: skip
    return client.create_root_cacertificate(request).body


def create_intermediate(client, algorithm="ECC_256"):
    request = pca_models.CreateSubCACertificateRequest(
        algorithm=algorithm, common_name="Intermediate", organization="Example", organization_unit="Operations",
        locality="Hangzhou", state="Zhejiang", years=5, parent_identifier=create_root(client).identifier,
    )  # fmt: skip
    return client.create_sub_cacertificate(request).body


def create_server(client, parent, name="www.example.com", algorithm="ECC_256", **more):
    request = pca_models.CreateServerCertificateRequest(
        parent_identifier=parent, common_name=name, algorithm=algorithm, **{"days": 90, **more}
    )
    return client.create_server_certificate(request).body


def authorities(client, **filters):
    return client.describe_cacertificate_list(pca_models.DescribeCACertificateListRequest(**filters)).body


def issued(client, identifier="", **paging):
    return client.list_client_certificate(pca_models.ListClientCertificateRequest(identifier=identifier, **paging)).body


def detail(client, identifier):
    request = pca_models.DescribeClientCertificateRequest(identifier=identifier)
    return client.describe_client_certificate(request).body.certificate


def private_key(client, identifier, code=CODE):
    request = pca_models.DescribeCertificatePrivateKeyRequest(identifier=identifier, encrypted_code=code)
    return client.describe_certificate_private_key(request).body.encrypted_data


def active(client):
    found = authorities(client, cert_type="subRoot", ca_status="issue").certificate_list
    return next(one.identifier for one in found if one.common_name == world.ACTIVE)


def by_name(client):
    return {one.common_name: one for one in issued(client, active(client), show_size=100).certificate_list}


def uploaded(client, name="one", pem=None, key=None, **more):
    request = cas_models.UploadUserCertificateRequest(name=name, cert=pem, key=key, **more)
    return client.upload_user_certificate(request).body


def orders(client, kind, **more):
    return client.list_user_certificate_order(cas_models.ListUserCertificateOrderRequest(order_type=kind, **more)).body
