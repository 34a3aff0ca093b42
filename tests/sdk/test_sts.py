"""Temporary credentials by the STS SDK, used with the OpenAPI SDK: what a role may, for whom it trusts, as far as the session's policy goes."""

import contextlib
import json

import pytest
from alibabacloud_kms20160120 import models as openapi
from alibabacloud_kms20160120.client import Client as OpenApiClient
from alibabacloud_sts20150401 import models as sts
from alibabacloud_sts20150401.client import Client as StsClient
from alibabacloud_tea_openapi.models import Config as OpenApiConfig
from conftest import QUICKSTART
from test_openapi import code_of
from test_openapi_permissions import encrypt, key, keystead, statement  # noqa: F401 (key is a fixture)


def configured(at, access_key_id, access_key_secret, **more):
    return OpenApiConfig(
        access_key_id=access_key_id,
        access_key_secret=access_key_secret,
        endpoint=at["endpoint"],
        protocol="HTTPS",
        ca=at["ca_file"],
        **more,
    )


@contextlib.contextmanager
def role_and_user(name, tmp_path, *policies):
    """An operator that may nothing, and a role for it; its client of the STS."""
    keystead("operator", "create", f"{name}-user", folder=tmp_path)
    keystead("operator", "access-key", "create", f"{name}-user", folder=tmp_path)
    (file,) = tmp_path.glob("accessKey_*.json")
    access_key = json.loads(file.read_text())
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": [f"acs:ram::0:user/{name}-user"]}}
    (tmp_path / "trust.json").write_text(json.dumps({"Version": "1", "Statement": [trust]}))
    keystead("role", "create", name, "--trust-file", "trust.json", *policies, folder=tmp_path)
    yield StsClient(configured(QUICKSTART["sts"], access_key["AccessKeyId"], access_key["AccessKeySecret"]))
    keystead("role", "delete", name, folder=tmp_path)
    keystead("operator", "delete", f"{name}-user", folder=tmp_path)


@pytest.fixture
def alice(name, tmp_path):
    """The operator, whose role may encrypt and decrypt."""
    (tmp_path / "own.json").write_text(json.dumps({"Version": "1", "Statement": [statement(["kms:Encrypt", "kms:Decrypt"])]}))
    with role_and_user(name, tmp_path, "--policy-file", "own.json") as client:
        yield client


def assume(client, name, **more):
    request = sts.AssumeRoleRequest(role_arn=f"acs:ram::0:role/{name}", role_session_name="ci", **more)
    return client.assume_role(request).body


def client_of(credentials, at, **more):
    temporary = (credentials.access_key_id, credentials.access_key_secret)
    return OpenApiClient(configured(at, *temporary, security_token=credentials.security_token, **more))


@pytest.mark.parametrize("more", [{}, {"signature_algorithm": "v2"}, {"signature_version": "v4"}], ids=["ACS3", "RPC", "ACS4"])
def test_a_session_may_what_the_role_may(alice, name, instance, key, more):
    assumed = assume(alice, name, duration_seconds=900)
    assert assumed.assumed_role_user.arn == f"acs:ram::0:role/{name}/ci"
    assert assumed.credentials.access_key_id.startswith("STS.")
    for at in [QUICKSTART["control"], instance]:
        client = client_of(assumed.credentials, at, **more)
        sealed = client.encrypt(encrypt(key)).body
        assert client.decrypt(openapi.DecryptRequest(ciphertext_blob=sealed.ciphertext_blob)).body.plaintext == "eA=="
    client = client_of(assumed.credentials, QUICKSTART["control"], **more)
    assert code_of(client.describe_key, openapi.DescribeKeyRequest(key_id=key)) == "Forbidden.NoPermission"


def test_a_session_policy_narrows(alice, name, key):
    policy = json.dumps({"Version": "1", "Statement": [statement("kms:Decrypt")]})
    client = client_of(assume(alice, name, policy=policy).credentials, QUICKSTART["control"])
    assert code_of(client.encrypt, encrypt(key)) == "Forbidden.NoPermission"


def test_who_one_is(alice, name):
    me = alice.get_caller_identity().body
    assert (me.identity_type, me.arn, me.account_id) == ("RAMUser", f"acs:ram::0:user/{name}-user", "0")
    assumed = assume(alice, name)
    at = assumed.credentials
    session = StsClient(configured(QUICKSTART["sts"], at.access_key_id, at.access_key_secret, security_token=at.security_token))
    me = session.get_caller_identity().body
    assert (me.identity_type, me.arn) == ("AssumedRoleUser", f"acs:ram::0:assumed-role/{name}/ci")
    assert me.principal_id == assumed.assumed_role_user.assumed_role_id == f"{me.role_id}:ci"


def test_nobody_else_assumes_it(alice, name):
    other = sts.AssumeRoleRequest(role_arn=f"acs:ram::0:role/{name}-other", role_session_name="ci")
    assert code_of(alice.assume_role, other) == "NoPermission"
    too_long = sts.AssumeRoleRequest(role_arn=f"acs:ram::0:role/{name}", role_session_name="ci", duration_seconds=3601)
    assert code_of(alice.assume_role, too_long) == "InvalidParameter"


def test_a_token_that_is_not_the_access_keys(alice, name, key):
    credentials, other = assume(alice, name).credentials, assume(alice, name).credentials
    credentials.security_token = other.security_token
    client = client_of(credentials, QUICKSTART["control"])
    assert code_of(client.encrypt, encrypt(key)) == "InvalidSecurityToken.MismatchWithAccessKey"
    credentials.security_token = "x"
    client = client_of(credentials, QUICKSTART["control"])
    assert code_of(client.encrypt, encrypt(key)) == "InvalidSecurityToken.Malformed"
