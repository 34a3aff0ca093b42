"""Programs without a stored secret: access points whose callers are the sessions of a role, by the SDKs of the STS and of the OpenAPI."""

import json

import pytest
from alibabacloud_kms20160120 import models as openapi
from conftest import QUICKSTART
from test_openapi import code_of
from test_openapi_permissions import encrypt, key, keystead, statement  # noqa: F401 (key is a fixture)
from test_sts import assume, client_of, role_and_user


@pytest.fixture
def alice(name, tmp_path):
    """An operator whose role has no policy."""
    with role_and_user(name, tmp_path) as client:
        yield client


@pytest.fixture
def access_point(alice, name, control, instance, key):
    """For the role, with a policy for one key of the instance."""
    policy = openapi.CreatePolicyRequest(
        name=name,
        kms_instance=instance["instance_id"],
        permissions='["RbacPermission/Template/CryptoServiceKeyUser"]',
        resources=f'["key/{key}"]',
    )
    control.create_policy(policy)
    made = openapi.CreateApplicationAccessPointRequest(name=name, authentication_method="RAMRole", policies=f'["{name}"]')
    assert control.create_application_access_point(made).body.authentication_method == "RAMRole"
    yield name
    control.delete_application_access_point(openapi.DeleteApplicationAccessPointRequest(name=name))
    control.delete_policy(openapi.DeletePolicyRequest(name=name))


@pytest.mark.parametrize("more", [{}, {"signature_algorithm": "v2"}, {"signature_version": "v4"}], ids=["ACS3", "RPC", "ACS4"])
def test_a_session_uses_the_keys_of_the_access_point(alice, access_point, name, instance, control, key, more):
    credentials = assume(alice, name).credentials
    other = control.create_key(openapi.CreateKeyRequest(dkmsinstance_id=instance["instance_id"])).body.key_metadata.key_id
    for at in [QUICKSTART["control"], instance]:
        client = client_of(credentials, at, **more)
        sealed = client.encrypt(encrypt(key)).body
        assert client.decrypt(openapi.DecryptRequest(ciphertext_blob=sealed.ciphertext_blob)).body.plaintext == "eA=="
        assert code_of(client.encrypt, encrypt(other)) == "Forbidden.NoPermission"
    client = client_of(credentials, QUICKSTART["control"], **more)
    assert code_of(client.describe_key, openapi.DescribeKeyRequest(key_id=key)) == "Forbidden.NoPermission"


def test_a_session_policy_narrows_what_the_access_point_grants(alice, access_point, name, key):
    policy = json.dumps({"Version": "1", "Statement": [statement("kms:Decrypt")]})
    client = client_of(assume(alice, name, policy=policy).credentials, QUICKSTART["control"])
    assert code_of(client.encrypt, encrypt(key)) == "Forbidden.NoPermission"


def test_it_is_described_and_has_no_client_keys(access_point, control):
    described = control.describe_application_access_point(openapi.DescribeApplicationAccessPointRequest(name=access_point)).body
    assert (described.authentication_method, described.policies) == ("RAMRole", f'["{access_point}"]')
    password = openapi.CreateClientKeyRequest(aap_name=access_point, password="Example-Pass1")
    assert code_of(control.create_client_key, password) == "UnsupportedOperation"


def test_the_command_line_makes_it_in_one_go(alice, name, instance, key, control, tmp_path):
    options = ["--instance", instance["instance_id"], "--name", name, "--key", key, "--authentication-method", "RAMRole"]
    keystead("aap", "create", *options, folder=tmp_path)
    assert not list(tmp_path.glob("clientKey_*"))
    client = client_of(assume(alice, name).credentials, instance)
    assert client.encrypt(encrypt(key)).body.key_id == key
    control.delete_application_access_point(openapi.DeleteApplicationAccessPointRequest(name=name))
    control.delete_policy(openapi.DeletePolicyRequest(name=name))
    assert code_of(client.encrypt, encrypt(key)) == "Forbidden.NoPermission"
