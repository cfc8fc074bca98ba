"""Verdicts on a router that is Linux itself, as it should be and with implants that Linux itself is told to be.

docs/router-test.md shows the network. Without root, or a tool, or a part of the kernel, a test says what it lacks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import real_router as net
from namespaces import CommandError, Network, missing
from real_router import Site

import tapsight

LACKING = missing(*net.TOOLS)
pytestmark = pytest.mark.skipif(bool(LACKING), reason=f"a real router needs {', '.join(LACKING)}")

VOICE_PORTS = "{ 16400-16999, 20000-20999 }"
"""What nft takes for voice."""


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    with Network(tmp_path) as network:
        yield network


def needs(site: Site, what: str, setup: Any) -> None:
    """Sets up an implant, or skips the test if the kernel has no such thing."""
    try:
        setup()
    except CommandError as error:
        if any(word in str(error) for word in ("not supported", "No such file", "Unknown device type", "qdisc")):
            pytest.skip(f"this kernel has no {what}")
        raise


def examine(site: Site, policy: str | Path | None = None) -> tapsight.Result:
    """What hosts say to each other, judged by a policy."""
    site.exchange()
    save = os.environ.get("TAPSIGHT_KEEP_CAPTURES")
    if save:
        folder = Path(save) / os.environ["PYTEST_CURRENT_TEST"].partition("::")[2].partition(" ")[0]
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in site.taps.items():
            (folder / f"{name}.pcap").write_bytes(path.read_bytes())
        (folder / "policy.toml").write_text(site.policy.read_text())
    return tapsight.check(site.taps, policy=policy or site.policy)


def show(r):
    print(r)
    for v in r.verdicts.to_pylist(): print(v['check'],v['verdict'],v['coverage'],v['in_scope'],v['reason'])
    for v in r.findings.to_pylist(): print(v['detector'],v['check'],v['severity'],v['sentence'], v['collector'], v["packets"], v['in_scope'])
    print(r.explained())

def test_clean(network):
    site = Site(network)
    show(examine(site))

def test_clean_offload(network):
    site = Site(network, offload=True)
    show(examine(site))

def test_nat(network):
    site = Site(network)
    site.router.nft("""
        table inet nat { chain out { type nat hook postrouting priority srcnat; oifname "outside" masquerade } }
    """)
    show(examine(site))

def test_ecmp(network):
    site = Site(network)
    site.router.ip(
        f"route replace default nexthop via {net.CARRIER_A} nexthop via {net.CARRIER_B}",
        f"route replace ::/0 nexthop via {net.CARRIER_A6} nexthop via {net.CARRIER_B6}",
    )
    show(examine(site))

def test_nft_dup(network):
    site = Site(network)
    needs(site, "dup of nftables", lambda: site.router.nft(f"""
        table ip implant {{ chain copy {{ type filter hook forward priority 0;
            udp dport {VOICE_PORTS} dup to {net.LISTENER} device "outside" }} }}
        table ip6 implant {{ chain copy {{ type filter hook forward priority 0;
            udp dport {VOICE_PORTS} dup to {net.LISTENER6} device "outside" }} }}
    """))
    show(examine(site))

def test_tee(network):
    site = Site(network)
    needs(site, "TEE", lambda: [site.router.run(p, "-t","mangle","-A","PREROUTING","-p","udp","--dport","16000:21000","-j","TEE","--gateway",g) for p,g in (("iptables",net.LISTENER),("ip6tables",net.LISTENER6))])
    show(examine(site))

def test_tee_numbered(network):
    site = Site(network)
    site.inside.sysctl("net.ipv4.ip_no_pmtu_disc", 1)
    needs(site, "TEE", lambda: [site.router.run(p, "-t","mangle","-A","PREROUTING","-p","udp","--dport","16000:21000","-j","TEE","--gateway",g) for p,g in (("iptables",net.LISTENER),("ip6tables",net.LISTENER6))])
    show(examine(site))

def mirror(site, device, voice, ll=True):
    r = site.router
    r.tc("qdisc add dev inside clsact")
    to = f"action mirred egress mirror dev {device}"
    for way in ("ingress", "egress"):
        if voice:
            port = "dport" if way=="ingress" else "sport"
            r.tc(f"filter add dev inside {way} protocol ip u32 match ip protocol 17 0xff match ip {port} 20000 0xffff {to}",
                 f"filter add dev inside {way} protocol ipv6 u32 match ip6 protocol 17 0xff match ip6 {port} 20000 0xffff {to}")
        else:
            r.tc(f"filter add dev inside {way} protocol all u32 match u32 0 0 {to}")

@pytest.mark.parametrize("mtu", [1500, 9000])
@pytest.mark.parametrize("voice", [True, False])
@pytest.mark.parametrize("kind", ["vxlan", "gretap", "erspan", "ipip"])
def test_mirred(network, kind, voice, mtu):
    site = Site(network, mtu=mtu)
    device = {
        "vxlan": f"type vxlan id 7700 local {net.OUTSIDE} remote {net.COLLECTOR} dstport 4789",
        "gretap": f"type gretap local {net.OUTSIDE} remote {net.COLLECTOR} key 77",
        "erspan": f"type erspan seq local {net.OUTSIDE} remote {net.COLLECTOR} key 77 erspan_ver 1 erspan 123",
        "ipip": f"type ipip local {net.OUTSIDE} remote {net.COLLECTOR}",
    }[kind]
    def setup():
        site.router.ip(f"link add copy0 {device}", "link set copy0 up")
        mirror(site, "copy0", voice)
    needs(site, kind, setup)
    show(examine(site))

@pytest.mark.parametrize("voice", [True, False])
@pytest.mark.parametrize("kind", ["gretap", "erspan2", "erspan3", "ipip"])
def test_program(network, kind, voice):
    site = Site(network)
    site.host(site.router, "encapsulate", "copy0", net.OUTSIDE, net.COLLECTOR, kind, "77")
    site.router.ip("link set copy0 up")
    mirror(site, "copy0", voice)
    show(examine(site))

def test_srv6(network):
    site = Site(network)
    def setup():
        site.router.ip(f"route add 10.99.0.1 encap seg6 mode encap segs {net.COLLECTOR6} dev outside via inet6 {net.CARRIER_A6}")
        site.router.run("iptables","-t","mangle","-A","PREROUTING","-p","udp","--dport","16000:21000","-j","TEE","--gateway","10.99.0.1")
    needs(site, "SRv6", setup)
    show(examine(site))

def test_dnat(network):
    site = Site(network)
    site.host(site.collector, "relay", net.COLLECTOR, net.SERVER, "443")
    site.router.nft(f"""
        table ip implant {{ chain divert {{ type nat hook prerouting priority dstnat;
            ip saddr {net.SUBSCRIBER} ip daddr {net.SERVER} tcp dport 443 dnat to {net.COLLECTOR} }} }}
    """)
    show(examine(site))

def test_late(network):
    site = Site(network)
    site.host(site.router, "replay", "copy0", "outside", "0.3")
    site.router.ip("link set copy0 up")
    site.router.tc("qdisc add dev outside clsact", "filter add dev outside egress protocol ip u32 match ip protocol 17 0xff match ip dport 20000 0xffff action mirred egress mirror dev copy0")
    show(examine(site))
