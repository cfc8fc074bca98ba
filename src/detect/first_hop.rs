//! **B7, takeover of a first hop.** A router makes itself the one that hosts send to, while another still is.
//!
//! *Sees*: coups of HSRP (RFC 2281 section 5.1), and a new active router of HSRP, GLBP, VRRP (RFC 9568) or CARP while the one before was
//! alive (`B7.takeover`); priority 255 of VRRP from somebody who does not own the address (`B7.not-owner`); VRRP from another link: TTL or hop
//! limit other than 255 (RFC 9568 section 5.1.1.3, `B7.off-link`).
//! *Cannot see*: a takeover before the capture began; what is signed with MD5 is not checked; groups in tunnels.
//! *Guards*: a failover is no takeover: the router before has resigned (HSRP's resign, priority 0 of VRRP), or was silent for two of its
//! own intervals; nor was one alive of which only one message was seen. A router that was active before, that took part in the group for a
//! minute already, or that the policy lists as gateway or infrastructure, may take its role (`B7.preempted`: named, not reported). The default password of HSRP,
//! which everybody knows, is named (`B7.default-password`). Of a message that was seen on the same tap just before, only the first
//! counts, and none that is not sound. What happens in several groups at once is told once.
//! *Thresholds*: RFC 2281 section 5.1 wants three intervals before a takeover, RFC 9568 section 6.1 likewise, so two are safe; a minute
//! is twenty hellos. Where the policy lists neither gateways nor infrastructure, a takeover is of medium severity, else high.
//! ATT&CK: T1557 (Adversary-in-the-Middle).

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use serde::{Deserialize, Serialize};

use super::claim::Tally;
use super::{
    Claim, Claims, Context, Detector, Kind, Network, Outcome, Role, Scope, Seen, Severity, Sighting, Wanted,
    saved,
};
use crate::messages::fhrp;
use crate::messages::{self, Kinds, View};
use crate::packets::address::address_text;
use crate::wire::ip::Addr;

/// How long one takes part in a group until it is a member of old.
const MINUTE: i64 = 60_000_000_000;

/// How many groups are told apart.
const MAX_GROUPS: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Protocol {
    Vrrp,
    Carp,
    Hsrp,
    Glbp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Class {
    Takeover,
    Preempted,
    NotOwner,
    OffLink,
    DefaultPassword,
}

/// Tap, VLAN, protocol, version of IP, group.
type Group = (u16, u16, Protocol, u8, u16);

/// What, protocol, who does it, the router before.
type Key = (Class, Protocol, Addr, Option<Addr>);

/// A router that takes part.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Member {
    router: Addr,
    since: i64,
    was_active: bool,
}

/// The router that hosts send to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Active {
    router: Addr,
    last: Sighting,
    /// Longest time between two of its messages, in nanoseconds.
    interval: Option<i64>,
}

/// What is known of a group.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct State {
    active: Option<Active>,
    members: [Option<Member>; 8],
}

impl State {
    /// The router as a member, which it becomes if there is room.
    fn member(&mut self, router: Addr, ts: i64) -> Option<&mut Member> {
        let is_it = |member: &Option<Member>| member.is_some_and(|member| member.router == router);
        let at =
            self.members.iter().position(is_it).or_else(|| self.members.iter().position(Option::is_none))?;
        Some(self.members.get_mut(at)?.get_or_insert(Member { router, since: ts, was_active: false }))
    }
}

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct FirstHop {
    claims: Claims<Key>,
    /// The first group of each claim.
    first: Vec<(Key, u16)>,
    groups: HashMap<Group, State>,
    messages: u64,
    /// Messages of groups that found no room.
    missed: u64,
}

/// What a message says of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Says {
    Active,
    Coup,
    Resigns,
    TakesPart,
}

fn says(fhrp: &fhrp::View<'_>, row: usize, protocol: Protocol) -> Option<Says> {
    let (version, operation, state) = (fhrp.version(row), fhrp.operation(row), fhrp.state(row));
    Some(match (protocol, operation) {
        (Protocol::Vrrp, Some(1)) if fhrp.priority(row) == Some(0) => Says::Resigns,
        (Protocol::Vrrp | Protocol::Carp, Some(1)) => Says::Active,
        (Protocol::Hsrp, Some(1)) => Says::Coup,
        (Protocol::Hsrp, Some(2)) => Says::Resigns,
        (Protocol::Hsrp, Some(0)) if (version, state) == (Some(1), Some(16)) => Says::Active,
        (Protocol::Hsrp, Some(0)) if (version, state) == (Some(2), Some(6)) => Says::Active,
        (Protocol::Glbp, _) if state == Some(32) => Says::Active,
        (Protocol::Hsrp, Some(0)) | (Protocol::Glbp, Some(_)) => Says::TakesPart,
        _ => return None,
    })
}

impl Detector for FirstHop {
    saved!(claims);

