"""The operations of the shared gateway by the OpenAPI SDK, with all its signatures that are served, and access as it is enforced."""

import datetime
import json
import os
import pathlib
import subprocess

import pytest
from alibabacloud_kms20160120 import models as openapi
from alibabacloud_kms20160120.client import Client as OpenApiClient
from alibabacloud_tea_openapi.models import Config as OpenApiConfig
from clients import kms, read
from conftest import QUICKSTART
from Tea.exceptions import TeaException

# The newer SDK raises exceptions of its own besides.
try:
    from darabonba.exceptions import DaraException

    FAILURES = (TeaException, DaraException)
except ImportError:
    FAILURES = (TeaException,)


def code_of(call, *arguments):
    with pytest.raises(FAILURES) as caught:
        call(*arguments)
    return caught.value.code


@pytest.mark.parametrize("spec", ["Aliyun_AES_256", "Aliyun_AES_192", "Aliyun_AES_128", "RSA_2048", "RSA_3072", "EC_P256", "EC_P256K"])
def test_keys(control, client, instance, spec):
    made = control.create_key(
        openapi.CreateKeyRequest(dkmsinstance_id=instance["instance_id"], key_spec=spec, description="é \"quoted\"")
    ).body.key_metadata
    assert made.key_spec == spec and made.key_state == "Enabled" and made.dkmsinstance_id == instance["instance_id"]
    assert made.key_usage == ("ENCRYPT/DECRYPT" if spec.startswith("Aliyun") else "SIGN/VERIFY")
    assert made.protection_level == ("HSM" if instance["kind"] == "Hardware" else "SOFTWARE")
    read_again = control.describe_key(openapi.DescribeKeyRequest(key_id=made.key_id)).body.key_metadata
    assert (read_again.description, read_again.arn) == ("é \"quoted\"", made.arn)
    listed = control.list_keys(
        openapi.ListKeysRequest(
            page_size=100, filters=json.dumps([{"Key": "KeySpec", "Values": [spec]}, {"Key": "DKMSInstanceId", "Values": [instance["instance_id"]]}])
        )
    ).body
    assert made.key_id in [key.key_id for key in listed.keys.key]
    if spec.startswith("Aliyun"):
        sealed = client.encrypt(kms.EncryptRequest(key_id=made.key_id, plaintext=b"x"))
        request = kms.DecryptRequest(key_id=made.key_id, ciphertext_blob=sealed.ciphertext_blob, iv=sealed.iv, algorithm="AES_GCM")
        assert client.decrypt(request).plaintext == b"x"
    else:
        signed = client.sign(kms.SignRequest(key_id=made.key_id, message=b"x", message_type="RAW"))
        request = kms.VerifyRequest(key_id=made.key_id, message=b"x", message_type="RAW", signature=signed.signature)
        assert client.verify(request).value is True


@pytest.mark.parametrize("level, kind", [("HSM", "Hardware"), ("SOFTWARE", "Software")])
def test_a_key_is_where_its_protection_level_says(control, level, kind):
    made = control.create_key(openapi.CreateKeyRequest(protection_level=level)).body.key_metadata
    home = next(one["instance_id"] for one in QUICKSTART["instances"] if one["kind"] == kind)
    assert (made.protection_level, made.dkmsinstance_id) == (level, home)
    other = next(one["instance_id"] for one in QUICKSTART["instances"] if one["kind"] != kind)
    request = openapi.CreateKeyRequest(protection_level=level, dkmsinstance_id=other)
    assert code_of(control.create_key, request) == "Unsupported.ProtectionLevel"


def test_instances_are_found_by_their_names(control):
    filters = json.dumps([{"Key": "InstanceName", "Values": ["software"]}])
    listed = control.list_kms_instances(openapi.ListKmsInstancesRequest(filters=filters)).body.kms_instances.kms_instance
    assert [one.kms_instance_id for one in listed] == [one["instance_id"] for one in QUICKSTART["instances"] if one["kind"] == "Software"]


def test_a_key_without_an_instance_goes_to_the_default_one(control):
    made = control.create_key(openapi.CreateKeyRequest()).body.key_metadata
    assert (made.key_spec, made.dkmsinstance_id) == ("Aliyun_AES_256", QUICKSTART["instances"][0]["instance_id"])


