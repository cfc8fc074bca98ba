//! **B20, signalling of mobile networks.** Who signals with whom, and asks for what: whether that may come over an interconnect is for policy
//! to say.
//!
//! *Sees*: operations that MAP (over M3UA, M2UA, M2PA and SUA) invokes and requests of Diameter, by both addresses and by category:
//! `B20.category-1` should only be heard within a network, `B20.category-2` only from a subscriber's home, `B20.category-3` only from where
//! a subscriber is. Who they say they are: calling global titles (`B20.title`) and origin realms (`B20.realm`). Pairs of addresses that
//! exchange SIGTRAN, Diameter, GTP-C or GTP-U (`B20.peer`), and GTP inside of GTP-U (`B20.gtp-in-gtp`).
//! *Cannot see*: whose subscriber is concerned, and where that one is: no IMSI and no number of a subscriber is read, so that of categories 2 and 3
//! only the sender can be judged. TCAP in segments of SCCP, messages that go on in another packet, what is encrypted (IPsec, DTLS), operations of
//! CAP (their peers are named). Titles that are not those of a dialogue's first message are left out, for they may be subscribers'.
//! *Guards*: an operation counts as one of MAP by its application context, or by the subsystems of both addresses where the message has
//! none. Of a packet that was seen before, on any tap, only the first counts. Only GTP inside of GTP-U is reported by itself.
//! *Thresholds*: none; one operation suffices. Codes are those of 3GPP TS 29.002 section 17.5 and TS 29.272 section 7.2.2. Which of them is of
//! which category is general knowledge of GSMA FS.11 and FS.19, which are not public.
//! ATT&CK: T1430.002 (Impersonate SS7 Nodes), T1572 (Protocol Tunneling).

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::claim::Tally;
use super::{Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Wanted, saved};
use crate::classify::{App, Basis};
use crate::dissect::{Encap, Stack};
use crate::messages::{self, Kinds, View, diameter, ss7};
use crate::wire::ip::Addr;

/// Titles and realms that are told apart, and how many characters of each are kept.
const MAX_NAMES: usize = 8192;
const MAX_NAME: usize = 128;

/// Conversations of a pair of peers that are told apart: tunnels of subscribers come and go by the thousand.
const MAX_FLOWS: usize = 1024;

/// Operations of MAP (3GPP TS 29.002 section 17.5), by category.
const MAP: [(u8, u8, &str); 37] = [
    (22, 1, "sendRoutingInfo"),
    (24, 1, "sendRoutingInfoForGprs"),
    (55, 1, "sendIdentification"),
    (58, 1, "sendIMSI"),
    (62, 1, "anyTimeSubscriptionInterrogation"),
    (65, 1, "anyTimeModification"),
    (71, 1, "anyTimeInterrogation"),
    (3, 2, "cancelLocation"),
    (4, 2, "provideRoamingNumber"),
    (7, 2, "insertSubscriberData"),
    (8, 2, "deleteSubscriberData"),
    (37, 2, "reset"),
    (50, 2, "activateTraceMode"),
    (51, 2, "deactivateTraceMode"),
    (60, 2, "unstructuredSS-Request"),
    (61, 2, "unstructuredSS-Notify"),
    (70, 2, "provideSubscriberInfo"),
    (73, 2, "setReportingState"),
    (75, 2, "remoteUserFree"),
    (83, 2, "provideSubscriberLocation"),
    (2, 3, "updateLocation"),
    (10, 3, "registerSS"),
    (11, 3, "eraseSS"),
    (12, 3, "activateSS"),
    (13, 3, "deactivateSS"),
    (14, 3, "interrogateSS"),
    (17, 3, "registerPassword"),
    (23, 3, "updateGprsLocation"),
    (26, 3, "noteMsPresentForGprs"),
    (46, 3, "mo-forwardSM"),
    (56, 3, "sendAuthenticationInfo"),
    (57, 3, "restoreData"),
    (59, 3, "processUnstructuredSS-Request"),
    (66, 3, "readyForSM"),
    (67, 3, "purgeMS"),
    (86, 3, "subscriberLocationReport"),
    (89, 3, "noteMM-Event"),
];

/// S6a and S6d (3GPP TS 29.272).
const S6A: u32 = 16_777_251;

/// Their commands (TS 29.272 section 7.2.2), by category.
const S6A_COMMANDS: [(u32, u8, &str); 8] = [
    (316, 3, "update-location"),
    (317, 2, "cancel-location"),
    (318, 3, "authentication-information"),
    (319, 2, "insert-subscriber-data"),
    (320, 2, "delete-subscriber-data"),
    (321, 3, "purge-UE"),
    (322, 2, "reset"),
    (323, 3, "notify"),
];

