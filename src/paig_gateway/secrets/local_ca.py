"""`paig serve --tls`: a certificate authority of this machine's own, and a bundle that clients can trust.

Some clients refuse to send a bearer key over plain HTTP (botocore) or always dial TLS (Google's Live API). The bundle
holds the system's roots as well as ours, because `SSL_CERT_FILE` and `AWS_CA_BUNDLE` replace a client's trust store.

Clients that trust the authority trust it only for the gateway's own names: its certificate is constrained to them, so
its key, which is in the home folder, is useless for any other site.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE = timedelta(days=3 * 365)
SERVER_LIFE = timedelta(days=397)
"""No longer than browsers accept; a certificate is made at every start."""
_SLACK = timedelta(hours=1)
"""How far a client's clock may be behind."""
_ALWAYS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where the server's certificate and key lie, and the bundle that its clients need.

    Attributes:
        certificate: For every name and address.
        key: Its key.
        by_name: Another one for the names alone, with its key.
        bundle: What clients trust.
    """

    certificate: Path
    key: Path
    by_name: Path
    bundle: Path


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def local_certificate(home: Path, host: str, name: str = "server", now: datetime | None = None) -> Certificate:
    """Make a certificate for `host` and the loopback names, signed by the home folder's own authority.

    The authority is kept as long as it outlives a new certificate and may sign one for `host`; else another is made,
    and clients need the new bundle, which replaces the old one.

    Args:
        home: The gateway's home folder.
        host: What the server binds to.
        name: What to call the certificate's files, where a folder serves several servers.
    """
    now = now or datetime.now(UTC)
    folder = home / "tls"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = sorted({*_ALWAYS, *([] if _is_wildcard(host) else [host])})
    authority = _authority(folder, names, now)
    certificate, key = _issue(authority, names, now)
    named, named_key = _issue(authority, [name for name in names if not _is_address(name)], now)
    by_name = folder / f"{name}-by-name.pem"
    paths = Certificate(folder / f"{name}.pem", folder / f"{name}.key", by_name, folder / "ca-bundle.pem")
    _write(paths.certificate, certificate.public_bytes(Encoding.PEM))
    _write(paths.key, _pem(key))
    _write(paths.by_name, named.public_bytes(Encoding.PEM) + _pem(named_key))
    _write(paths.bundle, _system_roots() + authority.certificate.public_bytes(Encoding.PEM), mode=0o644)
    return paths


def choose_by_name(by_name: Path, config: object, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """A server's TLS context: clients that ask for a host name get the certificate without addresses.

    BoringSSL, with which Claude Code and OpenCode are built, refuses a certificate with addresses as soon as its
    authority is constrained to addresses.

    Args:
        by_name: That certificate, with its key.
        config: The server's settings, which are not needed.
        make: Makes the context with the certificate for every name and address.
    """
    context, named = make(), make()
    named.load_cert_chain(by_name)

    def choose(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        if name is not None and not _is_address(name):
            connection.context = named

    context.sni_callback = choose
    return context


def _authority(folder: Path, names: Sequence[str], now: datetime) -> _Authority:
    certificate_path, key_path = folder / "ca.pem", folder / "ca.key"
    if certificate_path.exists() and key_path.exists():
        kept = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = load_pem_private_key(key_path.read_bytes(), None)
        if isinstance(key, ec.EllipticCurvePrivateKey) and _is_usable(kept, names, now):
            return _Authority(kept, key)
    made = _make_authority(names, now)
    _write(key_path, _pem(made.key))
    _write(certificate_path, made.certificate.public_bytes(Encoding.PEM), mode=0o644)
    return made


def _is_usable(certificate: x509.Certificate, names: Sequence[str], now: datetime) -> bool:
    """Whether an authority outlives a new certificate and is constrained to names that include these."""
    try:
        allowed = certificate.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or ()
    except x509.ExtensionNotFound:
        return False
    long_enough = certificate.not_valid_after_utc >= now + SERVER_LIFE
    return long_enough and all(permitted in allowed for permitted in map(_permitted, names))


def _make_authority(names: Sequence[str], now: datetime) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "paig"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "local gateway"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"paig local gateway {now:%Y-%m-%d}"),
        ]
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints([*map(_permitted, names)], None), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, SHA256())
    )
    return _Authority(certificate, key)


def _issue(
    authority: _Authority, names: Sequence[str], now: datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "paig gateway")]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + SERVER_LIFE - _SLACK)
        .add_extension(x509.SubjectAlternativeName([*map(_general_name, names)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(signer, critical=False)
        .sign(authority.key, SHA256())
    )
    return certificate, key


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _permitted(name: str) -> x509.GeneralName:
    """The name constraint that an authority needs to sign for a name."""
    try:
        return x509.IPAddress(ipaddress.ip_network(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _system_roots() -> bytes:
    roots = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(ssl.DER_cert_to_PEM_cert(root) for root in roots).encode("ascii")


def _is_address(name: str) -> bool:
    return isinstance(_general_name(name), x509.IPAddress)


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file atomically, readable only by its owner."""
    part = path.with_suffix(path.suffix + ".part")
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
    part.replace(path)