    fn id(&self) -> &'static str {
        "B7"
    }

    fn packets(&self) -> Wanted {
        Wanted::None
    }

    fn tables(&self) -> Kinds {
        Kinds::of(&[messages::Kind::Fhrp])
    }

    fn read(&mut self, messages: &View<'_>, row: usize, seen: &Seen<'_>, context: &Context<'_>) {
        let View::Fhrp(fhrp) = messages else { return };
        self.messages += 1;
        let path = context.paths.get(seen.sighting.path);
        let protocol = match fhrp.protocol(row).as_deref() {
            Some("vrrp") => Protocol::Vrrp,
            Some("carp") => Protocol::Carp,
            Some("hsrp") => Protocol::Hsrp,
            Some("glbp") => Protocol::Glbp,
            _ => return,
        };
        let (Some(router), Some(ip), Some(says)) =
            (seen.packet.src(), seen.packet.ip_version(), says(fhrp, row, protocol))
        else {
            return;
        };
        if !path.encap.is_empty() || seen.packet.has_issue() || seen.was_here(context) {
            return;
        }
        let (number, address) = (fhrp.group(row).unwrap_or_default(), fhrp.address(row));
        let mut note = |class, before: Option<Active>| {
            let key = (class, protocol, router, before.map(|before| before.router));
            if let Some(tally) = self.claims.entry(key, context.room) {
                if tally.packets == 0 {
                    self.first.push((key, number));
                    tally.subject = address;
                }
                tally.add(
                    seen,
                    seen.sighting,
                    before.map(|before| before.last),
                    (Role::Original, Role::Offending),
                    context,
                );
            }
        };
        if protocol == Protocol::Vrrp {
            if fhrp.ip_ttl(row).is_some_and(|ttl| ttl != 255) {
                note(Class::OffLink, None);
            }
            if fhrp.priority(row) == Some(255) && address.is_some_and(|address| address != router) {
                note(Class::NotOwner, None);
            }
        }
        if fhrp.password(row).as_deref() == Some("cisco") {
            note(Class::DefaultPassword, None);
        }
        let group = (path.tap, path.vlan.unwrap_or_default(), protocol, ip, number);
        let has_room = self.groups.len() < MAX_GROUPS;
        let state = match self.groups.entry(group) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) if has_room => entry.insert(State::default()),
            Entry::Vacant(_) => {
                self.missed += 1;
                return;
            }
        };
        if let Some((class, before)) = state.hear(router, says, seen.sighting) {
            note(class, Some(before));
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let missing = self.claims.missing();
        let missed =
            (self.missed > 0).then(|| format!("{} messages were of groups that found no room", self.missed));
        let first = std::mem::take(&mut self.first);
        let claims = self.claims.take().into_iter().map(|(key, tally)| {
            let group = first.iter().find(|(of, _)| *of == key).map(|&(_, group)| group);
            claim(key, group, tally, &outcome.context)
        });
        let judged = self.messages.saturating_sub(self.missed);
        (claims.collect(), Scope::of_kinds(outcome, self.messages, judged, [missing, missed]))
    }
}

impl State {
    /// Takes note of what a router says; returns from whom it took over who was alive.
    fn hear(&mut self, router: Addr, says: Says, now: Sighting) -> Option<(Class, Active)> {
        let before = self.active;
        let member = self.member(router, now.ts);
        let is_of_old = member
            .as_ref()
            .is_some_and(|member| member.was_active || now.ts.saturating_sub(member.since) >= MINUTE);
        if let Some(member) = member
            && says == Says::Active
        {
            member.was_active = true;
        }
        let is_it = before.is_some_and(|active| active.router == router);
        match says {
            Says::TakesPart => return None,
            Says::Resigns => {
                self.active = before.filter(|_| !is_it);
                return None;
            }
            Says::Coup if is_it => return None,
            Says::Coup => {}
            Says::Active if is_it => {
                self.active = before.map(|active| {
                    let gap = now.ts.saturating_sub(active.last.ts);
                    Active { last: now, interval: active.interval.max(Some(gap)), ..active }
                });
                return None;
            }
            Says::Active => self.active = Some(Active { router, last: now, interval: None }),
        }
        let before = before?;
        let silence = now.ts.saturating_sub(before.last.ts);
        let is_alive = before.interval.is_some_and(|interval| silence < interval.saturating_mul(2));
        let class = if is_of_old { Class::Preempted } else { Class::Takeover };
        is_alive.then_some((class, before))
    }
}

fn claim(
    (class, protocol, router, before): Key,
    group: Option<u16>,
    tally: Tally,
    context: &Context<'_>,
) -> Claim {
    let Network { infrastructure, gateways } = context.network;
    let is_known = !(infrastructure.is_empty() && gateways.is_empty());
    let is_listed = infrastructure.contains(router) || gateways.contains(router);
    let (detector, report, severity) = match class {
        Class::Takeover if is_listed => ("B7.preempted", false, Severity::Info),
        Class::Takeover if is_known => ("B7.takeover", true, Severity::High),
        Class::Takeover => ("B7.takeover", true, Severity::Medium),
        Class::Preempted => ("B7.preempted", false, Severity::Info),
        Class::NotOwner => ("B7.not-owner", true, Severity::Medium),
        Class::OffLink => ("B7.off-link", true, Severity::Medium),
        Class::DefaultPassword => ("B7.default-password", false, Severity::Low),
    };
    let name = match protocol {
        Protocol::Vrrp => "VRRP",
        Protocol::Carp => "CARP",
        Protocol::Hsrp => "HSRP",
        Protocol::Glbp => "GLBP",
    };
    let group = group.map(|group| format!(" group {group}")).unwrap_or_default();
    let then = before.map(|before| format!(", until then {}", address_text(before))).unwrap_or_default();
    let (packets, subject) = (tally.packets, tally.subject);
    let claim = Claim::new(detector, Kind::Diversion, severity, tally, context);
    Claim {
        report,
        exporter: Some(router),
        collector: Some(router),
        subject,
        detail: Some(format!("{name}{group}{then}")),
        in_scope: packets,
        judged: packets,
        ..claim
    }
}
