//! **B8, rogue DHCP.** A server that hosts should not listen to tells them which gateway, DNS server, routes or boot server to use.
//!
//! *Sees*: who answers (`B8.server`: offers, acknowledgements, refusals, answers of BOOTP; advertise and reply of DHCPv6), with what it tells, for policy
//! to compare; two servers that tell one client different things in one transaction (`B8.conflict`), or the clients of one link at different times
//! (`B8.second-server`); another boot server or file in one transaction (`B8.boot`); two devices that offer as one and the same server, in turn
//! (`B8.impostor`); and a server that tells a client other things than before (`B8.changed`).
//! *Cannot see*: a single server that is wrong, unless the policy lists servers; one that lies in all that tells it from the right one; what a relay
//! and a server say to each other in a tunnel.
//! *Guards*: redundant servers tell the same, in whatever order. A value that only one of them gives is no conflict, but for routes: those take
//! traffic past the gateway (TunnelVision, CVE-2024-3661). A server that only tells where to boot from (proxy DHCP) gives no address, and
//! conflicts with nobody in that. Links behind different relays are different links. Gateways that the policy lists may differ. Devices are told apart
//! by MAC address in offers that went through no relay, and not if they are those of a virtual router; who took over once has taken
//! over. Of a message that was seen on the same tap just before, only the first counts.
//! *Thresholds*: one transaction suffices for a conflict. It is of high severity where the new gateway is none of those that the policy's
//! [network] lists, else medium. Other than in one transaction, pools of clients may differ: low.
//! ATT&CK: T1557.003 (DHCP Spoofing).

use std::borrow::Cow;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::claim::Tally;
use super::neighbor_spoof::is_virtual;
use super::{
    Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Sighting, Wanted, saved,
};
use crate::dissect::Mac;
use crate::hash::{self, fold};
use crate::messages::{self, Kinds, View, dhcp};
use crate::packets::address::address_text;
use crate::table::Table;
use crate::wire::ip::Addr;

const MINUTE: i64 = 60_000_000_000;

/// Links that are told apart, and servers of each.
const MAX_LINKS: usize = 1024;
const MAX_SERVERS: usize = 8;

/// How much is kept of what a server tells, in characters.
const MAX_TOLD: usize = 240;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Class {
    Server,
    Conflict,
    OtherGateway,
    Second,
    Boot,
    Impostor,
    Changed,
}

/// Tap, VLAN, version, relay.
type Link = (u16, u16, u8, Option<Addr>);

/// What, where, of which server (its place on the link, and the device of an impostor), and beside which one.
type Key = (Class, Link, u8, Option<Mac>, Option<u8>);

/// What a server tells a client, as hashes; 0 where it tells nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    routers: u64,
    dns: u64,
    routes: u64,
    boot: u64,
    /// First gateway.
    router: Option<Addr>,
    /// Whether the client gets an address too.
    has_address: bool,
}

impl Told {
    fn new(dhcp: &dhcp::View<'_>, row: usize) -> Self {
        let list = |texts: Option<Vec<Cow<'_, str>>>| {
            let mut texts = texts.unwrap_or_default();
            texts.sort_unstable();
            texts.iter().fold(0, |sum, text| hash_text(sum, text))
        };
        let boot = dhcp.boot_file(row).filter(|file| !file.is_empty()).map_or(0, |file| {
            let server = dhcp.boot_server(row).unwrap_or_default();
            hash_text(hash_text(0, &file), &server)
        });
        Self {
            routers: list(dhcp.routers(row)),
            dns: list(dhcp.dns_servers(row)),
            routes: list(dhcp.routes(row)),
            boot,
            router: dhcp.router(row),
            has_address: dhcp.client(row).is_some(),
        }
    }

    /// Whether two clients that believe these send their packets, or questions for names, elsewhere.
    fn conflicts(&self, other: &Self) -> bool {
        let differ = |a: u64, b: u64| a != 0 && b != 0 && a != b;
        let routes = self.has_address && other.has_address && self.routes != other.routes;
        differ(self.routers, other.routers) || differ(self.dns, other.dns) || routes
    }
}

fn hash_text(sum: u64, text: &str) -> u64 {
    let sum = text
        .bytes()
        .fold(sum ^ 0x9e37_79b9_7f4a_7c15, |sum, byte| fold(sum ^ u64::from(byte), 0xd1b5_4a32_d192_ed03));
    sum.max(1)
}

/// A server on a link.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Server {
    /// Its identity: option 54 or the source; of DHCPv6 a hash of its DUID.
    identity: u64,
    /// Server by its own words, and where its answers come from.
    name: Option<Addr>,
    src: Option<Addr>,
    mac: Option<Mac>,
    /// What it told first, and that as text.
    told: Told,
    text: String,
    last: Sighting,
    /// Which device offered last, and another one that did.
    device: Option<(Mac, Sighting)>,
    rival: Option<(Mac, Sighting)>,
}

