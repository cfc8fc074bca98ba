"""Prefixes that are not for hosts of the Internet, by what they mean. The registries of all of them (RFC 6890) are in ``src/places/special.rs``."""

from __future__ import annotations

NETWORK = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
"""For use inside of a network: RFC 1918, RFC 6598, RFC 4193."""

LINK = ("169.254.0.0/16", "fe80::/10")
"""For use on a link: RFC 3927; RFC 4291, section 2.5.6."""

HOST = ("127.0.0.0/8", "::1/128")
"""For use within a host: RFC 1122, section 3.2.1.3; RFC 4291, section 2.5.3."""

PRIVATE = (*NETWORK, *LINK)
"""What only a network itself knows: addresses that are translated where they leave it."""

LOCAL = (*PRIVATE, *HOST)
"""What means nothing to whoever is told it from elsewhere."""

DOCUMENTATION = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")
"""RFC 5737, RFC 3849, RFC 9637."""

NOWHERE = ("0.0.0.0/32", "::/128")
"""Where nothing is to be sent (RFC 6890): how calls were put on hold by RFC 2543."""

GROUPS = ("224.0.0.0/4", "ff00::/8")
"""Groups of receivers: RFC 5771; RFC 4291, section 2.7."""

NOT_ROUTED = (*LINK, *GROUPS, "255.255.255.255/32")
"""Destinations of what stays on its link, or is for many."""

SETS = {
    "private": NETWORK,
    "link_local": LINK,
    "loopback": HOST,
    "documentation": DOCUMENTATION,
    "multicast": GROUPS,
}
"""Names by which conditions of a policy may use these."""
