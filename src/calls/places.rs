//! The columns of a row that say where a call is: its numbers, its signalling, its media and its tunnels.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::endpoints::Side;
use super::rows::rows;
use crate::dissect::Mac;
use crate::messages::columns::{Text, Texts, U32};
use crate::packets::address::parse_address;
use crate::places::zones::{Seen, Zone};
use crate::places::{Country, Located, Numbering, Place, SCOPES, abroad, numbering, scope, single};
use crate::wire::ip::Addr;
use crate::wire::sip::host_port;

rows! {
    /// Where calls are, by what is known of their numbers and addresses.
    CallPlaces, CallPlace {
        /// Country of the number of who called, by how the number begins (ITU-T E.164): code of two letters. Only numbers with a plus sign are international.
        caller_country: Text,
        /// Country of the number of who was called.
        callee_country: Text,
        /// Whose the number of who called is: a country, or a service or network that is of none, such as Iridium.
        caller_numbering: Text,
        /// Whose the number of who was called is.
        callee_numbering: Text,
        /// Of the numbers: `national`, both are of the home country, or without one, of the same; `international`: one is of the home country, or without
        /// one, they are of two; `transit`: neither is of the home country. Null where a country is not known.
        scope: Text,
        /// The same of the addresses that the first call went between, `src` and `dst`.
        signalling_scope: Text,
        /// The same of the addresses that media were announced for, or sent from. Null unless countries of both sides are known.
        media_scope: Text,
        /// Country of `src`.
        src_country: Text,
        /// Country of `dst`.
        dst_country: Text,
        /// Number of the autonomous system of `src`.
        src_asn: U32,
        /// Number of the autonomous system of `dst`.
        dst_asn: U32,
        /// Name of the network of `src`.
        src_network: Text,
        /// Name of the network of `dst`.
        dst_network: Text,
        /// Zone of `src`: by prefix, else by its MAC, VLAN or tap.
        src_zone: Text,
        /// Zone of `dst`: by prefix, else by its MAC.
        dst_zone: Text,
        /// Countries of `addresses`: where messages went from and to.
        signalling_countries: Texts,
        /// Countries of the addresses in `via` and `received`.
        via_countries: Texts,
        /// Countries of the addresses in `route`.
        route_countries: Texts,
        /// Countries of the addresses in `contacts`.
        contact_countries: Texts,
        /// Networks of all these addresses.
        signalling_networks: Texts,
        /// Zones of all these addresses, by prefix.
        signalling_zones: Texts,
        /// Countries of the addresses in `caller_media`: what was announced.
        caller_media_countries: Texts,
        /// Countries of the addresses in `callee_media`.
        callee_media_countries: Texts,
        /// Addresses that RTP came from to where who was called wants to receive, while the call went on: what who called really sent from.
        caller_senders: Texts,
        /// Addresses that RTP came from to where who called wants to receive.
        callee_senders: Texts,
        /// Countries of `caller_senders`.
        caller_sender_countries: Texts,
        /// Countries of `callee_senders`.
        callee_sender_countries: Texts,
        /// Networks of all addresses of media.
        media_networks: Texts,
        /// Zones of all addresses of media, by prefix.
        media_zones: Texts,
        /// Countries of the ends of tunnels that messages and RTP were in, the outermost ones.
        tunnel_countries: Texts,
        /// Countries of both numbers, if these are two: the border that the call crosses by who calls whom. Empty if it is one; null where one is not known.
        crosses_numbers: Texts,
        /// Countries of signalling, if they are more than one: of all addresses that messages went between, and of those that they name. Empty if it is one; null where none is known.
        crosses_signalling: Texts,
        /// Countries of media, announced and sent from, likewise.
        crosses_media: Texts,
        /// Countries of ends of tunnels, likewise.
        crosses_tunnels: Texts,
        /// Where numbers and ways disagree: `signalling`, `media` or `tunnels`, and a country they are in that neither number is of: `media NL`. Empty if they
        /// agree; null where the country of a number is not known, or none of an address is.
        disagrees: Texts,
    }
}

rows! {
    /// Where media endpoints are.
    MediaPlaces, MediaPlace {
        /// Country of `addr`.
        country: Text,
        /// Number of its autonomous system.
        asn: U32,
        /// Name of its network.
        network: Text,
        /// Its zone, by prefix.
        zone: Text,
        /// Country of the source of the message with the description.
        src_country: Text,
        /// Country of its destination.
        dst_country: Text,
    }
}

/// What a call has to be looked up.
#[derive(Debug)]
pub(super) struct Ends<'a> {
    pub tap: &'a str,
    /// Who called, and who was called: what may be the number, the best first.
    pub numbers: [Vec<&'a str>; 2],
    pub src: Addr,
    pub dst: Addr,
    pub eth_src: Option<Mac>,
    pub eth_dst: Option<Mac>,
    pub vlan: Option<u16>,
    pub addresses: &'a [Addr],
    pub via: Vec<&'a str>,
    pub route: Vec<&'a str>,
    pub contacts: Vec<&'a str>,
    /// What the caller and the callee have announced.
    pub announced: [Vec<Addr>; 2],
    pub seen: &'a Ways,
}

