"""The OpenAPI's cryptography by its SDK, and that both protocols read what the other one wrote."""

import base64
import hashlib
import json

import pytest
from alibabacloud_kms20160120 import models as openapi
from alibabacloud_tea_openapi.models import OpenApiRequest, Params
from alibabacloud_tea_openapi.utils import Utils
from clients import kms
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from darabonba.runtime import RuntimeOptions
from test_openapi import code_of

TEXT = base64.b64encode(b"hello \xc3\xa9").decode()
CONTEXT = {"purpose": "test", "an": "x 1"}


def digest_of(context):
    joined = "&".join(f"{key}={value}" for key, value in sorted(context.items()))
    return hashlib.sha256(joined.encode()).digest()


@pytest.fixture(scope="module")
def make(control, instance):
    def make(spec, usage):
        request = openapi.CreateKeyRequest(dkmsinstance_id=instance["instance_id"], key_spec=spec, key_usage=usage)
        key = control.create_key(request).body.key_metadata.key_id
        version = control.list_key_versions(openapi.ListKeyVersionsRequest(key_id=key)).body.key_versions.key_version[0]
        return key, version.key_version_id

    return make


@pytest.fixture(scope="module")
def aes(make):
    return make("Aliyun_AES_256", "ENCRYPT/DECRYPT")


@pytest.mark.parametrize("context", [None, {}, CONTEXT])
def test_encrypt_and_decrypt(control, aes, context):
    sealed = control.encrypt(openapi.EncryptRequest(key_id=aes[0], plaintext=TEXT, encryption_context=context)).body
    assert (sealed.key_id, sealed.key_version_id) == aes
    opened = control.decrypt(openapi.DecryptRequest(ciphertext_blob=sealed.ciphertext_blob, encryption_context=context)).body
    assert (opened.plaintext, opened.key_id, opened.key_version_id) == (TEXT, *aes)
    blob = bytearray(base64.b64decode(sealed.ciphertext_blob))
    assert bytes(blob[:36]).decode() == aes[1]
    blob[-1] ^= 1
    broken = openapi.DecryptRequest(ciphertext_blob=base64.b64encode(blob).decode(), encryption_context=context)
    assert code_of(control.decrypt, broken) == "InvalidParameter"
    other = openapi.DecryptRequest(ciphertext_blob=sealed.ciphertext_blob, encryption_context={"another": "context"})
    assert code_of(control.decrypt, other) == "InvalidParameter"


def test_the_endpoint_of_the_instance_serves_cryptography(control, control_of_instance, aes):
    sealed = control_of_instance.encrypt(openapi.EncryptRequest(key_id=aes[0], plaintext=TEXT, encryption_context=CONTEXT)).body
    for at in (control, control_of_instance):
        request = openapi.DecryptRequest(ciphertext_blob=sealed.ciphertext_blob, encryption_context=CONTEXT)
        assert at.decrypt(request).body.plaintext == TEXT
    assert code_of(control_of_instance.list_keys, openapi.ListKeysRequest()) == "UnsupportedOperation"


def test_the_order_of_a_context_means_nothing(control, aes):
    sealed = control.encrypt(openapi.EncryptRequest(key_id=aes[0], plaintext=TEXT, encryption_context=CONTEXT)).body
    turned = dict(reversed(CONTEXT.items()))
    assert control.decrypt(openapi.DecryptRequest(ciphertext_blob=sealed.ciphertext_blob, encryption_context=turned)).body.plaintext == TEXT


