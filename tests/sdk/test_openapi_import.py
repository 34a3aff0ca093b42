"""Key material of one's own by the OpenAPI SDK: wrapped as a client does it, used in both kinds of instance, ended by order and by
date, and the same material only; what comes out is checked with the plain key outside."""

import base64
import hmac
import os
import time

import pytest
from alibabacloud_kms20160120 import models as openapi
from alibabacloud_tea_openapi.models import OpenApiRequest, Params as OpenApiParams
from alibabacloud_tea_util.models import RuntimeOptions
from clients import kms
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from test_openapi import code_of


def described(control, key):
    return control.describe_key(openapi.DescribeKeyRequest(key_id=key)).body.key_metadata


def created(control, instance, **fields):
    request = openapi.CreateKeyRequest(dkmsinstance_id=instance["instance_id"], origin="EXTERNAL", **fields)
    metadata = control.create_key(request).body.key_metadata
    assert (metadata.origin, metadata.key_state) == ("EXTERNAL", "PendingImport")
    return metadata.key_id


def parameters(control, key, algorithm="RSAES_OAEP_SHA_256"):
    request = openapi.GetParametersForImportRequest(key_id=key, wrapping_algorithm=algorithm, wrapping_key_spec="RSA_2048")
    return control.get_parameters_for_import(request).body


def wrapped(given, material, algorithm=hashes.SHA256):
    """By the public key alone, or in the envelope of CKM_RSA_AES_KEY_WRAP when the material is longer than it takes."""
    public = serialization.load_der_public_key(base64.b64decode(given.public_key))
    oaep = padding.OAEP(padding.MGF1(algorithm()), algorithm(), None)
    if len(material) <= 190:
        whole = public.encrypt(material, oaep)
    else:
        kek = os.urandom(32)
        whole = public.encrypt(kek, oaep) + aes_key_wrap_with_padding(kek, material)
    return base64.b64encode(whole).decode()


def importing(key, given, material, expires=0):
    return openapi.ImportKeyMaterialRequest(
        key_id=key, import_token=given.import_token, encrypted_key_material=wrapped(given, material), key_material_expire_unix=expires
    )


def bring(control, key, material, expires=0):
    control.import_key_material(importing(key, parameters(control, key), material, expires))


def pkcs8(private):
    return private.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def delete_material(control, key):
    control.delete_key_material(openapi.DeleteKeyMaterialRequest(key_id=key))


@pytest.mark.parametrize("spec, length", [("Aliyun_AES_256", 32), ("Aliyun_AES_192", 24), ("Aliyun_AES_128", 16)])
def test_an_aes_key_of_ones_own(control, client, instance, spec, length):
    key, material = created(control, instance, key_spec=spec), os.urandom(length)
    with pytest.raises(Exception, match="Rejected.PendingImport"):
        client.encrypt(kms.EncryptRequest(key_id=key, plaintext=b"x"))
    bring(control, key, material)
    metadata = described(control, key)
    assert (metadata.key_state, metadata.material_expire_time or "") == ("Enabled", "")
    sealed = client.encrypt(kms.EncryptRequest(key_id=key, plaintext=b"a text"))
    assert AESGCM(material).decrypt(sealed.iv, sealed.ciphertext_blob, None) == b"a text", "the plain key opens it outside"
    blob = control.encrypt(openapi.EncryptRequest(key_id=key, plaintext="YSB0ZXh0")).body.ciphertext_blob
    # Gone: nothing works. Back: everything that was encrypted before opens.
    delete_material(control, key)
    assert described(control, key).key_state == "PendingImport"
    decrypt = openapi.DecryptRequest(ciphertext_blob=blob)
    assert code_of(control.decrypt, decrypt) == "Rejected.PendingImport"
    delete_material(control, key)
    given = parameters(control, key)
    assert code_of(control.import_key_material, importing(key, given, os.urandom(length))) == "InvalidKeyMaterial"
    bring(control, key, material)
    assert control.decrypt(decrypt).body.plaintext == "YSB0ZXh0"
    opened = client.decrypt(kms.DecryptRequest(key_id=key, ciphertext_blob=sealed.ciphertext_blob, iv=sealed.iv))
    assert opened.plaintext == b"a text"


