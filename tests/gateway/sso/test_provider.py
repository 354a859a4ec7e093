"""Tokens that must not be taken: an identity provider of the tests' own signs whatever it is told."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hmac
import json
import math
import ssl
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError
from trustme import CA

from paig_gateway.sso.keys import KEEP_SECONDS, REFETCH_SECONDS
from paig_gateway.sso.provider import MAX_BYTES, IdentityProvider, PendingLogin, Person
from paig_gateway.sso.settings import ProviderAwayError, SsoError, SsoSpec
from tests.gateway.sso.conftest import new_key
from tests.gateway.sso.liar import KEY, NOW, Liar, public, running_liar

pytestmark = pytest.mark.anyio

OTHER = new_key("second")


@pytest.fixture
def liar() -> Iterator[Liar]:
    """The identity provider, served."""
    with running_liar() as liar:
        yield liar


class Clock:
    """Seconds that a test sets."""

    at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    """The provider's clock."""
    return Clock()


@pytest.fixture
def provider(liar: Liar, clock: Clock) -> IdentityProvider:
    """What the gateway knows of it."""
    spec = SsoSpec.model_validate({"issuer": liar.issuer, "client_id": "paig", "groups": {"g": "viewer"}})
    return IdentityProvider(spec, "secret", now=lambda: NOW, clock=clock)


async def log_in(provider: IdentityProvider, nonce: str = "n") -> Person:
    """Come back with a code."""
    return await provider.exchange("code", "http://127.0.0.1/admin/sso/callback", nonce, "verifier")


def impatient(liar: Liar) -> IdentityProvider:
    """A gateway that waits a second for each step of a login."""
    spec = SsoSpec.model_validate({"issuer": liar.issuer, "client_id": "paig", "groups": {"g": "viewer"}})
    return IdentityProvider(spec, "secret", now=lambda: NOW, timeout=1.0)


async def test_a_good_token_is_taken(liar: Liar, provider: IdentityProvider) -> None:
    """Issuer and subject identify the person; the groups are read too."""
    liar.say(email="ada@example.com", email_verified=True)
    assert await log_in(provider) == Person(f"{liar.issuer} ada", "ada@example.com", ["g"])


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"iss": "http://127.0.0.1:1"}, "issuer"),
        ({"iss": None}, "iss"),
        ({"aud": "another"}, "udience"),
        ({"aud": None}, "aud"),
        ({"aud": ["paig", "another"]}, "azp"),
        ({"aud": ["paig", "another"], "azp": "another"}, "azp"),
        ({"azp": "another"}, "azp"),
        ({"exp": int(NOW.timestamp()) - 31}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": "soon"}, "not valid"),
        ({"iat": int(NOW.timestamp()) + 31}, "future"),
        ({"iat": None}, "iat"),
        ({"nbf": int(NOW.timestamp()) + 31}, "future"),
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"nonce": 7}, "nonce"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": "  "}, "sub"),
        ({"sub": "a" * 256}, "sub"),
        ({"sub": "ada\x00"}, "sub"),
        ({"exp": math.nan}, "not valid"),
        ({"iat": -math.inf}, "not valid"),
    ],
)
async def test_wrong_claims_are_refused(
    liar: Liar, provider: IdentityProvider, claims: dict[str, Any], says: str
) -> None:
    """A well signed token of another issuer, for another client, of another time or another login is no login."""
    liar.say(**claims)
    with pytest.raises(SsoError, match=says) as refused:
        await log_in(provider)
    assert liar.answer["id_token"] not in str(refused.value)


def part(value: object) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def claims_of(liar: Liar) -> str:
    """The claims of the good token, as they stand in it."""
    liar.say()
    return str(liar.answer["id_token"]).split(".")[1]


