"""`paig admins`, `paig tokens` and `paig audit` against a real gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from paig_client.cli import output
from tests.client.cli.conftest import Paig


@pytest.fixture
def ada(paig: Paig, url: str) -> Iterator[str]:
    """An admin who may edit one project and see another."""
    for project in ("research", "sales"):
        paig("projects", "create", project, "--url", url)
    made = paig("admins", "create", "ada", "--role", "editor@research", "--role", "viewer@sales", "--url", url)
    assert made.code == 0, made.err
    yield "ada"
    paig("admins", "delete", "ada", "--yes", "--url", url)


def test_admins_are_made_shown_changed_and_deleted(paig: Paig, url: str, ada: str) -> None:
    """Roles are written ROLE or ROLE@PROJECT, and shown the same way."""
    assert "editor@research, viewer@sales" in paig("admins", "list", "--url", url).out
    shown = json.loads(paig("admins", "show", ada, "--json", "--url", url).out)
    assert shown["grants"][0] == {"role": "editor", "project": "research"}
    changed = paig("admins", "update", ada, "--role", "viewer", "--inactive", "--url", url)
    assert "viewer" in changed.out
    assert "inactive" in changed.out
    assert paig("admins", "update", ada, "--url", url).code == 2
    assert paig("admins", "delete", ada, "--url", url).code == 2  # nobody to ask
    assert paig("admins", "create", "bob", "--role", "king", "--url", url).code == 2


def test_a_token_works_until_it_is_revoked(paig: Paig, url: str, ada: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is alone on standard output; with it one sees one's own projects; revoked, it is refused."""
    made = paig("tokens", "create", "laptop", "--admin", ada, "--expires", "1h", "--url", url)
    assert made.out.startswith("paig_admin_")
    listed = json.loads(paig("tokens", "list", "--json", "--url", url).out)
    row = next(token for token in listed if token["admin"] == ada)
    assert made.out.strip() not in json.dumps(listed)
    with monkeypatch.context() as mine:
        mine.setenv("PAIG_ADMIN_TOKEN", made.out.strip())
        projects = json.loads(paig("projects", "list", "--json", "--url", url).out)
        assert [project["name"] for project in projects] == ["research", "sales"]
        refused = paig("providers", "list", "--url", url)
        assert (refused.code, "catalog:read" in refused.err) == (4, True)
    assert paig("tokens", "revoke", row["id"], "--yes", "--url", url).code == 0
    with monkeypatch.context() as mine:
        mine.setenv("PAIG_ADMIN_TOKEN", made.out.strip())
        assert paig("projects", "list", "--url", url).code == 4


def test_the_audit_log_says_who_did_what(paig: Paig, url: str, ada: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are shown newest first with what differs, by filter."""
    paig("projects", "update", "research", "--daily", "2", "--url", url)
    paig("projects", "update", "research", "--daily", "3", "--url", url)
    shown = paig("audit", "--kind", "project", "--name", "research", "-n", "2", "--url", url).out
    assert '{"daily": "2"} → {"daily": "3"}' in shown
    entries = json.loads(paig("audit", "--kind", "admin", "--name", ada, "--since", "1h", "--json", "--url", url).out)
    assert {entry["actor"] for entry in entries} == {"token:admin"}
    assert "no change has the actor 'admin:nobody'" in paig("audit", "--actor", "admin:nobody", "--url", url).err
    monkeypatch.setattr(output, "width", lambda: 80)
    narrow = paig("audit", "-n", "5", "--url", url).out.splitlines()
    assert len(narrow) == 6  # a line each
