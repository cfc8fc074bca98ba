"""Where addresses belong, whose numbers are, and what flows say of it."""

from __future__ import annotations

import ipaddress
import random
from pathlib import Path

import maxminddb
import mmdb_writer
import netaddr
import phonenumbers
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Raw
from scapy.utils import wrpcap
from typer.testing import CliRunner

import tapsight
from tapsight.checks import _special as special
from tapsight.cli import app
from tapsight.places import Places, country_of_number
from tapsight.policy import Policy, Zone

CODES = ["BE", "NL", "DE", "FR", "US", "JP"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@st.composite
def prefixes(draw: st.DrawFn) -> Network:
    """Prefixes of hosts of the Internet that often lie within one another."""
    if draw(st.booleans()):
        length = draw(st.integers(8, 32))
        return ipaddress.IPv4Network((0x08000000 | draw(st.integers(0, 0xFFFFFF)), length), strict=False)
    length = draw(st.integers(16, 128))
    return ipaddress.IPv6Network((0x2A00 << 112 | draw(st.integers(0, 2**112 - 1)), length), strict=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(prefixes(), st.sampled_from(CODES)), min_size=1, max_size=20))
def test_the_longest_prefix_says_the_country(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Network, str]]
) -> None:
    path = tmp_path_factory.mktemp("places") / "own.csv"
    path.write_text("prefix,country\n" + "".join(f"{prefix},{code}\n" for prefix, code in rows))
    edges = [each for prefix, _ in rows for each in (prefix[0], prefix[-1])]
    asked = [*edges, ipaddress.ip_address("8.255.0.1"), ipaddress.ip_address("2a00::1")]
    found = Places(path, registered=False).lookup([str(each) for each in asked])["country"].to_pylist()
    for address, country in zip(asked, found, strict=True):
        holding = [
            (prefix.prefixlen, at, code)
            for at, (prefix, code) in enumerate(rows)
            if address.version == prefix.version and address in prefix
        ]
        assert country == (max(holding)[2] if holding else None), address


