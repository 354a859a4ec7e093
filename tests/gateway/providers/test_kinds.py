"""The table of kinds agrees with what its providers were seen to answer."""

from __future__ import annotations

from paig_client.api.kinds import PROVIDER_KINDS
from paig_gateway.providers.endpoints import detect
from paig_gateway.providers.kinds import KINDS
from tests.recordings import recordings


def test_kinds_speak_what_was_recorded() -> None:
    """No provider is left out of a route for a format that it was recorded to answer."""
    seen = 0
    for recording in recordings():
        found, kind = detect(recording.method, recording.path), KINDS.get(recording.provider)
        if found is not None and kind is not None and recording.status < 400:
            seen += 1
            assert found[0].errors in kind.speaks, recording.id
    assert seen > 50


def test_the_client_knows_every_kind() -> None:
    """The list of kinds that forms offer is that of the table."""
    assert set(PROVIDER_KINDS) == set(KINDS)