async def test_an_unsigned_token_is_refused(liar: Liar, provider: IdentityProvider) -> None:
    """`alg: none`, however it is spelt, is no signature."""
    for none in ("none", "None", "NONE", "nOnE", None):
        liar.answer = {"id_token": f"{part({'alg': none, 'typ': 'JWT', 'kid': 'first'})}.{claims_of(liar)}."}
        with pytest.raises(SsoError, match=r"not taken|not valid"):
            await log_in(provider)


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
async def test_a_shared_secret_is_not_a_signature(liar: Liar, provider: IdentityProvider, alg: str) -> None:
    """Neither the public key nor the client's secret, used as a password, makes a token."""
    pem = jwt.PyJWK.from_dict(public(KEY), "RS256").key
    for secret in (pem.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), b"secret", b""):
        signed = f"{part({'alg': alg, 'typ': 'JWT', 'kid': 'first'})}.{claims_of(liar)}"
        made = hmac.digest(secret, signed.encode(), f"sha{alg[2:]}")
        signature = base64.urlsafe_b64encode(made).rstrip(b"=").decode()
        liar.answer = {"id_token": f"{signed}.{signature}"}
        with pytest.raises(SsoError, match="not taken"):
            await log_in(provider)


async def test_a_strangers_signature_is_refused(liar: Liar, provider: IdentityProvider) -> None:
    """A token signed with a key that is not listed is refused, under whatever id and with whatever key it brings."""
    stranger = {**new_key("stranger"), "kid": "first"}
    liar.say(stranger)
    with pytest.raises(SsoError, match="not valid"):
        await log_in(provider)
    liar.say(stranger, headers={"jwk": public(stranger), "jku": f"{liar.issuer}/theirs", "kid": "theirs"})
    with pytest.raises(SsoError, match="does not list"):
        await log_in(provider)
    liar.say()
    head, _, signature = liar.answer["id_token"].split(".")
    liar.answer = {"id_token": f"{head}.{part({'sub': 'eve'})}.{signature}"}
    with pytest.raises(SsoError, match="not valid"):
        await log_in(provider)


async def test_a_key_serves_one_algorithm(liar: Liar, provider: IdentityProvider) -> None:
    """A key that is listed for one algorithm, or for encryption, verifies nothing else."""
    liar.say(alg="PS256")
    with pytest.raises(SsoError, match="does not list"):
        await log_in(provider)


async def test_a_key_for_encryption_signs_nothing(liar: Liar, provider: IdentityProvider) -> None:
    """A key whose use is encryption is not looked at."""
    liar.keys = [{**public(KEY), "use": "enc"}]
    liar.say()
    with pytest.raises(SsoError, match="does not list"):
        await log_in(provider)


async def test_elliptic_curves_are_taken(liar: Liar, provider: IdentityProvider) -> None:
    """ES256 is verified like RS256, and a token without a key's id means the only key that fits."""
    made = ec.generate_private_key(ec.SECP256R1())
    key = {**jwt.algorithms.ECAlgorithm.to_jwk(made, as_dict=True), "kid": "curve"}
    liar.keys = [public(KEY), public(key)]
    liar.say(key, alg="ES256", headers={})
    assert (await log_in(provider)).groups == ["g"]


async def test_new_keys_are_found_and_not_looked_for_all_the_time(
    liar: Liar, provider: IdentityProvider, clock: Clock
) -> None:
    """An unknown key's id has the list read again, once in a while, however many tokens name one."""
    liar.say()
    await log_in(provider)
    assert liar.looks == 1
    liar.keys = [public(KEY), public(OTHER)]
    liar.say(OTHER)
    await log_in(provider)
    assert liar.looks == 2
    liar.say(new_key("unknown"))
    for _ in range(5):
        with pytest.raises(SsoError, match="does not list"):
            await log_in(provider)
    assert liar.looks == 2
    liar.keys = [public(OTHER)]
    clock.at += REFETCH_SECONDS
    with pytest.raises(SsoError):
        await log_in(provider)
    assert liar.looks == 3
    liar.say(KEY)
    with pytest.raises(SsoError, match="does not list"):  # the old key is gone from the list
        await log_in(provider)


