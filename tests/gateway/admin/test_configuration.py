"""Configuration over HTTP: apply, export, and the limits of the whole gateway."""

from __future__ import annotations

from decimal import Decimal

import httpx2
import pytest

from paig_client.admin import AdminClient, Invalid
from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, OrganisationSpec
from tests.gateway.admin.harness import Gateway

CONFIG = """
[providers.openai]
kind = "openai"
credential = "value:sk-live-123456"

[projects.research]
limits = { daily = 10 }

[keys.ci]
project = "research"
"""


def test_apply_shows_does_and_repeats_nothing(gateway: Gateway, admin: AdminClient) -> None:
    """A dry run only shows; then the same steps are made, new keys shown once; a second time there is nothing to do."""
    shown = admin.apply(CONFIG, dry_run=True)
    steps = {("create", "provider", "openai"), ("create", "project", "research"), ("create", "key", "ci")}
    assert {(step.action, step.kind, step.name) for step in shown.items} == steps
    assert (shown.keys, admin.keys.list()) == ([], [])
    done = admin.apply(CONFIG)
    assert done.items == shown.items
    assert [key.name for key in done.keys] == ["ci"]
    assert gateway.caller("ci").project == "research"
    assert admin.apply(CONFIG).items == []
    assert "sk-live" not in "".join(step.model_dump_json() for step in done.items)


def test_export_applies_to_nothing_changed(admin: AdminClient) -> None:
    """What is exported changes nothing where it came from, and holds no secret."""
    text = admin.export()
    assert "[keys.ci]" in text
    assert "sk-live" not in text
    assert admin.apply(text).items == []
    assert admin.apply(text, prune=True, dry_run=True).items == []


def test_apply_prunes_only_when_told(admin: AdminClient) -> None:
    """What the file does not name stays, unless `prune` is given."""
    text = admin.export()
    admin.keys.create("extra", KeySpec())
    assert admin.apply(text).items == []
    pruned = admin.apply(text, prune=True)
    assert [(step.action, step.kind, step.name) for step in pruned.items] == [("delete", "key", "extra")]


def test_wrong_file_changes_nothing(admin: AdminClient, http: httpx2.Client) -> None:
    """A file with one error is refused as a whole; the problem lists every line at fault."""
    text = '[users.new]\n[keys.a]\nproject = "none"\nlimit = 1\n'
    with pytest.raises(Invalid, match="config line 3"):
        admin.apply(text)
    assert [user.name for user in admin.users.list()] == []
    errors = http.post("/apply", json={"config": text}).json()["errors"]
    assert [error["field"] for error in errors] == ["config line 3", "config line 4"]


def test_limits_of_the_organisation(gateway: Gateway, admin: AdminClient) -> None:
    """The whole gateway's caps are set as one, bind every key, and a cap left out is none."""
    spec = OrganisationSpec(limits=LimitsSpec(monthly=Decimal(1000), requests_per_minute=60))
    assert admin.set_organisation(spec).limits == spec.limits
    assert admin.organisation().limits == spec.limits
    assert {limit.owner_kind for limit in gateway.caller("ci").limits} == {"organisation", "project"}
    changed = admin.update_organisation({"limits": {"weekly": "7", "soft": True}}).limits
    assert changed == spec.limits.model_copy(update={"weekly": Decimal(7), "soft": True})
    assert admin.update_organisation({"limits": {"weekly": None}}).limits.weekly is None
    with pytest.raises(Invalid, match=r"limits\.daly"):
        admin.update_organisation({"limits": {"daly": "1"}})
    assert admin.audit(kind="organisation")[0].action == "update"
    assert admin.set_organisation(OrganisationSpec()).limits == LimitsSpec()
