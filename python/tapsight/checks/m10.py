"""M10: SSH version 2 with strong key exchanges."""

from __future__ import annotations

from tapsight._options import Options, Words
from tapsight.checks._several import Part, Several


class M10Options(Options):
    """What a policy may say under [checks.M10]."""

    key_exchanges: Words | None = None
    """Key exchanges that devices may offer, in place of those that the check knows to be strong."""


class M10(Several[M10Options]):
    """Devices speak SSH version 2 only, and offer only key exchanges as strong as 4096 bits of Diffie-Hellman.

    What it looks for:
        What an address of ``infrastructure`` says before SSH encrypts: its version, which has to be 2.0; the key exchanges that it offers, each of which has to be
        group 16, 17 or 18, ECDH with 384 or 521 bits, X448, or a hybrid with ML-KEM-768 or more or with sntrup761; and groups that it chose for a group
        exchange, of 4096 bits at least.

    Why it matters:
        What is offered can be chosen by whoever asks. A session that is recorded today is read when its key exchange is broken.

    Example that fails:
        ``diffie-hellman-group14-sha256`` among the offers of 198.51.100.1, with this policy::

            packs = ["router-hardening"]
            [network]
            infrastructure = ["198.51.100.0/28"]

        X25519 and ECDH with 256 bits, which count as 3072 bits (NIST SP 800-57 part 1, section 5.6.1), fail too, unless
        ``key_exchanges`` lists them.

    What to do:
        ``ip ssh version 2``, ``ip ssh dh min size 4096``, and the list of key exchange algorithms of the device.

    What it cannot see:
        Lists that begin in one segment and end in another: who shows no more than its version is not passed. Which of its offers was taken. What group
        exchange leads to is only judged where the server's choice was seen, and on port 22. The server's own key, of which the guidance asks for 3072
        bits if it is RSA, is not judged; nor are ciphers and integrity, of which the guidance says nothing for SSH.

    Source: CISA, Enhanced Visibility and Hardening Guidance for Communications Infrastructure (2024-12), "Hardening Systems and Devices", "Protocols and
    Management Processes": SSH version 2 with Diffie-Hellman of 4096 bits (group 16). RFC 4253, sections 4.2, 5.1 and 7.1; RFC 8268; RFC 4419.
    """

    id = "M10"
    title = "SSH version 2 with strong key exchanges"
    severity = "medium"
    pack = "router-hardening"
    network_needs = ("infrastructure",)
    options = M10Options
    uses = ("key_exchanges",)
    own_sets = {  # noqa: RUF012 - only read
        "key_exchanges": (
            "diffie-hellman-group16-sha512",
            "diffie-hellman-group17-sha512",
            "diffie-hellman-group18-sha512",
            "ecdh-sha2-nistp384",
            "ecdh-sha2-nistp521",
            "curve448-sha512",
            "mlkem768x25519-sha256",
            "mlkem768nistp256-sha256",
            "mlkem1024nistp384-sha384",
            "sntrup761x25519-sha512",
            "sntrup761x25519-sha512@openssh.com",
        ),
        # What they lead to is another message.
        "group_exchanges": ("diffie-hellman-group-exchange-sha1", "diffie-hellman-group-exchange-sha256"),
        # No key exchanges: RFC 8308, section 2.1, and OpenSSH's protocol, section 1.10.
        "markers": (
            "ext-info-c",
            "ext-info-s",
            "kex-strict-c-v00@openssh.com",
            "kex-strict-s-v00@openssh.com",
        ),
    }
    nothing = "no SSH of infrastructure was seen"
    parts = (
        Part(
            "versions",
            over="ssh",
            scope="src in infrastructure and message == identification",
            expect='version == "2.0"',
            by=("src",),
            says="{src} offered SSH that is not version 2 only, in {packets}, {when}{first}",
        ),
        Part(
            "key exchanges",
            over="ssh",
            scope="src in infrastructure and message in (key-exchange, group)",
            expect=(
                "(message == key-exchange and key_exchanges within (key_exchanges, group_exchanges, markers)) "
                "or (message == group and group_bits >= 4096)"
            ),
            by=("src",),
            says="{src} offered or chose SSH that is weaker than 4096 bits of Diffie-Hellman, in {packets}, {when}{first}",
            unseen="no key exchange of infrastructure was seen",
        ),
    )
