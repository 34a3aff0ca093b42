"""Makes the seed of a release: an installation by its binary, with everything that later releases must open.

    make.py KEYSTEAD FOLDER

KEYSTEAD is the binary of the release, FOLDER does not exist yet. The interpreter is that of scripts/python (it has the KMS Instance SDK).
FOLDER gets the configuration, the root key, the database, the audit log, the SoftHSM tokens, the client keys, and `expected.json`:
the calls that a later release must answer in the same way. tests/seeds/installations.rs makes those calls. No secret in it guards anything.
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

KEYSTEAD = pathlib.Path(sys.argv[1]).resolve()
FOLDER = pathlib.Path(sys.argv[2]).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "sdk"))
from clients import instance_client, kms  # noqa: E402

MODULE = next(
    path
    for path in ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"]
    if pathlib.Path(path).exists()
)
HARDWARE, SOFTWARE, REFUSED = "kst-" + "h" * 21, "kst-" + "s" * 21, "kst-" + "r" * 21
PIN, WRONG_PIN = "1234-user", "4321-user"
MESSAGE = b"attack at dawn"
CONTEXT = json.dumps({"tenant": "a", "shop": "b"})
ENVIRONMENT = {**os.environ, "SOFTHSM2_CONF": str(FOLDER / "softhsm2.conf"), "KEYSTEAD_CONFIG": str(FOLDER / "keystead.toml")}

CONFIGURATION = """data_dir = "data"
root_key_file = "root.key"

[shared]
listen = "127.0.0.1:0"
default_instance = "{hardware}"

[sts]
listen = "127.0.0.1:0"

[telemetry]
listen = "127.0.0.1:0"

[[instance]]
id = "{hardware}"
name = "hardware"
kind = "Hardware"
listen = "127.0.0.1:0"

[instance.slot]
module = "{module}"
uri = "pkcs11:token=seed"
pin_file = "pin.txt"

[[instance]]
id = "{refused}"
name = "refused"
kind = "Hardware"
listen = "127.0.0.1:0"

[instance.slot]
module = "{module}"
uri = "pkcs11:token=refused"
pin_file = "wrong_pin.txt"

