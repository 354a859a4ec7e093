"""What the shell offers at Tab, asked as bash asks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paig_client import store
from paig_client.cli.completion import GROUPS, KINDS
from tests.client.cli.conftest import Paig
from tests.client.double import TOKEN, Double

Offered = Callable[..., list[str]]


@pytest.fixture
def offered(paig: Paig, monkeypatch: pytest.MonkeyPatch) -> Offered:
    """What is offered for the last of these words."""

    def ask(*words: str) -> list[str]:
        with monkeypatch.context() as patch:
            patch.setenv("_PAIG_COMPLETE", "complete_bash")
            patch.setenv("COMP_WORDS", " ".join(["paig", *words]))
            patch.setenv("COMP_CWORD", str(len(words)))
            ran = paig()
        assert ran.code == 0
        return ran.out.split()

    return ask


@pytest.fixture
def administrator(gateway: str, double: Double, monkeypatch: pytest.MonkeyPatch) -> str:
    """A profile and a token for the double, which has an object of each kind."""
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", TOKEN)
    store.write(store.Contents(profiles={"default": gateway, "prod": gateway}))
    return gateway


@pytest.mark.parametrize("kind", KINDS)
def test_names_come_from_the_gateway(offered: Offered, administrator: str, paig: Paig, kind: str) -> None:
    """Each group offers the names of its own kind, as far as they begin so."""
    create = {"providers": ["--kind", "openai"], "routes": ["--member", "openai"]}.get(kind, [])
    for name in ("first", "second"):
        assert paig(kind, "create", name, *create).code == 0
    assert offered(kind, "show", "f") == ["first"]
    assert offered(kind, "delete", "") == ["first", "second"]


def test_options_that_take_names_offer_them(offered: Offered, administrator: str, paig: Paig) -> None:
    """Projects where a project is due, groups for --by, clients for --for, profiles for --profile."""
    assert paig("projects", "create", "research").code == 0
    assert offered("keys", "create", "x", "--project", "r") == ["research"]
    assert offered("usage", "--project", "") == ["research"]
    assert offered("usage", "--by", "") == sorted([*GROUPS, "tag:"])
    assert offered("env", "--for", "gem") == ["gemini-cli"]
    assert offered("keys", "list", "--profile", "p") == ["prod"]


def test_nothing_is_offered_where_no_gateway_answers(offered: Offered, monkeypatch: pytest.MonkeyPatch) -> None:
    """Completion never fails and never complains."""
    assert offered("keys", "show", "") == []
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", TOKEN)
    assert offered("keys", "show", "--url", "http://127.0.0.1:9", "") == []
    store.path().parent.mkdir(parents=True)
    store.path().write_text("damaged")
    assert offered("keys", "list", "--profile", "") == []
