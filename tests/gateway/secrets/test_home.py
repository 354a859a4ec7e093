"""The home folder, the secret key and the admin token."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import keyring.backends.fail
import keyring.backends.null
import pytest
from sqlalchemy.engine import make_url

from paig_client.api.specs import ProviderSpec
from paig_gateway.app import OpenDatabase
from paig_gateway.secrets import home
from paig_gateway.secrets import keyring as ring_module
from paig_gateway.secrets.errors import KeyringTimeoutError, SecretsError
from paig_gateway.secrets.home import admin_token, database_url, home_folder, secret_key
from paig_gateway.secrets.keyring import keyring_call

posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")


class MemoryKeyring(keyring.backend.KeyringBackend):
    """A desktop's keyring, in memory."""

    priority = 5  # type: ignore[assignment]

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


class HangingKeyring(MemoryKeyring):
    """A keyring that waits to be unlocked."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def get_password(self, service: str, username: str) -> str | None:
        self.released.wait(30)
        return None

    def set_password(self, service: str, username: str, password: str) -> None:
        self.released.wait(30)


class ForgetfulKeyring(MemoryKeyring):
    """A keyring that takes everything and keeps nothing, as a container's may."""

    def set_password(self, service: str, username: str, password: str) -> None:
        return None


class PlainTextKeyring(MemoryKeyring):
    """A keyring in a plain file; its home is the third parties' namespace."""


PlainTextKeyring.__module__ = "keyrings.alt.file"


@pytest.fixture(autouse=True)
def no_keyring() -> Iterator[None]:
    """Keep the machine's own keyring out of the tests."""
    before = keyring.get_keyring()
    keyring.set_keyring(keyring.backends.fail.Keyring())  # type: ignore[no-untyped-call]
    yield
    keyring.set_keyring(before)


def mode(path: Path) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


@posix
def test_home_is_made_private(tmp_path: Path) -> None:
    """PAIG_HOME names the folder, and it is made for its owner alone."""
    made = home_folder({"PAIG_HOME": str(tmp_path / "deep" / "paig")})
    assert made == tmp_path / "deep" / "paig"
    assert mode(made) == 0o700
    assert home_folder({"PAIG_HOME": str(made)}) == made


def test_home_is_the_platforms_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PAIG_HOME, or with an empty one, the platform's user-data folder is taken."""
    monkeypatch.setattr(home, "user_data_path", lambda name, appauthor: tmp_path / name)
    assert home_folder({}) == home_folder({"PAIG_HOME": ""}) == tmp_path / "paig"


def test_home_that_cannot_be_made_says_what_to_set(tmp_path: Path) -> None:
    """A file in the way is an error that names PAIG_HOME."""
    (tmp_path / "file").touch()
    with pytest.raises(SecretsError, match="set PAIG_HOME"):
        home_folder({"PAIG_HOME": str(tmp_path / "file" / "home")})


@pytest.mark.parametrize("name", ["plain", "a b", "what?", "100%", "#1", "søk"])
def test_default_database_is_in_home_whatever_its_name(tmp_path: Path, name: str) -> None:
    """The default URL leads to paig.db in the home folder, characters that URLs reserve included."""
    assert make_url(database_url(tmp_path / name, {})).database == str(tmp_path / name / "paig.db")


def test_database_can_be_chosen(tmp_path: Path) -> None:
    """PAIG_DATABASE_URL is taken as it is; empty means unset."""
    chosen = "postgresql+psycopg://ada:secret@db/paig"
    assert database_url(tmp_path, {"PAIG_DATABASE_URL": chosen}) == chosen
    assert database_url(tmp_path, {"PAIG_DATABASE_URL": ""}).startswith("sqlite:///")


@posix
def test_secrets_are_made_once_in_private_files(tmp_path: Path) -> None:
    """Without a keyring both secrets are made at the first call, kept in 0600 files, and found again."""
    key, token = secret_key(tmp_path, {}), admin_token(tmp_path, {})
    assert len({key, token}) == 2
    assert min(len(key), len(token)) >= 43
    assert (tmp_path / "secret.key").read_text("utf-8") == f"{key}\n"
    assert (tmp_path / "admin.token").read_text("utf-8") == f"{token}\n"
    assert mode(tmp_path / "secret.key") == mode(tmp_path / "admin.token") == 0o600
    assert (secret_key(tmp_path, {}), admin_token(tmp_path, {})) == (key, token)


def test_environment_comes_first_and_leaves_no_file(tmp_path: Path) -> None:
    """PAIG_SECRET_KEY and PAIG_ADMIN_TOKEN are used as they are, and nothing is written."""
    environ = {"PAIG_SECRET_KEY": "k", "PAIG_ADMIN_TOKEN": "t"}
    assert (secret_key(tmp_path, environ), admin_token(tmp_path, environ)) == ("k", "t")
    assert list(tmp_path.iterdir()) == []


def test_empty_variable_means_unset(tmp_path: Path) -> None:
    """An empty PAIG_ADMIN_TOKEN never becomes an empty token."""
    assert len(admin_token(tmp_path, {"PAIG_ADMIN_TOKEN": ""})) >= 43


