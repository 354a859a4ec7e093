"""The local authority: what it may sign, how long it lives, and when another is made."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from paig_gateway.secrets import local_ca
from paig_gateway.secrets.local_ca import Certificate, local_certificate

NOW = datetime.now(UTC)


def connect(made: Certificate, name: str, bundle: Path | None = None) -> dict[str, set[str]]:
    """A TLS handshake with a server that has the certificate, by a client that trusts the bundle; what it showed."""

    def make() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made.certificate, made.key)
        return context

    server = local_ca.choose_by_name(made.by_name, None, make)
    client = ssl.create_default_context(cafile=str(bundle or made.bundle))
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs:
            try:
                server.wrap_socket(theirs, server_side=True).close()
            except (ssl.SSLError, OSError):
                return  # the client says why

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with ours:
            connection = client.wrap_socket(ours, server_hostname=name)
            shown = connection.getpeercert() or {}
            connection.close()
    finally:
        thread.join()
    found: dict[str, set[str]] = {}
    for entry in shown["subjectAltName"]:
        found.setdefault(str(entry[0]), set()).add(str(entry[1]))
    return found


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "gateway.example", "192.0.2.7", "::1"])
def test_the_gateways_names_are_trusted(tmp_path: Path, host: str) -> None:
    """Loopback always, and the host that it listens at, unless that is every address."""
    made = local_certificate(tmp_path, host)
    for name in {"localhost", "127.0.0.1", "::1", *([] if host == "0.0.0.0" else [host])}:
        connect(made, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(made, "other.example")
    for path in (made.key, tmp_path / "tls" / "ca.key"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_client_that_asks_by_name_sees_no_addresses(tmp_path: Path) -> None:
    """BoringSSL understands no constraints on addresses, and refuses a certificate that has some."""
    made = local_certificate(tmp_path, "gateway.example")
    assert connect(made, "localhost") == {"DNS": {"gateway.example", "localhost"}}
    assert connect(made, "127.0.0.1")["IP Address"] == {"127.0.0.1", "0:0:0:0:0:0:0:1"}
    assert made.by_name.stat().st_mode & 0o077 == 0


def test_a_lost_folder_is_made_again(tmp_path: Path) -> None:
    """With another authority: clients need the new bundle, and the old one trusts nothing of it."""
    first = local_certificate(tmp_path, "127.0.0.1")
    old = tmp_path / "old.pem"
    old.write_bytes(first.bundle.read_bytes())
    shutil.rmtree(tmp_path / "tls")
    made = local_certificate(tmp_path, "127.0.0.1")
    connect(made, "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(made, "127.0.0.1", old)


@pytest.mark.parametrize("victim", ["api.openai.com", "192.0.2.99", "evil.localhost.example"])
def test_a_stolen_authority_signs_for_no_other_site(tmp_path: Path, victim: str) -> None:
    """A client that trusts the bundle refuses what its key has signed for another name."""
    made = local_certificate(tmp_path, "127.0.0.1")
    stolen = local_ca._Authority(
        x509.load_pem_x509_certificate((tmp_path / "tls/ca.pem").read_bytes()),
        load_pem_private_key((tmp_path / "tls/ca.key").read_bytes(), None),  # type: ignore[arg-type]
    )
    certificate, key = local_ca._issue(stolen, [victim], NOW)
    made.certificate.write_bytes(certificate.public_bytes(local_ca.Encoding.PEM))
    made.key.write_bytes(local_ca._pem(key))
    made.by_name.write_bytes(made.certificate.read_bytes() + made.key.read_bytes())
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        connect(made, victim)


def test_the_authority_is_kept_and_renewed(tmp_path: Path) -> None:
    """As long as it outlives a new certificate and covers the host; one without constraints is replaced."""
    path = tmp_path / "tls/ca.pem"
    local_certificate(tmp_path, "127.0.0.1")
    first = path.read_bytes()
    made = local_certificate(tmp_path, "127.0.0.1")
    assert path.read_bytes() == first
    authority = x509.load_pem_x509_certificate(first)
    leaf = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    assert authority.not_valid_after_utc - authority.not_valid_before_utc < timedelta(days=1100)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= timedelta(days=398)
    assert leaf.not_valid_after_utc < authority.not_valid_after_utc
    local_certificate(tmp_path, "127.0.0.1", now=NOW + timedelta(days=900))
    second = path.read_bytes()
    assert second != first
    local_certificate(tmp_path, "gateway.example")
    assert path.read_bytes() != second
    old = trustme.CA()
    path.write_bytes(old.cert_pem.bytes())
    (tmp_path / "tls/ca.key").write_bytes(old.private_key_pem.bytes())
    connect(local_certificate(tmp_path, "127.0.0.1"), "localhost")
    assert path.read_bytes() != old.cert_pem.bytes()
