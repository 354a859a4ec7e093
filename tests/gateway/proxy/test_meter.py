"""Reading usage from what is left of a body."""

from __future__ import annotations

import pytest

from paig_gateway.proxy.meter import last_members


@pytest.mark.parametrize(
    ("end", "usage"),
    [
        (b'..."}}],"usage":{"prompt_tokens":3},"model":"m"}', {"prompt_tokens": 3}),
        (b'..."}}], "usageMetadata" : {"promptTokenCount":3}\n}\n', {"promptTokenCount": 3}),
        (b'...,"usage":{"prompt_tokens":1}}],"usage":{"prompt_tokens":3}}', {"prompt_tokens": 3}),
        (b'...,"usage":{"prompt_tokens":1}}]}', None),
        (b'... \\"usage\\":{\\"prompt_tokens\\":1}}"}', None),
        (b'... "usage":{"prompt_tokens":1}}"}', None),
        (b'...,"usage":{"prompt_to', None),
        (b"", None),
    ],
)
def test_the_end_of_an_object(end: bytes, usage: object) -> None:
    """Only usage that stands in the outermost object counts."""
    found = last_members(end)
    assert (found and (found.get("usage") or found.get("usageMetadata"))) == usage
