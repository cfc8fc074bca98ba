//! **B6, ARP and neighbour spoofing.** Somebody answers for an address that is another's.
//!
//! *Sees*: who claims an address in ARP (RFC 826), in neighbour advertisements, in solicitations and router advertisements with a
//! link-layer address (RFC 4861): one address claimed by two MAC addresses in turn (`B6.two-owners`), a gateway announced unasked
//! from a MAC address that was not its own before (`B6.announced`), a host that is told unasked where an address is, and whose packets
//! then go there instead of where they went before (`B6.moved`; without that, `B6.told`), ARP whose sender is not the source of its frame (`B6.other-sender`).
//! *Cannot see*: one who answers alone, before or instead of the owner; static entries; what is claimed in tunnels.
//! *Guards*: announcements go to all (RFC 4861 section 7.2.6; RFC 5227 section 3): one to a single host that did not ask is odd, but its question
//! may not have been captured, so it is reported only with the traffic that it moved. An address that moves (failover, a new network card) has one owner at a time: two are reported only if the first speaks again
//! after the second, each within a minute of the other. A move, and an announcement by which one begins, is named. Virtual MAC
//! addresses of VRRP (RFC 9568 section 7.3), HSRP (RFC 2281 section 5.3; version 2 00:00:0c:9f:f0:00 to :ff:ff) and GLBP
//! (00:07:b4) may take an address over, and speak in frames of their own: B7 looks at those. A gateway that answers for others is proxy
//! ARP (RFC 1027). Probes (RFC 5227) claim nothing, nor do advertisements without the override flag, which several may send
//! (RFC 4861 section 7.2.7). Hosts with two network cards on one address exist: but for gateways, two owners are of low severity.
//! *Thresholds*: 60 seconds, the catalogue's (B6); a gateway is what the policy lists, or else what three hosts have asked for. An address that
//! changes hands once and back may be one damaged frame: two owners of a gateway are of high severity from the second time on.
//! ATT&CK: T1557.002 (Adversary-in-the-Middle: ARP Cache Poisoning).

use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

use super::claim::Tally;
use super::{
    Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Sighting, Wanted, saved,
};
use crate::dissect::Mac;
use crate::messages::neighbor;
use crate::messages::{self, Kinds, View};
use crate::packets::address::mac_text;
use crate::wire::ip::Addr;

const MINUTE: i64 = 60_000_000_000;

/// How many hosts must have asked for an address to call it a gateway.
const HOSTS: usize = 3;

/// How many addresses are remembered.
const MAX_OWNERS: usize = 16_384;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Class {
    /// Two owners.
    Two,
    /// One that is a gateway's.
    TwoOfGateway,
    /// The new one is a gateway.
    Proxy,
    /// A gateway was announced.
    Announced,
    /// One host was told, and had not asked.
    Told,
    OtherSender,
    OtherSenderOfGateway,
}

/// What, the address, who claims it, and whose it is otherwise. Of what is no gateway, only what tells incidents apart: the address that has
/// two owners, or the source of the frame; as a damaged capture or a broken host has many.
type Key = (Class, Option<Addr>, Option<Mac>, Option<Mac>);

/// Tap, VLAN, address.
type Place = (u16, u16, Addr);

/// One who claims an address.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Claimant {
    mac: Mac,
    sighting: Sighting,
}

/// Who claims an address.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Held {
    /// Who had it first.
    owner: Option<Claimant>,
    /// Who claimed it after that.
    rival: Option<Claimant>,
    /// Some of those that asked for it.
    asked: [Addr; HOSTS],
}

impl Held {
    fn ask(&mut self, host: Addr) {
        if !self.asked.contains(&host)
            && let Some(place) = self.asked.iter_mut().find(|place| **place == [0; 16])
        {
            *place = host;
        }
    }

    fn is_asked_by_many(&self) -> bool {
        !self.asked.contains(&[0; 16])
    }
}

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct NeighborSpoof {
    claims: Claims<Key>,
    owners: HashMap<Place, Held>,
    messages: u64,
    /// Messages about addresses that found no room.
    missed: u64,
}

