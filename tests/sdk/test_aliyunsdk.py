"""The older SDK, aliyun-python-sdk-kms: RPC HMAC-SHA1, everything in the query, True and False."""

import base64
import importlib
import json

import pytest
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.client import AcsClient
from clients import read
from conftest import QUICKSTART

# Of certificates, and one operation that no list of the API has: refused on purpose.
REFUSED = [
    ("AdvanceEncrypt", {"KeyId": "k", "Plaintext": "AA=="}),
    ("CreateCertificate", {"KeySpec": "RSA_2048", "Subject": "CN=a"}),
    ("UploadCertificate", {"CertificateId": "c", "Certificate": "pem"}),
    ("GetCertificate", {"CertificateId": "c"}),
    ("DescribeCertificate", {"CertificateId": "c"}),
    ("UpdateCertificateStatus", {"CertificateId": "c", "Status": "INACTIVE"}),
    ("DeleteCertificate", {"CertificateId": "c"}),
    ("CertificatePublicKeyEncrypt", {"CertificateId": "c", "Algorithm": "RSAES_OAEP_SHA_256", "Plaintext": "AA=="}),
    ("CertificatePrivateKeyDecrypt", {"CertificateId": "c", "Algorithm": "RSAES_OAEP_SHA_256", "CiphertextBlob": "AA=="}),
    ("CertificatePrivateKeySign", {"CertificateId": "c", "Algorithm": "RSA_PKCS1_SHA_256", "Message": "AA=="}),
    ("CertificatePublicKeyVerify", {"CertificateId": "c", "Algorithm": "RSA_PKCS1_SHA_256", "Message": "AA==", "SignatureValue": "AA=="}),
]


class Older:
    def __init__(self):
        at = QUICKSTART["control"]
        self.client = AcsClient(at["access_key_id"], read(at["access_key_secret_file"]), "cn-hangzhou", verify=at["ca_file"])
        self.endpoint = at["endpoint"]

    def ask(self, operation, method="POST", **parameters):
        module = importlib.import_module(f"aliyunsdkkms.request.v20160120.{operation}Request")
        request = getattr(module, f"{operation}Request")()
        request.set_endpoint(self.endpoint)
        request.set_method(method)
        for name, value in parameters.items():
            getattr(request, f"set_{name}")(value)
        return json.loads(self.client.do_action_with_exception(request))

    def code_of(self, operation, **parameters):
        with pytest.raises(ServerException) as refused:
            self.ask(operation, **parameters)
        assert refused.value.get_request_id()
        return refused.value.get_error_code()


@pytest.fixture(scope="module")
def older():
    return Older()


@pytest.fixture(scope="module")
def key(older):
    # The older SDK does not know instances: the key is one of the default instance.
    return older.ask("CreateKey", KeySpec="Aliyun_AES_256", Description="of the older SDK")["KeyMetadata"]["KeyId"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_encryption(older, key, method):
    text = base64.b64encode(b"a text").decode()
    context = json.dumps({"purpose": "a test"})
    sealed = older.ask("Encrypt", method, KeyId=key, Plaintext=text, EncryptionContext=context)
    opened = older.ask("Decrypt", method, CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext=context)
    assert (opened["Plaintext"], opened["KeyId"], opened["KeyVersionId"]) == (text, key, sealed["KeyVersionId"])
    assert older.code_of("Decrypt", CiphertextBlob=sealed["CiphertextBlob"]) == "InvalidParameter"
    data_key = older.ask("GenerateDataKey", method, KeyId=key, NumberOfBytes=24)
    assert len(base64.b64decode(data_key["Plaintext"])) == 24


def test_the_life_of_a_key(older, name):
    key = older.ask("CreateKey", KeySpec="RSA_2048", KeyUsage="SIGN/VERIFY")["KeyMetadata"]["KeyId"]
    older.ask("CreateAlias", AliasName=f"alias/{name}", KeyId=key)
    assert older.ask("DescribeKey", KeyId=f"alias/{name}")["KeyMetadata"]["KeyId"] == key
    version = older.ask("ListKeyVersions", KeyId=key)["KeyVersions"]["KeyVersion"][0]["KeyVersionId"]
    digest = base64.b64encode(bytes(32)).decode()
    names = {"KeyId": key, "KeyVersionId": version, "Algorithm": "RSA_PKCS1_SHA_256", "Digest": digest}
    value = older.ask("AsymmetricSign", **names)["Value"]
    assert older.ask("AsymmetricVerify", Value=value, **names)["Value"] is True
    older.ask("DisableKey", KeyId=key)
    assert older.code_of("AsymmetricSign", **names) == "Rejected.Disabled"
    older.ask("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
    assert older.ask("DescribeKey", KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    older.ask("CancelKeyDeletion", KeyId=key)
    older.ask("SetDeletionProtection", ProtectedResourceArn=f"acs:kms:cn-hangzhou:0:key/{key}", EnableDeletionProtection=False)
    older.ask("DeleteAlias", AliasName=f"alias/{name}")
    assert older.code_of("DescribeKey", KeyId=f"alias/{name}") == "Forbidden.AliasNotFound"


def test_access(older, name):
    instance = QUICKSTART["instances"][0]["instance_id"]
    older.ask("CreateNetworkRule", Name=name, Type="Private", SourcePrivateIp='["10.0.0.0/8"]')
    older.ask(
        "CreatePolicy",
        Name=name,
        KmsInstance=instance,
        Permissions='["RbacPermission/Template/CryptoServiceKeyUser"]',
        Resources='["key/*"]',
        AccessControlRules=json.dumps({"NetworkRules": [name]}),
    )
    older.ask("CreateApplicationAccessPoint", Name=name, AuthenticationMethod="ClientKey", Policies=f'["{name}"]')
    made = older.ask("CreateClientKey", AapName=name, Password="Example-Pass1")
    listed = older.ask("ListClientKeys", "GET", AapName=name)["ClientKeys"]
    assert [listed["ClientKeyId"] for listed in listed] == [made["ClientKeyId"]]
    older.ask("DeleteClientKey", ClientKeyId=made["ClientKeyId"])
    older.ask("DeleteApplicationAccessPoint", Name=name)
    older.ask("DeletePolicy", Name=name)
    older.ask("DeleteNetworkRule", Name=name)
    assert older.code_of("DescribeNetworkRule", Name=name) == "Forbidden.ResourceNotFound"


@pytest.mark.parametrize("operation, parameters", REFUSED, ids=[operation for operation, _ in REFUSED])
def test_what_is_not_served_is_refused_as_such(older, operation, parameters):
    assert older.code_of(operation, **parameters) == "UnsupportedOperation"


def test_a_wrong_secret(older):
    at = QUICKSTART["control"]
    stranger = Older()
    stranger.client = AcsClient(at["access_key_id"], "no-secret", "cn-hangzhou", verify=at["ca_file"])
    with pytest.raises(ServerException) as refused:
        stranger.ask("ListKeys")
    assert refused.value.get_error_code() in ("SignatureDoesNotMatch", "InvalidAccessKeySecret")
