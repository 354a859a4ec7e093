"""`paig_client.profiles`: what `paig login` keeps."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from paig_client import profiles
from paig_client.keychain import KeyringError
from tests.client import keyrings

GW = "https://gw.example"


def test_the_home_folder_is_the_gateways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`PAIG_HOME` counts, else the platform's user-data folder."""
    assert profiles.home() == tmp_path / "home"
    monkeypatch.delenv("PAIG_HOME")
    assert profiles.home().name == "paig"


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_a_file_secret_is_for_its_owner_alone() -> None:
    """The file has mode 0600 from the first byte on, in a folder of mode 0700."""
    profiles.put(GW, "key", "secret", "file")
    assert stat.S_IMODE(profiles.path().stat().st_mode) == 0o600
    assert stat.S_IMODE(profiles.path().parent.stat().st_mode) == 0o700
    assert profiles.get(GW, "key") == ("secret", f"file {profiles.path()}")
    assert [entry.name for entry in profiles.home().iterdir()] == ["client.json"]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_a_file_that_others_can_read_is_refused() -> None:
    """The message says how to mend it."""
    profiles.put(GW, "key", "secret", "file")
    profiles.path().chmod(0o640)
    with pytest.raises(profiles.ProfilesError, match="chmod 600"):
        profiles.get(GW, "key")


def test_a_damaged_file_is_named() -> None:
    """What is not ours is not overwritten in silence."""
    profiles.home().mkdir()
    profiles.path().write_text("[]")
    profiles.path().chmod(0o600)
    with pytest.raises(profiles.ProfilesError, match="damaged"):
        profiles.put(GW, "key", "secret", "file")
    assert profiles.path().read_text() == "[]"


def test_a_keyring_secret_is_not_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file only says that the keyring has it."""
    keyrings.use(monkeypatch, memory := keyrings.Memory())
    profiles.put(GW, "key", "secret-in-keyring", "keyring")
    assert "secret-in-keyring" not in profiles.path().read_text()
    assert profiles.get(GW, "key") == ("secret-in-keyring", "keyring")
    assert memory.secrets == {("paig:https://gw.example", "key"): "secret-in-keyring"}


def test_nothing_is_written_where_the_keyring_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """No keyring does not mean plaintext."""
    keyrings.use(monkeypatch, keyrings.Locked())
    with pytest.raises(KeyringError):
        profiles.put(GW, "key", "secret", "keyring")
    assert not profiles.path().exists()


def test_moving_a_secret_leaves_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """From keyring to file and back, the old place forgets it."""
    keyrings.use(monkeypatch, memory := keyrings.Memory())
    profiles.put(GW, "key", "one", "keyring")
    profiles.put(GW, "key", "two", "file")
    assert memory.secrets == {}
    profiles.put(GW, "key", "three", "keyring")
    assert "two" not in profiles.path().read_text()


def test_secrets_belong_to_their_gateway() -> None:
    """What is stored for one root address is not another's."""
    profiles.put(GW, "key", "secret", "file")
    assert profiles.get("https://gw.example.evil", "key") is None
    assert profiles.get(GW, "admin") is None


def test_remove_forgets_both_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keyring and file are both emptied of that gateway."""
    keyrings.use(monkeypatch, memory := keyrings.Memory())
    profiles.put(GW, "key", "one", "keyring")
    profiles.put(GW, "admin", "two", "file")
    assert profiles.remove(GW) == ["key", "admin"]
    assert memory.secrets == {}
    assert profiles.read() == profiles.Contents()


def test_the_local_admin_token_may_be_a_reference(monkeypatch: pytest.MonkeyPatch, clean_environment: Path) -> None:
    """The gateway's `admin.token` holds the token, or says where in the keyring it is."""
    assert profiles.local_admin_token() is None
    clean_environment.mkdir()
    file = clean_environment / "admin.token"
    file.write_text("token\n")
    assert profiles.local_admin_token() == ("token", f"file {file}")
    keyrings.use(monkeypatch, memory := keyrings.Memory())
    memory.secrets["paig", "admin.token-0a"] = "from-keyring"
    file.write_text("keyring:paig/admin.token-0a\n")
    assert profiles.local_admin_token() == ("from-keyring", f"keyring, as {file} says")
