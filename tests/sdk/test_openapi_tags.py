"""Tags by the OpenAPI SDK: both generations of operations, their limits and codes, and the filters of ListKeys."""

import json

import pytest
from alibabacloud_kms20160120 import models as openapi
from test_openapi import code_of

NOBODY = "key-hzz62f1cb66fa42qo0001"


def as_json(**tags):
    return json.dumps([{"TagKey": key, "TagValue": value} for key, value in tags.items()])


@pytest.fixture
def make(control, instance):
    def make(**fields):
        request = openapi.CreateKeyRequest(dkmsinstance_id=instance["instance_id"], **fields)
        return control.create_key(request).body.key_metadata.key_id

    return make


def tags(control, key):
    listed = control.list_resource_tags(openapi.ListResourceTagsRequest(key_id=key)).body.tags.tag
    assert all(one.key_id == key for one in listed)
    return {one.tag_key: one.tag_value for one in listed}


def rows(control, **fields):
    request = openapi.ListTagResourcesRequest(region_id="keystead", resource_type="key", **fields)
    body = control.list_tag_resources(request).body
    assert body.next_token == ""
    listed = body.tag_resources.tag_resource
    assert all(one.resource_type == "key" for one in listed)
    return [(one.resource_id, one.tag_key, one.tag_value) for one in listed]


def tagging(ids, kind="key", **tags):
    tag = [openapi.TagResourcesRequestTag(key=key, value=value) for key, value in tags.items()]
    return openapi.TagResourcesRequest(region_id="keystead", resource_type=kind, resource_id=ids, tag=tag)


def untagging(ids, **fields):
    return openapi.UntagResourcesRequest(region_id="keystead", resource_type="key", resource_id=ids, **fields)


def test_the_older_operations(control, make):
    key = make(tags=as_json(env="test", team="red"))
    assert tags(control, key) == {"env": "test", "team": "red"}
    control.tag_resource(openapi.TagResourceRequest(key_id=key, tags=as_json(env="prod", x="")))
    assert tags(control, key) == {"env": "prod", "team": "red", "x": ""}
    control.untag_resource(openapi.UntagResourceRequest(key_id=key, tag_keys='["env","none"]'))
    assert tags(control, key) == {"team": "red", "x": ""}
    for request, code in [
        (openapi.TagResourceRequest(key_id=NOBODY, tags=as_json(a="b")), "Forbidden.KeyNotFound"),
        (openapi.TagResourceRequest(key_id=key), "MissingParameter"),
        (openapi.TagResourceRequest(key_id=key, tags="env=prod"), "InvalidParameter"),
        (openapi.TagResourceRequest(secret_name="s", tags=as_json(a="b")), "UnsupportedOperation"),
        (openapi.TagResourceRequest(key_id=key, tags='[{"TagKey":"a"},{"TagKey":"a"}]'), "Duplicate.TagKey"),
    ]:
        assert code_of(control.tag_resource, request) == code
    assert code_of(control.untag_resource, openapi.UntagResourceRequest(key_id=NOBODY, tag_keys='["a"]')) == "Forbidden.KeyNotFound"
    assert code_of(control.list_resource_tags, openapi.ListResourceTagsRequest(key_id=NOBODY)) == "Forbidden.KeyNotFound"


def test_the_newer_operations(control, make, name):
    one, two = sorted([make(), make()])
    control.tag_resources(tagging([one, two], env="prod", owner=name))
    control.tag_resources(tagging([two], env="test"))
    assert rows(control, resource_id=[two, one]) == [(one, "env", "prod"), (one, "owner", name), (two, "env", "test"), (two, "owner", name)]
    by = openapi.ListTagResourcesRequestTag
    assert len(rows(control, tag=[by(key="owner", value=name)])) == 4
    assert rows(control, tag=[by(key="owner", value=name), by(key="env", value="test")]) == [(two, "env", "test"), (two, "owner", name)]
    assert rows(control, tag=[by(key="owner", value="nobody")]) == []
    control.untag_resources(untagging([one, two], tag_key=["owner", "none"]))
    assert (tags(control, one), tags(control, two)) == ({"env": "prod"}, {"env": "test"})
    control.untag_resources(untagging([one, two], all=True))
    assert (tags(control, one), tags(control, two)) == ({}, {})


