"""What a provider's answers must show before anybody is signed in by them (D-12)."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import ValidationError

from kefu_routing.domain.oidc import (
    Departure,
    NotProven,
    NotUsable,
    Person,
    authorization_url,
    is_back,
    key_of,
    provider_of,
    read_id_token,
)
from kefu_routing.settings import Issuer, RoutingSettings

NOW = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
ISSUER = "https://id.example"
LEFT = Departure("acme", "state", "nonce", "verifier", "https://kefu.example/cb", NOW + timedelta(minutes=10))
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "1",
    "aud": "kefu",
    "nonce": "nonce",
    "exp": NOW.timestamp() + 60,
    "preferred_username": "lina",
    "email": "lina@example.com",
    "email_verified": True,
}


def a_key_set() -> dict[str, Any]:
    """What a provider publishes: a key of each kind, and one that must never count."""
    secret = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "oct", "alg": "HS256"}
    public = [
        {**jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True), "kid": "rsa", "use": "sig"},
        {**jwt.algorithms.ECAlgorithm.to_jwk(EC.public_key(), as_dict=True), "kid": "ec"},
    ]
    return {"keys": [*public, secret]}


def an_id_token(alg: str = "RS256", kid: str | None = "rsa", **changed: Any) -> str:
    key = EC if alg == "ES256" else RSA
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not None}
    return jwt.encode(claims, key, alg, {} if kid is None else {"kid": kid})


def read(token: str, **more: Any) -> Person:
    key = key_of(token, a_key_set())
    assert key is not None
    return read_id_token(token, key, "kefu", LEFT, ISSUER, more.get("now", NOW))


@pytest.mark.parametrize(("alg", "kid"), [("RS256", "rsa"), ("ES256", "ec"), ("ES256", None)])
def test_an_id_token_says_who_it_is(alg: str, kid: str | None) -> None:
    assert read(an_id_token(alg, kid)) == Person("lina", "lina@example.com")


@pytest.mark.parametrize("verified", [False, None, "true", 1])
def test_an_address_that_the_provider_has_not_verified_is_none(verified: object) -> None:
    assert read(an_id_token(email_verified=verified)) == Person("lina", None)


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://other.example"},
        {"aud": "another"},
        {"aud": ["kefu", "another"]},
        {"aud": ["kefu", "another"], "azp": "another"},
        {"azp": "another"},
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"exp": NOW.timestamp() - 61},
        {"exp": None},
        {"sub": None},
        {"aud": None},
    ],
)
def test_an_id_token_that_was_not_made_for_this_sign_in_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(NotProven):
        read(an_id_token(**changed))


def test_another_key_an_unsigned_token_and_a_shared_secret_prove_nothing() -> None:
    strange = jwt.encode(CLAIMS, rsa.generate_private_key(65537, 2048), "RS256", {"kid": "rsa"})
    with pytest.raises(NotProven):
        read(strange)
    unsigned = jwt.encode(CLAIMS, "", "none", {"kid": "rsa"})
    shared = jwt.encode(CLAIMS, "secret-secret-secret-secret-secret", "HS256", {"kid": "oct"})
    longer = jwt.encode(CLAIMS, RSA, "RS512", {"kid": "rsa"})
    for token in (unsigned, shared, longer, "", "a.b.c", "ü.ü.ü"):
        with pytest.raises(NotProven):
            key_of(token, a_key_set())
    assert key_of(an_id_token(kid="ec"), a_key_set()) is None
    assert key_of(an_id_token(kid="new"), a_key_set()) is None


@pytest.mark.parametrize("keys", [None, [], {}, {"keys": None}, {"keys": [1]}, {"keys": []}])
def test_keys_that_are_none_are_told(keys: object) -> None:
    with pytest.raises(NotUsable):
        key_of(an_id_token(), keys)


DOCUMENT: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize?tenant=1",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/keys",
}


def test_the_browser_is_sent_to_the_providers_own_endpoint() -> None:
    url = urlsplit(authorization_url(provider_of(DOCUMENT, ISSUER), "kefu", LEFT))
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{ISSUER}/authorize"
    assert parse_qs(url.query) == {
        "tenant": ["1"],
        "response_type": ["code"],
        "client_id": ["kefu"],
        "redirect_uri": [LEFT.redirect_uri],
        "scope": ["openid profile email"],
        "state": ["state"],
        "nonce": ["nonce"],
        "code_challenge": ["iMnq5o6zALKXGivsnlom_0F5_WYda32GHkxlV7mq7hQ"],
        "code_challenge_method": ["S256"],
    }


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {**DOCUMENT, "issuer": f"{ISSUER}/"},
        {**DOCUMENT, "token_endpoint": None},
        {**DOCUMENT, "jwks_uri": "file:///etc/passwd"},
        {**DOCUMENT, "authorization_endpoint": "javascript:alert(1)"},
        {**DOCUMENT, "authorization_endpoint": "https://id.example/\r\nSet-Cookie: a=b"},
        {**DOCUMENT, "authorization_endpoint": "https://[id"},
    ],
)
def test_a_discovery_document_that_is_none_is_told(document: object) -> None:
    with pytest.raises(NotUsable):
        provider_of(document, ISSUER)


@pytest.mark.parametrize(
    ("offered", "takes_basic"),
    [(None, True), ([], True), (["client_secret_post"], False), (["client_secret_post", "client_secret_basic"], True)],
)
def test_how_the_client_shows_its_secret(offered: object, takes_basic: bool) -> None:
    document = {**DOCUMENT, "token_endpoint_auth_methods_supported": offered}
    assert provider_of(document, ISSUER).takes_basic is takes_basic


def test_who_comes_back_late_or_with_another_state_is_nobody() -> None:
    assert is_back(LEFT, "state", NOW)
    assert not is_back(LEFT, "stäte", NOW)
    assert not is_back(LEFT, "", NOW)
    assert not is_back(LEFT, "state", LEFT.expires_at)
    assert is_back(replace(LEFT, expires_at=NOW + timedelta(seconds=1)), "state", NOW)


def test_the_setting_is_json_by_account(monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"issuer": ISSUER, "client_id": "kefu", "client_secret": "s3cret"}
    monkeypatch.setenv("KEFU_OIDC", json.dumps({"acme": one}))
    settings = RoutingSettings()
    assert settings.oidc["acme"].client_secret.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings)
    for wrong in ({**one, "issuer": "id.example"}, {**one, "issuer": f"{ISSUER}?a=b"}, {**one, "client": "x"}):
        with pytest.raises(ValidationError):
            Issuer.model_validate(wrong)
