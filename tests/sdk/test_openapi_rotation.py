"""Rotation policies by the OpenAPI SDK: set, shown, suspended, ended, refused. That a key is rotated when its time comes takes a clock
that can be put, and is tested without the SDK."""

import datetime

import pytest
from alibabacloud_kms20160120 import models as openapi
from conftest import QUICKSTART
from test_openapi import code_of

WEEK = "604800s"


def made(control, instance, **fields):
    request = openapi.CreateKeyRequest(dkmsinstance_id=instance["instance_id"], **fields)
    return control.create_key(request).body.key_metadata


def described(control, key):
    return control.describe_key(openapi.DescribeKeyRequest(key_id=key)).body.key_metadata


def policy(key, **fields):
    return openapi.UpdateRotationPolicyRequest(key_id=key, **fields)


def date(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def software():
    """The instance whose keys can be rotated: a symmetric key inside an HSM is not."""
    return next(instance for instance in QUICKSTART["instances"] if instance["kind"] == "Software")


def test_a_key_is_made_with_its_rotation(control, software):
    key = made(control, software, enable_automatic_rotation=True, rotation_interval="7d")
    assert (key.automatic_rotation, key.rotation_interval) == ("Enabled", WEEK)
    assert date(key.next_rotation_date) - date(key.last_rotation_date) == datetime.timedelta(days=7)
    assert key.last_rotation_date == key.creation_date


def test_a_policy_is_set_suspended_and_ended(control, software):
    key = made(control, software).key_id
    off = described(control, key)
    assert (off.automatic_rotation, off.rotation_interval, off.next_rotation_date) == ("Disabled", None, None)
    control.update_rotation_policy(policy(key, enable_automatic_rotation=True, rotation_interval="730d"))
    assert (described(control, key).automatic_rotation, described(control, key).rotation_interval) == ("Enabled", "63072000s")
    control.disable_key(openapi.DisableKeyRequest(key_id=key))
    assert (described(control, key).automatic_rotation, described(control, key).rotation_interval) == ("Suspended", "63072000s")
    assert code_of(control.update_rotation_policy, policy(key, enable_automatic_rotation=False)) == "Rejected.Disabled"
    control.enable_key(openapi.EnableKeyRequest(key_id=key))
    control.update_rotation_policy(policy(key, enable_automatic_rotation=False))
    assert described(control, key).automatic_rotation == "Disabled"
    control.schedule_key_deletion(openapi.ScheduleKeyDeletionRequest(key_id=key, pending_window_in_days=7))
    again = policy(key, enable_automatic_rotation=True, rotation_interval="7d")
    assert code_of(control.update_rotation_policy, again) == "Rejected.PendingDeletion"


def test_a_version_by_hand_is_the_last_rotation(control, software):
    key = made(control, software, enable_automatic_rotation=True, rotation_interval="168h").key_id
    version = control.create_key_version(openapi.CreateKeyVersionRequest(key_id=key)).body.key_version
    now = described(control, key)
    assert (now.last_rotation_date, now.primary_key_version) == (version.creation_date, version.key_version_id)
    assert date(now.next_rotation_date) - date(version.creation_date) == datetime.timedelta(days=7)
    listed = control.list_key_versions(openapi.ListKeyVersionsRequest(key_id=key, page_size=1, page_number=2)).body
    assert (listed.total_count, len(listed.key_versions.key_version)) == (2, 1)


def test_what_is_refused(control, instance):
    pair = made(control, instance, key_spec="EC_P256").key_id
    on = {"enable_automatic_rotation": True, "rotation_interval": "7d"}
    assert code_of(control.update_rotation_policy, policy(pair, **on)) == "Rejected.UnsupportedOperation"
    assert code_of(control.update_rotation_policy, policy("key-hzz62f1cb66fa42qo0001", **on)) == "Forbidden.KeyNotFound"
    key = made(control, instance).key_id
    if instance["kind"] == "Hardware":
        assert code_of(control.update_rotation_policy, policy(key, **on)) == "Rejected.UnsupportedOperation"
        new = openapi.CreateKeyRequest(dkmsinstance_id=instance["instance_id"], **on)
        assert code_of(control.create_key, new) == "UnsupportedOperation"
        return
    assert code_of(control.update_rotation_policy, policy(key, enable_automatic_rotation=True)) == "MissingParameter"
    for interval in ["6d", "731d", "7w", "7"]:
        request = policy(key, enable_automatic_rotation=True, rotation_interval=interval)
        assert code_of(control.update_rotation_policy, request) == "InvalidParameter"