def test_what_is_refused(control, make):
    key = make()
    for request, code in [
        (tagging([key], aliyun="v"), "InvalidParameter.TagKey"),
        (tagging([key], a="not this"), "InvalidParameter.TagValue"),
        (tagging([key, NOBODY], a="b"), "InvalidResourceId.NotFound"),
        (tagging([key], kind="secret", a="b"), "UnsupportedOperation"),
        (tagging([key], kind="instance", a="b"), "InvalidParameter"),
        (tagging([key]), "MissingParameter"),
        (tagging([key], **{f"k{number}": "v" for number in range(21)}), "InvalidParameter"),
    ]:
        assert code_of(control.tag_resources, request) == code
    twice = tagging([key], a="b")
    twice.tag.append(openapi.TagResourcesRequestTag(key="a", value="c"))
    assert code_of(control.tag_resources, twice) == "Duplicate.TagKey"
    assert tags(control, key) == {}
    control.tag_resources(tagging([key], **{f"k{number}": "v" for number in range(20)}))
    assert code_of(control.tag_resources, tagging([key], one="more")) == "Rejected.LimitExceeded"
    assert code_of(control.untag_resources, untagging([key])) == "MissingParameter"
    assert code_of(control.untag_resources, untagging([NOBODY], all=True)) == "InvalidResourceId.NotFound"
    listing = openapi.ListTagResourcesRequest(region_id="keystead", resource_type="key", resource_id=[NOBODY])
    assert code_of(control.list_tag_resources, listing) == "InvalidResourceId.NotFound"
    bad = openapi.CreateKeyRequest(tags=as_json(**{"acs:x": "v"}))
    assert code_of(control.create_key, bad) == "InvalidParameter.TagKey"


def test_pages(control, make, name):
    keys = [make(tags=as_json(owner=name, **{f"k{number:02}": "v" for number in range(19)})) for _ in range(11)]
    fields = {"region_id": "keystead", "resource_type": "key", "resource_id": keys}
    first = control.list_tag_resources(openapi.ListTagResourcesRequest(**fields)).body
    second = control.list_tag_resources(openapi.ListTagResourcesRequest(next_token=first.next_token, **fields)).body
    seen = [(one.resource_id, one.tag_key) for page in (first, second) for one in page.tag_resources.tag_resource]
    assert (len(first.tag_resources.tag_resource), len(seen), len(set(seen)), second.next_token) == (200, 220, 220, "")


def test_keys_are_found_by_tag_and_alias(control, make, name):
    key = make(tags=as_json(owner=name, env="prod"))
    other = make(tags=as_json(owner=name, env="test"))
    alias = f"alias/{name}"
    control.create_alias(openapi.CreateAliasRequest(alias_name=alias, key_id=key))

    def found(**filters):
        text = json.dumps([{"Key": field, "Values": values} for field, values in filters.items()])
        return {one.key_id for one in control.list_keys(openapi.ListKeysRequest(filters=text)).body.keys.key}

    assert found(TagKey=["owner"], TagValue=[name]) == {key, other}
    assert found(TagKey=["env"], TagValue=[name]) == set()
    assert found(TagValue=[name], AliasName=[alias]) == {key}
    assert found(AliasName=["alias/none"]) == set()
    control.schedule_key_deletion(openapi.ScheduleKeyDeletionRequest(key_id=key, pending_window_in_days=7))
    assert found(TagValue=[name], KeyState=["PendingDeletion"]) == {key}
    control.delete_alias(openapi.DeleteAliasRequest(alias_name=alias))
