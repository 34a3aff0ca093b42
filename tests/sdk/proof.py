"""The proof of the quick start: encrypts, decrypts, signs and verifies on every instance, and shows it."""

import sys

from clients import instance_client, kms, quickstart


def prove(instance):
    client, keys = instance_client(instance), instance["keys"]
    print(f"{instance['kind']} instance {instance['instance_id']} at https://{instance['endpoint']}")

    message = b"attack at dawn"
    sealed = client.encrypt(kms.EncryptRequest(key_id=keys["Aliyun_AES_256"], plaintext=message, aad=b"orders"))
    opened = client.decrypt(
        kms.DecryptRequest(
            key_id=keys["Aliyun_AES_256"], ciphertext_blob=sealed.ciphertext_blob, iv=sealed.iv, aad=b"orders", algorithm=sealed.algorithm
        )
    )
    assert opened.plaintext == message
    print(f"  Encrypt, Decrypt   {sealed.algorithm:<20} {message!r} -> {sealed.ciphertext_blob.hex()[:24]}... -> {opened.plaintext!r}")

    sealed = client.encrypt(kms.EncryptRequest(key_id=keys["RSA_2048_ENCRYPT"], plaintext=message))
    opened = client.decrypt(kms.DecryptRequest(key_id=keys["RSA_2048_ENCRYPT"], ciphertext_blob=sealed.ciphertext_blob, algorithm=sealed.algorithm))
    assert opened.plaintext == message
    print(f"  Encrypt, Decrypt   {sealed.algorithm:<20} {message!r} -> {sealed.ciphertext_blob.hex()[:24]}... -> {opened.plaintext!r}")

    for name in ["RSA_2048", "EC_P256"]:
        signed = client.sign(kms.SignRequest(key_id=keys[name], message=message, message_type="RAW"))
        verdicts = [
            client.verify(
                kms.VerifyRequest(key_id=keys[name], message=text, message_type="RAW", signature=signed.signature, algorithm=signed.algorithm)
            ).value
            for text in (message, b"attack at noon")
        ]
        assert verdicts == [True, False]
        print(f"  Sign, Verify       {signed.algorithm:<20} {signed.signature.hex()[:24]}... right: {verdicts[0]}, of another text: {verdicts[1]}")


for served in quickstart(sys.argv[1])["instances"]:
    prove(served)
