//! **D3, odd echoes.** Pings that carry something: what headers show of implants, such as Regin, that talk in ICMP.
//!
//! *Sees*: echo requests and replies (RFC 792; RFC 4443 section 4): replies with another length of data than the request (`D3.asymmetric`),
//! several replies to one request (`D3.replies`), and hosts whose pings come in many sizes (`D3.sizes`).
//! *Cannot see*: what is in them: nothing here says what they are for. Requests that are not captured; payloads of the usual length.
//! *Guards*: who answers must return the data (RFC 792), so lengths differ by tampering or a broken host only: low severity. Several replies
//! come of copies on a link too, so a packet that was seen on the same tap just before does not count, nor do replies to groups, which come
//! from another address than was asked. Sizes, which path discovery varies too, are named, not reported. Packets in tunnels are left
//! out, as are fragments.
//! *Thresholds*: a pair of hosts must do so four times; eight sizes are many, as a ping has one.
//! ATT&CK: T1095 (Non-Application Layer Protocol).

use serde::{Deserialize, Serialize};

use super::claim::Tally;
use super::{
    Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Sighting, Wanted, saved,
};
use crate::hash::{self, fold};
use crate::messages::{self, Kinds, View};
use crate::table::Table;
use crate::wire::ip::Addr;

const TIMES: u64 = 4;
const SIZES: u8 = 8;
const WINDOW: i64 = 60_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Class {
    Asymmetric,
    Replies,
    Sizes,
}

/// What, who asks, who answers.
type Key = (Class, Option<Addr>, Option<Addr>);

/// A request that was seen.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Request {
    sighting: Sighting,
    len: u32,
    replies: u32,
    is_seen: bool,
}

/// Sizes of the requests of a pair of hosts: a bit for each of 64 classes they fall into by hash.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Sizes {
    bits: u64,
}

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Echo {
    claims: Claims<Key>,
    requests: Table<Request>,
    sizes: Table<Sizes>,
    messages: u64,
    judged: u64,
}

impl Detector for Echo {
    saved!(claims);

    fn id(&self) -> &'static str {
        "D3"
    }

    fn packets(&self) -> Wanted {
        Wanted::None
    }

    fn tables(&self) -> Kinds {
        Kinds::of(&[messages::Kind::Icmp])
    }

    fn read(&mut self, messages: &View<'_>, row: usize, seen: &Seen<'_>, context: &Context<'_>) {
        let View::Icmp(icmp) = messages else { return };
        let is_request = match (icmp.version(row), icmp.type_(row)) {
            (Some(4), Some(8)) | (Some(6), Some(128)) => true,
            (Some(4), Some(0)) | (Some(6), Some(129)) => false,
            _ => return,
        };
        self.messages += 1;
        let packet = &seen.packet;
        let (Some(id), Some(sequence), Some(len)) = (icmp.id(row), icmp.sequence(row), packet.payload_len())
        else {
            return;
        };
        // Of a fragment, the length is not that of the message.
        if !packet.encap().is_empty() || packet.has_issue() || seen.was_here(context) {
            return;
        }
        self.judged += 1;
        let (src, dst) = (packet.src(), packet.dst());
        let (asks, answers) = if is_request { (src, dst) } else { (dst, src) };
        let tap = u64::from(context.paths.get(seen.sighting.path).tap);
        let pair = fold(hash::address(asks) ^ tap, hash::address(answers).rotate_left(32)).max(1);
        let key = fold(pair, u64::from(id) << 16 | u64::from(sequence) | 1 << 40).max(1);
        if is_request {
            if let Some(request) = self.requests.entry(key) {
                *request = Request { sighting: seen.sighting, len, replies: 0, is_seen: true };
            }
            let Some(sizes) = self.sizes.entry(pair) else { return };
            let before = sizes.bits.count_ones();
            sizes.bits |= 1 << (fold(u64::from(len), 0x9e37_79b9_7f4a_7c15) & 63);
            let is_more = sizes.bits.count_ones() > before && sizes.bits.count_ones() >= u32::from(SIZES);
            if is_more && let Some(tally) = self.claims.entry((Class::Sizes, asks, answers), context.room) {
                tally.add(seen, seen.sighting, None, (Role::Offending, Role::Offending), context);
            }
            return;
        }
        if !self.requests.get(key).is_some_and(|request| request.is_seen) {
            return;
        }
        let Some(request) = self.requests.entry(key) else { return };
        if !(0..=WINDOW).contains(&seen.sighting.ts.saturating_sub(request.sighting.ts)) {
            return;
        }
        request.replies += 1;
        let request = *request;
        let mut note = |class| {
            if let Some(tally) = self.claims.entry((class, asks, answers), context.room) {
                tally.add(
                    seen,
                    seen.sighting,
                    Some(request.sighting),
                    (Role::Trigger, Role::Answer),
                    context,
                );
            }
        };
        if request.len != len {
            note(Class::Asymmetric);
        }
        if request.replies > 1 {
            note(Class::Replies);
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let missing = self.claims.missing();
        let claims = self.claims.take().into_iter().map(|(key, tally)| claim(key, tally, &outcome.context));
        let others = (self.judged < self.messages)
            .then(|| "echoes in tunnels, or cut short, are not compared".to_owned());
        (claims.collect(), Scope::of_kinds(outcome, self.messages, self.judged, [missing, others]))
    }
}

fn claim((class, asks, answers): Key, tally: Tally, context: &Context<'_>) -> Claim {
    let is_often = tally.packets >= TIMES;
    let (detector, report, severity) = match class {
        Class::Asymmetric => ("D3.asymmetric", is_often, Severity::Low),
        Class::Replies => ("D3.replies", is_often, Severity::Low),
        Class::Sizes => ("D3.sizes", false, Severity::Info),
    };
    let packets = tally.packets;
    let claim = Claim::new(detector, Kind::Tunnel, severity, tally, context);
    Claim {
        report,
        exporter: answers,
        collector: asks,
        subject: answers,
        in_scope: packets,
        judged: packets,
        ..claim
    }
}
