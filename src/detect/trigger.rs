//! **D2, a trigger and a session.** An odd packet to a router that nothing answers, and then a connection with who sent it.
//!
//! *Sees*: to addresses of the policy's `infrastructure`: packets that begin with a number that a known backdoor waits for (BPFDoor), and SYN
//! segments with an acknowledgment number or an urgent pointer that their flags do not make one, and that no SYN/ACK answers;
//! followed by a connection, in either direction, between the same two (`D2.backdoor`, `D2.trigger`).
//! *Cannot see*: triggers in fields that are not odd, such as J-magic's, whose conditions were not published in a source at hand; a connection
//! with another address than the trigger's, as BPFDoor allows; what TCP does not carry. A closed port's RST is not told from silence.
//! *Guards*: a trigger alone is nothing: of public captures, 0.4 % of SYN segments have an acknowledgment number (catalogue, D1), and one
//! packet in 65,536 begins with a number by chance. The connection must be answered, and for an odd SYN to another port of the router. Of a
//! connection that two taps see, one counts.
//! *Thresholds*: 60 seconds, the catalogue's (D2). A named number is of high severity, an odd SYN of medium.
//! ATT&CK: T1205.001, T1205.002 (Traffic Signaling: Port Knocking, Socket Filters).

use serde::{Deserialize, Serialize};

use super::claim::Tally;
use super::{
    Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Sighting, Wanted, saved,
};
use crate::hash::{self, fold};
use crate::messages::{self, Kinds, View};
use crate::table::Table;
use crate::wire::ip::Addr;

const MINUTE: i64 = 60_000_000_000;
const URG: u16 = 0x20;

/// The router, the other, and whether the trigger has a name.
type Key = (Addr, Addr, bool);

/// The last trigger of two addresses.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Trigger {
    sighting: Sighting,
    is_named: bool,
    /// Ports of the router and of the other, of an odd SYN.
    ports: (u16, u16),
    /// Ports of the connection that was counted.
    session: Option<(u16, u16)>,
    is_answered: bool,
}

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct KnockAndSession {
    claims: Claims<Key>,
    triggers: Table<Trigger>,
    messages: u64,
    judged: u64,
}

impl Detector for KnockAndSession {
    saved!(claims);

    fn id(&self) -> &'static str {
        "D2"
    }

    fn packets(&self) -> Wanted {
        Wanted::None
    }

    fn tables(&self) -> Kinds {
        Kinds::of(&[messages::Kind::Tcp, messages::Kind::Knock])
    }

    fn read(&mut self, messages: &View<'_>, row: usize, seen: &Seen<'_>, context: &Context<'_>) {
        self.messages += 1;
        let devices = &context.network.infrastructure;
        if devices.is_empty() {
            return;
        }
        self.judged += 1;
        let packet = &seen.packet;
        let (Some(src), Some(dst)) = (packet.src(), packet.dst()) else { return };
        let ports = (packet.src_port().unwrap_or_default(), packet.dst_port().unwrap_or_default());
        match messages {
            View::Knock(_) => {
                if devices.contains(dst)
                    && let Some(trigger) = self.triggers.entry(pair(dst, src))
                {
                    *trigger = Trigger { sighting: seen.sighting, is_named: true, ..Trigger::default() };
                }
            }
            View::Tcp(tcp) if tcp.is_answer(row) == Some(false) => {
                let is_urgent = packet.tcp_flags().is_some_and(|flags| flags & URG != 0);
                let is_odd = tcp.ack(row).is_some_and(|ack| ack != 0)
                    || (tcp.urgent(row).is_some_and(|urgent| urgent != 0) && !is_urgent);
                if is_odd
                    && devices.contains(dst)
                    && let Some(trigger) = self.triggers.entry(pair(dst, src))
                    && !(trigger.is_named && is_recent(trigger, seen))
                {
                    let ports = (ports.1, ports.0);
                    *trigger = Trigger { sighting: seen.sighting, ports, ..Trigger::default() };
                }
            }
            View::Tcp(_) if !self.triggers.is_empty() => {
                if devices.contains(src) {
                    self.answered((src, dst), ports, seen, context);
                }
                if devices.contains(dst) {
                    self.answered((dst, src), (ports.1, ports.0), seen, context);
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let missing = self.claims.missing();
        let unknown = (self.judged < self.messages)
            .then(|| "`infrastructure` in the policy's [network] is needed to know routers".to_owned());
        let claims = self.claims.take().into_iter().map(|(key, tally)| claim(key, tally, &outcome.context));
        (claims.collect(), Scope::of_kinds(outcome, self.messages, self.judged, [missing, unknown]))
    }
}

fn is_recent(trigger: &Trigger, seen: &Seen<'_>) -> bool {
    (0..=MINUTE).contains(&seen.sighting.ts.saturating_sub(trigger.sighting.ts))
}

impl KnockAndSession {
    /// A connection between a router and another was answered; ports in the same order.
    fn answered(
        &mut self,
        (router, other): (Addr, Addr),
        ports: (u16, u16),
        seen: &Seen<'_>,
        context: &Context<'_>,
    ) {
        let key = pair(router, other);
        // An entry that is not there is not to be made.
        if self.triggers.get(key).is_none_or(|trigger| trigger.sighting.ts == 0) {
            return;
        }
        let Some(trigger) = self.triggers.entry(key) else { return };
        if !trigger.is_named && trigger.ports == ports {
            trigger.is_answered = true;
        }
        let is_same = trigger.session == Some(ports) || (!trigger.is_named && trigger.ports.0 == ports.0);
        if is_same || trigger.is_answered || !is_recent(trigger, seen) {
            return;
        }
        trigger.session = Some(ports);
        let trigger = *trigger;
        if let Some(tally) = self.claims.entry((router, other, trigger.is_named), context.room) {
            tally.add(seen, seen.sighting, Some(trigger.sighting), (Role::Trigger, Role::Answer), context);
        }
    }
}

fn pair(router: Addr, other: Addr) -> u64 {
    fold(hash::address(Some(router)), hash::address(Some(other)).rotate_left(32)).max(1)
}

fn claim((router, other, is_named): Key, tally: Tally, context: &Context<'_>) -> Claim {
    let (detector, severity) =
        if is_named { ("D2.backdoor", Severity::High) } else { ("D2.trigger", Severity::Medium) };
    let packets = tally.packets;
    let claim = Claim::new(detector, Kind::Implant, severity, tally, context);
    Claim {
        exporter: Some(router),
        collector: Some(other),
        subject: Some(router),
        detail: is_named.then(|| "BPFDoor".to_owned()),
        in_scope: packets,
        judged: packets,
        ..claim
    }
}
