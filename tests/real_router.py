"""A router that is Linux itself, with real hosts around it: see docs/router-test.md."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from namespaces import CommandError, Namespace, Network, captured

HERE = Path(__file__).parent

PHONE, SUBSCRIBER = "192.0.2.10", "192.0.2.20"
PHONE6, SUBSCRIBER6 = "2001:db8:1::10", "2001:db8:1::20"
INSIDE, INSIDE6 = "192.0.2.1", "2001:db8:1::1"
"""The router, as the hosts inside know it."""
OUTSIDE, OUTSIDE6 = "10.0.0.1", "2001:db8:2::1"
"""The router, as its neighbours outside know it."""
CARRIER_A, CARRIER_A6 = "10.0.0.2", "2001:db8:2::2"
CARRIER_B, CARRIER_B6 = "10.0.0.3", "2001:db8:2::3"
LISTENER, LISTENER6 = "10.0.0.9", "2001:db8:2::9"
SERVER, SERVER6 = "203.0.113.10", "2001:db8:3::10"
COLLECTOR, COLLECTOR6 = "198.51.100.7", "2001:db8:7::7"

VOICE = {PHONE: 16400, SUBSCRIBER: 16600, PHONE6: 16400}
"""Who calls the server, and the port that voice is sent from."""
SERVER_VOICE = 20000
"""The port that voice is sent to."""

TOOLS = ("sipp", "dnsmasq", "openssl", "ping")

POLICY = f"""\
[sets]
voice = ["192.0.2.0/24", "2001:db8:1::/64", "{OUTSIDE}", "{OUTSIDE6}", "203.0.113.0/24", "2001:db8:3::/64"]

[checks.V1]
pairs = [["voice", "voice"]]

[checks.V2]
prefixes = "voice"

[checks.I5]
allow = []

