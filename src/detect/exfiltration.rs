//! **A9, files that leave a router.** A router sends a file to somebody: a capture of what it forwards, its configuration, or whatever it
//! is. Captures taken on the box need no tunnel and no mirror.
//!
//! *Sees*: a router as client of TFTP (`WRQ`), FTP (`STOR`, `STOU`, `APPE`) and HTTP (`PUT`, `POST`); a capture file (pcap or pcapng, by
//! its first bytes) that begins in a packet which a router sends; and SSH connections that a router opened and in which it sent much more
//! than it got (SFTP and SCP are in these).
//! *Cannot see*: what goes encrypted but by its amount; captures that are compressed or whose beginning is not in the captures; files that
//! others fetch from a router (RETR, RRQ, GET) unless they are captures.
//! *Guards*: who is a router is what the policy's `infrastructure` says. Where that is empty, the captures tell: who speaks a routing
//! protocol (known by its signature, not by a port) or sends ICMP time exceeded. Such routers are learned, and findings about them
//! are one step less severe, except for captures. Files that come to a router (`A9.fetch`) are named only, as are captures that others send
//! (`A9.elsewhere`).
//! *Thresholds*: one packet of a transfer in the clear; of SSH, 1 MB sent and ten times as much as was received (proposals: an interactive session
//! receives less than it sends, but not a megabyte of it).
//! ATT&CK: T1048.003 (Exfiltration Over Unencrypted Non-C2 Protocol), T1602.002 (Network Device Configuration Dump), T1040.

use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

use super::claim::Tally;
use super::{
    Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Sighting, Wanted, saved,
};
use crate::classify::{App, Basis, Traffic};
use crate::messages::{self, Kinds, View};
use crate::paths::Flow;
use crate::wire::ip::Addr;

/// Bytes that a router sends over SSH.
const MUCH: u64 = 1_000_000;
/// How many times as much as it receives.
const TIMES: u64 = 10;
/// Addresses that are learned to be routers'.
const MAX_ROUTERS: usize = 4096;
/// Characters of a name that are kept.
const NAME: usize = 120;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum What {
    /// A capture file begins.
    Capture,
    /// A file is sent that is named like a capture.
    CaptureName,
    /// A file is sent that is named like a configuration.
    Config,
    /// Any other file is sent.
    Send,
    /// A file is asked for.
    Fetch,
    /// Much is sent over SSH.
    Ssh,
}

/// Tap, who does it, with whom, and what.
type Key = (u16, Option<Addr>, Option<Addr>, What);

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Exfiltration {
    claims: Claims<Key>,
    /// Of addresses that are not known to be routers': these may be many.
    others: Claims<Key>,
    /// The first name of each.
    names: HashMap<Key, String>,
    /// Who sent ICMP time exceeded.
    forwarders: HashSet<Addr>,
    transfers: u64,
}

impl Detector for Exfiltration {
    saved!(claims, others);

