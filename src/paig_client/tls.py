"""TLS verification that trusts a local gateway with its own certificate authority."""

from __future__ import annotations

import ssl
from pathlib import Path

from paig_client import profiles
from paig_client.addresses import is_loopback


def bundle(root: str) -> Path | None:
    """The certificates that clients of the gateway at `root` must trust, if the system's are not enough.

    `paig serve --tls` on this machine writes them to the home folder, together with the system's.
    """
    file = profiles.home() / "tls" / "ca-bundle.pem"
    return file if root.startswith("https://") and is_loopback(root) and file.is_file() else None


def verification(root: str) -> ssl.SSLContext | bool:
    """How to verify the gateway at `root`, for `httpx2.Client(verify=…)`."""
    trust = bundle(root)
    return ssl.create_default_context(cafile=str(trust)) if trust is not None else True