/// Applications of Diameter that join nodes of one network only: Cx (3GPP TS 29.229), Sh (TS 29.329) and SLh (TS 29.173).
const HOME_APPLICATIONS: [(u32, &str); 3] = [(16_777_216, "Cx"), (16_777_217, "Sh"), (16_777_291, "SLh")];

/// Subsystems of MAP: HLR, VLR, MSC, EIR, AuC, GMLC, gsmSCF, SIWF, SGSN, GGSN (3GPP TS 23.003 section 8.2).
const fn is_map_subsystem(number: u8) -> bool {
    matches!(number, 5..=10 | 145 | 147..=150)
}

/// That of CAP.
const CAP_SUBSYSTEM: u8 = 146;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Protocol {
    Ss7,
    Diameter,
    GtpC,
    GtpU,
}

/// What is asked for: an operation of MAP, or application and command of Diameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Operation {
    Map(u8),
    Diameter(u32, u32),
}

impl Operation {
    /// Its category, if it is of any.
    fn category(self) -> Option<u8> {
        match self {
            Self::Map(code) => {
                MAP.iter().find(|(known, ..)| *known == code).map(|&(_, category, _)| category)
            }
            Self::Diameter(S6A, command) => {
                S6A_COMMANDS.iter().find(|(known, ..)| *known == command).map(|&(_, category, _)| category)
            }
            Self::Diameter(application, _) => {
                HOME_APPLICATIONS.iter().any(|&(known, _)| known == application).then_some(1)
            }
        }
    }

    fn name(self) -> String {
        match self {
            Self::Map(code) => {
                let known = MAP.iter().find(|(known, ..)| *known == code);
                format!("MAP {} ({code})", known.map_or("operation", |&(.., name)| name))
            }
            Self::Diameter(S6A, command) => {
                let known = S6A_COMMANDS.iter().find(|(known, ..)| *known == command);
                format!("S6a {} ({command})", known.map_or("command", |&(.., name)| name))
            }
            Self::Diameter(application, command) => {
                let known = HOME_APPLICATIONS.iter().find(|&&(known, _)| known == application);
                format!("{} command {command}", known.map_or("Diameter", |&(_, name)| name))
            }
        }
    }
}

/// Both addresses.
type Ends = (Addr, Addr);

/// What, from where to where, and of category 1 in whose name.
type Asked = (Operation, Ends, Option<u32>);

/// Who somebody says to be.
type Named = (Protocol, Ends, u32);

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct MobilePeers {
    asked: Claims<Asked>,
    named: Claims<Named>,
    /// The lower address comes first.
    peers: Claims<(Protocol, Ends)>,
    nested: Claims<Ends>,
    /// Titles and realms, and their numbers.
    names: Vec<String>,
    numbers: HashMap<String, u32>,
    /// Messages and packets of GTP-U.
    seen: u64,
    /// Those of which nothing can be told.
    unread: u64,
    /// Names that found no room.
    nameless: u64,
}

impl Detector for MobilePeers {
    saved!(asked, named, peers, nested);

