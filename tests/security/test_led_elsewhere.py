"""Names that lead to metadata services, and credentials that name other places: refused when set, loaded and used."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select

from paig_client.api.specs import ProviderSpec
from paig_gateway.app import OpenDatabase
from paig_gateway.catalog import CatalogError
from paig_gateway.catalog.credentials import purpose
from paig_gateway.database.tables import ProviderRow
from paig_gateway.domain.route import ActiveProvider
from paig_gateway.providers.auth import Authenticator, SigningError
from paig_gateway.secrets.addresses import leads_to_metadata
from paig_gateway.secrets.errors import SecretReferenceError
from paig_gateway.secrets.references import References, SecuritySpec
from tests.gateway.end_to_end.conftest import ADMIN, running_world
from tests.gateway.providers.test_auth import account, token_server, vertex

pytestmark = pytest.mark.anyio

METADATA = "169.254.169.254"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The addresses of names, as the system's resolver would answer; all else is looked up as ever."""
    found: dict[str, str] = {}
    real: Callable[..., Any] = socket.getaddrinfo

    def resolve(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if options.get("flags", 0) & socket.AI_NUMERICHOST:
            return real(host, port, *more, **options)
        return real(found.get(name, host), port, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return found


async def test_a_token_is_not_asked_for_where_a_name_leads_to_metadata(names: dict[str, str]) -> None:
    """By IPv4, IPv6 and mapped addresses; a name of another machine, or an address, is asked as ever."""
    auth = Authenticator(forbids=leads_to_metadata)
    for address in (METADATA, "fe80::1%lo", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200"):
        names["token.example"] = address
        with pytest.raises(SigningError, match="cannot get a Google token"):
            await auth.google_token(vertex("http://token.example/token"), account())
    async with token_server() as (port, asked):
        names["token.example"] = "127.0.0.1"
        assert await auth.google_token(vertex(f"http://token.example:{port}/token"), account()) == "a-token"
        other = ActiveProvider("other", "google-vertex", "https://vertex")
        named = json.dumps({**json.loads(account()), "token_uri": f"http://127.0.0.1:{port}/other"})
        assert await auth.google_token(other, named) == "a-token"
    assert asked == ["/token", "/other"]


async def test_a_name_that_changes_its_address_is_seen(names: dict[str, str]) -> None:
    """What is looked at is the address that was connected to, and not only one that the name had before."""
    seen: list[list[str]] = []

    def forbids(host: str, addresses: Any) -> bool:
        seen.append(list(addresses))
        return len(seen) > 1  # the second look is at the connection

    async with token_server() as (port, _):
        names["token.example"] = "127.0.0.1"
        with pytest.raises(SigningError):
            await Authenticator(forbids=forbids).google_token(vertex(f"http://token.example:{port}/t"), account())
    assert seen == [["127.0.0.1"], ["127.0.0.1"]]


async def test_a_provider_and_its_tokens_are_checked_in_a_gateway(
    environment: None, tmp_path: Path, names: dict[str, str]
) -> None:
    """The request fails, and nothing is connected to."""
    names["upstream.example"] = names["token.example"] = METADATA
    providers = {
        "led": ProviderSpec(kind="openai", base_url="http://upstream.example/v1", credential="value:k"),
        "tokens": ProviderSpec(
            kind="google-vertex", base_url="http://127.0.0.1:9", project="p", credential=f"value:{account()}",
            token_url="http://token.example/token",
        ),
    }  # fmt: skip
    async with running_world(tmp_path, providers) as world:
        mine = {"authorization": f"Bearer {world.key}"}
        chat = {"model": "gpt-5-nano", "messages": [{"role": "user", "content": "hi"}]}
        led = await world.http.post("/proxy/led/v1/chat/completions", headers=mine, json=chat)
        gemini = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        path = "/proxy/tokens/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent"
        tokens = await world.http.post(path, headers=mine, json=gemini)
        assert (led.status_code, tokens.status_code) == (502, 502), (led.text, tokens.text)


PLACES = [
    {"token_uri": f"http://{METADATA}/token"},
    {"token_uri": "http://metadata.google.internal/token"},
    {"token_url": "http://0xa9fea9fe/"},
    {"service_account_impersonation_url": "http://[fd00:ec2::254]/"},
    {"credential_source": {"url": f"http://{METADATA}/latest"}},
    {"credential_source": {"file": "HOME/secret.key"}},
    {"credential_source": {"file": "/proc/self/environ"}},
    {"credential_source": {"executable": {"command": "id"}}},
    {"credential_source": "file"},
]


async def test_a_stored_credential_is_checked_when_it_is_loaded(environment: None, tmp_path: Path) -> None:
    """One that an earlier version took is not used, and health says why; the owner may give none of them either."""
    store = OpenDatabase.open(tmp_path)
    harmless = ProviderSpec(kind="google-vertex", project="p", base_url="http://127.0.0.1:9", credential="value:{}")
    old: dict[str, str] = {}
    for number, place in enumerate(PLACES):
        text = json.dumps({"type": "external_account", "audience": "a", **place}).replace("HOME", str(tmp_path))
        made = store.catalog.providers.create(f"old-{number}", harmless, actor="test")
        old[made.name] = store.vault.seal(text.encode(), purpose(made.id, "google-vertex", harmless.base_url)).decode()
        for actor in ("admin:eve", "token:admin"):
            with pytest.raises(CatalogError, match="credential"):
                store.catalog.providers.update(made.name, {"credential": f"value:{text}"}, actor=actor)
    with Session(store.engine) as session:
        for row in session.exec(select(ProviderRow)):
            row.sealed = dict.fromkeys(row.sealed, old[row.name])
            session.add(row)
        session.commit()
    store.engine.dispose()
    async with running_world(tmp_path, {}) as world:
        gemini = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        for name in old:
            path = f"/proxy/{name}/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent"
            answer = await world.http.post(path, headers={"authorization": f"Bearer {world.key}"}, json=gemini)
            assert answer.status_code >= 400
        health = await world.http.get("/admin/v1/health/providers", headers={"authorization": f"Bearer {ADMIN}"})
        assert "Cannot read the credential" in health.text, health.text


def test_the_owner_can_allow_hosts_of_tokens() -> None:
    """`upstream_hosts` counts for what a credential names, too."""
    allowed = References(allowed=SecuritySpec(upstream_hosts=["127.0.0.1", METADATA]))
    for url in (f"http://{METADATA}/token", "http://127.0.0.1:1/"):
        allowed.check(f"value:{json.dumps({'token_uri': url})}")
        allowed.check_stored(json.dumps({"token_uri": url}))
    with pytest.raises(SecretReferenceError, match="upstream_hosts"):
        allowed.check('value:{"token_uri": "http://elsewhere.example/"}')
    for harmless in ("sk-1234", "{not json", "[1]", '{"access_key_id": "A", "secret_access_key": "b"}'):
        References().check_stored(harmless)


@pytest.mark.parametrize(
    "host",
    [
        "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "[::a9fe:a9fe]", "[::ffff:a9fe:a9fe]",
        "\u2460\u2465\u2468.254.169.254", "169\u3002254\u3002169\u3002254", "0251.0376.0251.0376", "2852039166",
        "metadata.google.internal.", "METADATA.google.internal", "[fe80::1%25eth0]",
    ],
)  # fmt: skip
def test_metadata_services_are_refused_in_every_spelling(environment: None, tmp_path: Path, host: str) -> None:
    """As the address of a provider and as its proxy."""
    store = OpenDatabase.open(tmp_path)
    try:
        for field, value in (("base_url", f"http://{host}/v1"), ("upstream_proxy", f"http://{host}:80")):
            given = {
                "kind": "openai-compatible",
                "base_url": "http://127.0.0.1:9",
                "credential": "value:k",
                field: value,
            }
            with pytest.raises(CatalogError) as refused:
                store.catalog.providers.create("evil", ProviderSpec.model_validate(given), actor="admin:eve")
            assert refused.value.field == field
        near = {"kind": "openai-compatible", "base_url": "http://[64:ff9b::808:808]/v1", "credential": "value:k"}
        store.catalog.providers.create("near", ProviderSpec.model_validate(near), actor="admin:eve")
    finally:
        store.engine.dispose()
