"""The unmodified SDKs, pointed at a server by what var/quickstart.json says; TLS is verified."""

import json
import pathlib

from openapi.models import Config as InstanceConfig
from sdk import models as kms
from sdk.client import Client as InstanceClient


def read(path):
    return pathlib.Path(path).read_text().strip()


def quickstart(path="var/quickstart.json"):
    return json.loads(read(path))


def instance_client(instance, key_file=None, password=None):
    """A client of the KMS Instance SDK for one instance, with the client key of the quick start or another one."""
    return InstanceClient(
        InstanceConfig(
            protocol="https",
            endpoint=instance["endpoint"],
            client_key_file=key_file or instance["client_key_file"],
            password=password or read(instance["client_key_password_file"]),
            ca_file_path=instance["ca_file"],
        )
    )


__all__ = ["instance_client", "kms", "quickstart", "read"]