/// What a message says.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Said {
    /// An address, and whose it is.
    claim: Option<(Addr, Mac)>,
    /// An address that is asked for.
    asked: Option<Addr>,
    /// Whether nobody asked for the claim.
    is_unasked: bool,
    /// Who is answered, by ARP.
    answered: Option<Addr>,
}

impl Said {
    fn new(neighbor: &neighbor::View<'_>, row: usize) -> Self {
        let used = |addr: Option<Addr>| addr.filter(|addr| !is_nothing(addr));
        let (sender, target) = (used(neighbor.sender(row)), used(neighbor.target(row)));
        let by_sender = sender.zip(neighbor.sender_mac(row));
        let is_arp = neighbor.protocol(row).as_deref() == Some("arp");
        match neighbor.operation(row) {
            Some(1) if is_arp => Self {
                claim: by_sender,
                asked: target.filter(|_| sender != target),
                is_unasked: sender == target,
                answered: None,
            },
            Some(2) if is_arp => {
                let to_all = neighbor.target_mac(row).is_none_or(|mac| mac == [0xff; 6] || mac == [0; 6]);
                let is_unasked = sender == target || to_all;
                Self { claim: by_sender, asked: None, is_unasked, answered: target.filter(|_| !is_unasked) }
            }
            Some(134 | 135) => Self { claim: by_sender, asked: target, ..Self::default() },
            Some(136) if neighbor.is_override(row) == Some(true) => Self {
                claim: target.zip(neighbor.target_mac(row)),
                asked: None,
                is_unasked: neighbor.is_solicited(row) == Some(false),
                answered: None,
            },
            _ => Self::default(),
        }
    }
}

/// `0.0.0.0` or `::`.
fn is_nothing(addr: &Addr) -> bool {
    matches!(
        addr,
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]
            | [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    )
}

/// Whether several devices have this MAC address in turn.
pub(super) fn is_virtual(mac: Mac) -> bool {
    matches!(
        mac,
        [0x00, 0x00, 0x5e, 0x00, 0x01 | 0x02, _]
            | [0x00, 0x00, 0x0c, 0x07, 0xac, _]
            | [0x00, 0x00, 0x0c, 0x9f, 0xf0..=0xff, _]
            | [0x00, 0x07, 0xb4, ..]
    )
}

/// Whether a station can have it: not a group's, nor nothing.
fn is_station(mac: Mac) -> bool {
    mac != [0; 6] && mac.first().is_some_and(|first| first & 1 == 0)
}

impl Detector for NeighborSpoof {
    saved!(claims);

