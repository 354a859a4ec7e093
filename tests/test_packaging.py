"""The wheel and the source archive: reproducible, complete, and enough to follow the README with."""

from __future__ import annotations

import email
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# What each extra makes importable.
EXTRAS = {
    "gateway": "paig_gateway.server",
    "telemetry": "grpc",
    "tui": "paig_tui.app",
    "pydantic-ai": "paig_client.pydantic_ai",
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "google.genai",
    "groq": "groq",
    "bedrock": "boto3",
    "mistral": "mistralai",
    "all": "paig_gateway.server",
}


@pytest.fixture(autouse=True)
def certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index is reached with the certificates that the machine trusts, as pip does; uv has its own otherwise."""
    monkeypatch.setenv("UV_SYSTEM_CERTS", "1")


def build(folder: Path) -> dict[str, bytes]:
    """Build wheel and source archive; the files' bytes by name."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", folder], cwd=ROOT, check=True, capture_output=True
    )
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both."""
    folder = tmp_path_factory.mktemp("dist")
    build(folder)
    return folder


def wheel(dist: Path) -> Path:
    [found] = dist.glob("*.whl")
    return found


def metadata(dist: Path) -> str:
    """The wheel's METADATA: fields, an empty line, and the description."""
    with zipfile.ZipFile(wheel(dist)) as opened:
        [name] = [name for name in opened.namelist() if name.endswith(".dist-info/METADATA")]
        return opened.read(name).decode()


def environment(folder: Path) -> Path:
    """A new virtual environment; its Python."""
    subprocess.run([BIN / "uv", "venv", "--quiet", "--python", sys.executable, folder], check=True)
    return folder / "bin" / "python"


def install(python: Path, *wanted: str) -> None:
    """Install from the index, in the releases that the lock has."""
    command = [BIN / "uv", "pip", "install", "--quiet", "--python", python]
    done = subprocess.run(
        [*command, "--constraint", ROOT / "requirements" / "dev.txt", *wanted], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_build_is_reproducible(dist: Path, tmp_path: Path) -> None:
    """Two builds have the same bytes, and the archive builds the same wheel."""
    first = {file.name: file.read_bytes() for file in dist.iterdir()}
    assert build(tmp_path / "again") == first
    [archive] = dist.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path / "source", filter="data")
    [source] = (tmp_path / "source").iterdir()
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path / "rebuilt"],
        cwd=source,
        check=True,
        capture_output=True,
    )
    assert {file.name: file.read_bytes() for file in (tmp_path / "rebuilt").iterdir()} == {
        wheel(dist).name: first[wheel(dist).name]
    }


def test_wheel_is_complete(dist: Path) -> None:
    """The wheel has every file of the three packages, marked as typed, and its metadata is what pyproject.toml says."""
    with zipfile.ZipFile(wheel(dist)) as opened:
        names = set(opened.namelist())
    found = email.message_from_string(metadata(dist))
    tracked = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    for file in tracked.split() if tracked else []:
        assert file.removeprefix("src/") in names
    assert {f"{package}/py.typed" for package in ("paig_client", "paig_gateway", "paig_tui")} <= names
    assert (found["Name"], found["Version"], found["License-Expression"]) == ("paig", PROJECT["version"], "MIT")
    assert found["Requires-Python"] == PROJECT["requires-python"]
    assert sorted(found.get_all("Provides-Extra", [])) == sorted(PROJECT["optional-dependencies"])
    assert "An AI gateway" in found["Summary"]


def test_description_has_no_relative_links(dist: Path) -> None:
    """The description is the README; its pictures and links lead to files of the repository at the version's tag."""
    fields, _, description = metadata(dist).partition("\n\n")
    assert "Description-Content-Type: text/markdown" in fields
    tag = f"v{PROJECT['version']}"
    places = {"!": f"{PROJECT['urls']['Source']}/raw/{tag}/", "": f"{PROJECT['urls']['Source']}/blob/{tag}/"}
    found = re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", description)
    assert {kind for kind, _ in found} == {"!", ""}
    for kind, target in found:
        assert target.startswith(places[kind])
        assert (ROOT / target.removeprefix(places[kind]).partition("#")[0]).is_file()
    as_written = description.replace(places["!"], "").replace(places[""], "")
    assert as_written.strip() == (ROOT / "README.md").read_text("utf-8").strip()


@pytest.mark.slow
@pytest.mark.parametrize("extra", EXTRAS)
def test_each_extra_installs_and_imports(dist: Path, tmp_path: Path, extra: str) -> None:
    """In a clean environment the wheel with an extra installs, gives the command, and imports what it is for."""
    python = environment(tmp_path / "env")
    install(python, f"paig[{extra}] @ {wheel(dist).as_uri()}")
    subprocess.run([python, "-c", f"import paig_client, {EXTRAS[extra]}"], check=True)
    printed = subprocess.run([python.parent / "paig", "--version"], check=True, capture_output=True, text=True).stdout
    assert PROJECT["version"] in printed


