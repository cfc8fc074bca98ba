"""What runs on the hosts of a network of namespaces: ordinary servers and clients, and implants that are programs.

Run as ``python hosts.py ROLE …``. A server or an implant says ``ready`` on its error output, and works until it is told to end.
Only the standard library is needed, as Python is started anew for each.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import random
import select
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TLS, BULK, ECHO, DNS = 443, 8000, 9000, 53
"""Ports of the servers."""
PAGE = 100_000
"""Bytes of an answer of the TLS server."""
UPLOAD = 1_000_000
"""Bytes that a client sends in bulk."""


def ready() -> None:
    sys.stderr.write("ready\n")
    sys.stderr.flush()


def socket_for(address: str, kind: socket.SocketKind) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)


def read_exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(min(65536, size - len(data)))
        if not piece:
            raise ConnectionError(f"ended after {len(data)} of {size} bytes")
        data += piece
    return bytes(data)


# --- Servers ----------------------------------------------------------------------------------------------------------


def serve(addresses: list[str], certificate: Path) -> None:
    """TLS that answers requests with pages, a receiver of bulk data, and an echo of datagrams."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def pages(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as session:
            while session.recv(64):
                session.sendall(random.randbytes(PAGE))

    def bulk(connection: socket.socket) -> None:
        read_exactly(connection, UPLOAD)
        connection.sendall(b"done")

    for address in addresses:
        listen(address, TLS, pages)
        listen(address, BULK, bulk)
        threading.Thread(target=echo, args=(address,), daemon=True).start()
    ready()
    threading.Event().wait()


def listen(address: str, port: int, answer: Callable[[socket.socket], None]) -> None:
    """Answers connections to a port, each in a thread of its own."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                answer(self.request)

    class Server(socketserver.ThreadingTCPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        allow_reuse_address = daemon_threads = True

    threading.Thread(target=Server((address, port), Handler).serve_forever, daemon=True).start()


def echo(address: str) -> None:
    with socket_for(address, socket.SOCK_DGRAM) as server:
        server.bind((address, ECHO))
        while True:
            server.sendto(*server.recvfrom(65536))


# --- Clients ----------------------------------------------------------------------------------------------------------


def use(source: str, server: str, certificate: Path) -> None:
    """Names, pages, an upload and datagrams, all at once. Fails if anything does not come back as it should."""

    def connect(port: int) -> socket.socket:
        return socket.create_connection((server, port), timeout=10, source_address=(source, 0))

    def names() -> None:
        for number in range(30):
            query = struct.pack(">6H", random.getrandbits(16), 0x0100, 1, 0, 0, 0)
            query += b"".join(
                bytes([len(part)]) + part for part in (f"host{number}".encode(), b"example", b"")
            )
            query += struct.pack(">2H", 28 if ":" in server else 1, 1)
            with socket_for(server, socket.SOCK_DGRAM) as client:
                client.settimeout(5)
                client.bind((source, 0))
                client.connect((server, DNS))
                client.send(query)
                answer = client.recv(4096)
            # The same id, a response without error, with an answer (RFC 1035, section 4.1.1).
            if answer[:2] != query[:2] or answer[3] & 15 or not answer[2] & 0x80 or answer[7] == 0:
                raise ValueError(f"bad answer {answer.hex()}")
            time.sleep(0.05)

    def pages() -> None:
        context = ssl.create_default_context(cafile=certificate)
        for _ in range(3):
            with context.wrap_socket(connect(TLS), server_hostname="server.example") as session:
                for _ in range(3):
                    session.sendall(random.randbytes(64))
                    read_exactly(session, PAGE)
                    time.sleep(0.1)

    def upload() -> None:
        with connect(BULK) as connection:
            connection.sendall(random.randbytes(UPLOAD))
            read_exactly(connection, 4)

    def datagrams() -> None:
        with socket_for(server, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.bind((source, 0))
            client.connect((server, ECHO))
            for _ in range(150):
                data = random.randbytes(random.randrange(100, 1400))
                client.send(data)
                if client.recv(4096) != data:
                    raise ValueError("another datagram came back")
                time.sleep(0.01)

    with ThreadPoolExecutor(4) as pool:
        started = {work.__name__: pool.submit(work) for work in (names, pages, upload, datagrams)}
    errors = [f"{name}: {error!r}" for name, work in started.items() if (error := work.exception())]
    if errors:
        sys.exit("\n".join(errors))


# --- Implants ---------------------------------------------------------------------------------------------------------


def relay(address: str, server: str, port: int) -> None:
    """Passes on to the server, and back, what comes to this address: its users notice nothing."""

    def pass_on(client: socket.socket) -> None:
        with socket.create_connection((server, port), timeout=10) as upstream:
            other = {client: upstream, upstream: client}
            while True:
                for end in select.select([client, upstream], [], [], 30)[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    other[end].sendall(data)

    listen(address, port, pass_on)
    ready()
    threading.Event().wait()


def frames_of(device: str) -> Callable[[], bytes]:
    """Makes a device, and returns what reads the frames that are sent into it."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    # TUNSETIFF with IFF_TAP and IFF_NO_PI (linux/if_tun.h).
    fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", device.encode(), 0x0002 | 0x1000))
    return lambda: os.read(descriptor, 65536)