async def test_a_key_that_the_provider_withdrew_ends(liar: Liar, provider: IdentityProvider, clock: Clock) -> None:
    """Keys are read again in time even if no token names an unknown one, so that a stolen one is of no use for long."""
    liar.say()
    await log_in(provider)
    liar.keys = [public(OTHER)]
    assert (await log_in(provider)).groups == ["g"]
    clock.at += KEEP_SECONDS
    with pytest.raises(SsoError, match="does not list"):
        await log_in(provider)


@pytest.mark.parametrize(
    "key", [{"kty": "RSA"}, {"kty": "RSA", "n": 1, "e": None}, {"kty": "RSA", "n": "AA", "e": "AA"}, {"kty": "EC"}, {}]
)
async def test_a_key_that_is_none_is_told_of(liar: Liar, provider: IdentityProvider, key: dict[str, Any]) -> None:
    """Whatever the list of keys holds, a login is refused and nothing breaks."""
    liar.keys = [{"kid": "first", **key}]
    liar.say()
    with pytest.raises(SsoError, match=r"key"):
        await log_in(provider)


async def test_a_provider_that_never_ends_is_given_up(liar: Liar) -> None:
    """A login's step ends in time although each byte of the answer comes soon after the one before."""
    liar.drips = True
    began = time.monotonic()
    with pytest.raises(ProviderAwayError, match="too long"):
        await impatient(liar).start_device("n")
    assert time.monotonic() - began < 5


async def test_all_waiting_requests_get_the_shared_answer_in_time(liar: Liar) -> None:
    """Requests for the keys while they are being read do not wait one after the other."""
    provider = impatient(liar)
    liar.say()
    await provider.authorization_url("http://127.0.0.1/cb", "s", "n", "v")  # the addresses are known from here on
    liar.drips = True
    began = time.monotonic()
    found = await asyncio.gather(*(log_in(provider) for _ in range(20)), return_exceptions=True)
    assert {type(error) for error in found} == {ProviderAwayError}
    assert time.monotonic() - began < 5


async def test_logins_are_not_without_number(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    """They need no token, so those beyond a number are refused at once, until others have ended."""
    monkeypatch.setattr("paig_gateway.sso.provider.MAX_STEPS", 2)
    provider = impatient(liar)
    liar.drips = True
    found = await asyncio.gather(*(provider.start_device("n") for _ in range(5)), return_exceptions=True)
    said = sorted(str(error) for error in found)
    assert [text.startswith("Too many") for text in said] == [False, False, True, True, True]
    liar.drips = False
    assert (await provider.start_device("n")).user_code == "u"


async def test_an_answer_without_measure_is_not_read(liar: Liar, provider: IdentityProvider) -> None:
    """What the provider answers is read up to a bound."""
    liar.answer = {"id_token": "x" * MAX_BYTES}
    with pytest.raises(ProviderAwayError, match="too large"):
        await log_in(provider)


async def test_a_compressed_answer_is_not_blown_up(liar: Liar, provider: IdentityProvider) -> None:
    """A small answer cannot become a large one: none is asked to be compressed, and one that is is not taken."""
    liar.say()
    await log_in(provider)
    assert liar.seen[0]["accept-encoding"] == "identity"
    liar.encoding, liar.raw = "gzip", gzip.compress(b" " * 20 * MAX_BYTES + json.dumps(liar.answer).encode())
    with pytest.raises(ProviderAwayError, match="as it should"):
        await log_in(provider)


@pytest.mark.parametrize("raw", [b"[" * 100_000, b"{", b"\xff", b"<html>"])
async def test_an_answer_that_is_not_json_is_reported(liar: Liar, provider: IdentityProvider, raw: bytes) -> None:
    """Whatever comes in place of an answer is the provider's failure."""
    liar.raw = raw
    with pytest.raises(ProviderAwayError, match="as it should"):
        await log_in(provider)


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b'{"id_token": 7}', b'{"id_token": "a.b"}'])
async def test_an_answer_without_a_token_is_not_a_login(liar: Liar, provider: IdentityProvider, raw: bytes) -> None:
    """An answer that has no ID token, or none that is one, refuses the login."""
    liar.raw = raw
    with pytest.raises(SsoError, match=r"ID token|not valid"):
        await log_in(provider)


