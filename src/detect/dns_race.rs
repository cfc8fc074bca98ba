//! **B9, DNS answers in a race.** Somebody on the path answers before the server does.
//!
//! *Sees*: two answers over UDP to one query, the same from both ends, identifier and name, with other addresses, or one of them that the
//! name does not exist (`B9.race`); an answer from a server that was not asked (`B9.unasked`).
//! *Cannot see*: one wrong answer alone, as a server that lies or one that was put in its place gives; DNS over TCP, TLS, HTTPS and QUIC;
//! answers of other types than A and AAAA; multicast DNS and LLMNR, where many may answer.
//! *Guards*: the addresses of an answer are compared as a set, whatever their order; an answer that was cut short, or that failed for the
//! server's sake, is not compared. A resolver that asks again gets another answer each time, and servers give each other ones: there must be
//! more answers than queries. Names are compared without case (draft-vixie-dnsext-dns0x20). Where the query did not pass the tap, two
//! answers are of low severity. An answer from elsewhere is only one if the query passed the tap, and to no more than three servers. Of a packet
//! that was seen on the same tap just before, only the first counts; tunnels are left out.
//! *Thresholds*: one race suffices; both answers within the window for copies (5 s by default), which resolvers give up after. If the TTL
//! of the two packets differs they came from different places (catalogue, B2, B10): high; else medium.
//! ATT&CK: T1557 (Adversary-in-the-Middle), T1659 (Content Injection).

use serde::{Deserialize, Serialize};

use super::claim::Tally;
use super::{
    Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Sighting, Wanted, saved,
};
use crate::classify::App;
use crate::hash::{self, fold};
use crate::messages::{self, Kinds, View};
use crate::table::Table;
use crate::wire::ip::Addr;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Class {
    /// From two places, by the TTL.
    OtherPlace,
    Race,
    /// Without a query that was seen.
    NoQuery,
    Unasked,
}

/// What, and the server that answers, or seems to.
type Key = (Class, Option<Addr>);

/// Servers that were asked one question.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Asked {
    ts: i64,
    servers: [u64; 3],
    is_full: bool,
}

/// What was answered to one question by one server.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Answered {
    /// Of the query, or else of the first answer.
    ts: i64,
    queries: u16,
    answers: u16,
    /// The first answer that can be compared.
    first: Option<Answer>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Answer {
    set: u64,
    code: u8,
    address: Option<Addr>,
    sighting: Sighting,
}

/// The first name of a claim, and the address of either answer.
#[derive(Debug, Serialize, Deserialize)]
struct Example {
    key: Key,
    name: String,
    client: Option<Addr>,
    addresses: (Option<Addr>, Option<Addr>),
}

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct DnsRace {
    claims: Claims<Key>,
    asked: Table<Asked>,
    answered: Table<Answered>,
    examples: Vec<Example>,
    messages: u64,
    /// Answers that could be compared.
    judged: u64,
}

impl Detector for DnsRace {
    saved!(claims);

