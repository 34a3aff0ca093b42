"""Makes the keys and client keys of the quick start, once, and writes var/quickstart.json. Called by scripts/quickstart."""

import json
import pathlib
import re
import subprocess
import sys

KEYS = {
    "Aliyun_AES_256": ("Aliyun_AES_256", "ENCRYPT/DECRYPT"),
    "RSA_2048": ("RSA_2048", "SIGN/VERIFY"),
    "RSA_2048_ENCRYPT": ("RSA_2048", "ENCRYPT/DECRYPT"),
    "EC_P256": ("EC_P256", "SIGN/VERIFY"),
}
KEYSTEAD = sys.argv[1]
VAR = pathlib.Path("var").resolve()


def keystead(*arguments):
    done = subprocess.run([KEYSTEAD, *arguments], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"keystead {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return done.stdout


def api(operation, **parameters):
    flat = [text for name, value in parameters.items() for text in (f"--{name}", value)]
    return json.loads(keystead("api", operation, *flat))


def known_keys(instance):
    """What an earlier run made: by description, so that nothing has to be remembered beside the service."""
    found, page = {}, 1
    while True:
        filters = json.dumps([{"Key": "DKMSInstanceId", "Values": [instance]}])
        listed = api("ListKeys", Filters=filters, PageNumber=str(page), PageSize="100")
        for key in listed["Keys"]["Key"]:
            metadata = api("DescribeKey", KeyId=key["KeyId"])["KeyMetadata"]
            found.setdefault(metadata["Description"], key["KeyId"])
        if page * 100 >= listed["TotalCount"]:
            return found
        page += 1


def keys_of(instance):
    known = known_keys(instance)
    keys = {}
    for name, (spec, usage) in KEYS.items():
        description = f"quickstart {name}"
        if description not in known:
            made = api("CreateKey", DKMSInstanceId=instance, KeySpec=spec, KeyUsage=usage, Description=description)
            known[description] = made["KeyMetadata"]["KeyId"]
        keys[name] = known[description]
    return keys


def client_of(instance, kind):
    """The files of quick creation; they are handed out once, so they are kept in var/clients."""
    folder = VAR / "clients" / kind.lower()
    if not folder.exists():
        folder.mkdir(parents=True)
        keystead("quick-create", "--instance", instance, "--name", f"quickstart-{kind.lower()}", "--out", str(folder))
    [key_file] = folder.glob("clientKey_KAAP.*.json")
    return {
        "ca_file": str(folder / f"PrivateKmsCA_{instance}.pem"),
        "client_key_file": str(key_file),
        "client_key_password_file": str(key_file.with_name(key_file.stem + "_Password.txt")),
    }


def main():
    ready = json.loads((VAR / "data/ready.json").read_text())
    access_key = json.loads((VAR / "data/access_key.json").read_text())
    secret_file = VAR / "access_key_secret.txt"
    secret_file.write_text(access_key["AccessKeySecret"])
    configured = re.findall(r'^id = "(.*)"\nname = ".*"\nkind = "(.*)"$', (VAR / "keystead.toml").read_text(), re.M)
    endpoints = {instance["instance_id"]: instance["endpoint"] for instance in ready["instances"]}
    instances = []
    for instance, kind in configured:
        described = {"kind": kind, "instance_id": instance, "endpoint": endpoints[instance], **client_of(instance, kind)}
        described["keys"] = keys_of(instance)
        instances.append(described)
        print(f"{kind:<9} {instance} at {endpoints[instance]}")
        for name, key in described["keys"].items():
            print(f"          {name:<17} {key}")
    quickstart = {
        "control": {
            "endpoint": ready["control"]["endpoint"],
            "ca_file": str(VAR / "data/ca.pem"),
            "access_key_id": access_key["AccessKeyId"],
            "access_key_secret_file": str(secret_file),
        },
        "sts": {**ready["sts"], "ca_file": str(VAR / "data/ca.pem")} if "sts" in ready else None,
        "telemetry": ready["telemetry"],
        "instances": instances,
    }
    (VAR / "quickstart.json").write_text(json.dumps(quickstart, indent=2) + "\n")


main()