@pytest.mark.parametrize("times", [{"expires_in": math.inf}, {"expires_in": "soon"}, {"interval": math.nan}])
async def test_a_device_login_of_no_time_is_refused(
    liar: Liar, provider: IdentityProvider, times: dict[str, Any]
) -> None:
    """How long a person has, and how often to ask, must be numbers."""
    liar.device = times
    with pytest.raises(ProviderAwayError, match="not usable"):
        await provider.start_device("n")


async def test_no_device_login_is_waited_for_without_end(liar: Liar, provider: IdentityProvider) -> None:
    """The provider's polling interval is bounded: a day at most, a second at least."""
    liar.device = {"expires_in": 10**30, "interval": 10**30}
    begun = await provider.start_device("n")
    assert (begun.expires_in, begun.interval) == (86_400, 86_400)
    liar.device = {"interval": -1}
    assert (await provider.start_device("n")).interval == 1


@pytest.mark.parametrize("error", ["authorization_pending", "slow_down"])
async def test_a_login_is_pending(liar: Liar, provider: IdentityProvider, error: str) -> None:
    """Polling until the person has logged in; a provider that is polled too often says so."""
    liar.first = [(400, {"error": error})]
    assert await provider.finish_device("d", "n") == PendingLogin(slow_down=error == "slow_down")


@pytest.mark.parametrize(("status", "kind"), [(400, SsoError), (429, ProviderAwayError), (503, ProviderAwayError)])
async def test_a_refusal_is_not_a_failure(
    liar: Liar, provider: IdentityProvider, status: int, kind: type[SsoError]
) -> None:
    """What the provider refuses ends the login; what it fails at may be tried again."""
    liar.first = [(status, {"error": "access_denied"})]
    with pytest.raises(SsoError) as refused:
        await provider.finish_device("d", "n")
    assert type(refused.value) is kind


@pytest.mark.parametrize(
    ("groups", "found"), [(["g", 7, None], ["g"]), ("g", ["g"]), ({"g": True}, []), ([], []), (7, [])]
)
async def test_groups_of_any_shape(liar: Liar, provider: IdentityProvider, groups: Any, found: list[str]) -> None:
    """A list of names, or one name; whatever else the claim holds is no group."""
    liar.say(groups=groups)
    assert (await log_in(provider)).groups == found


async def test_userinfo_of_another_is_refused(liar: Liar, provider: IdentityProvider) -> None:
    """Groups from userinfo count only if that is of the same subject as the token."""
    liar.say(groups=None)
    liar.answer["access_token"] = "a"
    liar.userinfo = {"sub": "eve", "groups": ["g"]}
    with pytest.raises(SsoError, match="userinfo"):
        await log_in(provider)
    liar.userinfo["sub"] = "ada"
    assert (await log_in(provider)).groups == ["g"]


async def test_an_address_is_a_name_only_where_it_is_verified(liar: Liar, provider: IdentityProvider) -> None:
    """A provider that lets people write any address says nothing of it, or no."""
    for verified, name in ((None, "ada"), (False, "ada"), (True, "ada@example.com"), ("true", "ada@example.com")):
        liar.say(email="ada@example.com", email_verified=verified)
        assert (await log_in(provider)).name == name


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://elsewhere.example"},
        {"token_endpoint": None},
        {"token_endpoint": "http://elsewhere.example/token"},
        {"jwks_uri": "http://elsewhere.example/jwks"},
    ],
)
async def test_a_provider_that_is_not_itself_is_not_used(
    liar: Liar, provider: IdentityProvider, discovery: dict[str, Any]
) -> None:
    """Another issuer's configuration, or addresses that are missing or not encrypted, refuse the login."""
    liar.say()
    liar.discovery = discovery
    with pytest.raises(ProviderAwayError):
        await log_in(provider)


