"""`paig serve --tls`: a certificate authority of this machine's own, and a bundle that clients can trust.

Some clients refuse to send a bearer key over plain HTTP (botocore) or always dial TLS (Google's Live API). The bundle
holds the system's roots as well as ours, because `SSL_CERT_FILE` and `AWS_CA_BUNDLE` replace a client's trust store.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

_ALWAYS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where the server's certificate and key lie, and the bundle that its clients need."""

    certificate: Path
    key: Path
    bundle: Path


def local_certificate(home: Path, host: str, name: str = "server") -> Certificate:
    """Make a certificate for `host` and the loopback names, signed by the home folder's own authority.

    The authority is made once and kept, so that clients keep trusting it; the certificate is made at every start.

    Args:
        home: The gateway's home folder.
        host: What the server binds to.
        name: What to call the certificate's files, where a folder serves several servers.
    """
    folder = home / "tls"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = _authority(folder)
    names = {*_ALWAYS, *([] if _is_wildcard(host) else [host])}
    issued = authority.issue_cert(*sorted(names))
    paths = Certificate(folder / f"{name}.pem", folder / f"{name}.key", folder / "ca-bundle.pem")
    _write(paths.certificate, b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    _write(paths.key, issued.private_key_pem.bytes())
    _write(paths.bundle, _system_roots() + authority.cert_pem.bytes(), mode=0o644)
    return paths


def _authority(folder: Path) -> trustme.CA:
    certificate, key = folder / "ca.pem", folder / "ca.key"
    if certificate.exists() and key.exists():
        return trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
    authority = trustme.CA(organization_name="paig", organization_unit_name="local gateway")
    _write(key, authority.private_key_pem.bytes())
    _write(certificate, authority.cert_pem.bytes(), mode=0o644)
    return authority


def _system_roots() -> bytes:
    roots = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(ssl.DER_cert_to_PEM_cert(root) for root in roots).encode("ascii")


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file at once, readable by nobody else in between."""
    part = path.with_suffix(path.suffix + ".part")
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
    part.replace(path)
