"""References to credentials: parsing, resolving, and never showing a secret."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import pytest

from paig_gateway.secrets import keyring as ring_module
from paig_gateway.secrets.errors import ReferenceProblem, SecretReferenceError
from paig_gateway.secrets.references import STORED, References, SecuritySpec, parse_reference, resolve


class Ring(keyring.backend.KeyringBackend):
    """A keyring with one password; of some services it fails, or hangs."""

    priority = 5  # type: ignore[assignment]

    def __init__(self) -> None:
        self.stop = threading.Event()

    def get_password(self, service: str, username: str) -> str | None:
        if service == "broken":
            raise RuntimeError("sk-secret in an exception")
        if service == "hanging":
            self.stop.wait(30)
        return "from the ring" if (service, username) == ("https://api.example.com/v1", "ada") else None

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def ring() -> Iterator[None]:
    """Put our keyring in the place of the machine's."""
    before = keyring.get_keyring()
    ring = Ring()
    keyring.set_keyring(ring)
    yield
    ring.stop.set()
    keyring.set_keyring(before)


@pytest.mark.parametrize(
    ("text", "scheme", "target"),
    [
        ("env:OPENAI_API_KEY", "env", "OPENAI_API_KEY"),
        ("keyring:openai/ada", "keyring", "openai/ada"),
        ("file:/run/secrets/openai", "file", "/run/secrets/openai"),
        ("file:key.json", "file", "key.json"),
        ("value:sk-a:b", "value", "sk-a:b"),
    ],
)
def test_reference_is_parsed(text: str, scheme: str, target: str) -> None:
    """Each of the four forms is split at its first colon and, unless a literal, written back as it was."""
    reference = parse_reference(text)
    assert (reference.scheme, reference.target) == (scheme, target)
    assert str(reference) == (STORED if scheme == "value" else text)


@pytest.mark.parametrize(
    "text",
    ["sk-secret", "", ":x", "ENV:SECRET", "env:", "env:MY KEY", "env:1A", "keyring:secret", "keyring:/secret",
     "keyring:secret/", "file:", "value:", "file:a\nsecret", "http://secret"],
)  # fmt: skip
def test_malformed_reference_is_refused_without_showing_it(text: str) -> None:
    """What is no reference may well be the secret itself, so the error shows the forms and not the text."""
    with pytest.raises(SecretReferenceError) as caught:
        parse_reference(text)
    assert caught.value.code == "malformed"
    assert "write " in str(caught.value)
    assert "secret" not in str(caught.value).lower()


def test_literal_is_never_shown() -> None:
    """Neither repr nor str of a literal has it."""
    reference = parse_reference("value:sk-secret")
    assert "sk-secret" not in f"{reference!r} {reference}"


def test_each_kind_resolves(tmp_path: Path) -> None:
    """A secret is found in the environment, a file, the keyring or the reference, without the white space around it."""
    file = tmp_path / "key"
    file.write_text("from a file\n", "utf-8")
    assert resolve("env:KEY", {"KEY": " from the environment\n"}) == "from the environment"
    assert resolve(f"file:{file}") == "from a file"
    assert resolve("keyring:https://api.example.com/v1/ada") == "from the ring"
    assert resolve("value:itself") == "itself"