@pytest.mark.slow
def test_without_extras_the_command_says_what_is_missing(dist: Path, tmp_path: Path) -> None:
    """The light client has neither gateway nor terminal UI; commands that need them say in one line how to get them."""
    python = environment(tmp_path / "env")
    install(python, str(wheel(dist)))
    for command, extra in (("serve", "gateway"), ("demo", "gateway"), ("tui --web", "tui")):
        done = subprocess.run([python.parent / "paig", *command.split()], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert f'pip install "paig[{extra}' in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_runs_without_being_installed(dist: Path) -> None:
    """`uvx` runs the command straight from the wheel."""
    command = [BIN / "uv", "tool", "run", "--constraints", ROOT / "requirements" / "dev.txt"]
    done = subprocess.run(
        [*command, "--from", f"paig @ {wheel(dist).as_uri()}", "paig", "--version"], capture_output=True, text=True
    )
    assert PROJECT["version"] in done.stdout, done.stderr


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[str]:
    """A simulated OpenAI in a process of its own; its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "paig_gateway.simulator", "--port", str(port)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1")
        yield f"http://127.0.0.1:{port}/openai/v1"
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_page_can_be_followed_word_for_word(page: str, dist: Path, tmp_path: Path, simulator: str) -> None:
    """In a clean environment, with the built wheel, every line of the page does what it says.

    The provider is simulated: its address is added to the configuration that the page shows.
    """
    text = (ROOT / page).read_text("utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S)
    installs = [line for kind, code in blocks if kind == "sh" for line in code.splitlines() if "pip install" in line]
    [extras] = {re.search(r"\[([\w,-]+)\]", line).group(1) for line in installs}  # type: ignore[union-attr]
    python = environment(tmp_path / "env")
    install(python, f"paig[{extras}] @ {wheel(dist).as_uri()}")

    [toml] = [code for kind, code in blocks if kind == "toml"][:1]
    (tmp_path / "paig.toml").write_text(
        toml.replace('kind = "openai"\n', f'kind = "openai"\nbase_url = "{simulator}"\n')
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path / "home"),
        "PAIG_HOME": str(tmp_path / "home" / "paig"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        "OPENAI_API_KEY": "sk-simulated",
        "ANTHROPIC_API_KEY": "sk-simulated",
        "PAIG_URL": f"http://127.0.0.1:{port}",
    }
    (tmp_path / "home").mkdir()

    def shell(line: str) -> str:
        done = subprocess.run(
            ["bash", "-ec", line], cwd=tmp_path, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    [serve] = {line for kind, code in blocks if kind == "sh" for line in code.splitlines() if "paig serve" in line}
    command = ["bash", "-ec", f"exec {serve.partition('#')[0]} --port {port}"]
    gateway = subprocess.Popen(command, cwd=tmp_path, env=variables)
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5)
                break
            except OSError:
                time.sleep(0.1)
        for kind, code in blocks:
            for line in code.splitlines() if kind == "sh" else []:
                words = line.partition("#")[0].split()
                if words[:1] == ["export"]:
                    name, _, value = words[1].partition("=")
                    value = value.replace("http://127.0.0.1:8787", variables["PAIG_URL"])
                    variables[name] = variables.get("KEY", "") if value.startswith("paig_") else value
                elif words[:3] == ["paig", "keys", "create"]:
                    [variables["KEY"]] = re.findall(r"paig_[\w-]+", shell(line))
                elif words[:1] == ["paig"] and words[1] not in ("serve", "tui", "demo"):
                    shell(line)
            if kind == "python":
                done = subprocess.run([python, "-c", code], env=variables, capture_output=True, text=True)
                assert done.returncode == 0, done.stderr
        assert "gpt-5" in shell("paig usage --by model")
    finally:
        gateway.terminate()
        assert gateway.wait() == 0


def test_workflows_are_valid_and_safe() -> None:
    """The forge's workflows fit their schema, pin what they use by hash, and the CI runs what `.ci/run` is."""
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert [file.name for file in workflows] == ["ci.yml", "release.yml"]
    for schema, files in (
        ("github-workflows", workflows),
        ("github-issue-forms", [ROOT / ".github" / "ISSUE_TEMPLATE" / name for name in ("bug.yml", "billing.yml")]),
        ("github-issue-config", [ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"]),
    ):
        command = [BIN / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files]
        checked = subprocess.run(command, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout
    checked = subprocess.run(
        [BIN / "zizmor", "--offline", *workflows], capture_output=True, text=True, check=False, env={"HOME": "/tmp"}
    )
    assert checked.returncode == 0, checked.stdout
    for file in workflows:
        jobs = yaml.safe_load(file.read_text("utf-8"))["jobs"]
        assert any(step.get("run") == "bash .ci/run" for job in jobs.values() for step in job["steps"])


def test_changelog_and_version_agree() -> None:
    """The newest release in CHANGELOG.md is the version of pyproject.toml, with a date; above it is what comes next."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## \[(.+?)\](?: - (\S+))?$", text, re.M)
    assert headings[0] == ("Unreleased", "")
    assert headings[1][0] == PROJECT["version"]
    assert date.fromisoformat(headings[1][1])
    assert [link for link in re.findall(r"\]\((docs/[^)#]+)", text) if not (ROOT / link).exists()] == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_ci_script_is_valid_shell() -> None:
    """`.ci/run` parses."""
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)
