"""References to credentials: parsing, resolving, and never showing a secret."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import pytest

from paig_gateway.secrets import vault
from paig_gateway.secrets.references import STORED, CredentialError, Reference, Trouble, parse_reference, resolve


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
    with pytest.raises(CredentialError) as caught:
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
    assert resolve(Reference("value", "itself")) == "itself"


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
        ("file:{}", "unreadable", "cannot be read"),
        ("file:{}/binary", "unreadable", "is not text"),
        ("file:{}/blank", "empty", "is empty"),
        ("file:{}/huge", "unreadable", "too large"),
        ("file:~nobody-of-this-name/key", "unreadable", "cannot be used"),
        ("keyring:openai/eve", "missing", "no password of user eve for service openai"),
        ("keyring:broken/ada", "unreadable", "the keyring failed (RuntimeError)"),
        ("value:  ", "empty", "is empty"),
    ],
)
def test_what_cannot_be_had_says_why(tmp_path: Path, text: str, code: Trouble, says: str) -> None:
    """Each way to fail has its code and names the place to mend, and an underlying exception's text is not shown."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "blank").write_text(" \n", "utf-8")
    (tmp_path / "huge").write_text("x" * 1_000_001, "utf-8")
    with pytest.raises(CredentialError) as caught:
        resolve(text.format(tmp_path), {"EMPTY": ""})
    assert caught.value.code == code
    assert says in str(caught.value)
    assert "sk-secret" not in str(caught.value)


def test_keyring_that_hangs_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked keyring costs no more than the bound."""
    monkeypatch.setattr(vault, "KEYRING_SECONDS", 0.05)
    with pytest.raises(CredentialError) as caught:
        resolve("keyring:hanging/ada")
    assert caught.value.code == "timeout"
