"""`paig login|logout|status|env|run`."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from paig_client import profiles
from paig_client.api.specs import ProviderSpec
from paig_client.environment import CLIENTS
from paig_gateway.app import OpenDatabase
from paig_gateway.server import _announced
from tests.client import keyrings
from tests.client.cli.conftest import Paig
from tests.client.double import KEY, TOKEN, Double
from tests.gateway.end_to_end.conftest import ADMIN


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> keyrings.Memory:
    """A sound keyring."""
    keyrings.use(monkeypatch, found := keyrings.Memory())
    return found


def test_login_stores_the_key_in_the_keyring(paig: Paig, gateway: str, memory: keyrings.Memory) -> None:
    """The key is read from standard input, checked, kept by the gateway's address; nothing shows it."""
    ran = paig("login", f"{gateway}/proxy", stdin=f"{KEY}\n")
    assert (ran.code, ran.out) == (0, "")
    assert "in the keyring" in ran.err
    assert KEY not in ran.err
    assert memory.secrets == {(f"paig:{gateway}", "key"): KEY}
    assert KEY not in profiles.path().read_text()
    assert profiles.read().profiles == {"default": gateway}


def test_login_refuses_plaintext_unless_told(paig: Paig, gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a keyring nothing is stored; --store file is explicit, and says that it is unencrypted."""
    keyrings.use(monkeypatch, keyrings.PlaintextKeyring())
    refused = paig("login", gateway, stdin=KEY)
    assert refused.code == 1
    assert "--store file" in refused.err
    assert not profiles.path().exists()
    ran = paig("login", gateway, "--store", "file", stdin=KEY)
    assert ran.code == 0
    assert "unencrypted" in ran.err
    assert profiles.get(gateway, "key") == (KEY, f"file {profiles.path()}")


def test_without_a_keyring_no_one_is_asked_to_log_in(paig: Paig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said before the login in a browser, which would be for nothing: the address here has no gateway."""
    keyrings.use(monkeypatch, keyrings.PlaintextKeyring())
    ran = paig("login", "http://127.0.0.1:1", "--sso")
    assert ran.code != 0
    assert "No keyring that keeps secrets safe was found" in ran.err
    assert "No gateway answers" not in ran.err


def test_login_checks_the_key(paig: Paig, gateway: str, memory: keyrings.Memory) -> None:
    """A key that the gateway does not take is not stored; nor is any where no gateway answers, unless told so."""
    refused = paig("login", gateway, stdin="paig_wrong")
    assert refused.code == 4
    assert "unknown-key" in refused.err
    assert paig("login", "http://127.0.0.1:9", stdin=KEY).code == 3
    assert memory.secrets == {}
    assert paig("login", "http://127.0.0.1:9", "--no-check", stdin=KEY).code == 0


def test_login_warns_of_plain_http(paig: Paig, memory: keyrings.Memory) -> None:
    """A secret that would travel in the clear is warned of, but not on this machine."""
    assert "not encrypted" in paig("login", "http://gw.example", "--no-check", stdin=KEY).err
    assert "not encrypted" not in paig("login", "http://127.0.0.1:9", "--no-check", stdin=KEY).err


def test_login_as_administrator(paig: Paig, gateway: str, memory: keyrings.Memory) -> None:
    """With --admin the token is what is stored, and commands then need no environment."""
    assert paig("login", gateway, "--admin", stdin="wrong").code == 4
    assert paig("login", gateway, "--admin", stdin=TOKEN).code == 0
    assert paig("keys", "list", "--json").out == "[]\n"


def test_profiles(paig: Paig, gateway: str, memory: keyrings.Memory, double: Double) -> None:
    """A profile is a name for a gateway; `--profile` chooses it everywhere."""
    assert paig("login", gateway, "--profile", "prod", "--admin", stdin=TOKEN).code == 0
    assert paig("keys", "list", "--profile", "prod", "--json").code == 0
    unknown = paig("keys", "list", "--profile", "staging")
    assert unknown.code == 4
    assert "paig login URL --profile staging" in unknown.err


def test_logout_forgets(paig: Paig, gateway: str, memory: keyrings.Memory) -> None:
    """Secrets go with the last profile that means their gateway."""
    paig("login", gateway, stdin=KEY)
    paig("login", gateway, "--profile", "again", stdin=KEY)
    assert paig("logout", "--profile", "again").code == 0
    assert memory.secrets
    assert paig("logout").code == 0
    assert memory.secrets == {}
    assert profiles.read() == profiles.Contents()
    assert paig("logout").code == 1


def test_status_says_where_each_value_comes_from(
    paig: Paig, gateway: str, memory: keyrings.Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Address, key and token, each with its source and whether the gateway takes it."""
    paig("login", gateway, stdin=KEY)
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", TOKEN)
    facts = json.loads(paig("status", "--json").out)
    assert (facts["url"], facts["url_source"], facts["reachable"]) == (gateway, "profile default", True)
    assert facts["key"] == {"source": "keyring", "state": "accepted"}
    assert facts["admin_token"] == {"source": "environment PAIG_ADMIN_TOKEN", "state": "accepted"}
    assert facts["gateway"]["version"] == "0.1.0"
    table = paig("status")
    assert table.code == 0
    assert "profile default" in table.out
    assert KEY not in table.out
    monkeypatch.setenv("PAIG_API_KEY", "paig_wrong")
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", "wrong")
    facts = json.loads(paig("status", "--json").out)
    assert (facts["key"]["state"], facts["admin_token"]["state"]) == ("unknown-key", "unknown-token")


def test_status_without_a_gateway(paig: Paig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none answers the exit code is 3, and what is known is still shown."""
    monkeypatch.setenv("PAIG_API_KEY", KEY)
    monkeypatch.setenv("PAIG_BASE_URL", "http://127.0.0.1:9")
    ran = paig("status", "--json")
    assert ran.code == 3
    facts = json.loads(ran.out)
    assert facts["reachable"] is False
    assert facts["key"] == {"source": "environment PAIG_API_KEY", "state": "not checked"}


def test_status_of_this_home(paig: Paig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its gateway listens, since when, and as which process; if none runs, what keeps it from starting."""
    home = tmp_path / "home"
    monkeypatch.setenv("PAIG_HOME", str(home))
    monkeypatch.setenv("PAIG_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    for name in ("PAIG_SECRET_KEY", "PAIG_DATABASE_URL", "PAIG_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    ran = paig("status")
    assert ran.code == 3
    assert "Start it with `paig serve`" in ran.err
    assert not home.exists()

    store = OpenDatabase.open()
    store.catalog.providers.create("openai", ProviderSpec(kind="openai", credential="value:sk-x"), actor="test")
    store.engine.dispose()
    with _announced(home, "http://127.0.0.1:8799"):
        ran = paig("status")
        assert ran.code == 3
        assert "listens at http://127.0.0.1:8799: use --url http://127.0.0.1:8799, or set PAIG_URL" in ran.err
        [one] = json.loads(paig("status", "--json").out)["home"]["gateways"]
        assert (one["url"], one["pid"]) == ("http://127.0.0.1:8799", os.getpid())
        assert f"process {os.getpid()}, up 0 min" in paig("status").out

    (home / "secret.key").unlink()
    ran = paig("status")
    assert "The secret key is missing: the credentials of openai cannot be read" in ran.err
    assert "`paig secret reset`" in ran.err
    assert not (home / "secret.key").exists()
    database = home / "paig.db"
    for ending in ("-wal", "-shm"):
        database.with_name(f"paig.db{ending}").unlink(missing_ok=True)
    database.write_bytes(b"no database" * 1000)
    assert "is damaged" in json.loads(paig("status", "--json").out)["home"]["problem"]
    monkeypatch.setenv("PAIG_DATABASE_URL", "postgresql+psycopg://paig:hunter2@127.0.0.1:9/paig")
    ran = paig("status")
    assert "Cannot use the database 'paig' at 127.0.0.1:9" in ran.err


def test_status_of_a_real_gateway(paig: Paig, url: str, real_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real gateway takes key and token, and asking leaves no row in its ledger."""
    monkeypatch.setenv("PAIG_API_KEY", real_key)
    facts = json.loads(paig("status", "--json", "--url", url).out)
    assert (facts["key"]["state"], facts["admin_token"]["state"]) == ("accepted", "accepted")
    assert facts["gateway"]["status"] == "ok"
    monkeypatch.setenv("PAIG_API_KEY", "paig_wrong")
    assert json.loads(paig("status", "--json", "--url", url).out)["key"]["state"] == "unknown-key"
    rows = paig("tail", "--no-follow", "--json", "-n", "50", "--url", url).out
    assert '"route":"-"' not in rows
    assert ADMIN not in rows


@pytest.fixture
def logged_in(gateway: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A key with a quote in it, in the environment, as an awkward case for shells."""
    monkeypatch.setenv("PAIG_API_KEY", "paig_it's $HOME")
    monkeypatch.setenv("PAIG_BASE_URL", gateway)
    return gateway


def test_env_is_taken_by_a_shell(paig: Paig, logged_in: str) -> None:
    """`eval "$(paig env)"` sets what it says, quoted, and unsets what would get in the way."""
    script = paig("env", "--for", "anthropic").out
    show = 'echo "$PYDANTIC_AI_GATEWAY_API_KEY|$PAIG_BASE_URL|$ANTHROPIC_BASE_URL|${ANTHROPIC_API_KEY-unset}"'
    environment = {**os.environ, "ANTHROPIC_API_KEY": "sk-ant-real"}
    ran = subprocess.run(["sh", "-c", f"{script}\n{show}"], capture_output=True, text=True, env=environment, check=True)
    key, base, anthropic, gone = ran.stdout.strip().split("|")
    assert key == "paig_it's $HOME"
    assert (base, anthropic) == (f"{logged_in}/proxy", f"{logged_in}/proxy/anthropic")
    assert gone == "unset"


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("fish", "set -gx PAIG_API_KEY "),
        ("csh", "setenv PAIG_API_KEY 'paig_it'\\''s $HOME';"),
        ("powershell", "$env:PAIG_API_KEY = 'paig_it''s $HOME'"),
        ("cmd", 'set "PAIG_API_KEY=paig_it\'s $HOME"'),
        ("dotenv", "PAIG_API_KEY="),
    ],
)
def test_env_speaks_other_shells(paig: Paig, logged_in: str, shell: str, line: str) -> None:
    """Each in its own words."""
    assert line in paig("env", "--shell", shell).out


def test_typographic_quotes_end_no_text_in_powershell(
    paig: Paig, logged_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PowerShell takes them for quotes."""
    monkeypatch.setenv("PAIG_API_KEY", "paig_\u2019; id; \u2018")
    assert "$env:PAIG_API_KEY = 'paig_\u2019\u2019; id; \u2018\u2018'" in paig("env", "--shell", "powershell").out


BY_ENVIRONMENT = sorted(name for name, client in CLIENTS.items() if any(client.variables("", "").values()))


@pytest.mark.parametrize("client", sorted(CLIENTS.keys() - BY_ENVIRONMENT))
def test_env_refuses_clients_that_do_not_read_it(paig: Paig, logged_in: str, client: str) -> None:
    """A key in the environment of a client that takes its address from elsewhere would go there."""
    ran = paig("env", "--for", client)
    assert (ran.code, ran.out) == (2, "")
    assert "paig run --" in ran.err


@pytest.mark.parametrize("client", BY_ENVIRONMENT)
def test_env_knows_clients(paig: Paig, logged_in: str, client: str) -> None:
    """Each client's own variables point below the gateway's address, with the key, and no other address."""
    script = paig("env", "--for", client, "--shell", "dotenv").out
    pairs = dict(line.split("=", 1) for line in script.splitlines())
    own = {name: shlex.split(value or "''")[0] for name, value in pairs.items() if not name.startswith(("PAIG", "PYD"))}
    addresses = [address for value in own.values() for address in re.findall(r'https?://[^"]*', value)]
    assert addresses
    assert all(address.startswith(f"{logged_in}/proxy") for address in addresses)
    assert "paig_it's $HOME" in own.values() or "{env:PAIG_API_KEY}" in "".join(own.values())


def test_env_as_json(paig: Paig, logged_in: str) -> None:
    """Each variable and its value; what must not be set is null."""
    found = json.loads(paig("env", "--for", "anthropic", "--json").out)
    assert found["PAIG_API_KEY"] == found["ANTHROPIC_AUTH_TOKEN"] == "paig_it's $HOME"
    assert found["ANTHROPIC_API_KEY"] is None


def test_env_refuses_an_unknown_client(paig: Paig, logged_in: str) -> None:
    """The message lists those that it knows."""
    ran = paig("env", "--for", "netscape")
    assert ran.code == 2
    assert "claude-code" in ran.err


def paig_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`paig …` in a process of its own, for commands that replace it."""
    code = "from paig_client.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_run_gives_a_command_the_environment(logged_in: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command sees key and address, not the provider's own key; its exit code and options are its own."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    program = "import os, sys; print(os.environ['OPENAI_BASE_URL'], os.environ['OPENAI_API_KEY']); sys.exit(7)"
    ran = paig_process("run", "--for", "openai", "--", sys.executable, "-c", program, "--help")
    assert (ran.returncode, ran.stdout) == (7, f"{logged_in}/proxy/openai/v1 paig_it's $HOME\n")
    assert paig_process("run", "no-such-command").returncode == 127


def test_run_needs_a_key() -> None:
    """Without one nothing is run."""
    ran = paig_process("run", "--", sys.executable, "-c", "print('ran')")
    assert (ran.returncode, ran.stdout) == (4, "")


def test_a_local_authority_is_trusted(paig: Paig, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For `paig serve --tls` on this machine, programs are told which certificates to trust."""
    (clean_environment / "tls").mkdir(parents=True)
    bundle = clean_environment / "tls" / "ca-bundle.pem"
    bundle.write_text("certificates")
    monkeypatch.setenv("PAIG_API_KEY", KEY)
    out = paig("env", "--url", "https://127.0.0.1:8787").out
    assert f"export SSL_CERT_FILE={shlex.quote(str(bundle))}" in out
    assert "SSL_CERT_FILE" not in paig("env", "--url", "https://gw.example").out
    for client, expected in (("claude-code", "localhost"), ("anthropic", "127.0.0.1")):
        out = paig("env", "--for", client, "--url", "https://127.0.0.1:8787").out
        assert f"ANTHROPIC_BASE_URL=https://{expected}:8787/" in out


def test_no_other_service_of_aws_keeps_an_address(paig: Paig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its requests would be signed with the gateway key."""
    monkeypatch.setenv("PAIG_API_KEY", KEY)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://elsewhere.example")
    assert json.loads(paig("env", "--for", "bedrock", "--json").out)["AWS_ENDPOINT_URL_S3"] is None
    assert "AWS_ENDPOINT_URL_S3" not in json.loads(paig("env", "--for", "openai", "--json").out)


def test_litellm_takes_the_key_for_no_other_provider(paig: Paig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives OPENAI_API_KEY to every provider without a key of its own; keys that are there stay."""
    monkeypatch.setenv("PAIG_API_KEY", KEY)
    monkeypatch.setenv("MISTRAL_API_KEY", "mine")
    found = json.loads(paig("env", "--for", "litellm", "--json").out)
    assert (found["GITHUB_API_KEY"], found["OPENROUTER_API_KEY"]) == ("unused", "unused")
    assert "MISTRAL_API_KEY" not in found
    assert (found["OPENAI_API_KEY"], found["GEMINI_API_KEY"]) == (KEY, KEY)
    assert "GITHUB_API_KEY" not in json.loads(paig("env", "--for", "openai", "--json").out)