def test_what_createkey_does_not_serve_is_refused(control):
    for more in [{"key_storage_mechanism": "HsmEncryptedDatabase"}]:
        assert code_of(control.create_key, openapi.CreateKeyRequest(**more)) == "UnsupportedOperation"
    assert code_of(control.create_key, openapi.CreateKeyRequest(key_spec="AES_512")) == "InvalidParameter"
    request = openapi.CreateKeyRequest(dkmsinstance_id="kst-aaaaaaaaaaaaaaaaaaaaa")
    assert code_of(control.create_key, request) == "Forbidden.DKMSInstanceNotFound"
    assert code_of(control.describe_key, openapi.DescribeKeyRequest(key_id="key-hzz62f1cb66fa42qo0001")) == "Forbidden.KeyNotFound"


def test_instances(control, instance):
    listed = control.list_kms_instances(openapi.ListKmsInstancesRequest()).body
    assert instance["instance_id"] in [one.kms_instance_id for one in listed.kms_instances.kms_instance]
    described = control.get_kms_instance(openapi.GetKmsInstanceRequest(kms_instance_id=instance["instance_id"])).body.kms_instance
    assert described.instance_id == instance["instance_id"] and described.status == "Connected"
    assert described.ca_certificate_chain_pem.strip() == read(instance["ca_file"])


def test_what_an_instance_holds(control, instance):
    def infos(kind=None):
        request = openapi.GetKmsInstanceQuotaInfosRequest(kms_instance_id=instance["instance_id"], resource_type=kind)
        body = control.get_kms_instance_quota_infos(request).body
        assert body.kms_instance_id == instance["instance_id"]
        return {info.resource_type: info for info in body.kms_instance_quota_infos}

    before = infos("key")
    assert list(before) == ["key"] and before["key"].used_quantity >= 4 and before["key"].resource_quota is None
    control.create_key(openapi.CreateKeyRequest(dkmsinstance_id=instance["instance_id"]))
    everything = infos()
    assert everything["key"].used_quantity > before["key"].used_quantity
    assert everything["secret"].used_quantity == 0
    request = openapi.GetKmsInstanceQuotaInfosRequest(kms_instance_id="kst-aaaaaaaaaaaaaaaaaaaaa")
    assert code_of(control.get_kms_instance_quota_infos, request) == "Forbidden.DKMSInstanceNotFound"


def test_network_rules(control, name):
    made = control.create_network_rule(
        openapi.CreateNetworkRuleRequest(name=name, type="Private", source_private_ip='["10.0.0.0/8","172.16.0.4"]', description="d")
    ).body
    assert (made.name, made.source_private_ip) == (name, '["10.0.0.0/8","172.16.0.4"]')
    described = control.describe_network_rule(openapi.DescribeNetworkRuleRequest(name=name)).body
    assert (described.type, described.description, described.source_private_ip) == ("Private", "d", made.source_private_ip)
    listed = control.list_network_rules(openapi.ListNetworkRulesRequest(page_size=100)).body
    assert name in [rule.name for rule in listed.network_rules.network_rule]
    control.update_network_rule(openapi.UpdateNetworkRuleRequest(name=name, source_private_ip='["10.0.0.7"]'))
    described = control.describe_network_rule(openapi.DescribeNetworkRuleRequest(name=name)).body
    assert (described.description, described.source_private_ip) == ("d", '["10.0.0.7"]')
    worse = openapi.UpdateNetworkRuleRequest(name=name, source_private_ip='["10.0.0.256"]')
    assert code_of(control.update_network_rule, worse) == "InvalidParameter"
    again = openapi.CreateNetworkRuleRequest(name=name, type="Private", source_private_ip='["10.0.0.1"]')
    assert code_of(control.create_network_rule, again) == "Rejected.ResourceExist"
    control.delete_network_rule(openapi.DeleteNetworkRuleRequest(name=name))
    assert code_of(control.describe_network_rule, openapi.DescribeNetworkRuleRequest(name=name)) == "Forbidden.ResourceNotFound"
    bad = openapi.CreateNetworkRuleRequest(name=name, type="Private", source_private_ip='["10.0.0.256"]')
    assert code_of(control.create_network_rule, bad) == "InvalidParameter"


