"""A network of its own in which every address leads to a sink that records who was called, and with what.

`enter()` starts this program again in a network namespace without a way out. There, every IPv4 address is this machine
(the kernel's "any IP" route on the loopback interface), every host name resolves to an address of its own, and `Sink`
answers on ports 80 and 443, with certificates that its own authority issues. Packets to any other port are seen on the
interface itself. Linux only; needs root, or unprivileged user namespaces.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

import trustme

ENTERED = "PAIG_CLIENTS_NAMESPACE"
NAMESERVER = "127.0.0.1"
HTTP, HTTPS, DNS = 80, 443, 53
FIRST_ADDRESS = (198 << 24) + (18 << 16) + 1
"""198.18.0.0/15 is reserved for tests of networks (RFC 2544); each name gets the next address of it."""
BODY = 1 << 20
"""Bytes of a request that are kept."""


def enter() -> None:
    """Start this program again inside the namespace; returns at once inside it.

    Raises:
        SystemExit: This system has no such namespaces.
    """
    if os.environ.get(ENTERED):
        return _prepare()
    if (unshare := shutil.which("unshare")) is None or shutil.which("ip") is None:
        raise SystemExit("make clients needs Linux with `unshare` and `ip` (Debian: util-linux, iproute2)")
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    os.environ[ENTERED] = "1"
    os.execv(unshare, [unshare, *user, "--net", "--mount", sys.executable, *sys.argv])


def _prepare() -> None:
    """Make every address local, and have names asked of this machine."""
    resolver = Path(tempfile.mkdtemp()) / "resolv.conf"
    resolver.write_text(f"nameserver {NAMESERVER}\noptions timeout:1 attempts:1\n")
    for command in (
        ["ip", "link", "set", "lo", "up"],
        ["ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo"],
        ["mount", "--bind", str(resolver), os.path.realpath("/etc/resolv.conf")],
    ):
        subprocess.run(command, check=True)


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that reached the sink.

    Attributes:
        host: The name that was looked up, or the address.
        port: The port.
        line: The request line; what went wrong where TLS was not completed.
        leaked: Whether the gateway's key stands in it.
    """

    host: str
    port: int
    line: str
    leaked: bool


@dataclass
class Sink:
    """The recorder. `secret` is looked for in whatever arrives."""

    secret: str = ""
    names: dict[str, str] = field(default_factory=dict)
    """Looked-up names, by the address that each was given."""
    looked_up: set[str] = field(default_factory=set)
    dialed: set[tuple[str, int]] = field(default_factory=set)
    """Name or address, and port, of every connection that was opened to another than a loopback address."""
    visits: list[Visit] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._authority = trustme.CA()
        self._certificates: dict[str, ssl.SSLContext] = {}

    def start(self) -> None:
        """Listen, in threads that end with the program."""
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        names.bind((NAMESERVER, DNS))
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        packets.bind(("lo", 0))
        for work, listener in ((self._answer_names, names), (self._watch, packets)):
            threading.Thread(target=work, args=(listener,), daemon=True).start()
        for port in (HTTP, HTTPS):
            listener = socket.create_server(("0.0.0.0", port), backlog=64)
            threading.Thread(target=self._accept, args=(listener, port), daemon=True).start()

    def trust(self, folder: Path) -> Path:
        """Write the authority's certificate, for clients to trust."""
        file = folder / "sink-ca.pem"
        self._authority.cert_pem.write_to_path(str(file))
        return file

    def issue(self, host: str, certificate: Path, key: Path) -> None:
        """Write a certificate of the authority for a host, and its key."""
        issued = self._authority.issue_cert(host)
        issued.private_key_and_cert_chain_pem.write_to_path(str(key))
        for part in issued.cert_chain_pems:
            part.write_to_path(str(certificate), append=True)

    def forget(self) -> None:
        """Begin a new record; names keep their addresses."""
        with self._lock:
            self.looked_up, self.dialed, self.visits = set(), set(), []

    def _answer_names(self, listener: socket.socket) -> None:
        while True:
            question, asker = listener.recvfrom(4096)
            listener.sendto(self._name_answer(question), asker)

    def _name_answer(self, question: bytes) -> bytes:
        labels, at = [], 12
        while length := question[at]:
            labels.append(question[at + 1 : at + 1 + length].decode("latin-1"))
            at += 1 + length
        kind = struct.unpack("!H", question[at + 1 : at + 3])[0]
        asked = question[12 : at + 5]
        name = ".".join(labels).lower()
        with self._lock:
            self.looked_up.add(name)
            address = next((address for address, known in self.names.items() if known == name), None)
            if address is None:
                address = socket.inet_ntoa(struct.pack("!I", FIRST_ADDRESS + len(self.names)))
                self.names[address] = name
        answers = 1 if kind == 1 else 0  # type A; there is no IPv6 here
        head = question[:2] + struct.pack("!HHHHH", 0x8180, 1, answers, 0, 0)
        record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(address)
        return head + asked + (record if answers else b"")

    def _watch(self, packets: socket.socket) -> None:
        """Note the destination of every first packet of a connection, and of every datagram."""
        while True:
            frame = packets.recv(65535)
            header = frame[14:]
            size, protocol, target = (header[0] & 15) * 4, header[9], socket.inet_ntoa(header[16:20])
            inner = header[size:]
            if target.startswith("127.") or len(inner) < 14:
                continue
            opens = protocol == socket.IPPROTO_TCP and inner[13] & 0x12 == 0x02  # SYN without ACK
            if opens or protocol == socket.IPPROTO_UDP:
                source, port = struct.unpack("!HH", inner[:4])
                with self._lock:
                    if source not in (HTTP, HTTPS, DNS):
                        self.dialed.add((self.names.get(target, target), port))

    def _accept(self, listener: socket.socket, port: int) -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._serve, args=(connection, port), daemon=True).start()

    def _serve(self, connection: socket.socket, port: int) -> None:
        address = connection.getsockname()[0]
        host = self.names.get(address, address)
        connection.settimeout(10)
        try:
            if port == HTTPS:
                connection = self._context(host).wrap_socket(connection, server_side=True)
            received = _read_request(connection)
            if received:
                line = received.split(b"\r\n", 1)[0].decode("latin-1")[:200]
                leaked = bool(self.secret) and self.secret.encode() in received
                with self._lock:
                    self.visits.append(Visit(host, port, line, leaked))
                connection.sendall(
                    b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
                    b"connection: close\r\n\r\n{}"
                )
        except (OSError, ssl.SSLError) as error:
            with self._lock:
                self.visits.append(Visit(host, port, f"no request: {error}"[:120], False))
        finally:
            connection.close()

    def _context(self, host: str) -> ssl.SSLContext:
        with self._lock:
            if host not in self._certificates:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self._authority.issue_cert(host).configure_cert(context)
                self._certificates[host] = context
            return self._certificates[host]


def _read_request(connection: socket.socket) -> bytes:
    """A request's head, and as much of its body as its length says."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (piece := connection.recv(65536)):
            return received
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < min(length, BODY):
        if not (piece := connection.recv(65536)):
            break
        body += piece
    return head + b"\r\n\r\n" + body
