"""All operations of the KMS Instance SDK but GetSecretValue, on both instances, with every algorithm."""

import hashlib

import pytest
from clients import kms
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from Tea.exceptions import TeaException

VERSION_HEADER = "x-kms-migrationkeyversionid"
PAIRS = ["RSA_2048", "EC_P256", "EC_P256K"]


def code_of(call, *arguments):
    with pytest.raises(TeaException) as caught:
        call(*arguments)
    return caught.value.code


def encrypt(client, key, **more):
    return client.encrypt(kms.EncryptRequest(key_id=key, **more))


def decrypt(client, sealed, **more):
    fields = {"key_id": sealed.key_id, "ciphertext_blob": sealed.ciphertext_blob, "iv": sealed.iv, "algorithm": sealed.algorithm}
    return client.decrypt(kms.DecryptRequest(**{**fields, **more}))


@pytest.mark.parametrize("aad", [None, b"a", b"x" * 8192])
@pytest.mark.parametrize("plaintext", [b"", b"hello", bytes(6144)])
def test_aes_gcm(client, instance, plaintext, aad):
    sealed = encrypt(client, instance["keys"]["Aliyun_AES_256"], plaintext=plaintext, aad=aad)
    assert (sealed.algorithm, len(sealed.iv), len(sealed.ciphertext_blob)) == ("AES_GCM", 12, len(plaintext) + 16)
    assert decrypt(client, sealed, aad=aad).plaintext == plaintext


@pytest.mark.parametrize("algorithm", ["AES_CBC", "AES_ECB"])
@pytest.mark.parametrize("mode, plaintext", [("PKCS7_PADDING", b"hello"), ("NO_PADDING", bytes(32)), (None, b"")])
def test_aes_blocks(client, instance, algorithm, mode, plaintext):
    sealed = encrypt(client, instance["keys"]["Aliyun_AES_256"], plaintext=plaintext, algorithm=algorithm, padding_mode=mode)
    assert sealed.padding_mode == (mode or "PKCS7_PADDING")
    assert len(sealed.iv) == (16 if algorithm == "AES_CBC" else 0)
    assert decrypt(client, sealed, padding_mode=mode).plaintext == plaintext


@pytest.mark.parametrize("algorithm", [None, "RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1"])
def test_rsa_oaep(client, instance, algorithm):
    sealed = encrypt(client, instance["keys"]["RSA_2048_ENCRYPT"], plaintext=b"hello", algorithm=algorithm)
    assert sealed.algorithm == (algorithm or "RSAES_OAEP_SHA_256")
    assert decrypt(client, sealed).plaintext == b"hello"


def test_what_another_implementation_encrypts_is_decrypted(client, instance):
    key = instance["keys"]["RSA_2048_ENCRYPT"]
    public = serialization.load_pem_public_key(client.get_public_key(kms.GetPublicKeyRequest(key_id=key)).public_key.encode())
    for name, algorithm in [("RSAES_OAEP_SHA_256", hashes.SHA256()), ("RSAES_OAEP_SHA_1", hashes.SHA1())]:
        sealed = public.encrypt(b"hello", padding.OAEP(padding.MGF1(algorithm), algorithm, None))
        opened = client.decrypt(kms.DecryptRequest(key_id=key, ciphertext_blob=sealed, algorithm=name))
        assert opened.plaintext == b"hello"