async def test_how_the_client_proves_itself_may_be_left_out(liar: Liar, provider: IdentityProvider) -> None:
    """A provider that says nothing usable of it gets the secret as the standard has it: by HTTP's basic scheme."""
    for methods in (None, 7, "client_secret_post", ["client_secret_basic"]):
        liar.discovery = {"token_endpoint_auth_methods_supported": methods}
        liar.say()
        await log_in(provider)
        assert liar.seen[-1]["authorization"].startswith("Basic ")


async def test_a_provider_by_https_leads_to_nothing_unencrypted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is asked through the organisation's proxy, by its certificates, and cannot name this machine's own ports."""
    authority, tls = CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("login.example").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with running_liar(tls) as liar:
        here, liar.issuer = liar.issuer, "https://login.example"
        monkeypatch.setenv("HTTPS_PROXY", here)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        spec = SsoSpec.model_validate({"issuer": liar.issuer, "client_id": "paig", "groups": {"g": "viewer"}})
        for elsewhere in (None, f"{here}/token", "http://localhost/token", "http://login.example/token"):
            liar.discovery = {"token_endpoint": elsewhere} if elsewhere else {}
            liar.say()
            provider, asked = IdentityProvider(spec, "secret", now=lambda: NOW), len(liar.seen)
            if elsewhere is None:
                assert (await log_in(provider)).subject == "https://login.example ada"
            else:
                with pytest.raises(ProviderAwayError, match="not encrypted"):
                    await log_in(provider)
                assert len(liar.seen) == asked


async def test_the_browser_is_sent_with_a_challenge(liar: Liar, provider: IdentityProvider) -> None:
    """The authorization request has state, nonce and the verifier's SHA-256, never the verifier."""
    url = await provider.authorization_url("http://127.0.0.1/cb", "the-state", "the-nonce", "the-verifier")
    challenge = base64.urlsafe_b64encode(sha256(b"the-verifier").digest()).rstrip(b"=").decode()
    assert url.startswith(f"{liar.issuer}/auth?")
    for expected in ("state=the-state", "nonce=the-nonce", f"code_challenge={challenge}", "code_challenge_method=S256"):
        assert expected in url
    assert "the-verifier" not in url
    assert "secret" not in url


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"issuer": "http://login.example.com", "client_id": "a", "groups": {"g": "viewer"}}, "https"),
        ({"issuer": "login.example.com", "client_id": "a", "groups": {"g": "viewer"}}, "https"),
        ({"issuer": "https://login.example.com", "groups": {"g": "viewer"}}, "client_id"),
        ({"issuer": "https://login.example.com", "client_id": "a"}, "groups"),
        ({"groups": {"g": "king"}}, "groups"),
        ({"groups": {"g": {"role": "viewer", "projects": "x"}}}, "projects"),
        ({"client_secret": "value:literal"}, "client_secret"),
        ({"scopes": ["email"]}, "openid"),
        ({"public_url": "http://gateway.example"}, "https"),
        ({"public_url": "https://gateway.example/paig"}, "public_url"),
        ({"public_url": "https://gateway.example?a=b"}, "public_url"),
        ({"public_url": "https://ada@gateway.example"}, "public_url"),
        ({"session_hours": 0}, "session_hours"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], says: str) -> None:
    """A setting that cannot be is refused with its name."""
    with pytest.raises(ValidationError, match=says):
        SsoSpec.model_validate(settings)