/// The first answer in a transaction.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Answer {
    /// The place of the server on its link, plus one.
    server: u8,
    mac: Option<Mac>,
    told: Told,
    sighting: Sighting,
}

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct RogueDhcp {
    claims: Claims<Key>,
    links: HashMap<Link, Vec<Server>>,
    transactions: Table<Answer>,
    /// What each server told each client last.
    clients: Table<Told>,
    /// What was told differently, of the first claims.
    details: HashMap<Key, String>,
    answers: u64,
    /// Answers of servers that found no room, and those in tunnels.
    missed: u64,
    tunnelled: u64,
}

impl Detector for RogueDhcp {
    saved!(claims);

    fn id(&self) -> &'static str {
        "B8"
    }

    fn packets(&self) -> Wanted {
        Wanted::None
    }

    fn tables(&self) -> Kinds {
        Kinds::of(&[messages::Kind::Dhcp])
    }

    fn read(&mut self, messages: &View<'_>, row: usize, seen: &Seen<'_>, context: &Context<'_>) {
        let View::Dhcp(dhcp) = messages else { return };
        let (version, message) = (dhcp.version(row).unwrap_or_default(), dhcp.message(row));
        let is_answer = match version {
            4 => matches!(message, None | Some(2 | 5 | 6)),
            _ => matches!(message, Some(2 | 7)),
        };
        if dhcp.is_reply(row) != Some(true) || !is_answer || seen.was_here(context) {
            return;
        }
        self.answers += 1;
        let path = context.paths.get(seen.sighting.path);
        if !path.encap.is_empty() {
            self.tunnelled += 1;
            return;
        }
        let relay = dhcp.relay(row);
        let link = (path.tap, path.vlan.unwrap_or_default(), version, relay);
        let mac = path.eth_src.filter(|_| relay.is_none());
        let (name, src) = (dhcp.server(row), seen.packet.src());
        let identity = match dhcp.server_duid(row) {
            Some(duid) => hash_text(0, &duid),
            None => hash::address(name.or(src)).max(1),
        };
        let told = Told::new(dhcp, row);
        let now = seen.sighting;
        let Some(at) = self.place(link, identity, || Server {
            identity,
            name,
            src,
            mac,
            told,
            text: text(dhcp, row),
            last: now,
            device: None,
            rival: None,
        }) else {
            self.missed += 1;
            return;
        };
        if let Some(tally) = self.claims.entry((Class::Server, link, at, None, None), context.room) {
            tally.add(seen, now, None, (Role::Answer, Role::Answer), context);
        }
        // A refusal tells nothing.
        if (version, message) == (4, Some(6)) {
            return;
        }
        let client = client(dhcp, row, link);
        if message == Some(2)
            && let Some(mac) = mac.filter(|&mac| !is_virtual(mac))
        {
            self.offered(link, at, mac, seen, context);
        }
        self.compare(link, at, (mac, told), (dhcp, row), client, seen, context);
        self.compare_others(link, at, told, seen, context);
        if let Some(before) = self.clients.entry(fold(client ^ identity, 0x9e37_79b9_7f4a_7c15) | 1) {
            let is_other = *before != Told::default() && before.conflicts(&told);
            *before = told;
            if is_other
                && let Some(tally) = self.claims.entry((Class::Changed, link, at, None, None), context.room)
            {
                tally.add(seen, now, None, (Role::Original, Role::Answer), context);
                self.details.entry((Class::Changed, link, at, None, None)).or_insert_with(|| text(dhcp, row));
            }
        }
        if let Some(server) = self.server(link, at) {
            server.last = now;
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let missing = self.claims.missing();
        let missed =
            (self.missed > 0).then(|| format!("{} answers were of servers that found no room", self.missed));
        let tunnelled = (self.tunnelled > 0).then(|| format!("{} answers were in tunnels", self.tunnelled));
        let claims = self.claims.take();
        // What happened in one transaction need not be told of the link once more.
        let proven: Vec<(Link, u8, Option<u8>)> = claims
            .iter()
            .filter(|((class, ..), _)| matches!(class, Class::Conflict | Class::OtherGateway))
            .map(|&((_, link, at, _, other), _)| (link, at, other))
            .collect();
        let is_told = |&((class, link, at, _, other), _): &(Key, Tally)| {
            class == Class::Second && proven.contains(&(link, at, other))
        };
        let claims = claims.into_iter().filter(|claim| !is_told(claim));
        let claims = claims.filter_map(|(key, tally)| self.claim(key, tally, &outcome.context)).collect();
        let judged = self.answers.saturating_sub(self.missed + self.tunnelled);
        (claims, Scope::of_kinds(outcome, self.answers, judged, [missing, missed, tunnelled]))
    }
}

