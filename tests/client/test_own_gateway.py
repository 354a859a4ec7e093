"""`paig_client.own_gateway`: where an admin token may be sent."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from paig_client import own_gateway, profiles
from paig_client.credentials import Access, Found
from paig_client.own_gateway import UnencryptedError, WrongListenerError, check


def access(root: str, source: str = "file", *, local: bool = True) -> Access:
    """A token for an address."""
    return Access(Found(root, "argument"), Found("token", source, local))


@contextmanager
def gateway_at(home: Path, address: str) -> Iterator[None]:
    """What `paig serve` leaves in the home folder as long as it runs."""
    folder = home / "listening"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "1.url", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(address)
        file.flush()
        yield


@pytest.fixture
def squatter() -> Iterator[str]:
    """Another program that listens on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_the_found_token_goes_to_the_running_gateway_alone(clean_environment: Path, squatter: str) -> None:
    """While a gateway runs with this home folder, no other address gets its token; afterwards its file says nothing."""
    with gateway_at(clean_environment, "http://127.0.0.1:1"):
        check(access("http://127.0.0.1:1"))
        with pytest.raises(WrongListenerError, match="not sent elsewhere"):
            check(access(squatter))
    check(access(squatter))  # it is ours


@pytest.mark.parametrize(("listens", "use"), [("http://0.0.0.0:1", "127.0.0.1"), ("http://[::]:1", r"\[::1\]")])
def test_where_it_listens_at_all_addresses_one_is_named(clean_environment: Path, listens: str, use: str) -> None:
    """The advice names an address that a client can use: `[::]` and `0.0.0.0` are none."""
    with gateway_at(clean_environment, listens):
        check(access("http://127.0.0.1:1"))
        with pytest.raises(WrongListenerError, match=f"but at http://{use}:1"):
            check(access("http://127.0.0.1:2"))


def test_localhost_must_mean_the_gateway(
    clean_environment: Path, squatter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that also resolves to another address does, if what listens there belongs to us."""
    port = int(squatter.rpartition(":")[2])
    with gateway_at(clean_environment, squatter):
        check(access(f"http://localhost:{port}"))
        monkeypatch.setattr(own_gateway, "listener_owner", lambda host, port: 54321)
        both = [(0, 0, 0, "", (address, port)) for address in ("::1", "127.0.0.1")]
        monkeypatch.setattr(own_gateway.socket, "getaddrinfo", lambda *args, **more: both)
        with pytest.raises(WrongListenerError):
            check(access(f"http://localhost:{port}"))


def test_the_listener_of_another_user_gets_nothing(squatter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a found token nor one that `paig login` stored; one in the environment is meant for it."""
    port = int(squatter.rpartition(":")[2])
    assert own_gateway.listener_owner("127.0.0.1", port) in (os.getuid(), None)
    monkeypatch.setattr(own_gateway, "listener_owner", lambda host, port: 54321)
    for local in (True, False):
        with pytest.raises(WrongListenerError, match="uid 54321"):
            check(access(squatter, "keyring", local=local))
    check(access(squatter, "environment PAIG_ADMIN_TOKEN", local=False))


def test_beyond_this_machine_it_is_encrypted_or_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By https, by a profile that was logged in to, or by a host that is named."""
    plain = access("http://gw.example", "environment PAIG_ADMIN_TOKEN", local=False)
    check(access("https://gw.example", local=False))
    with pytest.raises(UnencryptedError, match="PAIG_HTTP_HOSTS"):
        check(plain)
    with monkeypatch.context() as named:
        named.setenv("PAIG_HTTP_HOSTS", "other.example, gw.example")
        check(plain)
    contents = profiles.read()
    contents.profiles["prod"] = "http://gw.example"
    profiles.write(contents)
    check(plain)