    fn id(&self) -> &'static str {
        "B6"
    }

    fn packets(&self) -> Wanted {
        Wanted::None
    }

    fn tables(&self) -> Kinds {
        Kinds::of(&[messages::Kind::Neighbor])
    }

    fn read(&mut self, messages: &View<'_>, row: usize, seen: &Seen<'_>, context: &Context<'_>) {
        let View::Neighbor(neighbor) = messages else { return };
        self.messages += 1;
        let path = context.paths.get(seen.sighting.path);
        if !path.encap.is_empty() {
            return;
        }
        let (tap, vlan) = (path.tap, path.vlan.unwrap_or_default());
        let said = Said::new(neighbor, row);
        if let Some((host, asked)) = said.claim.map(|(host, _)| host).zip(said.asked)
            && let Some(owner) = self.owner((tap, vlan, asked))
        {
            owner.ask(host);
        }
        let Some((addr, mac)) = said.claim.filter(|&(_, mac)| is_station(mac)) else { return };
        let (is_arp, source) = (neighbor.protocol(row).as_deref() == Some("arp"), neighbor.eth_src(row));
        let Some(owner) = self.owner((tap, vlan, addr)) else { return };
        let is_gateway = context.network.gateways.contains(addr)
            || (context.network.gateways.is_empty() && owner.is_asked_by_many());
        let was_asked_by = |host: Addr| owner.is_asked_by_many() || owner.asked.contains(&host);
        let is_told = said.answered.map_or(said.is_unasked, |host| !was_asked_by(host));
        if let Some(source) = source.filter(|&source| is_arp && source != mac && is_station(source))
            && !is_virtual(mac)
            && !is_virtual(source)
        {
            // Whoever is only taken for a gateway is not known well enough.
            let key = if is_gateway && !context.network.gateways.is_empty() {
                (Class::OtherSenderOfGateway, Some(addr), Some(mac), Some(source))
            } else {
                (Class::OtherSender, None, None, Some(source))
            };
            if let Some(tally) = self.claims.entry(key, context.room) {
                tally.add(seen, seen.sighting, None, (Role::Offending, Role::Offending), context);
                tally.subject = tally.subject.or(Some(addr));
            }
        }
        if let Some(host) = path.eth_dst.filter(|&host| is_told && is_station(host))
            && !is_virtual(mac)
            && let Some(tally) =
                self.claims.entry((Class::Told, Some(addr), Some(mac), Some(host)), context.room)
        {
            tally.add(seen, seen.sighting, None, (Role::Offending, Role::Offending), context);
            tally.subject = Some(addr);
        }
        let now = Claimant { mac, sighting: seen.sighting };
        self.claimed(now, (tap, vlan, addr), (is_gateway, said.is_unasked), seen, context);
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let missing = self.claims.missing();
        let missed = (self.missed > 0)
            .then(|| format!("{} messages were about addresses that found no room", self.missed));
        let claims = self.claims.take();
        let moved = Moved::new(claims.iter().map(|(key, _)| key), &outcome.context);
        let claims = claims.into_iter().map(|(key, tally)| claim(key, tally, &moved, &outcome.context));
        let judged = self.messages.saturating_sub(self.missed);
        (claims.collect(), Scope::of_kinds(outcome, self.messages, judged, [missing, missed]))
    }
}

impl NeighborSpoof {
    fn owner(&mut self, place: Place) -> Option<&mut Held> {
        let has_room = self.owners.len() < MAX_OWNERS;
        match self.owners.entry(place) {
            Entry::Occupied(entry) => Some(entry.into_mut()),
            Entry::Vacant(entry) if has_room => Some(entry.insert(Held::default())),
            Entry::Vacant(_) => {
                self.missed += 1;
                None
            }
        }
    }

    /// Whether a gateway that the policy lists has this MAC address.
    fn is_gateway(&self, (tap, vlan): (u16, u16), mac: Mac, context: &Context<'_>) -> bool {
        let gateways = &context.network.gateways;
        !gateways.is_empty()
            && self.owners.iter().any(|(&(at, of, addr), owner)| {
                (at, of) == (tap, vlan)
                    && owner.owner.is_some_and(|owner| owner.mac == mac)
                    && gateways.contains(addr)
            })
    }

    /// Takes note that somebody claims an address.
    fn claimed(
        &mut self,
        now: Claimant,
        place: Place,
        (is_gateway, is_unasked): (bool, bool),
        seen: &Seen<'_>,
        context: &Context<'_>,
    ) {
        let (tap, vlan, addr) = place;
        let Some(state) = self.owners.get_mut(&place) else { return };
        let is_recent = |claimant: &Claimant| {
            (0..=MINUTE).contains(&now.sighting.ts.saturating_sub(claimant.sighting.ts))
        };
        let Some(owner) = state.owner else {
            state.owner = Some(now);
            return;
        };
        let (class, rival) = if owner.mac == now.mac {
            // The first speaks again after the second?
            let rival =
                state.rival.filter(|rival| is_recent(rival) && rival.sighting.ts >= owner.sighting.ts);
            state.owner = Some(now);
            let Some(rival) = rival else { return };
            let class = if self.is_gateway((tap, vlan), rival.mac, context) {
                Class::Proxy
            } else if is_gateway {
                Class::TwoOfGateway
            } else {
                Class::Two
            };
            (class, rival)
        } else if is_virtual(now.mac) || !is_recent(&owner) {
            // It has moved.
            (state.owner, state.rival) = (Some(now), None);
            return;
        } else {
            let is_new = state.rival.is_none_or(|rival| rival.mac != now.mac);
            state.rival = Some(now);
            if !(is_new && is_unasked && is_gateway) {
                return;
            }
            (Class::Announced, now)
        };
        let key = match class {
            Class::Two => (class, Some(addr), None, None),
            _ => (class, Some(addr), Some(rival.mac), Some(owner.mac)),
        };
        if let Some(tally) = self.claims.entry(key, context.room) {
            tally.subject = Some(addr);
            tally.add(seen, rival.sighting, Some(owner.sighting), (Role::Original, Role::Offending), context);
        }
    }
}

