"""What the tests share: the quick start's server and clients of both SDKs. KEYSTEAD_QUICKSTART names another quickstart.json."""

import os
import uuid

import pytest
from alibabacloud_kms20160120.client import Client as OpenApiClient
from alibabacloud_kms20160120 import models as openapi
from alibabacloud_tea_openapi.models import Config as OpenApiConfig

from clients import instance_client, quickstart, read

QUICKSTART = quickstart(os.environ.get("KEYSTEAD_QUICKSTART", "var/quickstart.json"))


@pytest.fixture(scope="session", params=QUICKSTART["instances"], ids=lambda instance: instance["kind"])
def instance(request):
    return request.param


@pytest.fixture(scope="session")
def client(instance):
    return instance_client(instance)


def operator_at(at):
    key = QUICKSTART["control"]
    return OpenApiClient(
        OpenApiConfig(
            access_key_id=key["access_key_id"],
            access_key_secret=read(key["access_key_secret_file"]),
            endpoint=at["endpoint"],
            protocol="HTTPS",
            ca=at["ca_file"],
        )
    )


@pytest.fixture(scope="session")
def control():
    """An operator at the shared gateway, by the OpenAPI SDK."""
    return operator_at(QUICKSTART["control"])


@pytest.fixture(scope="session")
def control_of_instance(instance):
    """The same operator at the endpoint of an instance."""
    return operator_at(instance)


@pytest.fixture
def name():
    """A name that nobody else uses."""
    return f"test-{uuid.uuid4()}"


@pytest.fixture
def access_point(control, name, tmp_path):
    """Makes a policy, an access point and a client key, gives a client of them; removes them at the end."""
    made = []

    def make(instance, resources, rules=None, not_before=None, not_after=None):
        policy = openapi.CreatePolicyRequest(
            name=name,
            kms_instance=instance["instance_id"],
            permissions='["RbacPermission/Template/CryptoServiceKeyUser"]',
            resources=resources,
            access_control_rules=rules,
        )
        control.create_policy(policy)
        made.append(lambda: control.delete_policy(openapi.DeletePolicyRequest(name=name)))
        control.create_application_access_point(
            openapi.CreateApplicationAccessPointRequest(name=name, authentication_method="ClientKey", policies=f'["{name}"]')
        )
        made.append(lambda: control.delete_application_access_point(openapi.DeleteApplicationAccessPointRequest(name=name)))
        key = control.create_client_key(
            openapi.CreateClientKeyRequest(aap_name=name, password="Example-Pass1", not_before=not_before, not_after=not_after)
        ).body
        path = tmp_path / "clientKey.json"
        path.write_text('{"KeyId":"%s","PrivateKeyData":"%s"}' % (key.client_key_id, key.private_key_data))
        return instance_client(instance, str(path), "Example-Pass1")

    yield make
    for remove in reversed(made):
        remove()
