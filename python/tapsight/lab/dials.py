"""What can be turned: the dials of implants and of confounders."""

from __future__ import annotations

from dataclasses import dataclass

from tapsight.lab.network import COLLECTOR, OUTSIDE_MEDIA


@dataclass(frozen=True)
class Implant:
    """What a tampered router does. ``tapsight lab --list`` names the kinds; each says which dials count for it.

    Args:
        kind: The kind, such as ``mirror``, ``fork``, ``redirect`` or ``synful-knock``.
        share: The share of packets, of those that it could act on, that it acts on.
        only: Which traffic: ``all``, ``voice``, ``internet``, ``subscriber`` (the busiest one) or an address.
        lag: Nanoseconds from the original to the copy; each kind has its own default.
        start: Seconds from the start of the scenario to its first act.
        count: How often it acts, for kinds that act by themselves.
        tunnel: For ``mirror``: the tunnel that carries copies.
        session: The tunnel's id.
        collector: The address that receives the traffic.
        victim: For ``redirect``: the address whose traffic is diverted.
        via: The variant, for kinds that have several.
        to: For ``fork``: ``mac`` (another next hop), ``vlan``, ``mac-vlan``, ``mpls`` or ``mac-mpls``.
        mac: For ``fork``: the MAC address of the other next hop.
        vlan: The VLAN of copies that have one of their own.
        label: The MPLS label of those that have one.
        snap: Bytes of each packet or frame that a copy holds; all if not given.
        rewrite: What of the copy is changed: any of ``ttl``, ``dscp``, ``mac``, ``id`` (the IPv4 identification).
        fragment: The copy is cut into fragments of at most so many bytes before it is sent.
        mtu: Packets of the tunnel are cut into fragments of at most so many bytes.
    """

    kind: str
    share: float = 1.0
    only: str = "all"
    lag: int | None = None
    start: float = 0.0
    count: int | None = None
    tunnel: str = "erspan2"
    session: int = 17
    collector: str = COLLECTOR
    victim: str = OUTSIDE_MEDIA
    via: str = ""
    to: str = "mac"
    mac: str = "02:00:5e:66:66:66"
    vlan: int = 999
    label: int = 16_077
    snap: int | None = None
    rewrite: tuple[str, ...] = ()
    fragment: int | None = None
    mtu: int | None = None


@dataclass(frozen=True)
class Confounder:
    """Something honest that looks like tampering. ``tapsight lab --list`` names the kinds.

    Args:
        kind: The kind, such as ``nat`` or ``clock-step``.
        share: The share of packets, conversations or frames concerned; each kind has its own default.
        at: When it happens, as a share of the scenario's time.
        ms: How large it is in milliseconds, for kinds that have a size.
        ppm: How fast a clock drifts, in parts per million.
        tap: The tap that it happens to, for those that happen to one.
    """

    kind: str
    share: float | None = None
    at: float = 0.5
    ms: float | None = None
    ppm: float = 50.0
    tap: str = "outside"