    fn id(&self) -> &'static str {
        "B20"
    }

    fn packets(&self) -> Wanted {
        Wanted::Repeated
    }

    fn tables(&self) -> Kinds {
        Kinds::of(&[messages::Kind::Ss7, messages::Kind::Diameter, messages::Kind::Gtp])
    }

    fn observe(&mut self, seen: &Seen<'_>, context: &Context<'_>) {
        let path = context.paths.get(seen.sighting.path);
        let mut tunnels = path.encap.iter();
        let outermost = tunnels.next();
        let depth = u64::from(outermost == Some(Encap::Gtpu))
            + tunnels.filter(|&encap| encap == Encap::Gtpu).count() as u64;
        let (Some(src), Some(dst)) = (path.outer_src, path.outer_dst) else { return };
        if depth == 0 {
            return;
        }
        let label = seen.packet.label();
        self.seen += 1;
        let is_control = label.app == Some(App::Gtpc) && label.basis == Some(Basis::Signature);
        if (depth > 1 || is_control)
            && let Some(tally) = self.nested.entry((src, dst), context.room)
        {
            tally.add(seen, seen.sighting, None, (Role::Offending, Role::Offending), context);
        }
        if outermost == Some(Encap::Gtpu) {
            self.met(Protocol::GtpU, (src, dst), seen, context);
        } else {
            // In another tunnel, whose ends these are.
            self.unread += 1;
        }
    }

    fn read(&mut self, messages: &View<'_>, row: usize, seen: &Seen<'_>, context: &Context<'_>) {
        let (Some(src), Some(dst)) = (seen.packet.src(), seen.packet.dst()) else { return };
        if !seen.earlier.is_empty() {
            return;
        }
        let ends = (src, dst);
        match messages {
            View::Ss7(ss7) => {
                self.seen += 1;
                self.met(Protocol::Ss7, ends, seen, context);
                let is_map = is_map(ss7, row);
                self.unread += u64::from(is_map.is_none() || seen.packet.is_cut());
                if is_map != Some(true) {
                    return;
                }
                let begins = matches!(ss7.tcap(row).as_deref(), Some("begin" | "unidirectional"));
                let title = ss7.calling_gt(row).filter(|title| begins && !title.is_empty());
                let title = title.and_then(|title| self.number(&title));
                self.calls_itself(Protocol::Ss7, ends, title, seen, context);
                for code in ss7.invokes(row).unwrap_or_default() {
                    self.asks(Operation::Map(code), ends, title, seen, context);
                }
            }
            View::Diameter(diameter) => {
                self.seen += 1;
                self.unread += u64::from(seen.packet.is_cut());
                self.met(Protocol::Diameter, ends, seen, context);
                if diameter.is_request(row) == Some(true) {
                    self.requests(diameter, row, ends, seen, context);
                }
            }
            View::Gtp(_) => {
                // Within GTP-U, it is a matter of the tunnel.
                let path = context.paths.get(seen.sighting.path);
                if !path.encap.has(Encap::Gtpu) {
                    self.seen += 1;
                    self.met(Protocol::GtpC, ends, seen, context);
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let overflow =
            self.asked.overflow() + self.named.overflow() + self.peers.overflow() + self.nested.overflow();
        let missing = (overflow + self.nameless > 0).then(|| {
            format!("{} messages found no room in the table of claims", overflow.max(self.nameless))
        });
        let unread = (self.unread > 0)
            .then(|| format!("{} messages, or packets in other tunnels, could not be read", self.unread));
        let context = &outcome.context;
        let names = std::mem::take(&mut self.names);
        let name = |number: u32| names.get(number as usize).map(String::as_str).unwrap_or_default();
        let mut claims: Vec<Claim> = Vec::new();
        claims.extend(self.asked.take().into_iter().map(|((operation, ends, origin), tally)| {
            let (detector, severity) = match operation.category() {
                Some(1) => ("B20.category-1", Severity::High),
                Some(2) => ("B20.category-2", Severity::Medium),
                _ => ("B20.category-3", Severity::Low),
            };
            let by = origin.map(|number| format!(" by {}", name(number))).unwrap_or_default();
            claim(detector, severity, ends, format!("{}{by}", operation.name()), tally, context)
        }));
        claims.extend(self.named.take().into_iter().map(|((protocol, ends, number), tally)| {
            let detector = if protocol == Protocol::Ss7 { "B20.title" } else { "B20.realm" };
            claim(detector, Severity::Medium, ends, name(number).to_owned(), tally, context)
        }));
        claims.extend(self.peers.take().into_iter().map(|((protocol, ends), tally)| {
            let name = match protocol {
                Protocol::Ss7 => "SIGTRAN",
                Protocol::Diameter => "Diameter",
                Protocol::GtpC => "GTP-C",
                Protocol::GtpU => "GTP-U",
            };
            claim("B20.peer", Severity::Medium, ends, name.to_owned(), tally, context)
        }));
        claims.extend(self.nested.take().into_iter().map(|(ends, tally)| {
            let tunnel = tally.paths.1.map(|path| *context.paths.get(path)).unwrap_or_default();
            let claim = claim("B20.gtp-in-gtp", Severity::Medium, ends, String::new(), tally, context);
            let (encap, tunnel_id) = (tunnel.encap, tunnel.tunnel_id);
            Claim { report: true, kind: Kind::Tunnel, encap, tunnel_id, detail: None, ..claim }
        }));
        let lost = self.unread.saturating_add(overflow.max(self.nameless));
        (claims, Scope::of_kinds(outcome, self.seen, self.seen.saturating_sub(lost), [unread, missing]))
    }
}

impl MobilePeers {
    fn requests(
        &mut self,
        diameter: &diameter::View<'_>,
        row: usize,
        ends: Ends,
        seen: &Seen<'_>,
        context: &Context<'_>,
    ) {
        let realm = diameter.origin_realm(row).filter(|realm| !realm.is_empty());
        // Names of domains, in which case tells nothing (RFC 6733 section 4.3.1).
        let realm = realm.and_then(|realm| self.number(&realm.to_ascii_lowercase()));
        self.calls_itself(Protocol::Diameter, ends, realm, seen, context);
        if let (Some(application), Some(command)) = (diameter.application(row), diameter.command(row)) {
            self.asks(Operation::Diameter(application, command), ends, realm, seen, context);
        }
    }

    /// The number of a name; none if it finds no room.
    fn number(&mut self, name: &str) -> Option<u32> {
        let name: String = name.chars().take(MAX_NAME).collect();
        if let Some(&number) = self.numbers.get(&name) {
            return Some(number);
        }
        if self.names.len() >= MAX_NAMES {
            self.nameless += 1;
            return None;
        }
        let number = self.names.len() as u32;
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        Some(number)
    }

    fn met(&mut self, protocol: Protocol, (src, dst): Ends, seen: &Seen<'_>, context: &Context<'_>) {
        if let Some(tally) = self.peers.entry((protocol, (src.min(dst), src.max(dst))), context.room) {
            let (flow, label) = seen.traffic(None, context);
            tally.more_flows |=
                tally.flows.len() >= MAX_FLOWS && flow.is_some_and(|flow| !tally.flows.contains(&flow));
            let told = (flow.filter(|_| tally.flows.len() < MAX_FLOWS), label);
            tally.count(seen.sighting, None, (Role::Offending, Role::Offending), told, context);
        }
    }

    fn calls_itself(
        &mut self,
        protocol: Protocol,
        ends: Ends,
        name: Option<u32>,
        seen: &Seen<'_>,
        context: &Context<'_>,
    ) {
        if let Some(name) = name
            && let Some(tally) = self.named.entry((protocol, ends, name), context.room)
        {
            tally.add(seen, seen.sighting, None, (Role::Offending, Role::Offending), context);
        }
    }

    fn asks(
        &mut self,
        operation: Operation,
        ends: Ends,
        name: Option<u32>,
        seen: &Seen<'_>,
        context: &Context<'_>,
    ) {
        let Some(category) = operation.category() else { return };
        // Of others there would be too many.
        let name = name.filter(|_| category == 1);
        if let Some(tally) = self.asked.entry((operation, ends, name), context.room) {
            tally.add(seen, seen.sighting, None, (Role::Offending, Role::Offending), context);
        }
    }
}

/// Whether a message is one of MAP; none if it should be one of MAP or CAP, and cannot be told.
fn is_map(ss7: &ss7::View<'_>, row: usize) -> Option<bool> {
    let subsystems = [ss7.called_ssn(row), ss7.calling_ssn(row)];
    let is_any = |wanted: fn(u8) -> bool| subsystems.iter().flatten().any(|&number| wanted(number));
    let by_subsystem = if is_any(|number| number == CAP_SUBSYSTEM) {
        Some(false)
    } else {
        is_any(is_map_subsystem).then_some(true)
    };
    if ss7.tcap(row).is_none() {
        // Not TCAP at all, or the later part of such.
        return if by_subsystem.is_some() { None } else { Some(false) };
    }
    let Some(context) = ss7.context(row) else { return by_subsystem.or(Some(false)) };
    // TS 29.002 section 17.3: {map-ac}; 50 to 52 are those of CAP in version 1 and 2 (TS 09.78).
    let about = context.strip_prefix("0.4.0.0.1.0.").and_then(|rest| rest.split('.').next());
    Some(about.is_some_and(|about| !matches!(about, "50" | "51" | "52")))
}

fn claim(
    detector: &'static str,
    severity: Severity,
    (src, dst): Ends,
    detail: String,
    tally: Tally,
    context: &Context<'_>,
) -> Claim {
    let packets = tally.packets;
    let claim = Claim::new(detector, Kind::Signalling, severity, tally, context);
    Claim {
        // Policy decides.
        report: false,
        exporter: Some(src),
        collector: Some(dst),
        exporter_mac: None,
        collector_mac: None,
        encap: Stack::default(),
        tunnel_id: None,
        detail: Some(detail),
        in_scope: packets,
        judged: packets,
        ..claim
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_of_one_category() {
        for (n, (code, category, _)) in MAP.iter().enumerate() {
            assert_eq!(Operation::Map(*code).category(), Some(*category));
            assert!(MAP[..n].iter().all(|(other, ..)| other != code), "{code} is there twice");
        }
        assert_eq!(Operation::Map(45).category(), None);
        assert_eq!(Operation::Diameter(S6A, 317).category(), Some(2));
        assert_eq!(Operation::Diameter(S6A, 999).category(), None);
        assert_eq!(Operation::Diameter(16_777_217, 306).category(), Some(1));
        // Gx, within a visited network too.
        assert_eq!(Operation::Diameter(16_777_238, 272).category(), None);
    }
}
