"""The life of keys and their aliases by the OpenAPI SDK: every state, what it allows, and what the instance makes of it."""

import pytest
from alibabacloud_kms20160120 import models as openapi
from clients import kms
from test_openapi import code_of


@pytest.fixture
def key(control, instance):
    request = openapi.CreateKeyRequest(dkmsinstance_id=instance["instance_id"], description="before")
    return control.create_key(request).body.key_metadata.key_id


def described(control, key):
    return control.describe_key(openapi.DescribeKeyRequest(key_id=key)).body.key_metadata


def seal(client, key):
    return client.encrypt(kms.EncryptRequest(key_id=key, plaintext=b"x"))


def test_a_disabled_key_is_not_used_until_it_is_enabled(control, client, key):
    seal(client, key)
    control.disable_key(openapi.DisableKeyRequest(key_id=key))
    assert described(control, key).key_state == "Disabled"
    assert code_of(control.encrypt, openapi.EncryptRequest(key_id=key, plaintext="eA==")) == "Rejected.Disabled"
    with pytest.raises(Exception, match="Rejected.Disabled"):
        seal(client, key)
    control.enable_key(openapi.EnableKeyRequest(key_id=key))
    seal(client, key)
    assert code_of(control.cancel_key_deletion, openapi.CancelKeyDeletionRequest(key_id=key)) == "Rejected.StateModifiedFailed"


def test_a_key_waits_for_its_deletion_and_is_saved(control, client, key):
    for days in [6, 367]:
        request = openapi.ScheduleKeyDeletionRequest(key_id=key, pending_window_in_days=days)
        assert code_of(control.schedule_key_deletion, request) == "InvalidParameter"
    schedule = openapi.ScheduleKeyDeletionRequest(key_id=key, pending_window_in_days=7)
    control.schedule_key_deletion(schedule)
    waiting = described(control, key)
    assert waiting.key_state == "PendingDeletion" and waiting.delete_date.endswith("Z")
    assert code_of(control.schedule_key_deletion, schedule) == "Rejected.StateModifiedFailed"
    assert code_of(control.enable_key, openapi.EnableKeyRequest(key_id=key)) == "Rejected.StateModifiedFailed"
    assert code_of(control.disable_key, openapi.DisableKeyRequest(key_id=key)) == "Rejected.StateModifiedFailed"
    with pytest.raises(Exception, match="Rejected.PendingDeletion"):
        seal(client, key)
    control.cancel_key_deletion(openapi.CancelKeyDeletionRequest(key_id=key))
    saved = described(control, key)
    assert saved.key_state == "Enabled" and not saved.delete_date
    seal(client, key)


def test_a_protected_key_is_not_deleted(control, key):
    protect = openapi.SetDeletionProtectionRequest(
        protected_resource_arn=described(control, key).arn, enable_deletion_protection=True, deletion_protection_description="in use"
    )
    control.set_deletion_protection(protect)
    protected = described(control, key)
    assert (protected.deletion_protection, protected.deletion_protection_description) == ("Enabled", "in use")
    schedule = openapi.ScheduleKeyDeletionRequest(key_id=key, pending_window_in_days=366)
    assert code_of(control.schedule_key_deletion, schedule) == "UnsupportedOperation"
    control.set_deletion_protection(openapi.SetDeletionProtectionRequest(key_id=key, enable_deletion_protection=False))
    control.schedule_key_deletion(schedule)
    assert code_of(control.set_deletion_protection, protect) == "Rejected.PendingDeletion"


def test_a_description_may_become_empty(control, key):
    for text in ["é after", ""]:
        control.update_key_description(openapi.UpdateKeyDescriptionRequest(key_id=key, description=text))
        assert (described(control, key).description or "") == text
    long = openapi.UpdateKeyDescriptionRequest(key_id=key, description="x" * 8193)
    assert code_of(control.update_key_description, long) == "InvalidParameter"