def test_policies_and_access_points(control, name, instance):
    rule, policy = f"{name}-rule", f"{name}-policy"
    control.create_network_rule(openapi.CreateNetworkRuleRequest(name=rule, type="Private", source_private_ip='["10.0.0.0/8"]'))
    rules = '{"NetworkRules": ["%s"]}' % rule
    control.create_policy(
        openapi.CreatePolicyRequest(
            name=policy,
            kms_instance=instance["instance_id"],
            permissions='["RbacPermission/Template/CryptoServiceKeyUser","RbacPermission/Template/CryptoServiceSecretUser"]',
            resources='["key/*","secret/rds-*"]',
            access_control_rules=rules,
        )
    )
    described = control.describe_policy(openapi.DescribePolicyRequest(name=policy)).body
    assert described.resources == ["key/*", "secret/rds-*"] and len(described.permissions) == 2
    assert described.access_control_rules == rules and described.kms_instance == instance["instance_id"]
    control.update_policy(openapi.UpdatePolicyRequest(name=policy, resources='["key/*"]', description="less"))
    described = control.describe_policy(openapi.DescribePolicyRequest(name=policy)).body
    assert (described.resources, described.description, described.access_control_rules) == (["key/*"], "less", rules)
    for nothing in ["{}", "[]", "x"]:
        opened = openapi.UpdatePolicyRequest(name=policy, access_control_rules=nothing)
        assert code_of(control.update_policy, opened) == "InvalidParameter"
    wrong = openapi.UpdatePolicyRequest(name=policy, permissions='["RbacPermission/Template/SecretUser"]')
    assert code_of(control.update_policy, wrong) == "InvalidParameter"
    assert policy in [one.name for one in control.list_policies(openapi.ListPoliciesRequest(page_size=100)).body.policies.policy]

    access_point = openapi.CreateApplicationAccessPointRequest(name=name, authentication_method="ClientKey", policies=f'["{policy}"]')
    control.create_application_access_point(access_point)
    assert code_of(control.create_application_access_point, access_point) == "Rejected.ResourceExist"
    described = control.describe_application_access_point(openapi.DescribeApplicationAccessPointRequest(name=name)).body
    assert described.policies == f'["{policy}"]'
    control.update_application_access_point(openapi.UpdateApplicationAccessPointRequest(name=name, description="more"))
    described = control.describe_application_access_point(openapi.DescribeApplicationAccessPointRequest(name=name)).body
    assert (described.policies, described.description) == (f'["{policy}"]', "more")
    dangling = openapi.UpdateApplicationAccessPointRequest(name=name, policies='["nobody"]')
    assert code_of(control.update_application_access_point, dangling) == "Forbidden.ResourceNotFound"
    listed = control.list_application_access_points(openapi.ListApplicationAccessPointsRequest(page_size=100)).body
    assert name in [one.name for one in listed.application_access_points.application_access_point]

    made = [control.create_client_key(openapi.CreateClientKeyRequest(aap_name=name, password="Example-Pass1")).body for _ in range(3)]
    assert made[0].key_algorithm == "RSA_2048" and made[0].client_key_id.startswith("KAAP.")
    fourth = openapi.CreateClientKeyRequest(aap_name=name, password="Example-Pass1")
    assert code_of(control.create_client_key, fourth) == "Rejected.LimitExceeded"
    listed = control.list_client_keys(openapi.ListClientKeysRequest(aap_name=name)).body.client_keys
    assert {key.client_key_id for key in listed} == {key.client_key_id for key in made}
    one = control.get_client_key(openapi.GetClientKeyRequest(client_key_id=made[0].client_key_id)).body
    assert one.public_key_data.startswith("-----BEGIN CERTIFICATE-----") and one.aap_name == name
    control.delete_client_key(openapi.DeleteClientKeyRequest(client_key_id=made[0].client_key_id))
    assert code_of(control.get_client_key, openapi.GetClientKeyRequest(client_key_id=made[0].client_key_id)) == "Forbidden.ResourceNotFound"
    weak = openapi.CreateClientKeyRequest(aap_name=name, password="password")
    assert code_of(control.create_client_key, weak) == "InvalidParameter"

    control.delete_application_access_point(openapi.DeleteApplicationAccessPointRequest(name=name))
    control.delete_policy(openapi.DeletePolicyRequest(name=policy))
    control.delete_network_rule(openapi.DeleteNetworkRuleRequest(name=rule))


