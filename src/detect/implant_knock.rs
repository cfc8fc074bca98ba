//! **D1, SYNful Knock.** A router's system image was replaced by one that listens for a certain SYN.
//!
//! *Sees*: SYN segments to port 80 whose sequence and acknowledgment numbers differ by 0xC123D, and SYN/ACK segments from port 80 whose
//! numbers say that such a one was answered: either way round, 0xC123D between the sequence number and the acknowledgment less one.
//! *Cannot see*: the implant while nobody knocks; what it was told after that, in encrypted form or inside TLS; variants with
//! other numbers.
//! *Guards*: a SYN has an acknowledgment number by accident now and then (81 of 15,851 in public captures, none with this difference);
//! SYN/ACK segments with just these options are common (9 of 8,755), so options alone are nothing. One pair of numbers in 2^31 has the
//! difference by chance: a SYN/ACK that has it, but neither the options nor a knock before it, is of high severity, not critical. Of a packet
//! that was seen before, on any tap, only the first counts.
//! *Thresholds*: the numbers and the options, 02 04 05 b4 01 01 04 02 01 03 03 05, are those of the scanners that Mandiant (then `FireEye`)
//! published with its report of 2015 (github.com/mandiant/synfulknock). A knock is answered within a minute, or not at all.
//! ATT&CK: T1205 (Traffic Signaling), T1601.001 (Modify System Image: Patch System Image); S0519.

use serde::{Deserialize, Serialize};

use super::claim::Tally;
use super::{
    Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Sighting, Wanted, saved,
};
use crate::hash::{self, fold};
use crate::messages::{self, Kinds, View};
use crate::table::Table;
use crate::wire::ip::Addr;

const PORT: u16 = 80;
const DIFFERENCE: u32 = 0xc123d;
const OPTIONS: &str = "020405b40101040201030305";
const MINUTE: i64 = 60_000_000_000;

/// What was seen of a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Class {
    Knock,
    /// An answer by its numbers only.
    Answer,
    /// An answer with the options, or to a knock.
    Confirmed,
}

/// The router, and who knocked.
type Key = (Class, Option<Addr>, Option<Addr>);

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ImplantKnock {
    claims: Claims<Key>,
    /// The last knock, by connection.
    knocks: Table<Sighting>,
    segments: u64,
}

impl Detector for ImplantKnock {
    saved!(claims);

    fn id(&self) -> &'static str {
        "D1"
    }

    fn packets(&self) -> Wanted {
        Wanted::None
    }

    fn tables(&self) -> Kinds {
        Kinds::of(&[messages::Kind::Tcp])
    }

    fn read(&mut self, messages: &View<'_>, row: usize, seen: &Seen<'_>, context: &Context<'_>) {
        let View::Tcp(tcp) = messages else { return };
        self.segments += 1;
        let (Some(seq), Some(ack), Some(is_answer)) = (tcp.seq(row), tcp.ack(row), tcp.is_answer(row)) else {
            return;
        };
        let differ = |a: u32, b: u32| a.wrapping_sub(b) == DIFFERENCE || b.wrapping_sub(a) == DIFFERENCE;
        let packet = &seen.packet;
        let (src, dst) = (packet.src(), packet.dst());
        if !is_answer {
            if packet.dst_port() != Some(PORT) || ack == 0 || !differ(seq, ack) || !seen.earlier.is_empty() {
                return;
            }
            if let Some(knock) = self.knocks.entry(connection(src, packet.src_port(), dst)) {
                *knock = seen.sighting;
            }
            if let Some(tally) = self.claims.entry((Class::Knock, dst, src), context.room) {
                tally.add(seen, seen.sighting, None, (Role::Trigger, Role::Trigger), context);
            }
            return;
        }
        if packet.src_port() != Some(PORT) || !differ(seq, ack.wrapping_sub(1)) || !seen.earlier.is_empty() {
            return;
        }
        let knock = self
            .knocks
            .get(connection(dst, packet.dst_port(), src))
            .filter(|knock| (0..=MINUTE).contains(&seen.sighting.ts.saturating_sub(knock.ts)));
        let is_sure = knock.is_some() || tcp.options(row).as_deref() == Some(OPTIONS);
        let class = if is_sure { Class::Confirmed } else { Class::Answer };
        if let Some(tally) = self.claims.entry((class, src, dst), context.room) {
            tally.add(seen, seen.sighting, knock, (Role::Trigger, Role::Answer), context);
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let missing = self.claims.missing();
        let claims = self.claims.take().into_iter().map(|(key, tally)| claim(key, tally, &outcome.context));
        (claims.collect(), Scope::of_kinds(outcome, self.segments, self.segments, [missing]))
    }
}

fn connection(client: Option<Addr>, port: Option<u16>, server: Option<Addr>) -> u64 {
    let port = u64::from(port.unwrap_or_default());
    fold(hash::address(client) ^ port, hash::address(server).rotate_left(32)).max(1)
}

fn claim((class, router, client): Key, tally: Tally, context: &Context<'_>) -> Claim {
    let (detector, kind, severity) = match class {
        Class::Knock => ("D1.knock", Kind::Implant, Severity::Medium),
        Class::Answer => ("D1.answer", Kind::Implant, Severity::High),
        Class::Confirmed => ("D1.implant", Kind::Implant, Severity::Critical),
    };
    let packets = tally.packets;
    let claim = Claim::new(detector, kind, severity, tally, context);
    Claim {
        exporter: router,
        collector: client,
        subject: router,
        in_scope: packets,
        judged: packets,
        ..claim
    }
}