impl RogueDhcp {
    /// The place of a server on its link, which it gets if there is room.
    fn place(&mut self, link: Link, identity: u64, new: impl FnOnce() -> Server) -> Option<u8> {
        if self.links.len() >= MAX_LINKS && !self.links.contains_key(&link) {
            return None;
        }
        let servers = self.links.entry(link).or_default();
        if let Some(at) = servers.iter().position(|server| server.identity == identity) {
            return u8::try_from(at).ok();
        }
        if servers.len() >= MAX_SERVERS {
            return None;
        }
        servers.push(new());
        u8::try_from(servers.len() - 1).ok()
    }

    fn server(&mut self, link: Link, at: u8) -> Option<&mut Server> {
        self.links.get_mut(&link)?.get_mut(usize::from(at))
    }

    /// Compares what is told with what another server told in the same transaction.
    #[expect(clippy::too_many_arguments, reason = "an answer is all of these")]
    fn compare(
        &mut self,
        link: Link,
        at: u8,
        (mac, told): (Option<Mac>, Told),
        (dhcp, row): (&dhcp::View<'_>, usize),
        client: u64,
        seen: &Seen<'_>,
        context: &Context<'_>,
    ) {
        let transaction = u64::from(dhcp.transaction(row).unwrap_or_default());
        let Some(answer) =
            self.transactions.entry(fold(client ^ transaction << 16, 0xd1b5_4a32_d192_ed03) | 1)
        else {
            return;
        };
        let first = *answer;
        let is_old = seen.sighting.ts.saturating_sub(first.sighting.ts) > MINUTE;
        if first.server == 0 || is_old {
            *answer = Answer { server: at + 1, mac, told, sighting: seen.sighting };
            return;
        }
        let before = first.server - 1;
        // One server's offer and its acknowledgement need not be the same; but two devices do not share a name.
        let is_device =
            dhcp.message(row) == Some(2) && mac.is_some() && first.mac.is_some() && mac != first.mac;
        if before == at && !is_device {
            return;
        }
        let gateways = &context.network.gateways;
        let is_gateway = |told: &Told| told.router.is_none_or(|router| gateways.contains(router));
        let are_gateways = !gateways.is_empty() && is_gateway(&told) && is_gateway(&first.told);
        let class = if told.conflicts(&first.told) {
            // Of two routers that both serve, each may name itself.
            let same = |told: Told| Told { routers: 0, ..told };
            if are_gateways && !same(told).conflicts(&same(first.told)) {
                return;
            }
            if gateways.is_empty() || are_gateways { Class::Conflict } else { Class::OtherGateway }
        } else if told.boot != 0 && first.told.boot != 0 && told.boot != first.told.boot {
            Class::Boot
        } else {
            return;
        };
        // The one that came first to the link is the one that was there.
        let (later, earlier) = if at >= before { (at, before) } else { (before, at) };
        let key = (class, link, later, mac.filter(|_| before == at), Some(earlier));
        if let Some(tally) = self.claims.entry(key, context.room) {
            tally.add(seen, seen.sighting, Some(first.sighting), (Role::Answer, Role::Answer), context);
            self.details.entry(key).or_insert_with(|| text(dhcp, row));
        }
    }

    /// Compares what is told with what the others on the link told at first.
    fn compare_others(&mut self, link: Link, at: u8, told: Told, seen: &Seen<'_>, context: &Context<'_>) {
        let Some(servers) = self.links.get(&link) else { return };
        let gateways = &context.network.gateways;
        let others = servers.iter().enumerate().take(usize::from(at));
        let other = others.into_iter().find(|(_, other)| {
            let are_gateways = !gateways.is_empty()
                && [told.router, other.told.router]
                    .into_iter()
                    .flatten()
                    .all(|router| gateways.contains(router));
            !are_gateways && other.told.conflicts(&told)
        });
        let Some((number, other)) =
            other.and_then(|(number, other)| Some((u8::try_from(number).ok()?, other)))
        else {
            return;
        };
        let key = (Class::Second, link, at, None, Some(number));
        if let Some(tally) = self.claims.entry(key, context.room) {
            tally.add(seen, seen.sighting, Some(other.last), (Role::Original, Role::Answer), context);
        }
    }

    /// Takes note of the device that offers as a server.
    fn offered(&mut self, link: Link, at: u8, mac: Mac, seen: &Seen<'_>, context: &Context<'_>) {
        let now = seen.sighting;
        let Some(server) = self.server(link, at) else { return };
        let is_recent = |of: Sighting| (0..=MINUTE).contains(&now.ts.saturating_sub(of.ts));
        let Some((device, last)) = server.device else {
            server.device = Some((mac, now));
            return;
        };
        if device != mac {
            server.rival = is_recent(last).then_some((mac, now));
            if !is_recent(last) {
                server.device = Some((mac, now));
            }
            return;
        }
        // The first offers again after the second has.
        server.device = Some((mac, now));
        let Some((rival, theirs)) = server.rival.take().filter(|&(_, theirs)| is_recent(theirs)) else {
            return;
        };
        if let Some(tally) = self.claims.entry((Class::Impostor, link, at, Some(rival), None), context.room) {
            tally.add(seen, theirs, Some(last), (Role::Answer, Role::Offending), context);
        }
    }

    fn claim(&self, key: Key, tally: Tally, context: &Context<'_>) -> Option<Claim> {
        let (class, link, at, mac, other) = key;
        let servers = self.links.get(&link)?;
        let server = servers.get(usize::from(at))?;
        let other = other.and_then(|other| servers.get(usize::from(other)));
        let (detector, report, severity) = match class {
            Class::Server => ("B8.server", false, Severity::Medium),
            Class::Conflict => ("B8.conflict", true, Severity::Medium),
            Class::OtherGateway => ("B8.conflict", true, Severity::High),
            Class::Second => ("B8.second-server", true, Severity::Low),
            Class::Boot => ("B8.boot", true, Severity::Low),
            Class::Impostor => ("B8.impostor", true, Severity::Medium),
            Class::Changed => ("B8.changed", false, Severity::Info),
        };
        let detail = match (class, other) {
            (Class::Changed, _) => self.details.get(&key).map(|now| format!("{}; then {now}", server.text)),
            // Of one name, only what the second device told differs.
            (_, Some(other)) if std::ptr::eq(other, server) => {
                self.details.get(&key).map(|now| format!("{now}; the other {}", server.text))
            }
            (_, Some(other)) => Some(format!("{}; the other {}", server.text, other.text)),
            _ => Some(server.text.clone()),
        };
        let packets = tally.packets;
        // Of two devices with one name, the other one.
        let device = server.device.map(|(device, _)| device);
        let beside =
            mac.and_then(|mac| [server.mac, device].into_iter().flatten().find(|&other| other != mac));
        let claim = Claim::new(detector, Kind::Diversion, severity, tally, context);
        Some(Claim {
            report,
            exporter: server.src,
            collector: link.3,
            exporter_mac: mac.or(server.mac),
            collector_mac: beside,
            subject: server.name.or(server.src),
            rewritten: other.and_then(|other| other.name.or(other.src).zip(server.name.or(server.src))),
            detail,
            in_scope: packets,
            judged: packets,
            ..claim
        })
    }
}

/// Client on its link, by its MAC address.
fn client(dhcp: &dhcp::View<'_>, row: usize, (tap, vlan, version, relay): Link) -> u64 {
    let [a, b, c, d, e, f] = dhcp.client_mac(row).unwrap_or_default();
    let mac = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    let place = u64::from(tap) << 32 | u64::from(vlan) << 8 | u64::from(version);
    fold(mac ^ 0x9e37_79b9_7f4a_7c15, hash::address(relay) ^ place)
}

/// What a server tells, for people.
fn text(dhcp: &dhcp::View<'_>, row: usize) -> String {
    let list = |texts: Option<Vec<Cow<'_, str>>>| {
        texts.filter(|texts| !texts.is_empty()).map(|texts| texts.join(", "))
    };
    let mut parts = Vec::new();
    // First, so that nothing else can be taken for it.
    parts.extend(dhcp.server_duid(row).map(|duid| format!("DUID {duid}")));
    let known = parts.len();
    parts.extend(list(dhcp.routers(row)).map(|list| format!("gateway {list}")));
    parts.extend(list(dhcp.dns_servers(row)).map(|list| format!("DNS {list}")));
    parts.extend(list(dhcp.routes(row)).map(|list| format!("routes {list}")));
    if let Some(file) = dhcp.boot_file(row) {
        let from = dhcp.boot_server(row).map(|server| format!(" from {server}")).unwrap_or_default();
        let from = if from.is_empty() {
            dhcp.next_server(row).map(|addr| format!(" from {}", address_text(addr))).unwrap_or_default()
        } else {
            from
        };
        parts.push(format!("boot file {file}{from}"));
    }
    if parts.len() == known {
        parts.push("no gateway, DNS server, route or boot file".to_owned());
    }
    parts.join("; ").chars().take(MAX_TOLD).collect()
}
