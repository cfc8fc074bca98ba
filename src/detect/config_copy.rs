//! **D4, configuration fetched by SNMP.** A device is told over SNMP to send its configuration to somebody, and does.
//!
//! *Sees*: SNMP set requests for an object of ciscoConfigCopy (1.3.6.1.4.1.9.9.96.1.1.1.1, CISCO-CONFIG-COPY-MIB) or writeNet
//! (1.3.6.1.4.1.9.2.1.55, OLD-CISCO-SYS-MIB), in versions 1 and 2c, or 3 without encryption (`D4.set`); and what the device then asks to
//! write or read by TFTP, FTP or HTTP (`D4.copied`).
//! *Cannot see*: SNMP that is encrypted; copies by SCP or SFTP; exploits of SNMP itself (CVE-2017-6742), after which nothing is asked.
//! *Guards*: get requests and responses do not count. A transfer counts only if it begins within a minute of the request, from the device
//! that was told. Management systems fetch configurations in this way too: without a transfer the request is of medium severity.
//! Of a packet that was seen before, on any tap, only the first counts.
//! *Thresholds*: one request suffices: CISA and NCSC name this object in their reports on Jaguar Tooth and on FSB's Centre 16 (2023, 2025).
//! A minute: the device begins as soon as the row is made active.
//! ATT&CK: T1602.002 (Data from Configuration Repository: Network Device Configuration Dump).

use serde::{Deserialize, Serialize};

use super::claim::Tally;
use super::{
    Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Sighting, Wanted, saved,
};
use crate::hash;
use crate::messages::{self, Kinds, View};
use crate::table::Table;
use crate::wire::ip::Addr;

const OBJECTS: [&str; 2] = ["1.3.6.1.4.1.9.9.96.1.1.1.1.", "1.3.6.1.4.1.9.2.1.55."];
const SET: u8 = 3;
const MINUTE: i64 = 60_000_000_000;

/// The device, who told it or whom it sends to, and whether it sends.
type Key = (Option<Addr>, Option<Addr>, bool);

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ConfigCopy {
    claims: Claims<Key>,
    /// The last request, by device.
    told: Table<Sighting>,
    /// The first file of each transfer.
    files: Vec<(Key, String)>,
    messages: u64,
    encrypted: u64,
    /// Messages that are not whole, whose objects may be missing.
    cut: u64,
}

impl Detector for ConfigCopy {
    saved!(claims);

    fn id(&self) -> &'static str {
        "D4"
    }

    fn packets(&self) -> Wanted {
        Wanted::None
    }

    fn tables(&self) -> Kinds {
        Kinds::of(&[messages::Kind::Snmp, messages::Kind::Transfer])
    }

    fn read(&mut self, messages: &View<'_>, row: usize, seen: &Seen<'_>, context: &Context<'_>) {
        let (src, dst) = (seen.packet.src(), seen.packet.dst());
        match messages {
            View::Snmp(snmp) => {
                self.messages += 1;
                let is_encrypted = snmp.is_encrypted(row) == Some(true);
                self.encrypted += u64::from(is_encrypted);
                self.cut += u64::from(seen.packet.is_cut() && !is_encrypted);
                if snmp.pdu(row) != Some(SET) || !seen.earlier.is_empty() {
                    return;
                }
                let oids = snmp.oids(row).unwrap_or_default();
                if !oids.iter().any(|oid| OBJECTS.iter().any(|object| oid.starts_with(object))) {
                    return;
                }
                if let Some(told) = self.told.entry(device(dst)) {
                    *told = seen.sighting;
                }
                if let Some(tally) = self.claims.entry((dst, src, false), context.room) {
                    tally.add(seen, seen.sighting, None, (Role::Trigger, Role::Trigger), context);
                }
            }
            View::Transfer(transfer) if !self.told.is_empty() && seen.earlier.is_empty() => {
                let Some(told) = self
                    .told
                    .get(device(src))
                    .filter(|told| (0..=MINUTE).contains(&seen.sighting.ts.saturating_sub(told.ts)))
                else {
                    return;
                };
                if transfer.operation(row).is_none() {
                    return;
                }
                let key = (src, dst, true);
                if let Some(tally) = self.claims.entry(key, context.room) {
                    tally.add(seen, seen.sighting, Some(told), (Role::Trigger, Role::Offending), context);
                    if let Some(name) = transfer.name(row)
                        && self.files.iter().all(|(of, _)| *of != key)
                    {
                        self.files.push((key, name.chars().take(MAX_NAME).collect()));
                    }
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let missing = self.claims.missing();
        let encrypted =
            (self.encrypted > 0).then(|| format!("{} messages of SNMP were encrypted", self.encrypted));
        let files = std::mem::take(&mut self.files);
        let claims = self.claims.take().into_iter().map(|(key, tally)| {
            let file = files.iter().find(|(of, _)| *of == key).map(|(_, name)| name.clone());
            claim(key, file, tally, &outcome.context)
        });
        let cut = (self.cut > 0)
            .then(|| format!("{} messages of SNMP of which the capture kept only a part", self.cut));
        let judged = self.messages - self.encrypted - self.cut;
        (claims.collect(), Scope::of_kinds(outcome, self.messages, judged, [missing, encrypted, cut]))
    }
}

/// How many characters of a file's name are kept.
const MAX_NAME: usize = 256;

fn device(addr: Option<Addr>) -> u64 {
    hash::address(addr).max(1)
}

fn claim((device, other, is_sent): Key, file: Option<String>, tally: Tally, context: &Context<'_>) -> Claim {
    let (detector, severity) =
        if is_sent { ("D4.copied", Severity::High) } else { ("D4.set", Severity::Medium) };
    let packets = tally.packets;
    let claim = Claim::new(detector, Kind::Copy, severity, tally, context);
    Claim {
        exporter: if is_sent { device } else { other },
        collector: if is_sent { other } else { None },
        subject: device,
        detail: file,
        in_scope: packets,
        judged: packets,
        ..claim
    }
}
