"""`paig keys`."""

from __future__ import annotations

import io
import json
import socket
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from paig_client.cli import main
from tests.client.cli.conftest import Paig
from tests.client.double import TOKEN, Double, limit_row, now


@pytest.fixture
def url(gateway: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The double's address, its admin token in the environment."""
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", TOKEN)
    return gateway


def test_create_prints_the_key_and_nothing_else_on_standard_output(paig: Paig, url: str) -> None:
    """`key=$(paig keys create NAME)` gets the key alone; the rest is said on standard error."""
    ran = paig("keys", "create", "ci", "--url", url)
    assert (ran.code, ran.out) == (0, "paig_ci_secret\n")
    assert "shown once" in ran.err


def test_create_as_json_has_id_name_and_key_alone(paig: Paig, url: str) -> None:
    """The JSON is exactly what the contract says."""
    ran = paig("keys", "create", "ci", "--json", "--url", url)
    assert json.loads(ran.out) == {"id": "key_ci", "name": "ci", "key": "paig_ci_secret"}


def test_create_sends_caps_owner_and_expiry(paig: Paig, url: str, double: Double) -> None:
    """Options become the key's spec; caps keep every digit."""
    before = now()
    options = ["--project", "research", "--user", "ada", "--daily", "0.05", "--weekly", "$1", "--total", "20"]
    more = ["--requests-per-minute", "600", "--expires", "30d", "--route", "openai", "--model", "gpt-5*"]
    assert paig("keys", "create", "ci", *options, *more, "--url", url).code == 0
    row = double.objects["keys"]["ci"]
    assert row["limits"] == {"daily": "0.05", "weekly": "1", "total": "20", "requests_per_minute": 600}
    assert (row["project"], row["user"], row["routes"], row["models"]) == ("research", "ada", ["openai"], ["gpt-5*"])
    expires = datetime.fromisoformat(row["expires_at"])
    assert before + timedelta(days=30) <= expires <= now() + timedelta(days=30)


@pytest.mark.parametrize("amount", ["a lot", "-1", "nan", "1e10", "0.0000000001", ""])
def test_create_refuses_a_wrong_amount(paig: Paig, url: str, double: Double, amount: str) -> None:
    """A cap that cannot be one is a usage error, and no key is made."""
    ran = paig("keys", "create", "ci", "--daily", amount, "--url", url)
    assert ran.code == 2
    assert "not an amount" in ran.err
    assert not double.objects["keys"]


def test_list_shows_caps_as_bars(paig: Paig, url: str, double: Double) -> None:
    """A cap at 93 % looks nearly full; only one that is spent looks full."""
    paig("keys", "create", "ci", "--url", url)
    paig("keys", "create", "spent", "--url", url)
    double.limits = [limit_row("ci"), limit_row("spent", spent="0.05"), limit_row("ci", owner_kind="project")]
    ran = paig("keys", "list", "--url", url)
    assert "███████░  93%▲ of $0.05" in ran.out
    assert "████████ 100%! of $0.05" in ran.out
    assert ran.out.count("of $0.05") == 2


def test_list_as_json_is_the_wire_models(paig: Paig, url: str) -> None:
    """The JSON is a list of keys as the admin API has them."""
    assert json.loads(paig("keys", "list", "--json", "--url", url).out) == []
    paig("keys", "create", "ci", "--url", url)
    [key] = json.loads(paig("keys", "list", "--json", "--url", url).out)
    assert (key["name"], key["status"], key["hint"]) == ("ci", "active", "paig_ci…")


def test_list_without_keys_says_how_to_make_one(paig: Paig, url: str) -> None:
    """An empty list is no empty table."""
    ran = paig("keys", "list", "--url", url)
    assert (ran.code, ran.out) == (0, "")
    assert "paig keys create" in ran.err


@pytest.mark.parametrize("name", ["a[/b]c", "[red]x", "[@click=app.bell]x[/]", ":boom:"])
def test_names_are_never_markup(paig: Paig, url: str, name: str) -> None:
    """A name that looks like markup is printed as it is."""
    paig("keys", "create", name, "--url", url)
    assert name in paig("keys", "list", "--url", url).out
    assert name in paig("keys", "show", name, "--url", url).out


def test_names_cannot_drive_the_terminal(paig: Paig, url: str) -> None:
    """Escape sequences and direction marks in a name are made harmless."""
    paig("keys", "create", "x\x1b[2Jy\u202ez", "--url", url)
    out = paig("keys", "list", "--url", url).out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "x�[2Jy�z" in out


def test_update_sends_only_changes_and_lifts_caps(paig: Paig, url: str, double: Double) -> None:
    """`none` takes a value away; what is not named stays."""
    paig("keys", "create", "ci", "--url", url)
    ran = paig("keys", "update", "ci", "--daily", "none", "--weekly", "3", "--user", "none", "--url", url)
    assert ran.code == 0
    assert double.objects["keys"]["ci"]["patched"] == {"user": None, "limits": {"daily": None, "weekly": "3"}}
    assert paig("keys", "update", "ci", "--url", url).code == 2


def test_dangerous_verbs_ask(paig: Paig, url: str, double: Double) -> None:
    """Without a terminal to ask at, rotate and delete need --yes."""
    paig("keys", "create", "ci", "--url", url)
    assert paig("keys", "delete", "ci", "--url", url).code == 2
    assert paig("keys", "rotate", "ci", "--url", url).code == 2
    assert paig("keys", "rotate", "ci", "--yes", "--url", url).out == "paig_rotated\n"
    assert "The old key of ci works for 24h more." in paig("keys", "rotate", "ci", "--overlap", "24h", "--url", url).err
    assert paig("keys", "delete", "ci", "--yes", "--url", url).code == 0
    assert not double.objects["keys"]


def test_a_console_of_another_encoding_shows_what_it_can(paig: Paig, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a pipe on Windows, which has no ●: it is replaced, and the listing is whole."""
    paig("keys", "create", "ci", "--url", url)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252"))
    with pytest.raises(SystemExit) as ended:
        main(["keys", "list", "--url", url])
    assert ended.value.code in (0, None)
    assert b"? active" in written.getvalue()
    assert b"paig_ci" in written.getvalue()


def test_disable_and_enable_say_what_they_did(paig: Paig, url: str) -> None:
    """The key's state changes, and can be had as JSON."""
    paig("keys", "create", "ci", "--url", url)
    assert "Disabled" in paig("keys", "disable", "ci", "--url", url).err
    assert "Blocked" in paig("keys", "block", "ci", "--url", url).err
    assert json.loads(paig("keys", "enable", "ci", "--json", "--url", url).out)["status"] == "active"


def test_exit_codes(paig: Paig, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 refused, 2 wrongly called, 3 no gateway, 4 not authorised; one line each, no traceback."""
    refused = paig("keys", "show", "nobody", "--url", url)
    assert (refused.code, refused.err) == (1, "paig: There is no key 'nobody'.\n")
    assert paig("keys", "frobnicate").code == 2
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    unreachable = paig("keys", "list", "--url", f"http://127.0.0.1:{port}")
    assert unreachable.code == 3
    assert "paig serve" in unreachable.err
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", "wrong")
    assert paig("keys", "list", "--url", url).code == 4
    monkeypatch.delenv("PAIG_ADMIN_TOKEN")
    nothing = paig("keys", "list", "--url", url)
    assert nothing.code == 4
    assert "PAIG_ADMIN_TOKEN" in nothing.err
    assert all("Traceback" not in ran.err for ran in (refused, unreachable, nothing))


def test_the_gateway_machines_own_token_is_found(paig: Paig, gateway: str, clean_environment: Path) -> None:
    """Beside the gateway, `admin.token` in PAIG_HOME is enough."""
    clean_environment.mkdir()
    token = clean_environment / "admin.token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    assert paig("keys", "create", "ci", "--url", gateway).code == 0