/// Hosts that were told where an address is, and whose packets to the same destination then went there.
struct Moved(HashSet<(u16, Mac, Mac)>);

impl Moved {
    fn new<'k>(keys: impl Iterator<Item = &'k Key>, context: &Context<'_>) -> Self {
        let told = keys.filter(|(class, ..)| *class == Class::Told);
        let told: HashSet<Mac> = told.filter_map(|&(_, _, _, host)| host).collect();
        // When packets of a host to a destination first went to which MAC address.
        let mut first: HashMap<(u16, Mac, Addr), HashMap<Mac, i64>> = HashMap::new();
        for flow in context.flows.iter().filter(|_| !told.is_empty()) {
            let path = context.paths.get(flow.path);
            if let (Some(host), Some(to), Some(dst)) = (path.eth_src, path.eth_dst, flow.key().dst)
                && told.contains(&host)
            {
                let since = first.entry((path.tap, host, dst)).or_default().entry(to).or_insert(i64::MAX);
                *since = flow.first_ts.min(*since);
            }
        }
        let mut moved = HashSet::new();
        for ((tap, host, _), since) in &first {
            let begin = since.values().min();
            let later = since.iter().filter(|(_, since)| Some(*since) > begin);
            moved.extend(later.map(|(&to, _)| (*tap, *host, to)));
        }
        Self(moved)
    }

    fn has(&self, tap: Option<u16>, (_, _, mac, host): Key) -> bool {
        tap.zip(host).zip(mac).is_some_and(|((tap, host), mac)| self.0.contains(&(tap, host, mac)))
    }
}

fn claim(key: Key, tally: Tally, moved: &Moved, context: &Context<'_>) -> Claim {
    let (class, _, mac, other) = key;
    let tap = tally.paths.1.map(|path| context.paths.get(path).tap);
    let (detector, report, severity) = match class {
        Class::Told if moved.has(tap, key) => ("B6.moved", true, Severity::High),
        Class::Told => ("B6.told", false, Severity::Info),
        Class::TwoOfGateway if tally.packets > 1 => ("B6.two-owners", true, Severity::High),
        Class::TwoOfGateway if !context.network.gateways.is_empty() => {
            ("B6.two-owners", true, Severity::Medium)
        }
        Class::TwoOfGateway | Class::Two => ("B6.two-owners", true, Severity::Low),
        Class::Proxy => ("B6.proxy", false, Severity::Info),
        Class::Announced => ("B6.announced", false, Severity::Low),
        Class::OtherSenderOfGateway => ("B6.other-sender", true, Severity::Medium),
        Class::OtherSender => ("B6.other-sender", true, Severity::Low),
    };
    let (packets, subject) = (tally.packets, tally.subject);
    // Whose it is by the frames, where it is not told apart.
    let owner = tally.paths.0.and_then(|path| context.paths.get(path).eth_src);
    let claim = Claim::new(detector, Kind::Diversion, severity, tally, context);
    Claim {
        report,
        exporter: None,
        collector: None,
        collector_mac: mac.or(claim.exporter_mac.filter(|_| class == Class::Two)),
        subject,
        detail: other.or(owner).map(mac_text),
        in_scope: packets,
        judged: packets,
        ..claim
    }
}