[[instance]]
id = "{software}"
name = "software"
kind = "Software"
listen = "127.0.0.1:0"
"""


def write(name, text):
    path = FOLDER / name
    path.write_text(text)
    path.chmod(0o600)


def run(*arguments):
    done = subprocess.run(arguments, check=False, capture_output=True, text=True, env=ENVIRONMENT, cwd=FOLDER)
    if done.returncode != 0:
        sys.exit(f"{arguments}\n{done.stdout}{done.stderr}")
    return done.stdout


def api(operation, **parameters):
    flat = [text for name, value in parameters.items() for text in (f"--{name}", value)]
    return json.loads(run(KEYSTEAD, "api", operation, *flat))


def encoded(octets):
    return base64.b64encode(octets).decode()


def prepare():
    FOLDER.mkdir(parents=True)
    (FOLDER / "tokens").mkdir()
    write("softhsm2.conf", f"directories.tokendir = {FOLDER}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    write("keystead.toml", CONFIGURATION.format(hardware=HARDWARE, software=SOFTWARE, refused=REFUSED, module=MODULE))
    write("pin.txt", PIN)
    write("wrong_pin.txt", WRONG_PIN)
    for label in ["seed", "refused"]:
        run("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "12345678")
    run(KEYSTEAD, "init")


def serve():
    server = subprocess.Popen([KEYSTEAD, "serve"], env=ENVIRONMENT, cwd=FOLDER, stderr=(FOLDER / "log").open("w"))
    ready = FOLDER / "data/ready.json"
    while not ready.exists():
        if server.poll() is not None:
            sys.exit((FOLDER / "log").read_text())
        time.sleep(0.05)
    return server, json.loads(ready.read_text())


def create(instance, spec, usage, **more):
    return api("CreateKey", DKMSInstanceId=instance, KeySpec=spec, KeyUsage=usage, **more)["KeyMetadata"]["KeyId"]


def of_openapi(instance, expect):
    """Everything that the OpenAPI hands out and takes back."""
    aes = create(instance, "Aliyun_AES_256", "ENCRYPT/DECRYPT", Description="rotated once")

    def seal():
        made = api("Encrypt", KeyId=aes, Plaintext=encoded(MESSAGE))
        expect("Decrypt", {"CiphertextBlob": made["CiphertextBlob"]}, {"Plaintext": encoded(MESSAGE), "KeyId": aes})
        made = api("Encrypt", KeyId=aes, Plaintext=encoded(MESSAGE), EncryptionContext=CONTEXT)
        bound = {"CiphertextBlob": made["CiphertextBlob"], "EncryptionContext": CONTEXT}
        expect("Decrypt", bound, {"Plaintext": encoded(MESSAGE), "KeyId": aes})
        made = api("GenerateDataKey", KeyId=aes, KeySpec="AES_256", EncryptionContext=CONTEXT)
        bound = {"CiphertextBlob": made["CiphertextBlob"], "EncryptionContext": CONTEXT}
        expect("Decrypt", bound, {"Plaintext": made["Plaintext"]})
        made = api("GenerateDataKey", KeyId=aes, NumberOfBytes="17")
        expect("Decrypt", {"CiphertextBlob": made["CiphertextBlob"]}, {"Plaintext": made["Plaintext"]})

    seal()
    # A symmetric key that is held inside of the HSM has one version.
    if instance == SOFTWARE:
        api("CreateKeyVersion", KeyId=aes)
        seal()
    for spec in ["Aliyun_AES_128", "Aliyun_AES_192"]:
        key = create(instance, spec, "ENCRYPT/DECRYPT")
        made = api("Encrypt", KeyId=key, Plaintext=encoded(MESSAGE))
        expect("Decrypt", {"CiphertextBlob": made["CiphertextBlob"]}, {"Plaintext": encoded(MESSAGE), "KeyId": key})

    digest = hashes.Hash(hashes.SHA256())
    digest.update(MESSAGE)
    digest = encoded(digest.finalize())
    for spec, algorithms in [("RSA_2048", ["RSA_PSS_SHA_256", "RSA_PKCS1_SHA_256"]), ("EC_P256", ["ECDSA_SHA_256"]), ("EC_P256K", ["ECDSA_SHA_256"])]:
        key = create(instance, spec, "SIGN/VERIFY")
        version = api("ListKeyVersions", KeyId=key)["KeyVersions"]["KeyVersion"][0]["KeyVersionId"]
        named = {"KeyId": key, "KeyVersionId": version}
        expect("GetPublicKey", named, {"PublicKey": api("GetPublicKey", **named)["PublicKey"]})
        for algorithm in algorithms:
            signature = api("AsymmetricSign", **named, Algorithm=algorithm, Digest=digest)["Value"]
            signed = {**named, "Algorithm": algorithm, "Digest": digest, "Value": signature}
            expect("AsymmetricVerify", signed, {"Value": True})

    key = create(instance, "RSA_2048", "ENCRYPT/DECRYPT")
    version = api("ListKeyVersions", KeyId=key)["KeyVersions"]["KeyVersion"][0]["KeyVersionId"]
    for algorithm in ["RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1"]:
        named = {"KeyId": key, "KeyVersionId": version, "Algorithm": algorithm}
        sealed = api("AsymmetricEncrypt", **named, Plaintext=encoded(MESSAGE))["CiphertextBlob"]
        expect("AsymmetricDecrypt", {**named, "CiphertextBlob": sealed}, {"Plaintext": encoded(MESSAGE)})

    imported = create(instance, "Aliyun_AES_256", "ENCRYPT/DECRYPT", Origin="EXTERNAL")
    given = api("GetParametersForImport", KeyId=imported, WrappingKeySpec="RSA_2048", WrappingAlgorithm="RSAES_OAEP_SHA_256")
    public = serialization.load_der_public_key(base64.b64decode(given["PublicKey"]))
    wrapped = public.encrypt(bytes(range(32)), padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    api("ImportKeyMaterial", KeyId=imported, EncryptedKeyMaterial=encoded(wrapped), ImportToken=given["ImportToken"], KeyMaterialExpireUnix="0")
    made = api("Encrypt", KeyId=imported, Plaintext=encoded(MESSAGE))
    expect("Decrypt", {"CiphertextBlob": made["CiphertextBlob"]}, {"Plaintext": encoded(MESSAGE), "KeyId": imported})

    disabled = create(instance, "Aliyun_AES_256", "ENCRYPT/DECRYPT")
    api("DisableKey", KeyId=disabled)
    expect("DescribeKey", {"KeyId": disabled}, {"KeyMetadata": {"KeyState": "Disabled"}})
    waiting = create(instance, "Aliyun_AES_256", "ENCRYPT/DECRYPT", Description="waits for its deletion")
    made = api("Encrypt", KeyId=waiting, Plaintext=encoded(MESSAGE))
    api("ScheduleKeyDeletion", KeyId=waiting, PendingWindowInDays="7")
    # An order to destroy that was given before orders had a proof: later releases must not obey it, whatever the date is.
    expect("DescribeKey", {"KeyId": waiting}, {"KeyMetadata": {"KeyState": "PendingDeletion"}})
    expect("CancelKeyDeletion", {"KeyId": waiting}, {})
    expect("Decrypt", {"CiphertextBlob": made["CiphertextBlob"]}, {"Plaintext": encoded(MESSAGE), "KeyId": waiting})

    alias = f"alias/{instance[4]}"
    api("CreateAlias", KeyId=aes, AliasName=alias)
    expect("DescribeKey", {"KeyId": alias}, {"KeyMetadata": {"KeyId": aes, "Description": "rotated once"}})
    api("TagResource", KeyId=aes, Tags=json.dumps([{"TagKey": "team", "TagValue": "red"}]))
    expect("ListResourceTags", {"KeyId": aes}, {"Tags": {"Tag": [{"TagKey": "team", "TagValue": "red"}]}})
    return aes


def of_instance_protocol(instance, served, expect):
    """What programs with a client key hand out and take back."""
    out = FOLDER / f"client-{instance[4]}"
    out.mkdir()
    run(KEYSTEAD, "quick-create", "--instance", instance, "--name", f"app-{instance[4]}", "--out", out.name)
    [key_file] = out.glob("clientKey_*.json")
    client = instance_client(
        {"endpoint": served["endpoint"], "ca_file": str(out / f"PrivateKmsCA_{instance}.pem")},
        str(key_file),
        key_file.with_name(key_file.stem + "_Password.txt").read_text().strip(),
    )

    def decrypts(made, **more):
        fields = {"KeyId": made.key_id, "CiphertextBlob": made.ciphertext_blob, "Iv": made.iv, "Algorithm": made.algorithm}
        fields = {**fields, **more}
        fields = {name: encoded(value) if isinstance(value, bytes) else value for name, value in fields.items()}
        expect("Decrypt", fields, {"Plaintext": encoded(MESSAGE)})

    aes = create(instance, "Aliyun_AES_256", "ENCRYPT/DECRYPT")
    decrypts(client.encrypt(kms.EncryptRequest(key_id=aes, plaintext=MESSAGE)))
    decrypts(client.encrypt(kms.EncryptRequest(key_id=aes, plaintext=MESSAGE, aad=b"orders")), Aad=b"orders")
    for algorithm in ["AES_CBC", "AES_ECB"]:
        made = client.encrypt(kms.EncryptRequest(key_id=aes, plaintext=MESSAGE, algorithm=algorithm, padding_mode="PKCS7_PADDING"))
        decrypts(made, PaddingMode="PKCS7_PADDING")
    made = client.advance_encrypt(kms.AdvanceEncryptRequest(key_id=aes, plaintext=MESSAGE, aad=b"orders"))
    expect("AdvanceDecrypt", {"CiphertextBlob": encoded(made.ciphertext_blob), "Aad": encoded(b"orders")}, {"Plaintext": encoded(MESSAGE)})
    rsa = create(instance, "RSA_2048", "ENCRYPT/DECRYPT")
    for algorithm in ["RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1"]:
        decrypts(client.encrypt(kms.EncryptRequest(key_id=rsa, plaintext=MESSAGE, algorithm=algorithm)))
    curve = create(instance, "EC_P256", "ENCRYPT/DECRYPT")
    decrypts(client.encrypt(kms.EncryptRequest(key_id=curve, plaintext=MESSAGE, algorithm="ECIES_DH_SHA_1_XOR_HMAC")))


def access():
    """Rows of everything that says who may do what."""
    statement = {"Effect": "Allow", "Action": ["kms:Describe*"], "Resource": ["*"]}
    write("reader.json", json.dumps({"Version": "1", "Statement": [statement]}))
    (FOLDER / "operator").mkdir()
    run(KEYSTEAD, "operator", "create", "alice", "--policy-file", "reader.json")
    run(KEYSTEAD, "operator", "access-key", "create", "alice", "--out", "operator")
    trusted = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": ["acs:ram::0:user/alice"]}}
    write("trust.json", json.dumps({"Version": "1", "Statement": [trusted]}))
    run(KEYSTEAD, "role", "create", "deployer", "--trust-file", "trust.json", "--policy-file", "reader.json")


def main():
    prepare()
    server, ready = serve()
    calls = []

    def expecting(door, instance):
        def expect(operation, parameters, answer):
            calls.append({"door": door, "instance": instance, "operation": operation, "parameters": parameters, "answer": answer})

        return expect

    try:
        for served in ready["instances"]:
            instance = served["instance_id"]
            if instance != REFUSED:
                of_openapi(instance, expecting("OpenAPI", instance))
                of_instance_protocol(instance, served, expecting("Instance", instance))
        access()
    finally:
        server.terminate()
        server.wait()
    print((FOLDER / "log").read_text()[-2000:])
    for name in ["log", "softhsm2.conf", "data/ready.json"]:
        (FOLDER / name).unlink(missing_ok=True)
    write("keystead.toml", CONFIGURATION.format(hardware=HARDWARE, software=SOFTWARE, refused=REFUSED, module="@MODULE@"))
    instances = {"hardware": HARDWARE, "software": SOFTWARE, "refused": REFUSED}
    write("expected.json", json.dumps({"instances": instances, "calls": calls}, indent=1) + "\n")


main()