def test_aliases(control, client, key, name):
    alias = f"alias/alias/{name}"
    control.create_alias(openapi.CreateAliasRequest(alias_name=alias, key_id=key))
    again = openapi.CreateAliasRequest(alias_name=alias, key_id=key)
    assert code_of(control.create_alias, again) == "AliasAlreadyExists"
    reserved = openapi.CreateAliasRequest(alias_name="alias/acs/x", key_id=key)
    assert code_of(control.create_alias, reserved) == "InvalidParameter"
    assert described(control, alias).key_id == key
    assert seal(client, alias).key_id == key
    listed = control.list_aliases_by_key_id(openapi.ListAliasesByKeyIdRequest(key_id=key)).body.aliases.alias
    assert [(one.alias_name, one.key_id, one.alias_arn.endswith(f":{alias}")) for one in listed] == [(alias, key, True)]
    everything = control.list_aliases(openapi.ListAliasesRequest(page_size=100)).body
    assert alias in [one.alias_name for one in everything.aliases.alias]
    other = control.create_key(openapi.CreateKeyRequest(dkmsinstance_id=described(control, key).dkmsinstance_id)).body.key_metadata.key_id
    control.update_alias(openapi.UpdateAliasRequest(alias_name=alias, key_id=other))
    assert described(control, alias).key_id == other
    control.delete_alias(openapi.DeleteAliasRequest(alias_name=alias))
    assert code_of(control.delete_alias, openapi.DeleteAliasRequest(alias_name=alias)) == "Forbidden.AliasNotFound"
    assert code_of(control.describe_key, openapi.DescribeKeyRequest(key_id=alias)) == "Forbidden.AliasNotFound"
    nobody = openapi.CreateAliasRequest(alias_name=alias, key_id="key-hzz62f1cb66fa42qo0001")
    assert code_of(control.create_alias, nobody) == "Forbidden.KeyNotFound"


def test_versions(control, key):
    version = described(control, key).primary_key_version
    listed = control.list_key_versions(openapi.ListKeyVersionsRequest(key_id=key)).body
    assert (listed.total_count, [one.key_version_id for one in listed.key_versions.key_version]) == (1, [version])
    one = control.describe_key_version(openapi.DescribeKeyVersionRequest(key_id=key, key_version_id=version)).body.key_version
    assert (one.key_id, one.key_version_id, one.creation_date) == (key, version, described(control, key).creation_date)
    unknown = openapi.DescribeKeyVersionRequest(key_id=key, key_version_id=f"{key}-aaaaaaaaaa")
    assert code_of(control.describe_key_version, unknown) == "Forbidden.KeyVersionNotFound"


def test_a_new_version_of_a_symmetric_key_encrypts_and_the_old_one_still_decrypts(control, client, key, instance):
    request = openapi.CreateKeyVersionRequest(key_id=key)
    if instance["kind"] == "Hardware":
        assert code_of(control.create_key_version, request) == "Rejected.UnsupportedOperation"
        return
    first = described(control, key).primary_key_version
    old = control.encrypt(openapi.EncryptRequest(key_id=key, plaintext="b2xk")).body
    plain = seal(client, key)
    made = control.create_key_version(request).body.key_version
    assert made.key_id == key and described(control, key).primary_key_version == made.key_version_id != first
    new = control.encrypt(openapi.EncryptRequest(key_id=key, plaintext="bmV3")).body
    assert (old.key_version_id, new.key_version_id) == (first, made.key_version_id)
    for sealed, text in [(old, "b2xk"), (new, "bmV3")]:
        assert control.decrypt(openapi.DecryptRequest(ciphertext_blob=sealed.ciphertext_blob)).body.plaintext == text
    opened = client.decrypt(kms.DecryptRequest(key_id=key, ciphertext_blob=plain.ciphertext_blob, iv=plain.iv, algorithm="AES_GCM"))
    assert opened.plaintext == b"x"
    assert control.list_key_versions(openapi.ListKeyVersionsRequest(key_id=key)).body.total_count == 2


def test_a_new_version_of_a_pair_is_used_by_its_name(control, instance):
    request = openapi.CreateKeyRequest(dkmsinstance_id=instance["instance_id"], key_spec="EC_P256")
    key = control.create_key(request).body.key_metadata.key_id
    made = control.create_key_version(openapi.CreateKeyVersionRequest(key_id=key)).body.key_version
    versions = control.list_key_versions(openapi.ListKeyVersionsRequest(key_id=key)).body.key_versions.key_version
    assert len(versions) == 2 and made.key_version_id in [one.key_version_id for one in versions]
    keys = [
        control.get_public_key(openapi.GetPublicKeyRequest(key_id=key, key_version_id=one.key_version_id)).body.public_key
        for one in versions
    ]
    assert keys[0] != keys[1]


def test_the_account(control):
    assert control.describe_account_kms_status().body.account_status == "Enabled"
    assert len(control.describe_regions().body.regions.region) == 1
    assert control.get_default_kms_instance().body.default_kms_instance_id.startswith("kst-")
    control.open_kms_service()


def test_what_is_not_served_is_refused_by_name(control, key):
    assert code_of(control.get_secret_value, openapi.GetSecretValueRequest(secret_name="s")) == "UnsupportedOperation"
