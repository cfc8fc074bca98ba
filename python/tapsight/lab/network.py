"""The example network: who is where. Addresses are those set aside for documentation (RFC 5737, RFC 3849)."""

from __future__ import annotations

from tapsight.lab.packet import mac

INSIDE_SBC = "198.51.100.10"
OUTSIDE_SBC = "203.0.113.10"
INSIDE_MEDIA = "198.51.100.20"
OUTSIDE_MEDIA = "203.0.113.20"
SDES_PEER, DTLS_PEER, TLS_PEER = "203.0.113.11", "203.0.113.12", "203.0.113.13"
"""Peers that encrypt: with keys in their descriptions (RFC 4568), as is agreed with them; with fingerprints (RFC 5763); and with signalling over TLS."""
SECURE_MEDIA = "203.0.113.25"
"""Where their media come and go."""
PEER_MEDIA = "203.0.113.16/28"
"""All hosts of peers' media."""
RESOLVER = "203.0.113.53"
SUBSCRIBERS = "198.51.100."
"""What the addresses of subscribers begin with."""
SUBSCRIBERS_6 = "2001:db8:1:"
NAT_ADDRESS = "203.0.113.200"
VIRTUAL_SERVER = "198.51.100.180"
"""What the load balancer answers for."""

LOOPBACK = "198.51.100.254"
"""The router's own address, by which it is managed and from which it sends."""
GATEWAY = {"inside": "198.51.100.253", "outside": "203.0.113.254"}
"""The router's addresses on its links."""
GATEWAY_6 = "fe80::5e:10:0:1"
NEIGHBOUR_6 = "fe80::5e:20:0:1"
MANAGEMENT = "198.51.100.240"
"""The station that manages the router."""
AAA_SERVER = "198.51.100.241"
PROBE = "198.51.100.242"
"""The authorised analyser: mirrors may go there."""
MEDIATION = "198.51.100.243"
"""The authorised mediation device of lawful intercept."""
RECORDER = "203.0.113.44"
"""The authorised recorder of calls."""
VPN_PEER = "192.0.2.250"
"""The far end of the tunnel that a customer ordered."""

SIGNALLING = "198.51.100.33"
"""Where the network's SS7 and Diameter come and go."""
PACKET_GATEWAY = "198.51.100.35"
"""Its end of GTP."""
PARTNER_SIGNALLING = "203.0.113.33"
"""A carrier that brings the signalling of roaming partners."""
PARTNER_GATEWAY = "203.0.113.35"
"""Their end of GTP."""
OWN_TITLE, PARTNER_TITLE = "32220000001", "97120000001"
"""Global titles of a node of the network, and of one of a partner's."""
OWN_NETWORK, PARTNER_NETWORK = ("206", "99"), ("424", "99")
"""Country and network codes."""
DHCP_SERVERS = "198.51.100.247", "198.51.100.248"
DHCP_SERVER_6 = "fe80::67"

COLLECTOR = "203.0.113.66"
"""Where implants send what they take, unless told otherwise."""
ATTACKER = "192.0.2.66"
"""Who talks to implants."""

HOME = "BE"
"""The country that the network is in."""
PLACES = {
    "198.51.100.0/24": HOME, "203.0.113.128/25": HOME, "203.0.113.0/25": "AE", "192.0.2.0/24": "DE",
    "2001:db8:1::/48": HOME, "2001:db8:ffff::/48": "DE", "10.20.0.0/24": HOME, "172.16.9.0/24": "DE",
}  # fmt: skip
"""In which country addresses are: the table of places that lies beside the captures."""
MAX_RTT_MS = 30
"""Nowhere in this country answers later."""
COMPATRIOTS = "203.0.113."
"""What the addresses of hosts elsewhere in the country begin with, from 128 on."""
BACKUP = "192.0.2.251"
"""Abroad: the end of the tunnel that is agreed as a backup."""
HEAD_END = "203.0.113.251"
"""Elsewhere in the country: the end of a tunnel that is ordered."""

ROUTER = {"inside": mac("02:00:5e:10:00:01"), "outside": mac("02:00:5e:10:00:02")}
NEIGHBOUR = {"inside": mac("02:00:5e:20:00:01"), "outside": mac("02:00:5e:20:00:02")}
NEIGHBOUR_ADDRESS = {"inside": "198.51.100.1", "outside": "203.0.113.1"}
ECMP_NEIGHBOUR = mac("02:00:5e:20:00:03")
ABROAD_NEIGHBOUR = mac("02:00:5e:20:00:04")
"""A router on the other side of the border."""
ABROAD_LABEL = 24_016
"""The MPLS label of a path over that country."""
COLLECTOR_MAC = mac("02:00:5e:66:66:66")
ROGUE_MAC = mac("02:00:5e:66:66:01")

VLANS = {"voice": 210, "internet": 100}
