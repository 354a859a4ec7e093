"""`paig_client.credentials`: argument → environment → profile → keyring → file."""

from __future__ import annotations

from pathlib import Path

import pytest

from paig_client import profiles
from paig_client.credentials import CredentialError, resolve, resolve_admin
from tests.client import keyrings

GW = "https://gw.example"


@pytest.fixture
def stored_profiles(monkeypatch: pytest.MonkeyPatch) -> keyrings.Memory:
    """A default profile whose key is in the file, and `prod` whose key is in the keyring."""
    keyrings.use(monkeypatch, memory := keyrings.Memory())
    profiles.put(GW, "key", "file-key", "file")
    profiles.put("https://prod.example", "key", "keyring-key", "keyring")
    contents = profiles.read()
    contents.profiles = {"default": GW, "prod": "https://prod.example"}
    profiles.write(contents)
    return memory


@pytest.mark.usefixtures("stored_profiles")
def test_arguments_go_before_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given in the call is used, whatever else there is."""
    monkeypatch.setenv("PAIG_API_KEY", "env-key")
    monkeypatch.setenv("PAIG_BASE_URL", "http://env.example")
    found = resolve(api_key="argument-key", base_url="gw.example")
    assert (found.base_url, found.secret.value) == ("https://gw.example/proxy", "argument-key")
    assert (found.root.source, found.secret.source) == ("argument", "argument")


@pytest.mark.usefixtures("stored_profiles")
def test_the_environment_goes_before_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """pydantic-ai's own variables first, the short ones as fallbacks; empty ones are none."""
    monkeypatch.setenv("PAIG_API_KEY", "short")
    monkeypatch.setenv("PAIG_BASE_URL", "http://short.example/proxy/")
    found = resolve()
    assert (found.base_url, found.secret.value) == ("http://short.example/proxy", "short")
    monkeypatch.setenv("PYDANTIC_AI_GATEWAY_API_KEY", "long")
    monkeypatch.setenv("PYDANTIC_AI_GATEWAY_BASE_URL", "http://long.example")
    found = resolve()
    assert (found.base_url, found.secret.value) == ("http://long.example/proxy", "long")
    assert found.secret.source == "environment PYDANTIC_AI_GATEWAY_API_KEY"
    for name in ("PAIG_API_KEY", "PAIG_BASE_URL", "PYDANTIC_AI_GATEWAY_API_KEY", "PYDANTIC_AI_GATEWAY_BASE_URL"):
        monkeypatch.setenv(name, "")
    assert resolve().secret.value == "file-key"


@pytest.mark.usefixtures("stored_profiles")
def test_profiles_say_which_gateway_and_its_store_which_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default profile; one that the environment names; one named in the call, which goes before all of it."""
    assert (resolve().root.value, resolve().secret.source) == (GW, f"file {profiles.path()}")
    monkeypatch.setenv("PAIG_PROFILE", "prod")
    assert (resolve().root.source, resolve().secret.source) == ("profile prod", "keyring")
    monkeypatch.setenv("PAIG_API_KEY", "env-key")
    monkeypatch.setenv("PAIG_BASE_URL", "http://env.example")
    assert resolve(profile="prod").secret.value == "keyring-key"
    with pytest.raises(CredentialError, match="no profile 'staging'"):
        resolve(profile="staging")


@pytest.mark.usefixtures("stored_profiles")
def test_a_stored_key_goes_to_its_own_gateway_alone() -> None:
    """Another address does not get it, by argument or otherwise."""
    with pytest.raises(CredentialError, match=r"no key for the gateway at http://other.example"):
        resolve(base_url="http://other.example")
    assert resolve(base_url="HTTPS://GW.example:443/proxy").secret.value == "file-key"


def test_no_key_says_where_one_may_come_from() -> None:
    """The message names the variable, the command and the argument."""
    with pytest.raises(CredentialError, match=r"PYDANTIC_AI_GATEWAY_API_KEY.*paig login.*api_key="):
        resolve()


def test_trouble_with_the_keyring_is_said_not_swallowed(
    stored_profiles: keyrings.Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is stored but cannot be had is not the same as no key."""
    keyrings.use(monkeypatch, keyrings.Locked())
    with pytest.raises(CredentialError, match="locked"):
        resolve(profile="prod")
    assert resolve().secret.value == "file-key"


@pytest.mark.parametrize(
    "address", ["ftp://gw.example", "https://", "https://u:p@gw.example", "https://gw.example?x=1"]
)
def test_an_address_that_cannot_be_a_gateways_is_refused(address: str) -> None:
    """The message says what an address looks like."""
    with pytest.raises(CredentialError):
        resolve(api_key="k", base_url=address)


def test_secrets_are_not_in_representations() -> None:
    """Logging what was found does not log the key."""
    assert "paig_secret" not in repr(resolve(api_key="paig_secret"))


def test_the_admin_token_of_this_machine_stays_on_it(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`admin.token` is for a gateway on loopback; another needs PAIG_ADMIN_TOKEN or a login."""
    clean_environment.mkdir()
    (clean_environment / "admin.token").write_text("local-token\n")
    assert resolve_admin().secret.value == "local-token"
    assert resolve_admin(url="http://localhost:9000").secret.value == "local-token"
    with pytest.raises(CredentialError, match="PAIG_ADMIN_TOKEN"):
        resolve_admin(url=GW)
    profiles.put(GW, "admin", "stored-token", "file")
    assert resolve_admin(url=GW).secret.value == "stored-token"
    mounted = clean_environment / "mounted"
    mounted.write_text("file-token\n")
    monkeypatch.setenv("PAIG_ADMIN_TOKEN_FILE", str(mounted))
    assert resolve_admin(url=GW).secret.value == "file-token"
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", "env-token")
    assert resolve_admin(url=GW).secret.value == "env-token"
    monkeypatch.delenv("PAIG_ADMIN_TOKEN")
    mounted.unlink()
    with pytest.raises(CredentialError, match="Cannot read the file that PAIG_ADMIN_TOKEN_FILE names"):
        resolve_admin(url=GW)


@pytest.mark.usefixtures("stored_profiles")
def test_every_command_talks_to_the_same_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argument, profile named in the call, PAIG_URL, the variables of programs without /proxy, profile, default."""
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", "env-token")

    def roots(**given: str) -> set[str]:
        names = {"url": "base_url"}
        key = {names.get(name, name): value for name, value in given.items()}
        return {resolve(api_key="key", **key).root.value, resolve_admin(**given).root.value}

    assert roots() == {GW}
    monkeypatch.setenv("PAIG_BASE_URL", "http://127.0.0.1:9003/proxy")
    assert roots() == {"http://127.0.0.1:9003"}
    monkeypatch.setenv("PYDANTIC_AI_GATEWAY_BASE_URL", "http://127.0.0.1:9002/proxy")
    assert roots() == {"http://127.0.0.1:9002"}
    monkeypatch.setenv("PAIG_URL", "http://127.0.0.1:9001")
    assert roots() == {"http://127.0.0.1:9001"}
    assert roots(profile="prod") == {"https://prod.example"}
    assert roots(url="http://127.0.0.1:9000", profile="prod") == {"http://127.0.0.1:9000"}
