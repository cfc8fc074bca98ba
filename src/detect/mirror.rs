//! **A2, mirror encapsulation.** Traffic in an encapsulation that serves only to carry copies elsewhere.
//!
//! *Sees*: every packet whose tunnel stack holds ERSPAN (types I, II and III; draft-foschiano-erspan-03), TZSP, HP's
//! encapsulated remote mirroring or rpcap, grouped by exporter, sink, stack and session. Whether the sink is allowed is for policy to say (check I6).
//! *Cannot see*: mirrors in general-purpose tunnels (plain GRE, VXLAN, an encrypted tunnel): see A1.
//! *Guards*: none are needed; one packet suffices, as the encapsulation has no other use. Retransmission or capture
//! artefacts do not make ERSPAN out of something else: its GRE protocol numbers 0x88BE and 0x22EB have no other owner.
//! TZSP needs its port and its fields, the others a packet inside that proves itself.
//! ATT&CK: T1020.001 (Traffic Duplication).

use super::{Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, saved};
use crate::dissect::{Encap, Stack};
use crate::wire::ip::Addr;
use serde::{Deserialize, Serialize};

/// Whether an encapsulation serves only to carry copies.
pub(super) fn is_mirror(stack: Stack) -> bool {
    let only_copies = |encap| {
        matches!(
            encap,
            Encap::Erspan1 | Encap::Erspan2 | Encap::Erspan3 | Encap::Tzsp | Encap::HpErm | Encap::Rpcap
        )
    };
    stack.iter().any(only_copies)
}

/// What tells one mirror session from another: tap, exporter, sink, stack, session.
type Session = (u16, Option<Addr>, Option<Addr>, Stack, Option<u32>);

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct MirrorEncapsulation {
    claims: Claims<Session>,
}

impl Detector for MirrorEncapsulation {
    saved!(claims);

    fn id(&self) -> &'static str {
        "A2"
    }

    fn observe(&mut self, seen: &Seen<'_>, context: &Context<'_>) {
        if !is_mirror(seen.packet.encap()) {
            return;
        }
        let path = context.paths.get(seen.sighting.path);
        let session = (path.tap, path.outer_src, path.outer_dst, path.encap, path.tunnel_id);
        if let Some(tally) = self.claims.entry(session, context.room) {
            tally.add(seen, seen.sighting, None, (Role::Mirror, Role::Mirror), context);
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let (missing, overflow) = (self.claims.missing(), self.claims.overflow());
        let claims = self.claims.take().into_iter().map(|(_, tally)| {
            let packets = tally.packets;
            let (kind, severity) = (Kind::Copy, Severity::Medium);
            let claim = Claim::new("A2.mirror-encapsulation", kind, severity, tally, &outcome.context);
            Claim { in_scope: packets, judged: packets, ..claim }
        });
        let reasons = [
            (outcome.counts.read < outcome.counts.packets)
                .then(|| "frames whose headers could not be read to the end".into()),
            missing,
        ];
        (
            claims.collect(),
            Scope::new(outcome.counts.packets, outcome.counts.read.saturating_sub(overflow), reasons),
        )
    }
}