[checks.I6]
sinks = []
"""


class Site:
    """The router with its neighbours, and what they say to each other."""

    def __init__(self, network: Network, *, mtu: int = 9000, offload: Sequence[str] = ()) -> None:
        """Builds it.

        The hosts' own links have an MTU of 1500, those between the router and its neighbours this one. ``offload`` names
        sides of the router on which hosts leave the cutting of segments and checksums to devices: ``inside``, ``outside``.
        """
        self.network, self.folder = network, network.folder
        self.inside = network.namespace("inside")
        self.router = network.namespace("router")
        self.lan = network.namespace("lan")
        self.carrier_a = network.namespace("carrier-a")
        self.carrier_b = network.namespace("carrier-b")
        self.outside = network.namespace("outside")
        self.listener = network.namespace("listener")
        self.collector = network.namespace("collector")
        self.taps = {"inside": self.folder / "inside.pcap", "outside": self.folder / "outside.pcap"}
        self.policy = self.folder / "policy.toml"
        self.policy.write_text(POLICY)
        self._link(mtu, offload)
        self._address()
        for source, server in ((SUBSCRIBER, SERVER), (SUBSCRIBER6, SERVER6), (SERVER, COLLECTOR)):
            self._await_answer(self.outside if source == SERVER else self.inside, source, server)

    def _link(self, mtu: int, offload: Sequence[str]) -> None:
        network = self.network
        self.lan.sysctl({"net.ipv6.conf.default.disable_ipv6": 1})
        self.lan.ip("link add br0 type bridge", "link set br0 up")
        cables = [
            (self.inside, "eth0", self.router, "inside"),
            (self.lan, "router", self.router, "outside"),
            (self.lan, "carrier-a", self.carrier_a, "lan"),
            (self.lan, "carrier-b", self.carrier_b, "lan"),
            (self.lan, "listener", self.listener, "lan"),
            (self.outside, "eth0", self.carrier_a, "outside"),
            (self.outside, "eth1", self.carrier_b, "outside"),
            (self.collector, "eth0", self.carrier_a, "collector"),
        ]
        for one, one_device, other, other_device in cables:
            side = "inside" if one is self.inside else "outside"
            network.link(one, one_device, other, other_device, offload=side in offload)
            if one is self.lan:
                one.ip(f"link set {one_device} master br0")
            if one in (self.lan, self.collector):
                one.ip(f"link set {one_device} mtu {mtu}")
                other.ip(f"link set {other_device} mtu {mtu}")

    def _address(self) -> None:
        forward = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}
        # By addresses and ports, so that all of a conversation takes one way.
        balance = {f"net.{family}.fib_multipath_hash_policy": 1 for family in ("ipv4", "ipv6")}
        for router in (self.router, self.carrier_a, self.carrier_b):
            router.sysctl(forward | balance)
        self.inside.ip(
            *(f"addr add {address}/24 dev eth0" for address in (PHONE, SUBSCRIBER)),
            *(f"addr add {address}/64 dev eth0" for address in (PHONE6, SUBSCRIBER6)),
            f"route add default via {INSIDE}",
            f"route add ::/0 via {INSIDE6}",
        )
        self.router.ip(
            f"addr add {INSIDE}/24 dev inside",
            f"addr add {INSIDE6}/64 dev inside",
            f"addr add {OUTSIDE}/24 dev outside",
            f"addr add {OUTSIDE6}/64 dev outside",
            f"route add default via {CARRIER_A}",
            f"route add ::/0 via {CARRIER_A6}",
        )
        for carrier, number, own, own6 in (
            (self.carrier_a, 1, CARRIER_A, CARRIER_A6),
            (self.carrier_b, 2, CARRIER_B, CARRIER_B6),
        ):
            carrier.ip(
                f"addr add {own}/24 dev lan",
                f"addr add {own6}/64 dev lan",
                f"addr add 172.16.{number}.1/24 dev outside",
                f"addr add 2001:db8:f{number}::1/64 dev outside",
                f"route add 203.0.113.0/24 via 172.16.{number}.2",
                f"route add 2001:db8:3::/64 via 2001:db8:f{number}::2",
                f"route add 192.0.2.0/24 via {OUTSIDE}",
                f"route add 2001:db8:1::/64 via {OUTSIDE6}",
            )
        self.carrier_a.ip("addr add 198.51.100.1/24 dev collector", "addr add 2001:db8:7::1/64 dev collector")
        self.outside.ip(
            f"addr add {SERVER}/32 dev lo",
            f"addr add {SERVER6}/128 dev lo",
            "addr add 172.16.1.2/24 dev eth0",
            "addr add 172.16.2.2/24 dev eth1",
            "addr add 2001:db8:f1::2/64 dev eth0",
            "addr add 2001:db8:f2::2/64 dev eth1",
            "route add default via 172.16.1.1",
            "route add ::/0 via 2001:db8:f1::1",
        )
        self.listener.ip(f"addr add {LISTENER}/24 dev lan", f"addr add {LISTENER6}/64 dev lan")
        self.collector.ip(
            f"addr add {COLLECTOR}/24 dev eth0",
            f"addr add {COLLECTOR6}/64 dev eth0",
            "route add default via 198.51.100.1",
            "route add ::/0 via 2001:db8:7::1",
        )

    def _await_answer(self, host: Namespace, source: str, other: str) -> None:
        end = time.monotonic() + 10
        while True:
            try:
                host.run("ping", "-c", "1", "-W", "1", "-I", source, other)
            except CommandError:
                if time.monotonic() > end:
                    raise
            else:
                return

    def host(self, where: Namespace, role: str, *arguments: str | Path) -> subprocess.Popen[str]:
        """Starts what hosts.py has for this role, and waits until it is ready."""
        program = (sys.executable, "-I", HERE / "hosts.py", role, *arguments)
        return self.network.start(where, *program, until="ready")

    def exchange(self) -> None:
        """Captures on both sides of the router what the hosts say to each other: calls, names, pages, bulk, pings.

        Raises:
            CommandError: Something did not come through.
        """
        certificate = self._certificate()
        voice, call = self.folder / "voice.ulaw", self.folder / "call.xml"
        voice.write_bytes(random.Random(0).randbytes(80_000))
        call.write_text((HERE / "call.xml").read_text().replace("voice.ulaw", str(voice)))
        self.host(self.outside, "serve", certificate, SERVER, SERVER6)
        self._serve_names()
        for server in (SERVER, SERVER6):
            media = ("-rtp_echo", "-i", server, "-mi", server, "-mp", f"{SERVER_VOICE}")
            self.network.start(self.outside, "sipp", "-sn", "uas", *media, "-nostdin")
        time.sleep(0.5)
        seen = [(self.inside, "eth0", self.taps["inside"]), (self.lan, "router", self.taps["outside"])]
        with captured(self.network, seen):
            self._talk(certificate, call)
        self.network.check()

    def _serve_names(self) -> None:
        # As a daemon it would change its groups, and then the kernel no longer kills it with this process.
        options = ["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces"]
        for address in (SERVER, SERVER6):
            options += [f"--address=/example/{address}", f"--listen-address={address}"]
        self.network.start(self.outside, "dnsmasq", *options, until="started")

    def _talk(self, certificate: Path, call: Path) -> None:
        start, inside = self.network.start, self.inside
        clients = []
        for source, port in VOICE.items():
            server = f"[{SERVER6}]" if ":" in source else SERVER
            own = ("-i", source, "-mi", source, "-mp", f"{port}")
            once = ("-m", "1", "-timeout", "10", "-nostdin")
            clients.append(start(inside, "sipp", f"{server}:5060", "-sf", call, *once, *own))
            # Every sipp sends the same packets of the same source: at the same time, one call would look like a copy of the other.
            time.sleep(1.2)
        for source, server in ((SUBSCRIBER, SERVER), (SUBSCRIBER6, SERVER6)):
            program = (sys.executable, "-I", HERE / "hosts.py", "use", source, server, certificate)
            clients.append(start(inside, *program))
            clients.append(start(inside, "ping", "-q", "-c", "10", "-i", "0.2", "-I", source, server))
        for client in clients:
            self.network.finish(client)

    def _certificate(self) -> Path:
        """A file with a certificate of its own and the key."""
        key, certificate, both = (self.folder / name for name in ("key.pem", "certificate.pem", "server.pem"))
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
        name = ("-subj", "/CN=server.example", "-addext", "subjectAltName=DNS:server.example")
        command = ("openssl", "req", "-x509", *kind, *name, "-keyout", key, "-out", certificate)
        subprocess.run(command, check=True, capture_output=True)
        both.write_text(key.read_text() + certificate.read_text())
        return both
