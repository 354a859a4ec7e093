"""What an operator may get wrong: plain HTTP beyond the machine, forged proxies, open metrics, core dumps."""

from __future__ import annotations

import logging
import resource
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from paig_client.api.specs import KeySpec, ProviderSpec
from paig_gateway.app import Gateway, OpenDatabase
from paig_gateway.config import Config, ServerSpec
from paig_gateway.server import exposed, forbid_core_dumps, running_gateway
from paig_gateway.telemetry.settings import TelemetrySpec
from tests.gateway.end_to_end.conftest import ADMIN

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("spec", "warned"),
    [
        (ServerSpec(), False),
        (ServerSpec(host="localhost"), False),
        (ServerSpec(host="::1"), False),
        (ServerSpec(host="0.0.0.0"), True),
        (ServerSpec(host="192.0.2.1"), True),
        (ServerSpec(host="::"), True),
        (ServerSpec(host="gateway.example"), True),
        (ServerSpec(admin_host="0.0.0.0"), True),
        (ServerSpec(host="0.0.0.0", tls=True), False),
        (ServerSpec(host="0.0.0.0", tls_cert="a", tls_key="b"), False),
        (ServerSpec(host="0.0.0.0", trusted_proxies=["10.0.0.0/8"]), False),
    ],
)
def test_serving_in_the_clear_beyond_this_machine_is_said(spec: ServerSpec, warned: bool) -> None:
    """In words, unless TLS ends here or at a proxy that is named."""
    said = exposed(spec)
    assert (said is not None) == warned
    if said is not None:
        assert "tls" in said
        assert "trusted_proxies" in said


@pytest.mark.parametrize(
    ("trusted", "forwarded", "seen"),
    [
        ([], "192.0.2.1", "127.0.0.1"),
        (["10.0.0.0/8"], "192.0.2.1", "127.0.0.1"),
        (["127.0.0.1"], "192.0.2.1", "192.0.2.1"),
        (["127.0.0.1"], "203.0.113.5, 192.0.2.1", "192.0.2.1"),
        (["127.0.0.1", "192.0.2.0/24"], "203.0.113.5, 192.0.2.1", "203.0.113.5"),
        (["127.0.0.1"], "[2001:db8::1]:1234", "2001:db8::1"),
        (["127.0.0.1"], "nonsense", "127.0.0.1"),
        (["127.0.0.1"], "", "127.0.0.1"),
    ],
)
async def test_the_word_of_strangers_about_addresses_is_not_believed(
    environment: None, tmp_path: Path, trusted: list[str], forwarded: str, seen: str
) -> None:
    """A key that may be used from anywhere else shows which address counts."""
    store = OpenDatabase.open(tmp_path)
    key = store.catalog.keys.create("k", KeySpec(networks=["198.51.100.0/24"]), actor="test").key
    server = ServerSpec(trusted_proxies=trusted)
    async with (
        running_gateway(Gateway(store, Config(server=server))) as origin,
        httpx2.AsyncClient(base_url=origin, trust_env=False, timeout=60) as http,
    ):
        headers = {"authorization": f"Bearer {key}", "x-forwarded-for": forwarded}
        answer = await http.get("/proxy/none/v1/models", headers=headers)
        assert f"may not be used from {seen}:" in answer.text
    store.engine.dispose()


@pytest.mark.parametrize(
    ("server", "token", "statuses"),
    [
        (ServerSpec(trusted_proxies=["127.0.0.1"]), None, (200, 403, 403)),
        (ServerSpec(trusted_proxies=["127.0.0.1"], metrics_open=True), None, (200, 200, 200)),
        (ServerSpec(trusted_proxies=["127.0.0.1"]), "env:METRICS", (401, 401, 200)),
    ],
)
async def test_metrics_are_open_on_this_machine_alone(
    environment: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: ServerSpec,
    token: str | None,
    statuses: tuple[int, int, int],
) -> None:
    """Elsewhere with a token, or where the operator says so. From here, from elsewhere, from there with the token."""
    monkeypatch.setenv("METRICS", "a-metrics-token")
    store = OpenDatabase.open(tmp_path)
    gateway = Gateway(store, Config(server=server, telemetry=TelemetrySpec(metrics_token=token)))
    away = {"x-forwarded-for": "192.0.2.1"}
    async with (
        running_gateway(gateway) as origin,
        httpx2.AsyncClient(base_url=origin, trust_env=False, timeout=60) as http,
    ):
        found = [
            (await http.get("/metrics", headers=headers)).status_code
            for headers in ({}, away, {**away, "authorization": "Bearer a-metrics-token"})
        ]
        assert tuple(found) == statuses
    store.engine.dispose()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 403), ("evil.example:8787", 403), ("127.0.0.1.evil.example", 403), ("localhost.evil", 403),
        ("localhost:8787", 200), ("127.0.0.1", 200), ("[::1]:8787", 200), ("", 200),
    ],
)  # fmt: skip
async def test_a_web_page_s_own_name_shows_no_metrics(
    environment: None, tmp_path: Path, host: str, status: int
) -> None:
    """A page may have its name lead to this machine: its requests then come from here."""
    store = OpenDatabase.open(tmp_path)
    async with (
        running_gateway(Gateway(store)) as origin,
        httpx2.AsyncClient(base_url=origin, trust_env=False, timeout=60) as http,
    ):
        assert (await http.get("/metrics", headers={"host": host})).status_code == status
    store.engine.dispose()


async def test_secrets_are_known_before_anything_is_logged(
    environment: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A start that warns of a provider's credential shows no secret of the gateway's, wherever it stands."""
    store = OpenDatabase.open(tmp_path)
    spec = ProviderSpec(kind="openai", credential=f"file:/nowhere/{ADMIN}")
    store.catalog.providers.create("openai", spec, actor="test")
    gateway = Gateway(store)
    seen: list[str] = []

    def shown(record: logging.LogRecord) -> bool:
        seen.append(gateway.redact(record.getMessage()))
        return True

    caplog.handler.addFilter(shown)
    try:
        async with running_gateway(gateway):
            pass
    finally:
        caplog.handler.removeFilter(shown)
    store.engine.dispose()
    warning = next(text for text in seen if "/nowhere/" in text)
    assert ADMIN not in warning


def test_no_core_dumps() -> None:
    """A core dump would hold every secret: the process writes none, and cannot be told to again."""
    assert forbid_core_dumps.__doc__
    code = (
        "import resource; from paig_gateway.server import forbid_core_dumps; forbid_core_dumps();"
        "print(*resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["0", "0"]
    assert resource.RLIMIT_CORE is not None