    fn id(&self) -> &'static str {
        "B9"
    }

    fn packets(&self) -> Wanted {
        Wanted::None
    }

    fn tables(&self) -> Kinds {
        Kinds::of(&[messages::Kind::Dns])
    }

    fn read(&mut self, messages: &View<'_>, row: usize, seen: &Seen<'_>, context: &Context<'_>) {
        let View::Dns(dns) = messages else { return };
        let packet = &seen.packet;
        let is_plain = packet.label().app == Some(App::Dns) && packet.protocol() == Some(17);
        if !is_plain || !packet.encap().is_empty() || dns.opcode(row) != Some(0) || seen.was_here(context) {
            return;
        }
        let (Some(id), Some(is_response), Some(name)) = (dns.id(row), dns.is_response(row), dns.qname(row))
        else {
            return;
        };
        let ((client, server), port) = if is_response {
            ((packet.dst(), packet.src()), packet.dst_port())
        } else {
            ((packet.src(), packet.dst()), packet.src_port())
        };
        let tap = context.paths.get(seen.sighting.path).tap;
        let kind = u64::from(dns.qtype(row).unwrap_or_default());
        let ends =
            u64::from(tap) << 48 | u64::from(port.unwrap_or_default()) << 32 | u64::from(id) << 16 | kind;
        let question = fold(hash::address(client) ^ ends, name_number(&name)).max(1);
        let (server_number, now) = (hash::address(server).max(1), seen.sighting);
        let is_old = |ts: i64| !(0..=context.window).contains(&now.ts.saturating_sub(ts));
        let at_server = fold(question, server_number).max(1);
        if !is_response {
            if let Some(asked) = self.asked.entry(question) {
                if is_old(asked.ts) {
                    *asked = Asked { ts: now.ts, ..Asked::default() };
                }
                if !asked.servers.contains(&server_number) {
                    match asked.servers.iter_mut().find(|place| **place == 0) {
                        Some(place) => *place = server_number,
                        None => asked.is_full = true,
                    }
                }
            }
            if let Some(answered) = self.answered.entry(at_server) {
                if is_old(answered.ts) {
                    *answered = Answered { ts: now.ts, ..Answered::default() };
                }
                answered.queries = answered.queries.saturating_add(1);
            }
            return;
        }
        self.messages += 1;
        if let Some(asked) = self.asked.get(question)
            && !is_old(asked.ts)
            && !asked.is_full
            && !asked.servers.contains(&server_number)
        {
            let key = (Class::Unasked, server);
            if let Some(tally) = self.claims.entry(key, context.room) {
                tally.add(seen, now, None, (Role::Injected, Role::Injected), context);
                self.remember(key, &name, client, (dns.address(row), None));
            }
        }
        let (Some(set), Some(code @ (0 | 3))) = (dns.address_set(row), dns.rcode(row)) else { return };
        // An alias alone, or no address of this type, says little.
        if dns.is_truncated(row) == Some(true) || (code == 0 && dns.addresses(row) == Some(0)) {
            return;
        }
        self.judged += 1;
        let Some(answered) = self.answered.entry(at_server) else { return };
        if is_old(answered.ts) {
            *answered = Answered { ts: now.ts, ..Answered::default() };
        }
        answered.answers = answered.answers.saturating_add(1);
        let Some(first) = answered.first else {
            answered.first = Some(Answer { set, code, address: dns.address(row), sighting: now });
            return;
        };
        if (first.set, first.code) == (set, code) || answered.answers <= answered.queries {
            return;
        }
        let class = match (answered.queries, first.sighting.ttl == now.ttl) {
            (0, _) => Class::NoQuery,
            (_, true) => Class::Race,
            (_, false) => Class::OtherPlace,
        };
        let key = (class, server);
        if let Some(tally) = self.claims.entry(key, context.room) {
            tally.add(seen, first.sighting, Some(now), (Role::Original, Role::Injected), context);
            self.remember(key, &name, client, (first.address, dns.address(row)));
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let missing = self.claims.missing();
        let examples = std::mem::take(&mut self.examples);
        let claims = self.claims.take().into_iter().map(|(key, tally)| {
            let example = examples.iter().find(|example| example.key == key);
            claim(key, example, tally, &outcome.context)
        });
        let others = (self.judged < self.messages)
            .then(|| "answers without addresses, or cut short, cannot be compared".to_owned());
        (claims.collect(), Scope::of_kinds(outcome, self.messages, self.judged, [missing, others]))
    }
}

impl DnsRace {
    fn remember(
        &mut self,
        key: Key,
        name: &str,
        client: Option<Addr>,
        addresses: (Option<Addr>, Option<Addr>),
    ) {
        if self.examples.iter().all(|example| example.key != key) {
            self.examples.push(Example { key, name: name.to_owned(), client, addresses });
        }
    }
}

/// A number for a name, in capitals or not (FNV-1a).
fn name_number(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |number, byte| {
        (number ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    })
}

fn claim((class, server): Key, example: Option<&Example>, tally: Tally, context: &Context<'_>) -> Claim {
    let (detector, severity) = match class {
        Class::OtherPlace => ("B9.race", Severity::High),
        Class::Race => ("B9.race", Severity::Medium),
        Class::NoQuery => ("B9.race", Severity::Low),
        Class::Unasked => ("B9.unasked", Severity::Low),
    };
    let packets = tally.packets;
    let (first, second) = example.map(|example| example.addresses).unwrap_or_default();
    let claim = Claim::new(detector, Kind::Injection, severity, tally, context);
    Claim {
        exporter: server,
        collector: first,
        subject: example.and_then(|example| example.client),
        detail: example.map(|example| example.name.clone()),
        rewritten: second.zip(first),
        in_scope: packets,
        judged: packets,
        ..claim
    }
}