/// What was seen of a call beyond what its messages say: kept only where somebody asks for places.
#[derive(Debug, Clone, Default, PartialEq, Eq, get_size2::GetSize, serde::Serialize, serde::Deserialize)]
pub(super) struct Ways {
    /// Where RTP came from.
    pub senders: Vec<(Side, Addr)>,
    /// Ends of tunnels.
    pub outer: Vec<Addr>,
}

/// How many addresses of a kind are kept.
const MAX_SENDERS: usize = 16;

impl Ways {
    /// Keeps what is not there yet, as long as there is room.
    pub fn keep(&mut self, outer: Option<(Addr, Addr)>, sender: Option<(Side, Addr)>) {
        for end in outer.into_iter().flat_map(|(src, dst)| [src, dst]) {
            if self.outer.len() < MAX_SENDERS && !self.outer.contains(&end) {
                self.outer.push(end);
            }
        }
        if let Some(sender) = sender.filter(|sender| !self.senders.contains(sender))
            && self.senders.len() < MAX_SENDERS
        {
            self.senders.push(sender);
        }
    }
}

/// Places of some addresses.
struct Found<'p> {
    located: &'p Located,
    places: Vec<Place>,
}

impl<'p> Found<'p> {
    fn of(located: &'p Located, addresses: impl IntoIterator<Item = Addr>) -> Self {
        Self { located, places: addresses.into_iter().map(|addr| located.places.of(addr)).collect() }
    }

    fn hosts(located: &'p Located, hosts: &[&str]) -> Self {
        Self::of(located, hosts.iter().filter_map(|host| parse_address(&host_port(host).0)))
    }

    fn countries(&self) -> impl Iterator<Item = Option<Country>> {
        self.places.iter().map(|place| place.country)
    }

    fn single(&self) -> BTreeSet<Country> {
        self.countries().filter_map(single).collect()
    }

    fn networks(&self) -> BTreeSet<String> {
        self.places.iter().filter_map(|place| network(self.located, place).1).collect()
    }

    fn zones(&self) -> BTreeSet<&'p str> {
        self.places.iter().filter_map(|place| zone(self.located, place.zone)).collect()
    }
}

fn country(country: Option<Country>) -> Option<Cow<'static, str>> {
    country.map(|country| country.code().into())
}

/// Number and name.
fn network(located: &Located, place: &Place) -> (Option<u32>, Option<String>) {
    let network = place.network.and_then(|number| located.places.networks().get(number as usize));
    let name = network.map(|network| network.name.clone()).filter(|name| !name.is_empty());
    (network.and_then(|network| network.asn), name)
}

fn zone(located: &Located, zone: Option<Zone>) -> Option<&str> {
    located.places.zones().names().get(usize::from(zone?)).map(String::as_str)
}

fn owned(text: Option<&str>) -> Option<Cow<'static, str>> {
    text.map(|text| text.to_owned().into())
}

/// Codes of countries, regions too, in order; null if there is none.
fn codes(countries: impl IntoIterator<Item = Country>) -> Option<Vec<Cow<'static, str>>> {
    let all: BTreeSet<_> = countries.into_iter().collect();
    (!all.is_empty()).then(|| all.into_iter().map(|country| country.code().into()).collect())
}

fn all_of<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Option<Vec<Cow<'static, str>>> {
    let all: Vec<_> = names.into_iter().map(|name| Cow::Owned(name.into())).collect();
    (!all.is_empty()).then_some(all)
}

/// The border between these countries: none if it is one, null if there is none.
fn border(countries: &BTreeSet<Country>) -> Option<Vec<Cow<'static, str>>> {
    match countries.len() {
        0 => None,
        1 => Some(Vec::new()),
        _ => codes(countries.iter().copied()),
    }
}

/// Whose a number is: only what begins with a plus sign is known to be international.
fn whose(numbers: &[&str]) -> Option<Numbering> {
    numbers.iter().filter(|number| number.starts_with('+')).find_map(|number| numbering(number))
}

fn scope_name(number: Option<u8>) -> Option<Cow<'static, str>> {
    SCOPES.get(usize::from(number?)).map(|&name| name.into())
}

