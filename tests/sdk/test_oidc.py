"""AssumeRoleWithOIDC by the STS SDK and by the credentials library, with tokens as a Kubernetes cluster signs them: a pod needs no secret."""

import base64
import json
import time

import pytest
from alibabacloud_credentials.client import Client as CredentialsClient
from alibabacloud_credentials.models import Config as CredentialsConfig
from alibabacloud_kms20160120 import models as openapi
from alibabacloud_kms20160120.client import Client as OpenApiClient
from alibabacloud_sts20150401 import models as sts
from alibabacloud_sts20150401.client import Client as StsClient
from alibabacloud_tea_openapi.models import Config as OpenApiConfig
from conftest import QUICKSTART
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from test_openapi import code_of
from test_openapi_permissions import encrypt, key, keystead, statement  # noqa: F401 (key is a fixture)

ISSUER = "https://kubernetes.default.svc.cluster.local"
SUBJECT = "system:serviceaccount:shop:payments"


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Cluster:
    """An API server's service account issuer, with a provider for it and a role for one service account."""

    def __init__(self, name):
        self.name = name
        self.pair = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def provider_arn(self):
        return f"acs:ram::0:oidc-provider/{self.name}"

    @property
    def role_arn(self):
        return f"acs:ram::0:role/{self.name}"

    def jwks(self):
        numbers = self.pair.public_key().public_numbers()
        n, e = (encoded(number.to_bytes((number.bit_length() + 7) // 8, "big")) for number in (numbers.n, numbers.e))
        return {"keys": [{"use": "sig", "kty": "RSA", "kid": "k", "alg": "RS256", "n": n, "e": e}]}

    def token(self, **other):
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": SUBJECT, "aud": ["keystead"], "iat": now, "nbf": now, "exp": now + 3600, **other}
        parts = [{"alg": "RS256", "kid": "k"}, claims]
        message = ".".join(encoded(json.dumps(part).encode()) for part in parts)
        return f"{message}.{encoded(self.pair.sign(message.encode(), padding.PKCS1v15(), SHA256()))}"


@pytest.fixture
def cluster(name, tmp_path):
    made = Cluster(name)
    (tmp_path / "jwks.json").write_text(json.dumps(made.jwks()))
    trust = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Federated": [made.provider_arn]},
        "Condition": {"StringEquals": {"oidc:iss": ISSUER, "oidc:aud": "keystead", "oidc:sub": SUBJECT}},
    }
    (tmp_path / "trust.json").write_text(json.dumps({"Version": "1", "Statement": [trust]}))
    (tmp_path / "own.json").write_text(json.dumps({"Version": "1", "Statement": [statement(["kms:Encrypt", "kms:Decrypt"])]}))
    provider = ["--issuer", ISSUER, "--client-id", "keystead", "--jwks-file", "jwks.json"]
    keystead("oidc-provider", "create", name, *provider, folder=tmp_path)
    keystead("role", "create", name, "--trust-file", "trust.json", "--policy-file", "own.json", folder=tmp_path)
    yield made
    keystead("role", "delete", name, folder=tmp_path)
    keystead("oidc-provider", "delete", name, folder=tmp_path)


@pytest.fixture
def anonymous():
    """A client of the STS that has no AccessKey."""
    at = QUICKSTART["sts"]
    return StsClient(OpenApiConfig(endpoint=at["endpoint"], protocol="HTTPS", ca=at["ca_file"]))


def request(cluster, token, **other):
    asked = {"role_arn": cluster.role_arn, "role_session_name": "pod-1", **other}
    return sts.AssumeRoleWithOIDCRequest(oidcprovider_arn=cluster.provider_arn, oidctoken=token, **asked)


def test_a_pod_gets_credentials_without_a_secret(cluster, anonymous, instance, key):
    answer = anonymous.assume_role_with_oidc(request(cluster, cluster.token(), duration_seconds=900)).body
    assert answer.assumed_role_user.arn == f"{cluster.role_arn}/pod-1"
    said = answer.oidctoken_info
    assert (said.subject, said.issuer, said.client_ids, said.verification_info) == (SUBJECT, ISSUER, "keystead", "Success")
    assert said.issuance_time < said.expiration_time
    for at in [instance, QUICKSTART["control"]]:
        client = OpenApiClient(
            OpenApiConfig(
                access_key_id=answer.credentials.access_key_id,
                access_key_secret=answer.credentials.access_key_secret,
                security_token=answer.credentials.security_token,
                endpoint=at["endpoint"],
                protocol="HTTPS",
                ca=at["ca_file"],
            )
        )
        sealed = client.encrypt(encrypt(key)).body
        assert client.decrypt(openapi.DecryptRequest(ciphertext_blob=sealed.ciphertext_blob)).body.plaintext == "eA=="
    assert code_of(client.describe_key, openapi.DescribeKeyRequest(key_id=key)) == "Forbidden.NoPermission"


def test_who_is_not_let_in(cluster, anonymous, name):
    now = int(time.time())
    for token, code in [
        (cluster.token(aud=[ISSUER]), "AuthenticationFail.OIDCToken.Invalid"),
        (cluster.token(iss="https://other.example"), "AuthenticationFail.OIDCToken.Invalid"),
        (cluster.token(iat=now - 3600, exp=now - 60), "AuthenticationFail.OIDCToken.Expired"),
        (Cluster(name).token(), "AuthenticationFail.OIDCToken.Invalid"),
        (cluster.token(sub="system:serviceaccount:shop:other"), "AuthenticationFail.NoPermission"),
    ]:
        assert code_of(anonymous.assume_role_with_oidc, request(cluster, token)) == code
    nowhere = request(cluster, cluster.token(), role_arn=f"{cluster.role_arn}-other")
    assert code_of(anonymous.assume_role_with_oidc, nowhere) == "AuthenticationFail.NoPermission"


def test_the_credentials_library_reads_the_tokens_file(cluster, key, tmp_path, monkeypatch):
    # The library takes no CA: it trusts what its machine does.
    monkeypatch.setenv("SSL_CERT_FILE", QUICKSTART["sts"]["ca_file"])
    (tmp_path / "token").write_text(cluster.token())
    config = CredentialsConfig(
        type="oidc_role_arn",
        role_arn=cluster.role_arn,
        oidc_provider_arn=cluster.provider_arn,
        oidc_token_file_path=str(tmp_path / "token"),
        role_session_name="pod-1",
        sts_endpoint=QUICKSTART["sts"]["endpoint"],
    )
    at = QUICKSTART["control"]
    credential = CredentialsClient(config)
    client = OpenApiClient(OpenApiConfig(credential=credential, endpoint=at["endpoint"], protocol="HTTPS", ca=at["ca_file"]))
    sealed = client.encrypt(encrypt(key)).body
    assert client.decrypt(openapi.DecryptRequest(ciphertext_blob=sealed.ciphertext_blob)).body.plaintext == "eA=="
