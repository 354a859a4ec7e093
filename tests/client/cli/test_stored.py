"""`paig objects`: what providers store, listed and given to a project."""

from __future__ import annotations

import csv
import io
import json

from paig_client.api.specs import OwnerSpec
from tests.client.cli.conftest import Paig
from tests.client.real import Real


def test_objects_are_adopted_and_listed(paig: Paig, real: Real, url: str) -> None:
    """By their ids; as a table, as JSON and as CSV."""
    at = ("--url", url)
    real.admin.projects.create("archive", OwnerSpec())
    said = paig("objects", "adopt", "openai", "file-1", "file-2", "--project", "archive", *at)
    assert (said.code, said.err) == (0, "Gave the project archive: 2 object. 0 more have an owner already.\n")
    again = paig("objects", "adopt", "openai", "file-2", "--project", "archive", "--json", *at)
    assert json.loads(again.out)["owned"] == 1
    assert "file-2" in paig("objects", "list", "--project", "archive", *at).out
    listed = json.loads(paig("objects", "list", "--project", "archive", "--json", *at).out)
    assert [(one["provider"], one["id"], one["key"], one["project"]) for one in listed] == [
        ("openai", "file-1", None, "archive"),
        ("openai", "file-2", None, "archive"),
    ]
    rows = list(csv.DictReader(io.StringIO(paig("objects", "list", "--project", "archive", "--csv", *at).out)))
    assert [row["id"] for row in rows] == ["file-1", "file-2"]


def test_an_account_is_read(paig: Paig, real: Real, url: str) -> None:
    """What the provider does not list is no problem; an unknown route is."""
    real.admin.projects.create("reading", OwnerSpec())
    said = paig("objects", "adopt", "groq", "--project", "reading", "--url", url)
    assert said.code == 0, said.err
    wrong = paig("objects", "adopt", "opnai", "--project", "reading", "--url", url)
    assert (wrong.code, "did you mean openai" in wrong.err) == (1, True)
