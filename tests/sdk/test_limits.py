"""Limits of requests a second, on a server of their own: what the SDKs make of a refusal."""

import json
import pathlib
import subprocess
import time

import pytest
from alibabacloud_kms20160120 import models as openapi
from alibabacloud_kms20160120.client import Client as OpenApiClient
from alibabacloud_tea_openapi.models import Config as OpenApiConfig
from alibabacloud_tea_util.models import RuntimeOptions

from clients import read
from test_openapi import FAILURES

KEYSTEAD = pathlib.Path(__file__).resolve().parents[2] / "target/release/keystead"
INSTANCE = "kst-limitedlimitedlimited"
CONFIGURATION = f"""
data_dir = "data"
root_key_file = "root.key"
[shared]
listen = "127.0.0.1:0"
default_instances = ["{INSTANCE}"]
[shared.limits]
reads = 1
[[instance]]
id = "{INSTANCE}"
name = "limited"
kind = "Software"
listen = "127.0.0.1:0"
"""


@pytest.fixture
def limited(tmp_path):
    """An operator at the shared gateway of a server that serves one reading request a second."""
    (tmp_path / "keystead.toml").write_text(CONFIGURATION)
    subprocess.run([KEYSTEAD, "init"], check=True, capture_output=True, cwd=tmp_path)
    with open(tmp_path / "log", "w") as log, subprocess.Popen([KEYSTEAD, "serve"], cwd=tmp_path, stderr=log) as server:
        ready = tmp_path / "data/ready.json"
        begun = time.monotonic()
        while not ready.exists():
            assert server.poll() is None and time.monotonic() - begun < 60, (tmp_path / "log").read_text()
            time.sleep(0.01)
        key = json.loads(read(tmp_path / "data/access_key.json"))
        yield OpenApiClient(
            OpenApiConfig(
                access_key_id=key["AccessKeyId"],
                access_key_secret=key["AccessKeySecret"],
                endpoint=json.loads(read(ready))["control"]["endpoint"],
                protocol="HTTPS",
                ca=str(tmp_path / "data/ca.pem"),
            )
        )
        server.terminate()


def test_what_is_too_much_is_an_error_that_says_so_and_when_to_come_again(limited):
    once = RuntimeOptions(autoretry=False)
    refused = None
    for _ in range(50):
        try:
            limited.list_keys_with_options(openapi.ListKeysRequest(), once)
        except FAILURES as error:
            refused = error
            break
    assert refused is not None, "nothing was too much"
    assert (refused.code, refused.statusCode) == ("Rejected.Throttling", 429)
    assert "QPS Limit Exceeded" in refused.message
    assert type(refused).__name__ == "ThrottlingException" and 0 < refused.retry_after <= 1000, "milliseconds"
    # What has no limit is served.
    limited.create_key_with_options(openapi.CreateKeyRequest(), once)
    # Whoever waits is served again.
    time.sleep(1.1)
    limited.list_keys_with_options(openapi.ListKeysRequest(), once)