    fn id(&self) -> &'static str {
        "A9"
    }

    fn packets(&self) -> Wanted {
        Wanted::None
    }

    fn tables(&self) -> Kinds {
        Kinds::of(&[messages::Kind::Transfer, messages::Kind::Icmp])
    }

    fn read(&mut self, messages: &View<'_>, row: usize, seen: &Seen<'_>, context: &Context<'_>) {
        let (src, dst) = (seen.packet.src(), seen.packet.dst());
        let infrastructure = &context.network.infrastructure;
        match messages {
            View::Icmp(icmp) => {
                let is_exceeded =
                    matches!((icmp.version(row), icmp.type_(row)), (Some(4), Some(11)) | (Some(6), Some(3)));
                if let Some(src) = src.filter(|_| {
                    is_exceeded && infrastructure.is_empty() && self.forwarders.len() < MAX_ROUTERS
                }) {
                    self.forwarders.insert(src);
                }
            }
            // The same packet, on this tap or another.
            View::Transfer(_) if !seen.earlier.is_empty() => {}
            View::Transfer(transfer) => {
                self.transfers += 1;
                let operation = transfer.operation(row);
                let name = transfer.name(row).unwrap_or_default();
                let what = match operation.as_deref() {
                    _ if transfer.content(row).is_some() => What::Capture,
                    Some("WRQ" | "STOR" | "STOU" | "APPE" | "PUT" | "POST") => by_name(&name),
                    Some("RRQ" | "RETR") => What::Fetch,
                    _ => return,
                };
                let is_router = src.is_some_and(|src| infrastructure.contains(src));
                // Hosts put and post all day; of those that nobody says are routers, only files named like these count.
                let is_web = matches!(operation.as_deref(), Some("PUT" | "POST"));
                if !is_router && is_web && what == What::Send {
                    return;
                }
                let key = (context.paths.get(seen.sighting.path).tap, src, dst, what);
                let claims = if is_router { &mut self.claims } else { &mut self.others };
                if let Some(tally) = claims.entry(key, context.room) {
                    tally.add(seen, seen.sighting, None, (Role::Offending, Role::Offending), context);
                    if !name.is_empty() && !self.names.contains_key(&key) {
                        self.names.insert(key, name.chars().take(NAME).collect());
                    }
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let context = &outcome.context;
        let (missing, overflow) = (self.claims.missing(), self.claims.overflow());
        let (missing_others, overflow_others) = (self.others.missing(), self.others.overflow());
        let is_told = !context.network.infrastructure.is_empty();
        let learned = if is_told { HashSet::new() } else { self.learned(context) };
        let is_router = |addr: Option<Addr>| {
            addr.is_some_and(|addr| context.network.infrastructure.contains(addr) || learned.contains(&addr))
        };
        let mut unknown = 0;
        let mut claims = Vec::new();
        let found = self.claims.take().into_iter().chain(self.others.take());
        for (key, tally) in found.chain(over_ssh(context, is_router)) {
            let is_router = is_router(key.1);
            if !is_told && !is_router {
                unknown += tally.packets;
            }
            let (detector, report, severity) = class(key.3, is_router, is_told);
            let packets = tally.packets;
            let kind = if detector == "A9.capture" { Kind::Copy } else { Kind::Implant };
            let claim = Claim::new(detector, kind, severity, tally, context);
            claims.push(Claim {
                report,
                exporter: key.1,
                collector: key.2,
                detail: self.names.remove(&key),
                in_scope: packets,
                judged: packets,
                ..claim
            });
        }
        let nobody = (unknown > 0)
            .then(|| "transfers of addresses of which nobody says whether they are routers".to_owned());
        let judged = self.transfers.saturating_sub(unknown + overflow + overflow_others);
        (claims, Scope::of_kinds(outcome, self.transfers, judged, [nobody, missing, missing_others]))
    }
}

impl Exfiltration {
    /// Who behaves like a router.
    fn learned(&self, context: &Context<'_>) -> HashSet<Addr> {
        let mut learned = self.forwarders.clone();
        for flow in context.flows.iter() {
            let label = flow.key().label;
            let routes = label.app.is_some_and(|app| {
                app.traffic() == Traffic::Routing
                    && !matches!(app, App::Arp | App::Igmp | App::Lldp | App::Cdp)
            });
            if routes
                && label.basis != Some(Basis::Port)
                && let Some(src) = flow.key().src
                && learned.len() < MAX_ROUTERS
            {
                learned.insert(src);
            }
        }
        learned
    }
}

/// What a name says of a file that is sent.
fn by_name(name: &str) -> What {
    let name = name.to_ascii_lowercase();
    if [".pcap", ".pcapng", ".cap", ".pcap.gz", ".pcapng.gz"].iter().any(|end| name.ends_with(end)) {
        What::CaptureName
    } else if ["running-config", "startup-config", "-confg"].iter().any(|part| name.contains(part)) {
        What::Config
    } else {
        What::Send
    }
}

/// Class, whether it is reported, and severity; of a router, and of one that the policy lists.
fn class(what: What, is_router: bool, is_told: bool) -> (&'static str, bool, Severity) {
    let severity = |told, learned| if is_told { told } else { learned };
    match what {
        What::Capture | What::CaptureName if is_router => ("A9.capture", true, Severity::High),
        What::Config if is_router => ("A9.configuration", true, severity(Severity::Medium, Severity::Low)),
        What::Send if is_router => ("A9.file", true, severity(Severity::Medium, Severity::Low)),
        What::Ssh if is_router => ("A9.ssh", true, severity(Severity::Medium, Severity::Low)),
        What::Fetch => ("A9.fetch", false, Severity::Info),
        _ => ("A9.elsewhere", false, Severity::Info),
    }
}

/// Bytes sent, bytes received, and the flows that sent.
type Sent<'a> = (u64, u64, Vec<&'a Flow>);

/// Routers that opened SSH connections and sent much.
fn over_ssh(context: &Context<'_>, is_router: impl Fn(Option<Addr>) -> bool) -> Vec<(Key, Tally)> {
    let mut sent: HashMap<(u16, Option<Addr>, Option<Addr>), Sent<'_>> = HashMap::new();
    let mut order = Vec::new();
    for flow in context.flows.iter() {
        let key = flow.key();
        let tap = context.paths.get(flow.path).tap;
        // The client's port is the higher one.
        let is_ssh = key.label.app == Some(App::Ssh) && key.protocol == Some(6);
        if is_ssh && key.dst_port < key.src_port && is_router(key.src) {
            let pair = (tap, key.src, key.dst);
            let entry = sent.entry(pair).or_insert_with(|| {
                order.push(pair);
                (0, 0, Vec::new())
            });
            entry.0 += flow.bytes;
            entry.2.push(flow);
        }
    }
    for flow in context.flows.iter().filter(|flow| flow.key().label.app == Some(App::Ssh)) {
        let key = flow.key();
        let pair = (context.paths.get(flow.path).tap, key.dst, key.src);
        if let Some(entry) = sent.get_mut(&pair).filter(|_| key.src_port < key.dst_port) {
            entry.1 += flow.bytes;
        }
    }
    let mut found = Vec::new();
    for pair in order.into_iter().take(Claims::<Key>::MAX) {
        let Some((bytes, back, flows)) = sent.get(&pair) else { continue };
        if *bytes < MUCH || *bytes < back.saturating_mul(TIMES) {
            continue;
        }
        let mut tally = Tally::default();
        let mut packets = 0;
        for flow in flows {
            packets += flow.packets;
            let of = (flow.flow_id(), flow.key().label);
            for &frame in flow.frames() {
                let sighting = Sighting { ts: flow.first_ts, frame, path: flow.path, ..Sighting::default() };
                tally.count(sighting, None, (Role::Offending, Role::Offending), of, context);
            }
        }
        tally.packets = packets;
        tally.last_ts = flows.iter().map(|flow| flow.last_ts).max().unwrap_or(tally.last_ts);
        let (tap, src, dst) = pair;
        found.push(((tap, src, dst, What::Ssh), tally));
    }
    found
}
