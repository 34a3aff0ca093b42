"""What operators may, by the OpenAPI SDK: their policies, explicit denial, conditions on the address, and key policies."""

import json
import os
import pathlib
import subprocess

import pytest
from alibabacloud_kms20160120 import models as openapi
from alibabacloud_kms20160120.client import Client as OpenApiClient
from alibabacloud_tea_openapi.models import Config as OpenApiConfig
from clients import kms
from conftest import QUICKSTART
from test_openapi import FAILURES, code_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
VAR = pathlib.Path(os.environ.get("KEYSTEAD_QUICKSTART", "var/quickstart.json")).resolve().parent


def keystead(*arguments, folder):
    """The program on the quick start's installation."""
    environment = {**os.environ, "KEYSTEAD_CONFIG": str(VAR / "keystead.toml")}
    subprocess.run([ROOT / "target/release/keystead", *arguments], check=True, capture_output=True, env=environment, cwd=folder)


@pytest.fixture
def operator(name, tmp_path):
    """Makes an operator with statements, gives a client of its AccessKey; removes it at the end."""

    def make(statements):
        policies = []
        if statements:
            (tmp_path / "own.json").write_text(json.dumps({"Version": "1", "Statement": statements}))
            policies = ["--policy-file", "own.json"]
        keystead("operator", "create", name, *policies, folder=tmp_path)
        keystead("operator", "access-key", "create", name, folder=tmp_path)
        (file,) = tmp_path.glob("accessKey_*.json")
        access_key = json.loads(file.read_text())
        at = QUICKSTART["control"]
        return OpenApiClient(
            OpenApiConfig(
                access_key_id=access_key["AccessKeyId"],
                access_key_secret=access_key["AccessKeySecret"],
                endpoint=at["endpoint"],
                protocol="HTTPS",
                ca=at["ca_file"],
            )
        )

    yield make
    keystead("operator", "delete", name, folder=tmp_path)


@pytest.fixture
def key(control, instance):
    return control.create_key(openapi.CreateKeyRequest(dkmsinstance_id=instance["instance_id"])).body.key_metadata.key_id


def statement(action, resource="*", effect="Allow", **more):
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def encrypt(key):
    return openapi.EncryptRequest(key_id=key, plaintext="eA==")


def test_an_operator_may_what_it_is_allowed_and_nothing_else(operator, control, key):
    client = operator([statement(["kms:Encrypt", "kms:Decrypt"], [f"acs:kms:*:*:key/{key}"])])
    sealed = client.encrypt(encrypt(key)).body
    assert client.decrypt(openapi.DecryptRequest(ciphertext_blob=sealed.ciphertext_blob)).body.plaintext == "eA=="
    other = control.create_key(openapi.CreateKeyRequest()).body.key_metadata.key_id
    for call, request in [
        (client.encrypt, encrypt(other)),
        (client.describe_key, openapi.DescribeKeyRequest(key_id=key)),
        (client.list_keys, openapi.ListKeysRequest()),
        (client.create_key, openapi.CreateKeyRequest()),
        (client.set_key_policy, openapi.SetKeyPolicyRequest(key_id=key, policy="{}")),
    ]:
        assert code_of(call, request) == "Forbidden.NoPermission"
    with pytest.raises(FAILURES) as caught:
        client.encrypt(encrypt(other))
    assert "kms:Encrypt" in str(caught.value) and f"key/{other}" in str(caught.value)


def test_an_operator_without_statements_may_nothing(operator, key):
    client = operator([])
    assert code_of(client.describe_key, openapi.DescribeKeyRequest(key_id=key)) == "Forbidden.NoPermission"
    assert code_of(client.describe_regions) == "Forbidden.NoPermission"


def test_a_deny_wins(operator, key):
    client = operator([statement("kms:*"), statement("kms:Enc*", f"acs:kms:*:*:key/{key}", "Deny")])
    client.describe_key(openapi.DescribeKeyRequest(key_id=key))
    assert code_of(client.encrypt, encrypt(key)) == "Forbidden.NoPermission"


@pytest.mark.parametrize("block, code", [("127.0.0.0/8", None), ("192.0.2.0/24", "Forbidden.NoPermission")])
def test_an_address_is_looked_at(operator, key, block, code):
    client = operator([statement("kms:*", Condition={"IpAddress": {"acs:SourceIp": [block]}})])
    if code:
        assert code_of(client.encrypt, encrypt(key)) == code
    else:
        client.encrypt(encrypt(key))


def test_key_policies(operator, control, client, key, name):
    read = openapi.GetKeyPolicyRequest(key_id=key, policy_name="default")
    default = json.loads(control.get_key_policy(read).body.policy)
    assert default["Version"] == "1" and default["Statement"][0]["Action"] == ["kms:*"]
    nobody = operator([])
    assert code_of(nobody.encrypt, encrypt(key)) == "Forbidden.NoPermission"
    account = default["Statement"][0]
    by_name = statement(["kms:Encrypt"], ["*"], Principal={"RAM": [f"acs:ram::0:user/{name}"]})
    text = json.dumps({"Version": "1", "Statement": [account, by_name]})
    control.set_key_policy(openapi.SetKeyPolicyRequest(key_id=key, policy_name="default", policy=text))
    assert control.get_key_policy(read).body.policy == text
    nobody.encrypt(encrypt(key))
    control.encrypt(encrypt(key))
    control.set_key_policy(openapi.SetKeyPolicyRequest(key_id=key, policy=json.dumps({"Version": "1", "Statement": [by_name]})))
    assert code_of(control.encrypt, encrypt(key)) == "Forbidden.NoPermission"
    # Client keys have policies of their own.
    client.encrypt(kms.EncryptRequest(key_id=key, plaintext=b"x"))
    control.set_key_policy(openapi.SetKeyPolicyRequest(key_id=key, policy=json.dumps(default)))
    control.encrypt(encrypt(key))


def test_what_is_wrong_with_a_key_policy_is_told(control, key):
    good = json.dumps({"Version": "1", "Statement": [statement("kms:*", ["*"], Principal={"RAM": ["acs:ram::0:root"]})]})
    for policy in ["{}", "[]", good.replace("Allow", "allow"), good.replace("acs:ram::0", "acs:ram::1"), good + " " * 32768]:
        request = openapi.SetKeyPolicyRequest(key_id=key, policy=policy)
        assert code_of(control.set_key_policy, request) == "InvalidParameter"
        assert code_of(control.create_key, openapi.CreateKeyRequest(policy=policy)) == "InvalidParameter"
    other = openapi.SetKeyPolicyRequest(key_id=key, policy=good, policy_name="other")
    assert code_of(control.set_key_policy, other) == "Forbidden.ResourceNotFound"
    nowhere = openapi.GetKeyPolicyRequest(key_id="key-hzz62f1cb66fa42qo0001")
    assert code_of(control.get_key_policy, nowhere) == "Forbidden.KeyNotFound"
    # As long as it may be, in the query as the SDK has it.
    longest = good + " " * (32768 - len(good))
    control.set_key_policy(openapi.SetKeyPolicyRequest(key_id=key, policy=longest))
    assert control.get_key_policy(openapi.GetKeyPolicyRequest(key_id=key)).body.policy == longest
    made = control.create_key(openapi.CreateKeyRequest(policy=good)).body.key_metadata.key_id
    assert control.get_key_policy(openapi.GetKeyPolicyRequest(key_id=made)).body.policy == good
