"""Servers that break off an exchange at any point, on real sockets, and certificates for them."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Act = Callable[[socket.socket, list[bytes]], None]


class Peer(NamedTuple):
    """
    A server on a free port of the loopback interface.

    :param port: Its port.
    :param received: What it has read, an entry for each read.
    """

    port: int
    received: list[bytes]

    def build_url(self, scheme: str, host: str = "localhost") -> str:
        return f"{scheme}://{host}:{self.port}"


@contextmanager
def run_peer(act: Act, context: ssl.SSLContext | None = None) -> Iterator[Peer]:
    """
    Run a server.

    :param act: Handles a connection before the server closes it; its second argument is what was read so far.
    :param context: For TLS; without it the server speaks plain TCP.
    """
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    if context is None:
                        act(connection, received)
                    else:
                        with context.wrap_socket(connection, server_side=True) as secured:
                            act(secured, received)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield Peer(listener.getsockname()[1], received)
        # Closing alone would leave the thread in accept().
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def close(_: socket.socket, __: list[bytes]) -> None:
    """Close without a response."""


def reset(connection: socket.socket, _: list[bytes]) -> None:
    """Reset the connection once something has arrived."""
    connection.recv(1, socket.MSG_PEEK)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang(connection: socket.socket, _: list[bytes]) -> None:
    """Send nothing, and wait until the client closes the connection."""
    while connection.recv(65536):
        pass


def read(connection: socket.socket, received: list[bytes]) -> None:
    """Read a whole request, and close."""
    request = b""
    while not _is_whole(request):
        chunk = connection.recv(65536)
        if not chunk:
            return
        received.append(chunk)
        request += chunk


def read_in_part(connection: socket.socket, received: list[bytes]) -> None:
    """Read some bytes of a request, and close."""
    received.append(connection.recv(20))


def answer_after_reading(answer: bytes) -> Act:
    """Build an action that reads a whole request and responds with these bytes."""

    def act(connection: socket.socket, received: list[bytes]) -> None:
        read(connection, received)
        connection.sendall(answer)

    return act


def answer_at_once(answer: bytes) -> Act:
    """Build an action that responds with these bytes to the first data that arrives."""

    def act(connection: socket.socket, received: list[bytes]) -> None:
        received.append(connection.recv(65536))
        connection.sendall(answer)

    return act


def build_http_answer(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """Build an HTTP response; underscores in names of headers become hyphens."""
    fields = {"Content-Length": str(len(body)), "Connection": "close", **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def _is_whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(end) and len(body) >= int(lengths[0] if lengths else 0)


class Certificate(NamedTuple):
    """
    A self-signed certificate for ``localhost``.

    :param path: File with the certificate, which also is the CA bundle that trusts it.
    :param key: File with its private key.
    """

    path: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """For a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path, self.key)
        return context


def make_certificate(folder: Path, days: int = 1) -> Certificate:
    """
    A new certificate.

    :param folder: Where its files are written.
    :param days: How long it is valid from now on; negative for one that has expired.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.timezone.utc)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=30))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(folder / f"certificate{days}.pem", folder / f"key{days}.pem")
    made.path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made
