"""M8: strong IKE proposals only."""

from __future__ import annotations

from tapsight._options import Options
from tapsight.checks._rule import Rule


class M8(Rule[Options]):
    """Devices propose and accept only strong algorithms for IPsec.

    What it looks for:
        Proposals for IKE, and choices of one, from an address of ``infrastructure``: each Diffie-Hellman group is 15 (3072 bits), 16 (4096 bits)
        or 20 (elliptic curve of 384 bits), each cipher AES with 256 bits, each hash SHA-384 or SHA-512.

    Why it matters:
        What is offered can be chosen, and whoever is on the way may see to it that it is. What is recorded today can be decrypted when the weak part of
        it is broken.

    Example that fails:
        A proposal with group 14 from 198.51.100.1, with this policy::

            packs = ["router-hardening"]
            [network]
            infrastructure = ["198.51.100.0/28"]

    What to do:
        Take the weak algorithms out of the device's proposals, also where the other side would prefer a strong one.

    What it cannot see:
        What protects the traffic itself (ESP): it is agreed on encrypted. Of proposals that are cut off, or go on in another fragment of IP, a weak
        algorithm that is there fails, and nothing passes. What others propose is not judged.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12), "Hardening Systems and Devices": key exchange
    by group 15, 16 or 20, AES-256, SHA-384 or SHA-512. RFC 7296, section 3.3; RFC 2409, appendix A.
    """

    id = "M8"
    title = "Strong IKE proposals only"
    severity = "medium"
    pack = "router-hardening"
    network_needs = ("infrastructure",)
    options = Options
    own_sets = {  # noqa: RUF012 - only read
        "ciphers": (
            *(f"aes-{mode}-256" for mode in ("cbc", "ctr")),
            *(f"aes-{mode}-{octets}-256" for mode in ("ccm", "gcm") for octets in (8, 12, 16)),
        ),
        "hashes": ("sha384", "sha512"),
    }
    over = "ike"
    scope = "src in infrastructure and dh_groups is not null"
    # How many proposals there are is only known where all of them are there.
    expect = (
        "dh_groups within (15, 16, 20) and encryption within ciphers and prf within hashes "
        "and integrity within (hashes, none) and proposals >= 1"
    )
    says = "{src} proposed or chose algorithms for IKE that the guidance does not list, in {packets} to {dst}, {when}{first}"
    nothing = "no device proposed or chose anything for IKE in the clear"