def test_variables_may_be_files(tmp_path: Path) -> None:
    """`PAIG_…_FILE` names a file that holds the value, as container platforms mount secrets."""
    mounted = tmp_path / "mounted"
    mounted.write_text("from-a-file\n")
    for variable, read in (("SECRET_KEY", secret_key), ("ADMIN_TOKEN", admin_token), ("DATABASE_URL", database_url)):
        assert read(tmp_path, {f"PAIG_{variable}_FILE": str(mounted)}) == "from-a-file"
        with pytest.raises(SecretsError, match="both set"):
            read(tmp_path, {f"PAIG_{variable}_FILE": str(mounted), f"PAIG_{variable}": "x"})
        with pytest.raises(SecretsError, match=f"Cannot read the file that PAIG_{variable}_FILE names"):
            read(tmp_path, {f"PAIG_{variable}_FILE": str(tmp_path / "none")})
    mounted.write_text(" \n")
    with pytest.raises(SecretsError, match="empty"):
        secret_key(tmp_path, {"PAIG_SECRET_KEY_FILE": str(mounted)})


@posix
@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620])
def test_secret_file_that_others_can_read_is_refused(tmp_path: Path, bits: int) -> None:
    """A secret that others may have seen or changed is not used; the error says which command repairs it."""
    secret_key(tmp_path, {})
    (tmp_path / "secret.key").chmod(bits)
    with pytest.raises(SecretsError, match="chmod 600"):
        secret_key(tmp_path, {})