def _addresses(random: random.Random, networks: list[Network], count: int) -> list[str]:
    """Addresses in and beside the networks: their first and last ones, those next to them, and some within."""
    chosen: list[str] = []
    for network in random.choices(networks, k=count // 5):
        first, last = int(network.network_address), int(network.broadcast_address)
        kind = type(network.network_address)
        for number in (first, last, first - 1, last + 1, random.randint(first, last)):
            if 0 <= number < 1 << network.max_prefixlen:
                chosen.append(str(kind(number)))
    return chosen


def test_maxmind_databases_say_what_their_own_reader_does(tmp_path: Path) -> None:
    """Written by mmdb_writer and read by maxminddb: another writer and another reader."""
    chance = random.Random(1)
    networks: dict[Network, dict[str, object]] = {}
    for _ in range(3000):
        if chance.random() < 0.6:
            at = 0x08000000 | chance.getrandbits(25)
            network: Network = ipaddress.IPv4Network((at, chance.randint(8, 32)), strict=False)
        else:
            at = 0x2A00 << 112 | chance.getrandbits(112)
            network = ipaddress.IPv6Network((at, chance.randint(20, 128)), strict=False)
        networks[network] = {
            "country": {"iso_code": chance.choice(CODES)},
            "autonomous_system_number": chance.randint(1, 400_000),
            "autonomous_system_organization": f"Network {chance.randint(1, 50)}",
        }
    writer = mmdb_writer.MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Made-Here")
    # The longer prefix is written last, so that it counts.
    for network, entry in sorted(
        networks.items(), key=lambda item: item[0].prefixlen + 96 * (item[0].version == 4)
    ):
        writer.insert_network(netaddr.IPSet([str(network)]), entry)
    path = tmp_path / "made.mmdb"
    writer.to_db_file(str(path))
    addresses = _addresses(chance, list(networks), 4000)
    places = Places(path, registered=False).lookup(pl.Series(addresses))
    with maxminddb.open_database(path) as reader:
        for address, country, asn, name in zip(
            addresses, places["country"], places["asn"], places["network"], strict=True
        ):
            entry = reader.get(address) or {}
            expected = (
                entry.get("country", {}).get("iso_code"),
                entry.get("autonomous_system_number"),
                entry.get("autonomous_system_organization"),
            )
            assert (country, asn, name) == expected, address


def test_ranges_say_what_a_walk_over_all_of_them_does(tmp_path: Path) -> None:
    """Ranges that are no prefixes, in a table of first and last addresses; the smaller one counts, then the later row."""
    chance = random.Random(2)
    rows = []
    for _ in range(400):
        first = 0x08000000 | chance.getrandbits(20)
        rows.append((first, first + chance.randint(0, 1 << chance.randint(0, 16)), chance.choice(CODES)))
    text = "".join(
        f"{ipaddress.IPv4Address(first)},{ipaddress.IPv4Address(last)},{code}\n" for first, last, code in rows
    )
    (tmp_path / "ranges.csv").write_text(text)
    wanted = [
        number
        for first, last, _ in rows
        for number in (first - 1, first, (first + last) // 2, last, last + 1)
    ]
    expected = []
    for number in wanted:
        holding = [
            (last - first, -at, code)
            for at, (first, last, code) in enumerate(rows)
            if first <= number <= last
        ]
        expected.append(min(holding)[2] if holding else None)
    addresses = pl.Series([str(ipaddress.IPv4Address(number)) for number in wanted])
    assert (
        Places(tmp_path / "ranges.csv", registered=False).lookup(addresses)["country"].to_list() == expected
    )


@pytest.mark.parametrize(
    ("zones", "what"),
    [
        (
            {"a": Zone(prefixes=["192.0.2.0/24"]), "b": Zone(prefixes=["192.0.2.0/24"])},
            r'192.0.2.0/24 is in zone "a" and in zone "b"',
        ),
        ({"a": Zone(vlans=[7]), "b": Zone(vlans=[7])}, r'VLAN 7 is in zone "a" and in zone "b"'),
        ({"a": Zone(mpls=[16]), "b": Zone(mpls=[16])}, r'MPLS label 16 is in zone "a" and in zone "b"'),
        ({"a": Zone(taps=["x"]), "b": Zone(taps=["x"])}, r'tap "x" is in zone "a" and in zone "b"'),
    ],
)
def test_what_two_zones_list_is_an_error(zones: dict[str, Zone], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Places(zones=zones)


def test_a_database_that_is_cut_or_none_is_an_error(tmp_path: Path) -> None:
    writer = mmdb_writer.MMDBWriter(ip_version=4, database_type="Made-Here")
    writer.insert_network(netaddr.IPSet(["192.0.2.0/24"]), {"country": {"iso_code": "SE"}})
    writer.to_db_file(str(tmp_path / "whole.mmdb"))
    whole = (tmp_path / "whole.mmdb").read_bytes()
    for name, content in {
        "cut.mmdb": whole[: len(whole) // 2],
        "empty.mmdb": b"",
        "other.mmdb": b"PK\x03\x04" * 99,
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            Places(tmp_path / name)
    with pytest.raises(OSError, match="absent"):
        Places(tmp_path / "absent.mmdb")


def test_example_numbers_of_every_region_are_of_their_country() -> None:
    wrong = {}
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        example = phonenumbers.example_number(region)
        if example is None:
            continue
        text = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        if country_of_number(text) != region:
            wrong[text] = (region, country_of_number(text))
    # libphonenumber has the same example for Saint Barthélemy and for Saint Martin.
    assert wrong == {"+590590271234": ("MF", "BL")}


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        (b"prefix,country\r\n8.8.8.0/24,USA\r\n", 2, "not a country's code"),
        (b"\xef\xbb\xbfprefix,country\n8.8.8.1/24,US\n", 2, "not an address prefix"),
        (b'prefix,country\n"8.8.8.0/24,US\n', 2, "a quote is not closed"),
        (b"prefix,country\n" + b"a" * (1 << 17), 2, "a line of more than"),
    ],
)
def test_a_wrong_table_is_told_by_file_and_line(tmp_path: Path, content: bytes, line: int, what: str) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=what) as error:
        Places(path)
    assert str(error.value).startswith(f"{path}:{line}: ")


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(b"prefix,asn,name\n8.8.8.0/24,64500,a\x1b[31mb\n")
    done = CliRunner().invoke(app, ["where", "8.8.8.8", "--places", str(path)])
    assert done.exit_code == 0
    assert "AS64500" in done.output
    assert "\x1b" not in done.output


def test_flows_say_where_their_ends_and_tunnels_are(tmp_path: Path) -> None:
    table = tmp_path / "own.csv"
    table.write_text(
        "prefix,country,asn,name\n8.1.0.0/16,BE,64500,One\n8.2.0.0/16,BE,64501,\n8.3.0.0/16,NL,,\n"
    )
    policy = Policy.loads(
        '[zones]\ncore = { prefixes = ["8.1.0.0/24"] }\npeer = { macs = ["02:00:00:00:00:0b"] }\n'
    )
    ether = Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b")

    def inner(src: str, dst: str) -> IP:
        return IP(src=src, dst=dst) / UDP(sport=1000, dport=2000) / Raw(b"x")

    frames = [
        ether / inner("8.1.0.1", "8.2.0.1"),
        ether / IP(src="8.1.0.9", dst="8.3.0.9") / GRE() / inner("8.1.0.1", "8.2.0.1"),
        ether / inner("8.3.0.1", "8.1.0.1"),
        ether / inner("8.3.0.1", "8.3.0.2"),
        ether / inner("8.1.0.1", "10.0.0.1"),
    ]
    capture = tmp_path / "a.pcap"
    wrpcap(str(capture), frames)
    places = Places(table, registered=False, zones=policy.zones)
    rows = pl.DataFrame(tapsight.flows(str(capture), places=places, home="BE")).sort("flow")
    assert rows["scope"].cast(pl.String).to_list() == [
        "national",
        "national",
        "international",
        "transit",
        None,
    ]
    assert rows["crosses"].to_list() == [None, ["NL"], None, None, None]
    assert rows["outer_dst_country"].cast(pl.String).to_list() == [None, "NL", None, None, None]
    assert (rows["src_asn"][0], rows["dst_asn"][0]) == (64500, 64501)
    assert (rows["src_network"][0], rows["dst_network"][0]) == ("One", None)
    assert (rows["src_zone"][0], rows["dst_zone"][0]) == ("core", "peer")
    without = pl.DataFrame(tapsight.flows(str(capture)))
    assert "scope" not in without.columns
    assert rows.drop([name for name in rows.columns if name not in without.columns]).equals(
        without.sort("flow")
    )
    with pytest.raises(ValueError, match="give places"):
        tapsight.flows(str(capture), home="BE")
    with pytest.raises(ValueError, match="not a country's code"):
        pl.DataFrame(tapsight.flows(str(capture), places=places, home="Belgium"))


def test_prefixes_of_checks_are_those_of_the_registries() -> None:
    # RFC 6890: what the engine calls them, by first and last address.
    meaning = {
        special.NETWORK: {"private", "shared by a carrier"},
        special.LINK: {"link-local"},
        special.HOST: {"loopback"},
        special.DOCUMENTATION: {"documentation"},
        special.GROUPS: {"multicast"},
        special.NOWHERE: {"this network", "unspecified"},
    }
    places = Places(registered=False)
    for prefixes_, names in meaning.items():
        networks = [ipaddress.ip_network(prefix) for prefix in prefixes_]
        asked = [str(each) for network in networks for each in (network[0], network[-1])]
        assert set(places.lookup(asked)["special"].to_pylist()) == names
    assert (*special.NETWORK, *special.LINK) == special.PRIVATE
    # RFC 1918, 6598, 4193, 3927 and 4291, by hand.
    assert set(special.PRIVATE) == {
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "169.254.0.0/16", "fe80::/10",
    }  # fmt: skip


def test_places_are_given_as_files_too(tmp_path: Path) -> None:
    table = tmp_path / "own.csv"
    table.write_text("prefix,country\n8.1.0.0/24,NO\n")
    other = tmp_path / "other.csv"
    other.write_text("prefix,country\n8.1.0.0/24,SE\n")
    path = tmp_path / "a.pcap"
    macs = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
    wrpcap(str(path), [Ether(**macs) / IP(src="8.1.0.1", dst="8.1.0.2") / UDP(sport=5060, dport=4000)])
    for known, country in (
        (str(table), "NO"),
        (table, "NO"),
        ([table, str(other)], "SE"),
        (Places(table), "NO"),
    ):
        rows = tapsight.flows(path, places=known, home="NO").to_polars()  # type: ignore[arg-type]
        assert rows["src_country"].to_list() == [country]
        assert tapsight.calls(path, places=known).places is not None  # type: ignore[arg-type]
    for make in (tapsight.flows, tapsight.calls):
        for wrong in (7, [7], {"a": 1}):
            with pytest.raises(TypeError, match=r"tapsight\.places\.Places, or the path of a file"):
                make(path, places=wrong)
        with pytest.raises(FileNotFoundError, match=r"none\.csv"):
            make(path, places=str(tmp_path / "none.csv"))
        with pytest.raises(
            ValueError, match=r"give places too, such as tapsight\.places\.Places\(\), or the path of a file"
        ):
            make(path, home="NO")


def test_several_countries_may_be_home(tmp_path: Path) -> None:
    table = tmp_path / "own.csv"
    table.write_text("prefix,country\n8.1.0.0/16,MX\n8.2.0.0/16,BE\n8.3.0.0/16,NL\n")
    path = tmp_path / "a.pcap"
    macs = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
    hosts = ("8.1.0.1", "8.2.0.1", "8.3.0.1")
    wrpcap(
        str(path),
        [Ether(**macs) / IP(src="8.1.0.1", dst=host) / UDP(sport=1000, dport=2000) for host in hosts],
    )

    def scopes(*homes: str) -> list[str]:
        options = [each for home in homes for each in ("--home", home)]
        command = ["flows", str(path), "--places", str(table), *options, "--columns", "flow,scope"]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.stderr
        lines = sorted(line.split(",") for line in done.stdout.replace('"', "").splitlines()[1:])
        return [scope for _, scope in lines]

    assert scopes("MX") == ["national", "international", "international"]
    assert scopes("BE") == ["transit", "international", "transit"]
    # Whichever comes first, and in small letters, as in a policy.
    for homes in (("MX", "BE"), ("BE", "mx")):
        assert scopes(*homes) == ["national", "national", "international"]
    for code in ("XX", "UK", "BEL", "EU", ""):
        wrong = ["flows", str(path), "--places", str(table), "--home", "BE", "--home", code]
        done = CliRunner().invoke(app, wrong)
        assert done.exit_code == 2
        assert "not a country's code of two letters, such as DE" in done.stderr
        for make in (tapsight.flows, tapsight.calls):
            with pytest.raises(ValueError, match="not a country's code of two letters"):
                make(path, places=table, home=["BE", code])
        with pytest.raises(ValueError, match="country's code of two letters"):
            Policy.loads(f'[network]\nhome = ["BE", "{code}"]\n')


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        ("0032470123456", "a telephone number begins with a plus sign"),
        ("0470 12-34-56", "a telephone number begins with a plus sign"),
        ("193.0.0.0/24", "ask for one address of a prefix, such as 193.0.0.0"),
        ("2a00:1::/32", "ask for one address of a prefix, such as 2a00:1::"),
        ("example.org", "write an IP address, such as 193.0.0.1, or a telephone number with a plus sign"),
        ("1.2.3", "write an IP address"),
        ("", "write an IP address"),
    ],
)
def test_where_says_what_to_write(thing: str, said: str) -> None:
    done = CliRunner().invoke(app, ["where", "8.8.8.8", thing])
    assert done.exit_code == 2
    assert f'"{thing}" is no address: {said}' in done.stderr


def test_where_reads_addresses_and_numbers() -> None:
    done = CliRunner().invoke(app, ["where", "192.0.2.1", "2001:db8::1", "+32 470 12 34 56"])
    assert done.exit_code == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert "Belgium" in done.stdout