@pytest.mark.parametrize("key, algorithm", [("RSA_2048", "RSA_PSS_SHA_256"), ("RSA_2048", "RSA_PKCS1_SHA_256"), ("EC_P256", "ECDSA_SHA_256")])
def test_signatures_verify_here_and_elsewhere(client, instance, key, algorithm):
    key_id = instance["keys"][key]
    message = b"attack at dawn"
    forms = {"RAW": message, "DIGEST": hashlib.sha256(message).digest()}
    public = serialization.load_pem_public_key(client.get_public_key(kms.GetPublicKeyRequest(key_id=key_id)).public_key.encode())
    for signing, signed_text in forms.items():
        signed = client.sign(kms.SignRequest(key_id=key_id, algorithm=algorithm, message=signed_text, message_type=signing))
        for verifying, text in forms.items():
            request = kms.VerifyRequest(
                key_id=key_id, algorithm=algorithm, message=text, message_type=verifying, signature=signed.signature
            )
            assert client.verify(request).value is True
        if algorithm == "ECDSA_SHA_256":
            public.verify(signed.signature, message, ec.ECDSA(hashes.SHA256()))
        elif algorithm == "RSA_PSS_SHA_256":
            public.verify(signed.signature, message, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        else:
            public.verify(signed.signature, message, padding.PKCS1v15(), hashes.SHA256())
    wrong = kms.VerifyRequest(key_id=key_id, algorithm=algorithm, message=b"other", message_type="RAW", signature=signed.signature)
    assert client.verify(wrong).value is False


def test_advance_encrypt(client, instance):
    key = instance["keys"]["Aliyun_AES_256"]
    sealed = client.advance_encrypt(kms.AdvanceEncryptRequest(key_id=key, plaintext=b"hello", aad=b"a"))
    blob = sealed.ciphertext_blob
    assert blob[:3] == b"$\x00\x02" and blob[3:39].decode() == sealed.key_version_id and blob[39:51] == sealed.iv
    assert len(blob) == 51 + 5 + 16 and len(sealed.key_version_id) == 36
    opened = client.advance_decrypt(kms.AdvanceDecryptRequest(ciphertext_blob=blob, aad=b"a"))
    assert (opened.plaintext, opened.key_id, opened.key_version_id) == (b"hello", key, sealed.key_version_id)
    # Without its header it is what Decrypt opens with the parts apart.
    plain = kms.DecryptRequest(key_id=key, ciphertext_blob=blob[51:], iv=blob[39:51], aad=b"a", algorithm="AES_GCM")
    assert client.decrypt(plain).plaintext == b"hello"


def test_advance_decrypt_opens_what_encrypt_made(client, instance):
    sealed = encrypt(client, instance["keys"]["Aliyun_AES_256"], plaintext=b"hello")
    request = kms.AdvanceDecryptRequest(
        key_id=sealed.key_id, ciphertext_blob=sealed.ciphertext_blob, iv=sealed.iv, algorithm=sealed.algorithm
    )
    assert client.advance_decrypt(request).plaintext == b"hello"


@pytest.mark.parametrize("length", [None, 1, 32, 1024])
def test_data_keys(client, instance, length):
    key = instance["keys"]["Aliyun_AES_256"]
    made = client.generate_data_key(kms.GenerateDataKeyRequest(key_id=key, number_of_bytes=length, aad=b"a"))
    assert len(made.plaintext) == (length or 32)
    opened = client.decrypt(
        kms.DecryptRequest(key_id=key, ciphertext_blob=made.ciphertext_blob, iv=made.iv, aad=b"a", algorithm=made.algorithm)
    )
    assert opened.plaintext == made.plaintext
    made = client.advance_generate_data_key(kms.AdvanceGenerateDataKeyRequest(key_id=key, number_of_bytes=length))
    opened = client.advance_decrypt(kms.AdvanceDecryptRequest(ciphertext_blob=made.ciphertext_blob))
    assert opened.plaintext == made.plaintext and len(made.plaintext) == (length or 32)


def load_pair(private, public, form):
    if form == "PEM":
        return serialization.load_pem_private_key(private, None), serialization.load_pem_public_key(public)
    return serialization.load_der_private_key(private, None), serialization.load_der_public_key(public)


@pytest.mark.parametrize("form", ["PEM", "DER"])
@pytest.mark.parametrize("spec", PAIRS)
def test_data_key_pairs(client, instance, spec, form):
    key = instance["keys"]["Aliyun_AES_256"]
    fields = {"key_id": key, "key_pair_spec": spec, "key_format": form, "aad": b"a"}

    made = client.generate_data_key_pair(kms.GenerateDataKeyPairRequest(algorithm="AES_GCM", **fields))
    private, public = load_pair(made.private_key_plaintext, made.public_key, form)
    assert private.public_key().public_numbers() == public.public_numbers()
    plain = kms.DecryptRequest(
        key_id=key, ciphertext_blob=made.private_key_ciphertext_blob, iv=made.iv, aad=b"a", algorithm=made.algorithm
    )
    assert client.decrypt(plain).plaintext == made.private_key_plaintext

    made = client.generate_data_key_pair_without_plaintext(
        kms.GenerateDataKeyPairWithoutPlaintextRequest(algorithm="AES_GCM", **fields)
    )
    plain.ciphertext_blob, plain.iv = made.private_key_ciphertext_blob, made.iv
    private, public = load_pair(client.decrypt(plain).plaintext, made.public_key, form)
    assert private.public_key().public_numbers() == public.public_numbers()

    made = client.advance_generate_data_key_pair(kms.AdvanceGenerateDataKeyPairRequest(**fields))
    opened = client.advance_decrypt(kms.AdvanceDecryptRequest(ciphertext_blob=made.private_key_ciphertext_blob, aad=b"a"))
    assert opened.plaintext == made.private_key_plaintext

    made = client.advance_generate_data_key_pair_without_plaintext(
        kms.AdvanceGenerateDataKeyPairWithoutPlaintextRequest(**fields)
    )
    opened = client.advance_decrypt(kms.AdvanceDecryptRequest(ciphertext_blob=made.private_key_ciphertext_blob, aad=b"a"))
    private, public = load_pair(opened.plaintext, made.public_key, form)
    assert private.public_key().public_numbers() == public.public_numbers()


def test_random(client):
    drawn = [client.generate_random(kms.GenerateRandomRequest(length=length)).random for length in (1, 32, 1024)]
    assert [len(bytes) for bytes in drawn] == [1, 32, 1024]


def test_the_key_version_is_named_in_a_header(client, instance):
    from openapi_util.models import RuntimeOptions

    request = kms.EncryptRequest(key_id=instance["keys"]["Aliyun_AES_256"], plaintext=b"hello")
    sealed = client.encrypt_with_options(request, RuntimeOptions(response_headers=[VERSION_HEADER]))
    version = sealed.response_headers[VERSION_HEADER]
    assert len(version) == 36 and version.startswith(sealed.key_id)
    # As the older transfer clients decrypt: by the version alone.
    opened = client.decrypt(
        kms.DecryptRequest(
            ciphertext_blob=sealed.ciphertext_blob, iv=sealed.iv, algorithm="AES_GCM", key_id="", request_headers={VERSION_HEADER: version}
        )
    )
    assert opened.plaintext == b"hello"


def test_codes_of_refusals(client, instance):
    keys = instance["keys"]
    aes, rsa, ec_key = keys["Aliyun_AES_256"], keys["RSA_2048"], keys["EC_P256"]
    sealed = encrypt(client, aes, plaintext=b"hello")
    for at in range(len(sealed.ciphertext_blob)):
        changed = bytearray(sealed.ciphertext_blob)
        changed[at] ^= 1
        assert code_of(lambda: decrypt(client, sealed, ciphertext_blob=bytes(changed))) == "InvalidParameter"
    assert code_of(lambda: encrypt(client, "key-hzz62f1cb66fa42qo0001", plaintext=b"x")) == "Forbidden.KeyNotFound"
    assert code_of(lambda: encrypt(client, aes, plaintext=b"x", algorithm="RSAES_OAEP_SHA_256")) == "UnsupportedOperation"
    assert code_of(lambda: encrypt(client, aes, plaintext=b"x", algorithm="AES_CTR")) == "InvalidParameter"
    assert code_of(lambda: encrypt(client, aes, plaintext=b"x", iv=bytes(12))) == "InvalidParameter"
    assert code_of(lambda: encrypt(client, rsa, plaintext=b"x")) == "UnsupportedOperation"
    assert code_of(lambda: encrypt(client, aes, plaintext=b"x", aad=bytes(8193))) == "InvalidParameter"
    assert code_of(client.get_public_key, kms.GetPublicKeyRequest(key_id=aes)) == "UnsupportedOperation"
    assert code_of(client.sign, kms.SignRequest(key_id=aes, message=b"x", message_type="RAW")) == "UnsupportedOperation"
    assert code_of(client.sign, kms.SignRequest(key_id=ec_key, message=b"x", message_type="DIGEST")) == "InvalidParameter"
    assert code_of(client.generate_random, kms.GenerateRandomRequest(length=1025)) == "InvalidParameter"
    advance = kms.AdvanceEncryptRequest(key_id=keys["RSA_2048_ENCRYPT"], plaintext=b"x")
    assert code_of(client.advance_encrypt, advance) == "Forbidden.OnlySymmetricKeySupported"
    secret = kms.GetSecretValueRequest(secret_name="s", version_stage="ACSCurrent", version_id="v", fetch_extended_config=True)
    assert code_of(client.get_secret_value, secret) == "UnsupportedOperation"