def test_empty_secret_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that stays empty (its writer died) is reported, not replaced."""
    monkeypatch.setattr(home, "_EMPTY_FILE_SECONDS", 0.05)
    (tmp_path / "secret.key").touch(mode=0o600)
    with pytest.raises(SecretsError, match="is empty: delete it"):
        secret_key(tmp_path, {})


def test_reader_waits_for_a_writer_that_is_just_writing(tmp_path: Path) -> None:
    """Between another process's create and its write, the file is empty for a moment: we wait."""
    path = tmp_path / "secret.key"
    path.touch(mode=0o600)
    timer = threading.Timer(0.1, lambda: path.write_text("made elsewhere\n", "utf-8"))
    timer.start()
    assert secret_key(tmp_path, {}) == "made elsewhere"
    timer.join()


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    """Four processes that ask for the secret at the same moment all get the same one."""
    code = (
        "import sys; from pathlib import Path; from paig_gateway.secrets.home import secret_key\n"
        "print('ready', flush=True); sys.stdin.readline(); print(secret_key(Path(sys.argv[1]), {}))"
    )
    environ = {**os.environ, "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environ, text=True) for _ in range(4)]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=60)[0].strip() for process in running}
    assert answers == {(tmp_path / "secret.key").read_text("utf-8").strip()}


def test_keyring_keeps_the_secret_and_the_file_only_says_so(tmp_path: Path) -> None:
    """With an OS keyring the secret lies there; the file holds the reference, and a second start follows it."""
    ring = MemoryKeyring()
    keyring.set_keyring(ring)
    key = secret_key(tmp_path, {})
    reference = (tmp_path / "secret.key").read_text("utf-8").strip()
    assert [f"keyring:{service}/{user}" for service, user in ring.kept] == [reference]
    assert list(ring.kept.values()) == [key]
    assert secret_key(tmp_path, {}) == key
    other = tmp_path / "other"
    other.mkdir()
    assert secret_key(other, {}) != key


def test_loser_of_a_race_takes_the_winners_and_cleans_up(tmp_path: Path) -> None:
    """Who finds the file made meanwhile uses that one, and leaves nothing of its own in the keyring."""

    class Rival(MemoryKeyring):
        """A keyring that takes just long enough for another process to make the file."""

        def set_password(self, service: str, username: str, password: str) -> None:
            super().set_password(service, username, password)
            (tmp_path / "secret.key").touch(mode=0o600)
            (tmp_path / "secret.key").write_text("the rival's\n", "utf-8")

    ring = Rival()
    keyring.set_keyring(ring)
    assert secret_key(tmp_path, {}) == "the rival's"
    assert ring.kept == {}


@pytest.mark.parametrize(
    "ring",
    [
        keyring.backends.null.Keyring(),  # type: ignore[no-untyped-call]
        keyring.backends.fail.Keyring(),  # type: ignore[no-untyped-call]
        ForgetfulKeyring(),
        PlainTextKeyring(),
    ],
    ids=["null", "fail", "forgetful", "plain text"],
)
def test_keyring_that_will_not_do_is_passed_over(tmp_path: Path, ring: keyring.backend.KeyringBackend) -> None:
    """A keyring that keeps nothing or keeps it in plain text is not used: the file holds the secret itself."""
    keyring.set_keyring(ring)
    assert secret_key(tmp_path, {}) == (tmp_path / "secret.key").read_text("utf-8").strip()
    assert not getattr(ring, "kept", None)


def test_chain_of_keyrings_is_looked_through(tmp_path: Path) -> None:
    """Of several keyrings the first that will do is used, and the plain-text one never."""

    class Chain(MemoryKeyring):
        """What keyring makes of several."""

        backends = (PlainTextKeyring(), MemoryKeyring())

    keyring.set_keyring(Chain())
    key = secret_key(tmp_path, {})
    assert [list(backend.kept.values()) for backend in Chain.backends] == [[], [key]]


def test_keyring_that_hangs_does_not_hold_up_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked keyring that waits for a prompt is given up on, and the file takes its place."""
    monkeypatch.setattr(ring_module, "KEYRING_SECONDS", 0.1)
    ring = HangingKeyring()
    keyring.set_keyring(ring)
    began = time.monotonic()
    assert secret_key(tmp_path, {}) == (tmp_path / "secret.key").read_text("utf-8").strip()
    assert time.monotonic() - began < 20
    ring.released.set()


def test_secret_that_left_the_keyring_is_never_made_again(tmp_path: Path) -> None:
    """Where the file says that the keyring has it and it has not, the start fails and says what to do."""
    ring = MemoryKeyring()
    keyring.set_keyring(ring)
    secret_key(tmp_path, {})
    ring.kept.clear()
    with pytest.raises(SecretsError, match="restore the entry, or set PAIG_SECRET_KEY"):
        secret_key(tmp_path, {})
    keyring.set_keyring(keyring.backends.fail.Keyring())  # type: ignore[no-untyped-call]
    with pytest.raises(SecretsError, match="no OS keyring answers here"):
        secret_key(tmp_path, {})


def test_keyring_call_bounds_and_passes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound raises; an answer and an exception come through, None included."""
    assert keyring_call(lambda: None) is None
    with pytest.raises(ZeroDivisionError):
        keyring_call(lambda: 1 // 0)
    stop = threading.Event()
    monkeypatch.setattr(ring_module, "KEYRING_SECONDS", 0.05)
    with pytest.raises(KeyringTimeoutError, match="unlock it"):
        keyring_call(lambda: stop.wait(30))
    stop.set()


@posix
def test_home_that_everybody_can_write_to_is_refused(tmp_path: Path) -> None:
    """A folder in which others can put files of their own is not used; the error says which command repairs it."""
    tmp_path.chmod(0o777)
    with pytest.raises(SecretsError, match="chmod 700"):
        home_folder({"PAIG_HOME": str(tmp_path)})
    tmp_path.chmod(0o755)
    assert home_folder({"PAIG_HOME": str(tmp_path)}) == tmp_path


@pytest.mark.parametrize(
    ("secret", "weak"),
    [
        ("", True),
        ("short", True),
        ("x" * 27, True),  # 27 x log2(26) = 126.9
        ("x" * 28, False),
        ("correct horse battery staple", False),
        ("0123456789" * 3, True),
        ("a" * 43 + "," + "short", True),
    ],
)
def test_strength_of_secrets(secret: str, weak: bool) -> None:
    """A secret takes at least 128 bits to guess: length times the logarithm of its classes of characters."""
    assert (home.weakness("PAIG_SECRET_KEY", secret) is not None) == weak


def test_secret_key_is_replaced_where_it_is_kept(tmp_path: Path) -> None:
    """In the file, or in the keyring that the file names; the old entry goes."""
    secret_key(tmp_path, {})
    home.replace_secret_key(tmp_path, "new,old")
    assert secret_key(tmp_path, {}) == "new,old"
    assert mode(tmp_path / "secret.key") == 0o600
    other = tmp_path / "other"
    other.mkdir()
    ring = MemoryKeyring()
    keyring.set_keyring(ring)
    secret_key(other, {})
    home.replace_secret_key(other, "new,old")
    assert secret_key(other, {}) == "new,old"
    assert list(ring.kept.values()) == ["new,old"]


def test_a_failed_start_discards_no_key_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although the keyring did not give it at first, and the database is another gateway's."""

    class Flaky(MemoryKeyring):
        """A keyring that is unlocked between two calls."""

        locked = False

        def get_password(self, service: str, username: str) -> str | None:
            if self.locked:
                self.locked = False
                raise RuntimeError("locked")
            return super().get_password(service, username)

    ring = Flaky()
    keyring.set_keyring(ring)
    monkeypatch.delenv("PAIG_SECRET_KEY", raising=False)
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", "a" * 40)
    homes = [tmp_path / "mine", tmp_path / "theirs"]
    for folder in homes:
        folder.mkdir()
        store = OpenDatabase.open(folder)
        store.catalog.providers.create("p", ProviderSpec(kind="openai", credential="value:sk-0123456789"), actor="test")
        store.engine.dispose()
    before = dict(ring.kept)
    monkeypatch.setenv("PAIG_DATABASE_URL", f"sqlite:///{homes[1]}/paig.db")
    ring.locked = True
    with pytest.raises(SecretsError):
        OpenDatabase.open(homes[0])
    assert ring.kept == before
    assert (homes[0] / "secret.key").exists()
