"""The files of `deploy/`: each is rendered, linted or run, as far as this machine can."""

from __future__ import annotations

import asyncio
import configparser
import contextlib
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
import yaml
from websockets.asyncio.client import connect

from paig_gateway import config
from paig_gateway.config import ServerSpec
from paig_gateway.secrets.home import FROM_FILES
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import World, environment, running_world, simulated_providers
from tests.gateway.end_to_end.waiting import until

__all__ = ["environment"]

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)


def manifests() -> list[dict[str, Any]]:
    """Every Kubernetes object that the kustomization lists."""
    listed = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text("utf-8"))["resources"]
    assert sorted(listed) == sorted(
        file.name for file in (DEPLOY / "kubernetes").iterdir() if file.name != "kustomization.yaml"
    )
    return [found for name in listed for found in yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text("utf-8"))]


def of_kind(kind: str) -> dict[str, Any]:
    [found] = [manifest for manifest in manifests() if manifest["kind"] == kind]
    return found


def test_kubernetes_manifests_are_valid(tmp_path: Path) -> None:
    """Each object fits the newest schema that the validator knows, without unknown fields."""
    rendered = tmp_path / "all.yaml"
    rendered.write_text(yaml.safe_dump_all(manifests()), "utf-8")
    checked = run(BIN / "kubernetes-validate", "--strict", rendered)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kustomization_renders(tmp_path: Path) -> None:
    """`kubectl kustomize` gives the same objects, all in one namespace, with the image's name filled in."""
    rendered = run("kubectl", "kustomize", DEPLOY / "kubernetes", env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
    assert rendered.returncode == 0, rendered.stderr
    found = list(yaml.safe_load_all(rendered.stdout))
    assert sorted(one["kind"] for one in found) == sorted(one["kind"] for one in manifests())
    assert {one["metadata"].get("namespace", "paig") for one in found} == {"paig"}
    assert "image: registry.example/paig:" in rendered.stdout


def test_pods_have_time_to_end() -> None:
    """A pod is killed only after the lame duck and the shutdown are over, and is out of the service before that."""
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    server = config.parse(of_kind("ConfigMap")["data"]["paig.toml"]).server
    assert pod["terminationGracePeriodSeconds"] >= server.lame_duck + server.shutdown_seconds + 10
    probe = pod["containers"][0]["readinessProbe"]
    assert (probe["periodSeconds"] + probe["timeoutSeconds"]) * probe["failureThreshold"] < server.lame_duck


def test_pods_are_confined() -> None:
    """Pods run as a user without rights, on a file system that they cannot write, with secrets as files."""
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    for variable in container["env"]:
        assert variable["name"].endswith("_FILE") or variable["name"] == "PAIG_HOME"
        assert Path(variable["value"]).parent.as_posix() in mounts


def test_pods_reach_what_they_need() -> None:
    """The network policy lets pods look up names, reach databases and providers, and no metadata service."""
    policy = of_kind("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    reached = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert reached == {53, 443, 5432, 6432}
    [blocks] = [rule["to"] for rule in policy["egress"] if "to" in rule]
    assert "169.254.0.0/16" in blocks[0]["ipBlock"]["except"]


def test_compose_file_is_valid() -> None:
    """It fits the Compose specification; every file that it names is there, but for the secrets that one writes."""
    file = DEPLOY / "docker" / "compose.yaml"
    checked = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    found = yaml.safe_load(file.read_text("utf-8"))
    mounted = [volume.split(":")[0] for one in found["services"].values() for volume in one.get("volumes", [])]
    for name in [name for name in mounted if name.startswith("./")]:
        assert (file.parent / name).is_file()
    page = (ROOT / "docs" / "deploy" / "containers.md").read_text("utf-8")
    for name, entry in found["secrets"].items():
        assert entry["file"] == f"./secrets/{name}"
        assert re.search(rf"(> |editor ){name}$", page, re.MULTILINE), f"the page does not say how to write {name}"
    paig = found["services"]["paig"]
    assert (paig["read_only"], paig["cap_drop"]) == (True, ["ALL"])
    server = config.load(DEPLOY / "docker" / "paig.toml").server
    assert int(paig["stop_grace_period"].removesuffix("s")) >= server.lame_duck + server.shutdown_seconds + 10
    [subnet] = found["networks"]["front"]["ipam"]["config"]
    assert server.trusted_proxies == [subnet["subnet"]]


VARIABLES = {"PAIG_HOME", *FROM_FILES, *(f"{name}_FILE" for name in FROM_FILES)}


def test_every_variable_exists() -> None:
    """The image, Compose, Kubernetes and systemd set no variable of paig's that paig does not read."""
    for file in [*DEPLOY.rglob("*"), *(ROOT / "docs" / "deploy").glob("*.md")]:
        if file.is_file():
            named = set(re.findall(r"\bPAIG_[A-Z_]+\b", file.read_text("utf-8")))
            assert named <= VARIABLES, (file, named - VARIABLES)


def test_names_of_the_upgrade_page_exist() -> None:
    """The services, deployments and containers that its commands name are those of `deploy/`."""
    page = (ROOT / "docs" / "upgrade.md").read_text("utf-8")
    services = yaml.safe_load((DEPLOY / "docker" / "compose.yaml").read_text("utf-8"))["services"]
    named = re.findall(r"docker compose (?:exec|build|restart|stop) (?:-T )?([a-z]+)", page)
    assert "paig" in named
    assert set(named) <= set(services)
    assert set(re.findall(r"^kubectl .* (?:deploy|deployment)/([a-z]+)", page, re.M)) == {
        of_kind("Deployment")["metadata"]["name"]
    }
    assert set(re.findall(r"--namespace ([a-z]+)", page)) == {of_kind("Namespace")["metadata"]["name"]}


WATCHED = """
import os, sys
allowed = tuple(os.path.realpath(folder) + os.sep for folder in sys.argv.pop(1).split(":"))
def watch(event, arguments):
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if event in ("os.mkdir", "os.rename", "os.remove") or (writes and isinstance(arguments[0], (str, bytes))):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if not path.startswith(allowed) and path not in map(os.path.dirname, allowed) and path != "/dev/null":
            os.write(2, f"WROTE {path}\\n".encode())
            os._exit(99)
sys.addaudithook(watch)
sys.argv[0] = "paig"
from paig_client.cli import main
main()
"""
"""Runs `paig`, and ends it with 99 where it writes anywhere but in the folders of its first argument."""


def in_dockerfile(instruction: str) -> list[str]:
    """The words of an instruction of the image that is written as a list."""
    text = (DEPLOY / "docker" / "Dockerfile").read_text("utf-8")
    [words] = re.findall(rf"^{instruction} (\[.*\])$", text, re.M)
    return list(json.loads(words))


@pytest.mark.parametrize("layout", ["docker", "kubernetes"])
def test_the_image_runs_on_a_read_only_root(tmp_path: Path, layout: str) -> None:
    """Its command serves the mounted configuration with secrets from files, writing to its home and /tmp alone.

    The health check of the image succeeds while it runs, and SIGTERM ends it in order.
    """
    secrets = {"database_url": f"sqlite:///{tmp_path}/home/paig.db", "secret_key": "k" * 43, "admin_token": "T" * 43}
    for folder in ("home", "tmp", "run", "etc"):
        (tmp_path / folder).mkdir(mode=0o700)
    if layout == "kubernetes":
        (tmp_path / "home").chmod(0o2777)  # as an emptyDir is
    for name, value in {**secrets, "openai_api_key": "sk-mounted", "openai": "sk-mounted"}.items():
        (tmp_path / "run" / name).write_text(value)
    if layout == "docker":
        text = (DEPLOY / "docker" / "paig.toml").read_text("utf-8")
        given = yaml.safe_load((DEPLOY / "docker" / "compose.yaml").read_text("utf-8"))["services"]["paig"][
            "environment"
        ]
    else:
        text = of_kind("ConfigMap")["data"]["paig.toml"]
        [container] = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
        given = {one["name"]: one["value"] for one in container["env"]}
    text = text.replace("/run/secrets/providers", str(tmp_path / "run")).replace("/run/secrets", str(tmp_path / "run"))
    text = re.sub(r"^(lame_duck|shutdown_seconds) = \d+", r"\1 = 0.1", text, flags=re.M)
    (tmp_path / "etc" / "paig.toml").write_text(text)
    home = given.pop("PAIG_HOME", "/var/lib/paig").replace("/var/lib/paig", f"{tmp_path}/home")
    environment = {name: str(tmp_path / "run" / Path(path).name.replace("-", "_")) for name, path in given.items()} | {
        "PAIG_HOME": home,
        "TMPDIR": f"{tmp_path}/tmp",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    words = [word.replace("/etc/paig", f"{tmp_path}/etc") for word in in_dockerfile("CMD") if word != "paig"]
    assert in_dockerfile("ENTRYPOINT") == ["paig"]
    command = [sys.executable, "-c", WATCHED, f"{tmp_path}/home:{tmp_path}/tmp", *words, "--port", "0"]
    with subprocess.Popen(
        command, env=environment, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = [process.stdout.readline() for _ in range(4)]
        [port] = re.findall(r"paig serves at http://0.0.0.0:(\d+)", "".join(said)) or pytest.fail(process.stderr.read())
        check = [word.replace("8787", port) for word in health_check()]
        assert check != health_check()
        for _ in range(100):
            healthy = run(sys.executable, *check[1:], env={"PATH": os.environ["PATH"]})
            if healthy.returncode == 0:
                break
        assert healthy.returncode == 0, healthy.stderr
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "WROTE" not in errors


def health_check() -> list[str]:
    """The command by which the image is asked whether it is well."""
    text = (DEPLOY / "docker" / "Dockerfile").read_text("utf-8")
    [words] = re.findall(r"^HEALTHCHECK [^\n]*\\\n\s+CMD (\[.*\])$", text, re.M)
    return list(json.loads(words))


def test_pgbouncer_pools_transactions() -> None:
    """The pooler is in transaction mode, for which the ledger's tests run against a real pgbouncer."""
    found = configparser.ConfigParser()
    found.read(DEPLOY / "docker" / "pgbouncer.ini")
    assert found["pgbouncer"]["pool_mode"] == "transaction"


@pytest.mark.skipif(not Path("/usr/sbin/pgbouncer").exists(), reason="pgbouncer is not installed")
def test_pgbouncer_takes_its_file(tmp_path: Path) -> None:
    """A real pgbouncer starts with the file of `deploy/` and accepts only connections with the password."""
    home, port = Path(os.path.realpath(tmp_path)), free_port()
    text = (DEPLOY / "docker" / "pgbouncer.ini").read_text("utf-8")
    for old, new in {
        "host=postgres port=5432": f"host=127.0.0.1 port={free_port()}",
        "listen_addr = 0.0.0.0": "listen_addr = 127.0.0.1",
        "listen_port = 6432": f"listen_port = {port}\nunix_socket_dir =\nlogfile = {home}/log",
        "/etc/pgbouncer/userlist.txt": f"{home}/userlist.txt",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (home / "pgbouncer.ini").write_text(text)
    page = (ROOT / "docs" / "deploy" / "containers.md").read_text("utf-8")
    [written] = re.findall(r"^printf '(.*)' \"\$\(cat postgres_password\)\" > pgbouncer_userlist$", page, re.M)
    (home / "userlist.txt").write_text(written.replace("%s", "pa55word").replace("\\n", "\n"))
    command = ["/usr/sbin/pgbouncer", str(home / "pgbouncer.ini")]
    if os.getuid() == 0:  # it refuses to run as root
        owner = pwd.getpwnam("nobody")
        for path in (home, *home.iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        for path in home.parents[:-2]:
            path.chmod(path.stat().st_mode | 0o11)
        command[1:1] = ["-u", "nobody"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                break
            assert process.poll() is None, (home / "log").read_text()
            time.sleep(0.05)
        with pytest.raises(psycopg.OperationalError, match=r"(?i)password authentication failed|SASL"):
            psycopg.connect(f"postgresql://paig:wrong@127.0.0.1:{port}/paig", connect_timeout=10)
        with pytest.raises(psycopg.OperationalError) as refused:  # let in, and no server behind it
            psycopg.connect(f"postgresql://paig:pa55word@127.0.0.1:{port}/paig?connect_timeout=3")
        assert "authentication" not in str(refused.value)
    finally:
        process.terminate()
        process.wait()


@pytest.mark.skipif(not (BIN / "hadolint").exists(), reason="hadolint is for Linux")
def test_dockerfile_passes_its_linter() -> None:
    """Hadolint finds nothing."""
    checked = run(BIN / "hadolint", DEPLOY / "docker" / "Dockerfile")
    assert checked.returncode == 0, checked.stdout


def test_image_is_built_from_what_is_there() -> None:
    """Each copied path exists and is not ignored; the image has a user of its own and a health check."""
    lines = (DEPLOY / "docker" / "Dockerfile").read_text("utf-8").splitlines()
    kept = set((ROOT / ".dockerignore").read_text("utf-8").splitlines())
    for line in lines:
        words = line.split()
        if words[:1] == ["COPY"] and not words[1].startswith("--from"):
            for source in words[1:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in kept, source
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001:10001"]
    assert any(line.startswith("HEALTHCHECK") for line in lines)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_unit_is_valid_and_confined(tmp_path: Path) -> None:
    """Systemd knows every line of the unit, and rates what it may do below 2 of 10."""
    text = (DEPLOY / "systemd" / "paig.service").read_text("utf-8")
    unit = tmp_path / "paig.service"
    unit.write_text(text.replace("/opt/paig/bin/paig", "/bin/true"), "utf-8")
    checked = run("systemd-analyze", "verify", "--man=no", unit)
    assert (checked.returncode, checked.stderr) == (0, "")
    rated = run("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)
    assert rated.returncode == 0, rated.stdout


def test_systemd_unit_gives_time_to_end() -> None:
    """Systemd kills the service only after the default shutdown is over."""
    text = (DEPLOY / "systemd" / "paig.service").read_text("utf-8")
    [stop] = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    server = config.parse("").server
    assert int(stop) >= server.lame_duck + server.shutdown_seconds + 10


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


_silent: list[socket.socket] = []


@pytest.fixture(scope="module", autouse=True)
def silent_sockets() -> Iterator[None]:
    """Close the sockets of `silent_port` at the end."""
    yield
    while _silent:
        _silent.pop().close()


def silent_port() -> int:
    """A port that answers no attempt to connect, as the address of a container that was removed: its queue is full."""
    if not _silent:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        _silent.append(listener)
        for _ in range(2):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
            _silent.append(waiting)
    return int(_silent[0].getsockname()[1])


def nginx(folder: Path, port: int, gateway: str, text: str | None = None) -> list[str]:
    """How nginx is started with the file of `deploy/`, before a node that is down, one that is gone, and a gateway."""
    text = (DEPLOY / "docker" / "nginx.conf").read_text("utf-8") if text is None else text
    servers = re.compile(r"server (?:paig:8787 resolve|127\.0\.0\.1:8787);")
    nodes = f"server 127.0.0.1:{free_port()}; server 127.0.0.1:{silent_port()}; server {gateway};"
    text, found = servers.subn(nodes, text)
    assert "proxy_connect_timeout 3s;" in text
    text = text.replace("proxy_connect_timeout 3s;", "proxy_connect_timeout 300ms;")
    text, listens = re.subn(r"listen (?:8787|443 ssl);", f"listen 127.0.0.1:{port};", text)
    assert (found, listens) == (1, 1)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary} {text} }}\n",
        "utf-8",
    )
    return ["nginx", "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"]


def nginx_of_the_page(folder: Path, port: int, gateway: str) -> list[str]:
    """How nginx is started with the lines of the page on proxies, without TLS."""
    page = (ROOT / "docs" / "deploy" / "proxies.md").read_text("utf-8")
    [text] = re.findall(r"```nginx\n(.*?)```", page, re.DOTALL)
    text, certificates = re.subn(r"ssl_certificate(?:_key)? [^;]+;", "", text)
    assert certificates == 2
    return nginx(folder, port, gateway, text)


def caddy(folder: Path, port: int, gateway: str) -> list[str]:
    """How Caddy is started with the lines of the page on proxies, in front of a gateway."""
    page = (ROOT / "docs" / "deploy" / "proxies.md").read_text("utf-8")
    [text] = re.findall(r"```text\n(gateway\.example \{\n.*?)```", page, re.DOTALL)
    text = text.replace("gateway.example", f"http://127.0.0.1:{port}").replace("127.0.0.1:8787", gateway)
    (folder / "Caddyfile").write_text("{\n    admin off\n}\n" + text, "utf-8")
    return ["caddy", "run", "--config", f"{folder}/Caddyfile", "--adapter", "caddyfile"]


def haproxy(folder: Path, port: int, gateway: str) -> list[str]:
    """How HAProxy is started with the lines of the page on proxies: a node that is down, and a gateway."""
    page = (ROOT / "docs" / "deploy" / "proxies.md").read_text("utf-8")
    [text] = re.findall(r"```text\n(defaults\n.*?)```", page, re.DOTALL)
    for old, new in {
        ":443 ssl crt /etc/haproxy/gateway.example.pem": f"127.0.0.1:{port}",
        "10.0.0.11:8787": f"127.0.0.1:{free_port()}",
        "10.0.0.12:8787": gateway,
    }.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "haproxy.cfg").write_text(text, "utf-8")
    return ["haproxy", "-db", "-f", f"{folder}/haproxy.cfg"]


@contextlib.asynccontextmanager
async def running(command: list[str], folder: Path, port: int) -> AsyncIterator[str]:
    """A proxy in front of a gateway; its address."""
    with (folder / "proxy.log").open("wb") as log:
        proxy = await asyncio.create_subprocess_exec(
            *command, stdout=log, stderr=log, env={"HOME": str(folder), "PATH": os.environ["PATH"]}
        )
    try:
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
            for _ in range(1200):
                with contextlib.suppress(httpx2.TransportError):
                    if (await http.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200:
                        break
                await asyncio.sleep(0.05)
            else:
                pytest.fail((folder / "proxy.log").read_text("utf-8"))
        yield f"http://127.0.0.1:{port}"
    finally:
        proxy.terminate()
        await proxy.wait()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "proxy",
    [
        pytest.param(
            started, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"needs {name}"), id=started.__name__
        )
        for name, started in (("nginx", nginx), ("nginx", nginx_of_the_page), ("caddy", caddy), ("haproxy", haproxy))
    ],
)
async def test_a_proxy_passes_all_that_clients_send(
    proxy: Callable[[Path, int, str], list[str]], environment: None, tmp_path: Path
) -> None:
    """Behind a proxy as we configure it: streams come event by event, large bodies, WebSockets and addresses arrive."""
    message = {"role": "user", "content": "Hello [sim:chunk_delay=0.1]"}
    chat = {"model": "gpt-4o-mini", "messages": [message], "max_completion_tokens": 100}
    port = free_port()
    server = ServerSpec(trusted_proxies=["127.0.0.1/32"])
    async with (
        running_simulator() as base,
        running_world(tmp_path / "home", simulated_providers(base), server) as world,
        running(proxy(tmp_path, port, world.origin.removeprefix("http://")), tmp_path, port) as front,
        httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(local_address="127.0.0.2"),
            timeout=60,
            headers={"authorization": f"Bearer {world.key}", "x-forwarded-for": "203.0.113.9"},
        ) as http,
    ):
        url = f"{front}/proxy/openai/v1/chat/completions"
        async with http.stream("POST", url, json={**chat, "stream": True}) as answer:
            assert answer.status_code == 200
            pieces = [piece async for piece in answer.aiter_bytes()]
        assert b"".join(pieces).endswith(b"data: [DONE]\n\n")
        assert len(pieces) > 1, "the proxy gave the stream in one piece"
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 8_000_000}}
        large = {**chat, "messages": [{"role": "user", "content": [image]}]}
        answer = await http.post(url, json=large)
        assert answer.status_code == 200, answer.text
        # The address is that from which the proxy was called, not the one that the client claims.
        await until(lambda: used_from(world, "127.0.0.2"))
        async with connect(
            f"{front.replace('http', 'ws', 1)}/proxy/openai/v1/realtime?model=gpt-realtime",
            additional_headers={"authorization": f"Bearer {world.key}"},
            proxy=None,
        ) as socket:
            assert json.loads(await socket.recv())["type"] == "session.created"


async def used_from(world: World, address: str) -> bool:
    """Whether the key was last used from that address."""
    return (await world.admin.keys.get("tester")).last_used_from == address
