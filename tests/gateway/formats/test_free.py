"""Free operations: nothing in them is refused."""

from __future__ import annotations

import pytest

from tests.gateway.formats.asking import asked, form_of


@pytest.mark.parametrize(
    ("path", "body", "model"),
    [
        ("/v1/messages/count_tokens", b'{"model":"claude"}', "claude"),
        ("/v1beta/models/gemini:countTokens", b'{"model":"other"}', "gemini"),
        ("/v1/files", b"--abc\r\n\r\n--abc--", ""),
        ("/v1/moderations", b'{"model":7}', ""),
        ("/v1/realtime/calls", b"v=0\r\n", ""),
    ],
)
def test_free_operations_are_never_refused(path: str, body: bytes, model: str) -> None:
    """Whatever they carry; a model is told where there is one."""
    assert asked(path, body).model == model
    assert not form_of(path).metered
