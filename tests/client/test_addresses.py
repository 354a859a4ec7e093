"""`paig_client.addresses`: one spelling for each gateway."""

from __future__ import annotations

import pytest

from paig_client.addresses import is_loopback, root


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://127.0.0.1:8787", "http://127.0.0.1:8787"),
        ("http://127.0.0.1:8787/", "http://127.0.0.1:8787"),
        ("http://127.0.0.1:8787/proxy", "http://127.0.0.1:8787"),
        ("http://127.0.0.1:8787/proxy/", "http://127.0.0.1:8787"),
        ("HTTPS://GW.Example:443", "https://gw.example"),
        ("http://gw.example:80/proxy", "http://gw.example"),
        ("gw.example", "https://gw.example"),
        ("gw.example:8443", "https://gw.example:8443"),
        ("localhost:8787", "http://localhost:8787"),
        ("https://corp.example/ai", "https://corp.example/ai"),
        ("https://corp.example/ai/proxy/", "https://corp.example/ai"),
        ("http://[::1]:8787/proxy", "http://[::1]:8787"),
        (" https://gw.example \n", "https://gw.example"),
    ],
)
def test_every_spelling_of_a_gateway_is_one(written: str, meant: str) -> None:
    """Scheme, port, case, slashes and `/proxy` do not make another gateway."""
    assert root(written) == meant

    assert root(root(written)) == root(written)


@pytest.mark.parametrize("written", ["", "http://", "ftp://gw", "http://gw:notaport", "http://u@gw", "http://gw#x"])
def test_a_wrong_address_is_refused(written: str) -> None:
    """The error is a ValueError that says so."""
    with pytest.raises(ValueError, match="gateway"):
        root(written)


def test_loopback_is_told_from_the_rest() -> None:
    """Only addresses that stay on this machine count."""
    assert all(map(is_loopback, ["http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]", "https://localhost:1"]))
    assert not any(map(is_loopback, ["http://10.0.0.1", "https://localhost.example", "http://", "http://0.0.0.0"]))