def test_a_flattened_context_is_that_of_json(control, aes):
    """As npm's client sends it, and whoever calls the OpenAPI by its generic client."""

    def call(action, **query):
        how = Params(
            action=action,
            version="2016-01-20",
            protocol="HTTPS",
            pathname="/",
            method="POST",
            auth_type="AK",
            style="RPC",
            req_body_type="formData",
            body_type="json",
        )
        query = Utils.query(query)
        assert all(name != "EncryptionContext" for name in query)
        return control.call_api(how, OpenApiRequest(query=query), RuntimeOptions())["body"]

    blob = call("Encrypt", KeyId=aes[0], Plaintext=TEXT, EncryptionContext=CONTEXT)["CiphertextBlob"]
    assert call("Decrypt", CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"] == TEXT
    assert control.decrypt(openapi.DecryptRequest(ciphertext_blob=blob, encryption_context=CONTEXT)).body.plaintext == TEXT
    for other in [{}, {"purpose": "test"}]:
        assert code_of(lambda: call("Decrypt", CiphertextBlob=blob, EncryptionContext=other)) == "InvalidParameter"


# What the transfer clients send for the context: Java and Go, Python, Python's older mode.
AADS = [digest_of(CONTEXT), digest_of(CONTEXT).hex().encode(), json.dumps(CONTEXT, separators=(",", ":")).encode()]


@pytest.mark.parametrize("aad", AADS)
def test_what_the_instance_encrypted_is_read_here(control, client, aes, aad):
    """As the three kinds of clients do it that were moved to the instance protocol."""
    sealed = client.advance_encrypt(kms.AdvanceEncryptRequest(key_id=aes[0], plaintext=TEXT.encode(), aad=aad))
    blob = base64.b64encode(sealed.ciphertext_blob[3:]).decode()
    assert control.decrypt(openapi.DecryptRequest(ciphertext_blob=blob, encryption_context=CONTEXT)).body.plaintext == TEXT


@pytest.mark.parametrize("aad", AADS)
def test_what_is_encrypted_here_is_read_by_the_instance(control, client, aes, aad):
    sealed = control.encrypt(openapi.EncryptRequest(key_id=aes[0], plaintext=TEXT, encryption_context=CONTEXT)).body
    blob = b"$\x00\x02" + base64.b64decode(sealed.ciphertext_blob)
    opened = client.advance_decrypt(kms.AdvanceDecryptRequest(ciphertext_blob=blob, aad=aad))
    assert opened.plaintext.decode() == TEXT


def test_bytes_that_are_no_text_come_back_in_base64(control, client, aes):
    sealed = client.advance_encrypt(kms.AdvanceEncryptRequest(key_id=aes[0], plaintext=b"\xff\x00"))
    blob = base64.b64encode(sealed.ciphertext_blob[3:]).decode()
    assert base64.b64decode(control.decrypt(openapi.DecryptRequest(ciphertext_blob=blob)).body.plaintext) == b"\xff\x00"


def test_limits(control, aes):
    most = base64.b64encode(bytes(6144)).decode()
    sealed = control.encrypt(openapi.EncryptRequest(key_id=aes[0], plaintext=most)).body
    assert control.decrypt(openapi.DecryptRequest(ciphertext_blob=sealed.ciphertext_blob)).body.plaintext == most
    assert code_of(control.encrypt, openapi.EncryptRequest(key_id=aes[0], plaintext=most + "AAAA")) == "InvalidParameter"
    assert code_of(control.encrypt, openapi.EncryptRequest(key_id=aes[0])) == "MissingParameter"
    assert code_of(control.decrypt, openapi.DecryptRequest(ciphertext_blob="no base64!")) == "InvalidParameter"
    assert code_of(control.decrypt, openapi.DecryptRequest(ciphertext_blob=TEXT)) == "InvalidParameter"
    gone = base64.b64encode(b"key-hzz62f1cb66fa42qo0001-aaaaaaaaaa" + bytes(40)).decode()
    assert code_of(control.decrypt, openapi.DecryptRequest(ciphertext_blob=gone)) == "Forbidden.KeyNotFound"


@pytest.mark.parametrize("how, length", [({}, 32), ({"key_spec": "AES_128"}, 16), ({"number_of_bytes": 1024}, 1024), ({"key_spec": "AES_256", "number_of_bytes": 1}, 1)])
def test_data_keys(control, aes, how, length):
    made = control.generate_data_key(openapi.GenerateDataKeyRequest(key_id=aes[0], encryption_context=CONTEXT, **how)).body
    assert len(base64.b64decode(made.plaintext)) == length
    opened = control.decrypt(openapi.DecryptRequest(ciphertext_blob=made.ciphertext_blob, encryption_context=CONTEXT)).body
    assert opened.plaintext == made.plaintext
    hidden = control.generate_data_key_without_plaintext(openapi.GenerateDataKeyWithoutPlaintextRequest(key_id=aes[0], **how)).body
    opened = control.decrypt(openapi.DecryptRequest(ciphertext_blob=hidden.ciphertext_blob)).body
    assert len(base64.b64decode(opened.plaintext)) == length


def test_data_keys_have_a_length(control, aes):
    for how in [{"number_of_bytes": 0}, {"number_of_bytes": 1025}, {"key_spec": "AES_192"}]:
        assert code_of(control.generate_data_key, openapi.GenerateDataKeyRequest(key_id=aes[0], **how)) == "InvalidParameter"


def test_re_encryption(control, aes, make):
    other = make("Aliyun_AES_256", "ENCRYPT/DECRYPT")
    sealed = control.encrypt(openapi.EncryptRequest(key_id=aes[0], plaintext=TEXT, encryption_context=CONTEXT)).body
    request = openapi.ReEncryptRequest(
        ciphertext_blob=sealed.ciphertext_blob,
        source_encryption_context=CONTEXT,
        destination_key_id=other[0],
        destination_encryption_context={"new": "one"},
    )
    moved = control.re_encrypt(request).body
    assert (moved.key_id, moved.key_version_id) == other
    opened = control.decrypt(openapi.DecryptRequest(ciphertext_blob=moved.ciphertext_blob, encryption_context={"new": "one"})).body
    assert (opened.plaintext, opened.key_id) == (TEXT, other[0])


@pytest.mark.parametrize("algorithm, hash", [("RSAES_OAEP_SHA_256", hashes.SHA256()), ("RSAES_OAEP_SHA_1", hashes.SHA1())])
def test_asymmetric_encryption(control, make, algorithm, hash):
    key, version = make("RSA_2048", "ENCRYPT/DECRYPT")
    names = {"key_id": key, "key_version_id": version}
    sealed = control.asymmetric_encrypt(openapi.AsymmetricEncryptRequest(algorithm=algorithm, plaintext=TEXT, **names)).body
    opened = control.asymmetric_decrypt(
        openapi.AsymmetricDecryptRequest(algorithm=algorithm, ciphertext_blob=sealed.ciphertext_blob, **names)
    ).body
    assert opened.plaintext == TEXT
    public = serialization.load_pem_public_key(control.get_public_key(openapi.GetPublicKeyRequest(**names)).body.public_key.encode())
    elsewhere = public.encrypt(b"from elsewhere", padding.OAEP(padding.MGF1(hash), hash, None))
    opened = control.asymmetric_decrypt(
        openapi.AsymmetricDecryptRequest(algorithm=algorithm, ciphertext_blob=base64.b64encode(elsewhere).decode(), **names)
    ).body
    assert base64.b64decode(opened.plaintext) == b"from elsewhere"
    most = 190 if "256" in algorithm else 214
    for length, fits in [(most, True), (most + 1, False)]:
        request = openapi.AsymmetricEncryptRequest(algorithm=algorithm, plaintext=base64.b64encode(bytes(length)).decode(), **names)
        if fits:
            control.asymmetric_encrypt(request)
        else:
            assert code_of(control.asymmetric_encrypt, request) == "InvalidParameter"


@pytest.mark.parametrize("spec, algorithm", [("RSA_2048", "RSA_PSS_SHA_256"), ("RSA_2048", "RSA_PKCS1_SHA_256"), ("EC_P256", "ECDSA_SHA_256")])
def test_signatures(control, make, spec, algorithm):
    key, version = make(spec, "SIGN/VERIFY")
    names = {"key_id": key, "key_version_id": version, "algorithm": algorithm}
    digest = hashlib.sha256(b"a message").digest()
    encoded = base64.b64encode(digest).decode()
    value = control.asymmetric_sign(openapi.AsymmetricSignRequest(digest=encoded, **names)).body.value
    assert control.asymmetric_verify(openapi.AsymmetricVerifyRequest(digest=encoded, value=value, **names)).body.value is True
    other = base64.b64encode(hashlib.sha256(b"another").digest()).decode()
    assert control.asymmetric_verify(openapi.AsymmetricVerifyRequest(digest=other, value=value, **names)).body.value is False
    pem = control.get_public_key(openapi.GetPublicKeyRequest(key_id=key, key_version_id=version)).body.public_key
    public = serialization.load_pem_public_key(pem.encode())
    signature, hashed = base64.b64decode(value), utils.Prehashed(hashes.SHA256())
    if spec == "EC_P256":
        public.verify(signature, digest, ec.ECDSA(hashed))
    elif "PSS" in algorithm:
        public.verify(signature, digest, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashed)
    else:
        public.verify(signature, digest, padding.PKCS1v15(), hashed)
    short = openapi.AsymmetricSignRequest(digest=base64.b64encode(b"short").decode(), **names)
    assert code_of(control.asymmetric_sign, short) == "InvalidParameter"


def test_what_does_not_fit(control, aes, make):
    key, version = make("EC_P256", "SIGN/VERIFY")
    digest = base64.b64encode(bytes(32)).decode()
    assert code_of(control.encrypt, openapi.EncryptRequest(key_id=key, plaintext=TEXT)) == "UnsupportedOperation"
    wrong = openapi.AsymmetricSignRequest(key_id=key, key_version_id=version, algorithm="RSA_PSS_SHA_256", digest=digest)
    assert code_of(control.asymmetric_sign, wrong) == "UnsupportedOperation"
    symmetric = openapi.AsymmetricSignRequest(key_id=aes[0], key_version_id=aes[1], algorithm="ECDSA_SHA_256", digest=digest)
    assert code_of(control.asymmetric_sign, symmetric) == "UnsupportedOperation"
    another = openapi.AsymmetricSignRequest(key_id=key, key_version_id=aes[1], algorithm="ECDSA_SHA_256", digest=digest)
    assert code_of(control.asymmetric_sign, another) == "Forbidden.KeyVersionNotFound"


def test_a_rehearsal_never_succeeds(control, aes):
    outcome = lambda **parameters: code_of(control.encrypt, openapi.EncryptRequest(plaintext=TEXT, dry_run="true", **parameters))
    assert outcome(key_id=aes[0]) == "DryRunOperationError"
    assert outcome(key_id="key-hzz62f1cb66fa42qo0000") == "ValidationError"
    assert outcome() == "ValidationError"
    sealed = control.encrypt(openapi.EncryptRequest(key_id=aes[0], plaintext=TEXT, dry_run="false")).body
    assert code_of(control.decrypt, openapi.DecryptRequest(ciphertext_blob=sealed.ciphertext_blob, dry_run="true")) == "DryRunOperationError"


def test_re_encryption_from_an_asymmetric_key(control, aes, make):
    key, version = make("RSA_2048", "ENCRYPT/DECRYPT")
    algorithm = "RSAES_OAEP_SHA_256"
    names = {"key_id": key, "key_version_id": version, "algorithm": algorithm}
    sealed = control.asymmetric_encrypt(openapi.AsymmetricEncryptRequest(plaintext=TEXT, **names)).body.ciphertext_blob
    source = {"source_key_id": key, "source_key_version_id": version, "source_encryption_algorithm": algorithm}
    moved = control.re_encrypt(openapi.ReEncryptRequest(ciphertext_blob=sealed, destination_key_id=aes[0], **source)).body
    assert (moved.key_id, moved.key_version_id) == aes
    assert control.decrypt(openapi.DecryptRequest(ciphertext_blob=moved.ciphertext_blob)).body.plaintext == TEXT
    del source["source_key_version_id"]
    incomplete = openapi.ReEncryptRequest(ciphertext_blob=sealed, destination_key_id=aes[0], **source)
    assert code_of(control.re_encrypt, incomplete) == "MissingParameter"


@pytest.mark.parametrize("algorithm, hash", [("RSAES_OAEP_SHA_256", hashes.SHA256()), ("RSAES_OAEP_SHA_1", hashes.SHA1())])
def test_export_of_data_keys(control, aes, algorithm, hash):
    private = rsa.generate_private_key(65537, 2048)
    spki = private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    to = {"public_key_blob": base64.b64encode(spki).decode(), "wrapping_algorithm": algorithm, "wrapping_key_spec": "RSA_2048"}
    opened = lambda text: private.decrypt(base64.b64decode(text), padding.OAEP(padding.MGF1(hash), hash, None))
    made = control.generate_and_export_data_key(
        openapi.GenerateAndExportDataKeyRequest(key_id=aes[0], encryption_context=CONTEXT, number_of_bytes=48, **to)
    ).body
    assert (made.key_id, made.key_version_id) == aes
    blob = {"ciphertext_blob": made.ciphertext_blob, "encryption_context": CONTEXT}
    data_key = base64.b64decode(control.decrypt(openapi.DecryptRequest(**blob)).body.plaintext)
    assert len(data_key) == 48 and opened(made.exported_data_key) == data_key
    again = control.export_data_key(openapi.ExportDataKeyRequest(**blob, **to)).body
    assert (again.key_id, again.key_version_id, opened(again.exported_data_key)) == (*aes, data_key)
    text = control.encrypt(openapi.EncryptRequest(key_id=aes[0], plaintext="no base64!")).body.ciphertext_blob
    assert opened(control.export_data_key(openapi.ExportDataKeyRequest(ciphertext_blob=text, **to)).body.exported_data_key) == b"no base64!"
    long = openapi.GenerateAndExportDataKeyRequest(key_id=aes[0], number_of_bytes=215, **to)
    assert code_of(control.generate_and_export_data_key, long) == "InvalidParameter"
    for changed, code in [
        ({"wrapping_key_spec": "EC_P256"}, "UnsupportedOperation"),
        ({"wrapping_key_spec": "RSA_3072"}, "InvalidParameter"),
        ({"public_key_blob": "AAAA"}, "InvalidParameter"),
        ({"wrapping_algorithm": "AES_GCM"}, "UnsupportedOperation"),
    ]:
        assert code_of(control.export_data_key, openapi.ExportDataKeyRequest(**blob, **{**to, **changed})) == code


@pytest.mark.parametrize("hash", ["SHA_224", "SHA_256", "SHA_384", "SHA_512"])
def test_message_authentication_codes(control, make, hash):
    name = f"HMAC_{hash}"
    key, _ = make(name, "GENERATE_VERIFY_MAC")
    message = base64.b64encode(b"a message").decode()
    made = control.generate_mac(openapi.GenerateMacRequest(key_id=key, algorithm=name, message=message)).body
    assert (made.algorithm, made.key_id) == (name, key)
    code = base64.b64decode(made.mac)
    assert len(code) == int(hash[4:]) // 8

    def verified(code, message):
        request = openapi.VerifyMacRequest(
            key_id=key, algorithm=name, message=base64.b64encode(message).decode(), mac=base64.b64encode(code).decode()
        )
        return control.verify_mac(request).body.value

    assert verified(code, b"a message") is True
    assert verified(code, b"another") is False
    assert verified(bytes([code[0] ^ 1]) + code[1:], b"a message") is False
    cut = openapi.VerifyMacRequest(key_id=key, algorithm=name, message=message, mac=base64.b64encode(code[:-1]).decode())
    assert code_of(control.verify_mac, cut) == "InvalidParameter"
    assert code_of(control.encrypt, openapi.EncryptRequest(key_id=key, plaintext=TEXT)) == "UnsupportedOperation"
    assert code_of(control.create_key_version, openapi.CreateKeyVersionRequest(key_id=key)) == "Rejected.UnsupportedOperation"
    control.disable_key(openapi.DisableKeyRequest(key_id=key))
    request = openapi.GenerateMacRequest(key_id=key, algorithm=name, message=message)
    assert code_of(control.generate_mac, request) == "Rejected.Disabled"


def test_codes_of_other_keys(control, aes, make):
    key, _ = make("HMAC_SHA_256", None)
    message = base64.b64encode(b"a message").decode()
    of = lambda **parameters: openapi.GenerateMacRequest(message=message, **parameters)
    assert code_of(control.generate_mac, of(key_id=aes[0], algorithm="HMAC_SHA_256")) == "UnsupportedOperation"
    assert code_of(control.generate_mac, of(key_id=key, algorithm="HMAC_SHA_512")) == "UnsupportedOperation"
    assert code_of(control.generate_mac, of(key_id=key, algorithm="HMAC_SM3")) == "InvalidParameter"
    long = openapi.GenerateMacRequest(key_id=key, algorithm="HMAC_SHA_256", message=base64.b64encode(bytes(6145)).decode())
    assert code_of(control.generate_mac, long) == "InvalidParameter"