impl CallPlace<'static> {
    /// Where a call is.
    pub fn of(located: &Located, ends: &Ends<'_>) -> Self {
        let home = &located.home;
        let [caller, callee] = &ends.numbers;
        let (caller, callee) = (whose(caller), whose(callee));
        let numbers = [caller, callee].map(|whose| single(whose.and_then(|whose| whose.country)));
        let (src, dst) = (located.places.of(ends.src), located.places.of(ends.dst));
        let zones = located.places.zones();
        let from = Seen { mac: ends.eth_src, mpls: &[], vlans: ends.vlan.as_slice(), taps: &[ends.tap] };
        let to = Seen { mac: ends.eth_dst, ..Seen::default() };
        let messages = Found::of(located, ends.addresses.iter().copied());
        let [via, route, contacts] =
            [&ends.via, &ends.route, &ends.contacts].map(|hosts| Found::hosts(located, hosts));
        let signalling = Found {
            located,
            places: [&messages, &via, &route, &contacts]
                .iter()
                .flat_map(|found| &found.places)
                .copied()
                .collect(),
        };
        let announced = ends.announced.each_ref().map(|addrs| Found::of(located, addrs.iter().copied()));
        let senders = [Side::Caller, Side::Callee].map(|side| {
            let of = ends.seen.senders.iter();
            of.filter(|(of, _)| *of == side).map(|(_, addr)| *addr).collect::<Vec<_>>()
        });
        let sent = senders.each_ref().map(|addrs| Found::of(located, addrs.iter().copied()));
        let media = Found {
            located,
            places: announced.iter().chain(&sent).flat_map(|found| &found.places).copied().collect(),
        };
        let tunnels = Found::of(located, ends.seen.outer.iter().copied());
        let sides = [0, 1].map(|side| {
            let of = |found: &[Found<'_>; 2]| found.get(side).map(Found::single).unwrap_or_default();
            of(&announced).union(&of(&sent)).copied().collect::<BTreeSet<_>>()
        });
        let are_both_known = sides.iter().all(|side| !side.is_empty());
        let media_scope = scope(home, sides.iter().flatten().copied().map(Some)).filter(|_| are_both_known);
        let are_numbers_known = numbers.iter().all(Option::is_some);
        let texts =
            |addrs: &[Addr]| all_of(addrs.iter().map(|&addr| crate::packets::address::address_text(addr)));
        let [caller_media, callee_media] = &announced;
        let [caller_sent, callee_sent] = &sent;
        let [caller_senders, callee_senders] = &senders;
        let some = |found: &Found<'_>| codes(found.countries().flatten());
        let (src_network, dst_network) = (network(located, &src), network(located, &dst));
        Self {
            caller_country: country(caller.and_then(|whose| whose.country)),
            callee_country: country(callee.and_then(|whose| whose.country)),
            caller_numbering: caller.map(|whose| whose.name.into()),
            callee_numbering: callee.map(|whose| whose.name.into()),
            scope: scope_name(scope(home, numbers)),
            signalling_scope: scope_name(scope(home, [src.country, dst.country])),
            media_scope: scope_name(media_scope),
            src_country: country(src.country),
            dst_country: country(dst.country),
            src_asn: src_network.0,
            dst_asn: dst_network.0,
            src_network: src_network.1.map(Cow::Owned),
            dst_network: dst_network.1.map(Cow::Owned),
            src_zone: owned(zone(located, zones.of(Some(ends.src), from))),
            dst_zone: owned(zone(located, zones.of(Some(ends.dst), to))),
            signalling_countries: some(&messages),
            via_countries: some(&via),
            route_countries: some(&route),
            contact_countries: some(&contacts),
            signalling_networks: all_of(signalling.networks()),
            signalling_zones: all_of(signalling.zones()),
            caller_media_countries: some(caller_media),
            callee_media_countries: some(callee_media),
            caller_senders: texts(caller_senders),
            callee_senders: texts(callee_senders),
            caller_sender_countries: some(caller_sent),
            callee_sender_countries: some(callee_sent),
            media_networks: all_of(media.networks()),
            media_zones: all_of(media.zones()),
            tunnel_countries: some(&tunnels),
            crosses_numbers: border(&numbers.iter().copied().flatten().collect())
                .filter(|_| are_numbers_known),
            crosses_signalling: border(&signalling.single()),
            crosses_media: border(&media.single()),
            crosses_tunnels: border(&tunnels.single()),
            disagrees: disagrees(
                numbers,
                [("signalling", &signalling), ("media", &media), ("tunnels", &tunnels)],
            ),
        }
    }
}

/// Ways that lead where neither number is, each with a country.
fn disagrees(numbers: [Option<Country>; 2], ways: [(&str, &Found<'_>); 3]) -> Option<Vec<Cow<'static, str>>> {
    let known = ways.into_iter().filter_map(|(way, found)| Some((way, abroad(numbers, found.countries())?)));
    let mut all: Option<Vec<_>> = None;
    for (way, countries) in known {
        let texts = countries.into_iter().map(|country| Cow::Owned(format!("{way} {}", country.code())));
        all.get_or_insert_default().extend(texts);
    }
    all
}

impl MediaPlace<'static> {
    /// Where a media endpoint is, of a message between these addresses.
    pub fn of(located: &Located, addr: Option<Addr>, src: Addr, dst: Addr) -> Self {
        let place = addr.map(|addr| located.places.of(addr)).unwrap_or_default();
        let (asn, name) = network(located, &place);
        Self {
            country: country(place.country),
            asn,
            network: name.map(Cow::Owned),
            zone: owned(zone(located, place.zone)),
            src_country: country(located.places.of(src).country),
            dst_country: country(located.places.of(dst).country),
        }
    }
}