@pytest.mark.parametrize("spec, bits", [("RSA_2048", 2048), ("RSA_3072", 3072)])
def test_an_rsa_pair_of_ones_own(control, client, instance, spec, bits):
    private = rsa.generate_private_key(65537, bits)
    signs = created(control, instance, key_spec=spec, key_usage="SIGN/VERIFY")
    opens = created(control, instance, key_spec=spec, key_usage="ENCRYPT/DECRYPT")
    for key in [signs, opens]:
        bring(control, key, pkcs8(private))
    signed = client.sign(kms.SignRequest(key_id=signs, message=b"m", message_type="RAW", algorithm="RSA_PKCS1_SHA_256"))
    private.public_key().verify(signed.signature, b"m", padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(InvalidSignature):
        private.public_key().verify(signed.signature, b"n", padding.PKCS1v15(), hashes.SHA256())
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    outside = private.public_key().encrypt(b"from outside", oaep)
    request = kms.DecryptRequest(key_id=opens, ciphertext_blob=outside, algorithm="RSAES_OAEP_SHA_256")
    assert client.decrypt(request).plaintext == b"from outside"
    delete_material(control, signs)
    with pytest.raises(Exception, match="Rejected.PendingImport"):
        client.get_public_key(kms.GetPublicKeyRequest(key_id=signs))
    other = importing(signs, parameters(control, signs), pkcs8(rsa.generate_private_key(65537, bits)))
    assert code_of(control.import_key_material, other) == "InvalidKeyMaterial"
    bring(control, signs, pkcs8(private))


@pytest.mark.parametrize("spec, curve", [("EC_P256", ec.SECP256R1()), ("EC_P256K", ec.SECP256K1())])
def test_a_pair_on_a_curve_of_ones_own(control, client, instance, spec, curve):
    private = ec.generate_private_key(curve)
    key = created(control, instance, key_spec=spec)
    bring(control, key, pkcs8(private))
    signed = client.sign(kms.SignRequest(key_id=key, message=b"m", message_type="RAW", algorithm="ECDSA_SHA_256"))
    private.public_key().verify(signed.signature, b"m", ec.ECDSA(hashes.SHA256()))
    shown = serialization.load_pem_public_key(client.get_public_key(kms.GetPublicKeyRequest(key_id=key)).public_key.encode())
    assert shown.public_numbers() == private.public_key().public_numbers()


def test_a_key_of_codes_of_ones_own(control, instance):
    key, material = created(control, instance, key_spec="HMAC_SHA_256"), os.urandom(32)
    short = importing(key, parameters(control, key), os.urandom(31))
    assert code_of(control.import_key_material, short) == "InvalidKeyMaterial"
    bring(control, key, material)
    message = base64.b64encode(b"a message").decode()
    made = control.generate_mac(openapi.GenerateMacRequest(key_id=key, algorithm="HMAC_SHA_256", message=message)).body.mac
    assert base64.b64decode(made) == hmac.digest(material, b"a message", "sha256")
    delete_material(control, key)
    request = openapi.GenerateMacRequest(key_id=key, algorithm="HMAC_SHA_256", message=message)
    assert code_of(control.generate_mac, request) == "Rejected.PendingImport"


def said_of(control, key):
    """What the API has no field for."""
    answer = control.call_api(
        OpenApiParams(
            action="DescribeKey", version="2016-01-20", protocol="HTTPS", pathname="/", method="POST", auth_type="AK",
            style="RPC", req_body_type="formData", body_type="json",
        ),
        OpenApiRequest(query={"KeyId": key}),
        RuntimeOptions(),
    )
    return answer["body"]["KeyMetadata"]["Keystead"]


def test_what_is_imported_is_said_of_the_key(control, instance):
    """The attributes of the object, and that the process saw the material."""
    key = created(control, instance)
    bring(control, key, os.urandom(32))
    said = said_of(control, key)
    if instance["kind"] == "Hardware":
        assert said["StorageMechanism"] == "HsmInternal" and "C_CreateObject" in said["Import"]
        attributes = said["Attributes"]
        assert attributes["Sensitive"] and not attributes["Extractable"]
        assert not any(attributes[name] for name in ["Local", "AlwaysSensitive", "NeverExtractable"])
    else:
        assert said["StorageMechanism"] == "Software" and said["Import"] == "full" and "Attributes" not in said


def test_material_expires(control, client, instance):
    key, material = created(control, instance), os.urandom(32)
    given = parameters(control, key)
    past = importing(key, given, material, int(time.time()) - 5)
    assert code_of(control.import_key_material, past) == "InvalidParameter"
    end = int(time.time()) + 3
    control.import_key_material(importing(key, given, material, end))
    metadata = described(control, key)
    assert metadata.material_expire_time == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
    client.encrypt(kms.EncryptRequest(key_id=key, plaintext=b"x"))
    while time.time() < end:
        time.sleep(0.1)
    with pytest.raises(Exception, match="Rejected.PendingImport"):
        client.encrypt(kms.EncryptRequest(key_id=key, plaintext=b"x"))
    metadata = described(control, key)
    assert (metadata.key_state, metadata.material_expire_time or "") == ("PendingImport", "")
    control.import_key_material(importing(key, given, material))
    client.encrypt(kms.EncryptRequest(key_id=key, plaintext=b"x"))


def test_parameters_and_tokens(control, instance):
    key, other = created(control, instance), created(control, instance)
    one, two = parameters(control, key), parameters(control, key)
    assert one.key_id == key and one.token_expire_time.endswith("Z") and one.public_key != two.public_key
    material = os.urandom(32)
    control.import_key_material(importing(key, one, material))
    control.import_key_material(importing(key, one, material))
    crossed = openapi.ImportKeyMaterialRequest(
        key_id=key, import_token=one.import_token, encrypted_key_material=wrapped(two, material), key_material_expire_unix=0
    )
    assert code_of(control.import_key_material, crossed) == "InvalidKeyMaterial"
    assert code_of(control.import_key_material, importing(other, one, material)) == "InvalidImportToken"
    for token in ["x", "eA==", one.import_token[:-8]]:
        forged = openapi.ImportKeyMaterialRequest(
            key_id=key, import_token=token, encrypted_key_material=wrapped(one, material), key_material_expire_unix=0
        )
        assert code_of(control.import_key_material, forged) == "InvalidImportToken"
    for algorithm in ["RSAES_PKCS1_V1_5", "RSAES_OAEP_SHA_512"]:
        asked = openapi.GetParametersForImportRequest(key_id=key, wrapping_algorithm=algorithm, wrapping_key_spec="RSA_2048")
        assert code_of(control.get_parameters_for_import, asked) in ["UnsupportedOperation", "InvalidParameter"]


def test_sha_1_wraps_for_a_key_without_an_instance(control):
    """The default instance is where such keys are."""
    key = control.create_key(openapi.CreateKeyRequest(origin="EXTERNAL")).body.key_metadata.key_id
    given, material = parameters(control, key, "RSAES_OAEP_SHA_1"), os.urandom(32)
    control.import_key_material(
        openapi.ImportKeyMaterialRequest(
            key_id=key,
            import_token=given.import_token,
            encrypted_key_material=wrapped(given, material, hashes.SHA1),
            key_material_expire_unix=0,
        )
    )
    assert described(control, key).key_state == "Enabled"


def test_states(control, instance):
    key, material = created(control, instance), os.urandom(32)
    for refused in [
        lambda: code_of(control.enable_key, openapi.EnableKeyRequest(key_id=key)),
        lambda: code_of(control.disable_key, openapi.DisableKeyRequest(key_id=key)),
        lambda: code_of(control.cancel_key_deletion, openapi.CancelKeyDeletionRequest(key_id=key)),
    ]:
        assert refused() == "Rejected.StateModifiedFailed"
    bring(control, key, material)
    control.disable_key(openapi.DisableKeyRequest(key_id=key))
    bring(control, key, material)
    assert described(control, key).key_state == "Enabled"
    control.schedule_key_deletion(openapi.ScheduleKeyDeletionRequest(key_id=key, pending_window_in_days=7))
    date = described(control, key).delete_date
    given = parameters(control, key)
    assert code_of(control.import_key_material, importing(key, given, material)) == "Rejected.StateModifiedFailed"
    delete_material(control, key)
    metadata = described(control, key)
    assert (metadata.key_state, metadata.delete_date) == ("PendingDeletion", date)
    control.cancel_key_deletion(openapi.CancelKeyDeletionRequest(key_id=key))
    assert described(control, key).key_state == "PendingImport"


def test_material_that_was_made_here_stays(control, instance):
    key = control.create_key(openapi.CreateKeyRequest(dkmsinstance_id=instance["instance_id"])).body.key_metadata.key_id
    asked = openapi.GetParametersForImportRequest(
        key_id=key, wrapping_algorithm="RSAES_OAEP_SHA_256", wrapping_key_spec="RSA_2048"
    )
    assert code_of(control.get_parameters_for_import, asked) == "Unsupported.Origin"
    assert code_of(control.delete_key_material, openapi.DeleteKeyMaterialRequest(key_id=key)) == "Unsupported.Origin"
    external = openapi.CreateKeyRequest(dkmsinstance_id=instance["instance_id"], origin="external")
    assert code_of(control.create_key, external) == "InvalidParameter"