def test_a_policy_of_one_key_denies_the_others(access_point, instance):
    keys = instance["keys"]
    client = access_point(instance, json.dumps([f"key/{keys['Aliyun_AES_256']}"]))
    client.encrypt(kms.EncryptRequest(key_id=keys["Aliyun_AES_256"], plaintext=b"x"))
    request = kms.SignRequest(key_id=keys["EC_P256"], message=b"x", message_type="RAW")
    with pytest.raises(TeaException) as caught:
        client.sign(request)
    assert caught.value.code == "Forbidden.NoPermission" and f"key/{keys['EC_P256']}" in caught.value.message


def test_a_rule_that_excludes_this_address_denies(control, access_point, instance, name):
    rule = f"{name}-rule"
    control.create_network_rule(openapi.CreateNetworkRuleRequest(name=rule, type="Private", source_private_ip='["10.0.0.0/8"]'))
    client = access_point(instance, '["key/*"]', rules=json.dumps({"NetworkRules": [rule]}))
    request = kms.EncryptRequest(key_id=instance["keys"]["Aliyun_AES_256"], plaintext=b"x")
    assert code_of(client.encrypt, request) == "Forbidden.NoPermission"
    control.delete_network_rule(openapi.DeleteNetworkRuleRequest(name=rule))
    # A policy whose rules are gone is not a policy without rules.
    assert code_of(client.encrypt, request) == "Forbidden.NoPermission"


def test_a_client_key_out_of_its_time_is_refused(access_point, instance):
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    form = "%Y-%m-%dT%H:%M:%SZ"
    client = access_point(
        instance, '["key/*"]', not_before=later.strftime(form), not_after=(later + datetime.timedelta(days=1)).strftime(form)
    )
    request = kms.EncryptRequest(key_id=instance["keys"]["Aliyun_AES_256"], plaintext=b"x")
    assert code_of(client.encrypt, request) == "Forbidden.NoPermission"


def test_a_client_key_of_another_instance_is_refused(access_point, instance):
    other = next(one for one in QUICKSTART["instances"] if one["kind"] != instance["kind"])
    client = access_point(other, '["key/*"]')
    client._endpoint = instance["endpoint"]
    request = kms.EncryptRequest(key_id=instance["keys"]["Aliyun_AES_256"], plaintext=b"x")
    assert code_of(client.encrypt, request) == "Forbidden.NoPermission"


@pytest.mark.parametrize("scheme", [{}, {"signature_algorithm": "v2"}, {"signature_version": "v4", "region_id": "cn-hangzhou"}])
def test_signature_schemes(scheme):
    at = QUICKSTART["control"]
    config = {"access_key_id": at["access_key_id"], "endpoint": at["endpoint"], "protocol": "HTTPS", "ca": at["ca_file"], **scheme}
    good = OpenApiClient(OpenApiConfig(access_key_secret=read(at["access_key_secret_file"]), **config))
    assert good.list_keys(openapi.ListKeysRequest(page_number=1, page_size=1)).body.total_count >= 1
    bad = OpenApiClient(OpenApiConfig(access_key_secret="wrong", **config))
    assert code_of(bad.list_keys, openapi.ListKeysRequest()) == "SignatureDoesNotMatch"
    unknown = OpenApiClient(OpenApiConfig(access_key_secret="wrong", **{**config, "access_key_id": "nobodysaccesskey"}))
    assert code_of(unknown.list_keys, openapi.ListKeysRequest()) == "InvalidAccessKeyId.NotFound"


def test_keys_in_the_token_are_what_is_claimed():
    """As another program sees them."""
    hardware = next(one for one in QUICKSTART["instances"] if one["kind"] == "Hardware")
    var = pathlib.Path(os.environ.get("KEYSTEAD_QUICKSTART", "var/quickstart.json")).resolve().parent
    config = (var / "keystead.toml").read_text()
    module = next(line.split('"')[1] for line in config.splitlines() if line.startswith("module"))
    listed = subprocess.run(
        ["pkcs11-tool", "--module", module, "--token-label", "keystead", "--login", "--pin", read(var / "pin.txt"), "--list-objects"],
        env={**os.environ, "SOFTHSM2_CONF": str(var / "softhsm2.conf")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    objects = listed.split("\n  label:")[1:]
    for key in hardware["keys"].values():
        [shown] = [one for one in objects if key in one]
        assert "sensitive, always sensitive, never extractable, local" in shown, shown