def encapsulate(device: str, local: str, remote: str, how: str, number: int) -> None:
    """Sends what a device is given to somebody else, in a tunnel."""
    read = frames_of(device)
    gre = socket.IPPROTO_GRE
    # By the Ethernet type of what is inside.
    any_ip = {0x0800: socket.IPPROTO_IPIP, 0x86DD: socket.IPPROTO_IPV6}
    senders: dict[int, socket.socket] = {}
    for protocol in (gre, *any_ip.values()):
        senders[protocol] = socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)
        senders[protocol].bind((local, 0))
    ready()
    sequence = 0
    while True:
        frame = read()
        sequence += 1
        match how:
            case "gretap":  # RFC 2784, with the key of RFC 2890
                protocol, packet = gre, struct.pack(">HHI", 0x2000, 0x6558, number) + frame
            case "erspan2":  # draft-foschiano-erspan-03, section 4.2, in GRE with a sequence number
                header = struct.pack(">HHI", 0x1000, 0x88BE, sequence)
                protocol, packet = gre, header + struct.pack(">HHI", 1 << 12, 3 << 11 | number, 0) + frame
            case "erspan3":  # the same, section 4.3: 100 µs clock, Ethernet frames
                header = struct.pack(">HHI", 0x1000, 0x22EB, sequence)
                clock = time.monotonic_ns() // 100_000 & 0xFFFFFFFF
                protocol, packet = gre, header + struct.pack(">HHIHH", 2 << 12, number, clock, 0, 0) + frame
            case "ipip":  # RFC 2003, and RFC 4213 for IPv6
                kind = int.from_bytes(frame[12:14], "big")
                if kind not in any_ip:
                    continue
                protocol, packet = any_ip[kind], frame[14:]
            case _:
                raise ValueError(how)
        senders[protocol].sendto(packet, (remote, 0))


def replay(device: str, out: str, delay: float) -> None:
    """Sends once more, and late, what a device is given."""
    read = frames_of(device)
    waiting: deque[tuple[float, bytes]] = deque()
    arrived = threading.Condition()

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            # PACKET_QDISC_BYPASS (packet(7)): else the copies would be copied.
            sender.setsockopt(263, 20, 1)
            sender.bind((out, 0))
            while True:
                with arrived:
                    arrived.wait_for(lambda: waiting)
                    due, frame = waiting.popleft()
                time.sleep(max(0.0, due - time.monotonic()))
                sender.send(frame)

    threading.Thread(target=send, daemon=True).start()
    ready()
    while True:
        frame = read()
        with arrived:
            waiting.append((time.monotonic() + delay, frame))
            arrived.notify()


def main() -> None:
    parser = argparse.ArgumentParser()
    roles = parser.add_subparsers(dest="role", required=True)

    def role(name: str, *options: tuple[str, Callable[[str], object]], many: str = "") -> None:
        each = roles.add_parser(name)
        for option, kind in options:
            each.add_argument(option, type=kind)
        if many:
            each.add_argument(many, nargs="+")

    role("serve", ("certificate", Path), many="addresses")
    role("use", ("source", str), ("server", str), ("certificate", Path))
    role("relay", ("address", str), ("server", str), ("port", int))
    role("encapsulate", ("device", str), ("local", str), ("remote", str), ("how", str), ("number", int))
    role("replay", ("device", str), ("out", str), ("delay", float))
    arguments = vars(parser.parse_args())
    work = {"serve": serve, "use": use, "relay": relay, "encapsulate": encapsulate, "replay": replay}
    work[arguments.pop("role")](**arguments)


if __name__ == "__main__":
    main()
