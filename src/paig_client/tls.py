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


def by_name(root: str) -> str:
    """The address of a local gateway with `localhost` for 127.0.0.1.

    The authority of `paig serve --tls` is constrained to the gateway's names and addresses, and BoringSSL understands
    only such names.
    """
    return root.replace("https://127.0.0.1", "https://localhost", 1) if bundle(root) is not None else root


def verification(root: str) -> ssl.SSLContext | bool:
    """How to verify the gateway at `root`, for `httpx2.Client(verify=…)`."""
    trust = bundle(root)
    return ssl.create_default_context(cafile=str(trust)) if trust is not None else True