def test_file_is_found_from_home_and_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~` is the user's home, and a relative path starts from the working directory."""
    (tmp_path / "key.json").write_text('{\n "type": "service_account"\n}', "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("file:key.json") == resolve("file:~/key.json") == '{\n "type": "service_account"\n}'


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("env:NOT_SET", "missing", "environment variable NOT_SET is not set"),
        ("env:EMPTY", "empty", "env:EMPTY is empty"),
        ("file:{}/none", "missing", "there is no file"),
        ("file:{}", "unreadable", "cannot read the file"),
        ("file:{}/binary", "unreadable", "is not text"),
        ("file:{}/blank", "empty", "is empty"),
        ("file:{}/huge", "unreadable", "too large"),
        ("file:~nobody-of-this-name/key", "unreadable", "cannot be used"),
        ("keyring:openai/eve", "missing", "no password of user eve for service openai"),
        ("keyring:broken/ada", "unreadable", "the keyring failed (RuntimeError)"),
        ("value:  ", "empty", "is empty"),
    ],
)
def test_what_cannot_be_had_says_why(tmp_path: Path, text: str, code: ReferenceProblem, says: str) -> None:
    """Each way to fail has its code and names the place to mend, and an underlying exception's text is not shown."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "blank").write_text(" \n", "utf-8")
    (tmp_path / "huge").write_text("x" * 1_000_001, "utf-8")
    with pytest.raises(SecretReferenceError) as caught:
        resolve(text.format(tmp_path), {"EMPTY": ""})
    assert caught.value.code == code
    assert says in str(caught.value)
    assert "sk-secret" not in str(caught.value)


def test_keyring_that_hangs_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked keyring costs no more than the bound."""
    monkeypatch.setattr(ring_module, "KEYRING_SECONDS", 0.05)
    with pytest.raises(SecretReferenceError) as caught:
        resolve("keyring:hanging/ada")
    assert caught.value.code == "timeout"


@pytest.mark.parametrize(
    "text",
    [
        "env:PAIG_SECRET_KEY",
        "env:PAIG_ADMIN_TOKEN",
        "env:paig_admin_token",
        "env:WEBHOOK",
        "keyring:paig/secret.key-1234",
        "file:{home}/secret.key",
        "file:{home}/admin.token",
        "file:{home}/../home/admin.token",
        "file:{home}",
        "file:{link}",
        "file:{own}",
        "file:/proc/self/environ",
        "file:/dev/stdin",
        "file:{mounted}",
    ],
)
@pytest.mark.parametrize("of_owner", [False, True])
def test_gateways_own_secrets_are_never_resolved(tmp_path: Path, text: str, of_owner: bool) -> None:
    """Whatever leads to them, links included, is refused by its place, before anything is read."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("secret.key", "admin.token"):
        (home / name).write_text("of the gateway alone", "utf-8")
    (tmp_path / "link").symlink_to(home / "admin.token")
    (tmp_path / "own").write_text("of the gateway alone", "utf-8")
    own = frozenset({"env:WEBHOOK", f"file:{tmp_path}/own"})
    mounted = tmp_path / "mounted"
    mounted.write_text("of the gateway alone", "utf-8")
    environ = {"WEBHOOK": "of the gateway alone", "PAIG_SECRET_KEY_FILE": str(mounted)}
    references = References(environ=environ, home=home, own=own, of_owner=of_owner)
    written = text.format(home=home, link=tmp_path / "link", own=tmp_path / "own", mounted=mounted)
    with pytest.raises(SecretReferenceError) as caught:
        references.resolve(written)
    assert caught.value.code == "forbidden"
    assert "of the gateway alone" not in str(caught.value)


def test_the_owner_alone_may_keep_credentials_in_the_home_folder(tmp_path: Path) -> None:
    """Beside the gateway's own files, none of which is ever resolved."""
    (tmp_path / "openai.key").write_text("sk-1", "utf-8")
    of_owner = References(home=tmp_path, of_owner=True)
    assert of_owner.resolve(f"file:{tmp_path}/openai.key") == "sk-1"
    with pytest.raises(SecretReferenceError, match="another folder"):
        References(home=tmp_path).check(f"file:{tmp_path}/openai.key")
    own = ("secret.key.old", "admin.token", "paig.db", "paig.db-wal", "tls/ca.key", "new-keys.txt", "listening/1.url")
    for name in (*own, "paig-backup.db", "unrecorded-node.jsonl", "set-aside-node.jsonl"):
        with pytest.raises(SecretReferenceError, match="another folder"):
            of_owner.check(f"file:{tmp_path}/{name}")


def test_everything_else_is_allowed_unless_the_owner_says_so(tmp_path: Path) -> None:
    """Allow-lists confine variables by their beginning, files by their folder, services by their name."""
    for folder in ("keys", "keys-of-others"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "k").write_text("from a file", "utf-8")
    environ = {"LLM_OPENAI": "from the environment", "OTHER": "x"}
    free = References(environ=environ)
    assert free.resolve("env:OTHER") == "x"
    assert free.resolve(f"file:{tmp_path}/keys-of-others/k") == "from a file"
    allowed = SecuritySpec(
        env_prefixes=["LLM_"], file_folders=[str(tmp_path / "keys")], keyring_services=["https://api.example.com/v1"]
    )
    confined = References(environ=environ, allowed=allowed)
    assert confined.resolve("env:LLM_OPENAI") == "from the environment"
    assert confined.resolve(f"file:{tmp_path}/keys/k") == "from a file"
    assert confined.resolve("keyring:https://api.example.com/v1/ada") == "from the ring"
    assert confined.resolve("value:literal") == "literal"
    for text in ("env:OTHER", f"file:{tmp_path}/keys-of-others/k", "keyring:broken/ada"):
        with pytest.raises(SecretReferenceError, match="the gateway's owner") as caught:
            confined.resolve(text)
        assert caught.value.code == "forbidden"


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "0xa9fea9fe",
        "2852039166",
        "0251.0376.0251.0376",
        "0xa9.0xfe.0xa9.0xfe",
        "169.254.43518",
        "169.0376.43518",
        "[::ffff:a9fe:a9fe]",
        "[fe80::1%25eth0]",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "100.100.100.200",
        "[fd00:ec2::254]",
    ],
)
def test_metadata_addresses_are_no_providers(host: str) -> None:
    """In whatever spelling; the owner may allow one by name."""
    with pytest.raises(SecretReferenceError, match="link-local or metadata"):
        References().check_upstream(f"http://{host}/latest")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:11434", "http://10.0.0.5/v1", "https://api.openai.com", "http://[::1]"]
)
def test_loopback_and_private_addresses_may_be_providers(url: str) -> None:
    """Models that run on one's own machines are at such addresses."""
    References().check_upstream(url)


def test_hosts_of_providers_can_be_confined() -> None:
    """By patterns, which also allow what is refused otherwise."""
    references = References(allowed=SecuritySpec(upstream_hosts=["*.openai.com", "169.254.169.254"]))
    references.check_upstream("https://api.openai.com/v1")
    references.check_upstream("http://169.254.169.254/")
    with pytest.raises(SecretReferenceError, match="upstream_hosts"):
        references.check_upstream("https://api.openai.com.evil.example/v1")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Reading it would wait for a writer, and hold up every provider's credential."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SecretReferenceError, match="is not a file"):
        resolve(f"file:{tmp_path / 'pipe'}")


@pytest.mark.parametrize("service", ["paig", "PAIG", "Paig", "secret.key@paig", "x@PAIG ", "paig "])
def test_the_gateways_own_entries_are_refused_in_every_spelling(service: str) -> None:
    """Windows compares names without regard to case, and keeps entries as USER@SERVICE, too."""
    with pytest.raises(SecretReferenceError, match="own secrets"):
        References().check(f"keyring:{service}/secret.key")
