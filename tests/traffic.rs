//! Traffic made for measuring is what it says: every frame is found and read without an issue, and what it is meant to
//! be is recognised.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{TimestampNanosecondType, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array as _, RecordBatch};
use arrow_schema::ArrowError;
use tapsight::capture::{Options, Reader, Source};
use tapsight::detect;
use tapsight::packets::{Scan, ScanOptions};
use tapsight::traffic::{Mix, capture};

const PACKETS: usize = 20_000;

fn scan(bytes: Vec<u8>, options: ScanOptions) -> Scan {
    let source = Source::Memory { name: "made".into(), bytes: Arc::new(bytes) };
    let reader = Reader::open(vec![source], Options::default()).unwrap();
    Scan::new(reader, ScanOptions { batch_size: PACKETS, ..options })
}

fn rows(mix: Mix) -> RecordBatch {
    let batches: Vec<_> =
        scan(capture(mix, PACKETS, 1), ScanOptions::default()).map(Result::unwrap).collect();
    assert_eq!(batches.len(), 1);
    batches[0].clone()
}

/// Per cent of the rows that have each name; those without one as "".
fn shares(rows: &RecordBatch, column: &str) -> BTreeMap<String, f64> {
    let column = rows.column_by_name(column).unwrap().as_any_dictionary();
    let names = column.values().as_string::<i32>();
    let mut shares = BTreeMap::new();
    for (row, key) in column.normalized_keys().into_iter().enumerate() {
        let name = if column.is_null(row) { "" } else { names.value(key) };
        *shares.entry(name.to_owned()).or_default() += 100.0 / rows.num_rows() as f64;
    }
    shares
}

fn lengths(rows: &RecordBatch) -> Vec<u32> {
    rows.column_by_name("wire_len").unwrap().as_primitive::<UInt32Type>().values().to_vec()
}

fn distinct(rows: &RecordBatch, column: &str) -> usize {
    let values = rows.column_by_name(column).unwrap().as_primitive::<UInt64Type>();
    assert_eq!(values.null_count(), 0, "{column}");
    values.values().iter().collect::<BTreeSet<_>>().len()
}

#[test]
fn all_frames_are_found_and_whole() {
    for &mix in Mix::ALL {
        let rows = rows(mix);
        assert_eq!(rows.num_rows(), PACKETS, "{}", mix.name());
        let issues = rows.column_by_name("issue").unwrap();
        assert_eq!(issues.null_count(), PACKETS, "{}", mix.name());
    }
}

#[test]
fn times_are_those_of_a_link_at_ten_gigabits() {
    for &mix in Mix::ALL {
        let rows = rows(mix);
        let times = rows.column_by_name("ts").unwrap().as_primitive::<TimestampNanosecondType>();
        assert!(times.values().is_sorted_by(|a, b| a < b));
        // Preamble, check sequence and gap are 24 bytes; a byte takes 0.8 ns.
        let bytes: f64 = lengths(&rows).iter().rev().skip(1).map(|&len| f64::from(len + 24)).sum();
        let took = (times.value(PACKETS - 1) - times.value(0)) as f64;
        assert!((took - bytes * 0.8).abs() < 2.0, "{}: {took} ns", mix.name());
    }
}

#[test]
fn sizes_are_those_of_the_mix() {
    let mean = |rows: &RecordBatch| {
        lengths(rows).iter().map(|&len| f64::from(len)).sum::<f64>() / rows.num_rows() as f64
    };
    assert!(lengths(&rows(Mix::Smallest)).iter().all(|&len| len == 60));

    // (7 · 60 + 4 · 590 + 1514) / 12 is 357.8; the first segment of each connection has no data.
    let imix = rows(Mix::Imix);
    assert!(lengths(&imix).iter().all(|len| [60, 590, 1514].contains(len)));
    assert!((345.0..370.0).contains(&mean(&imix)), "{}", mean(&imix));

    assert!((530.0..580.0).contains(&mean(&rows(Mix::Carrier))), "{}", mean(&rows(Mix::Carrier)));

    // 14 + 20 + 8 + 12 + 160; reports are rare.
    let rtp = rows(Mix::Rtp);
    assert!((213.0..=214.0).contains(&mean(&rtp)), "{}", mean(&rtp));
}

#[test]
fn applications_are_recognised() {
    let is_about = |share: Option<&f64>, expected: f64| {
        share.is_some_and(|share| (share - expected).abs() <= expected / 5.0)
    };
    let carrier = rows(Mix::Carrier);
    let apps = shares(&carrier, "app");
    // The shares of places: all are amid what they do, so that few calls are set up or end, and registrations are most of SIP.
    for (app, expected) in [("m3ua", 6.0), ("quic", 16.0), ("tls", 28.0), ("dns", 9.0)] {
        assert!(is_about(apps.get(app), expected), "{app}: {apps:?}");
    }
    // The first three packets of streams that nothing announces are not known yet.
    let voice = ["rtp", "rtcp", "sip", ""].map(|app| apps.get(app).copied().unwrap_or_default());
    assert!(is_about(Some(&voice.iter().sum()), 41.0), "{apps:?}");
    assert!(voice[0] > 25.0 && (1.5..3.0).contains(&voice[2]), "{apps:?}");
    // One in five conversations of TLS, QUIC and DNS is in a tunnel.
    assert!(is_about(shares(&carrier, "encap").get("gtpu"), 10.6), "{:?}", shares(&carrier, "encap"));
    for (column, expected) in [("vlan", 30.0), ("vlan_inner", 8.0), ("mpls", 10.0)] {
        let column_rows = carrier.column_by_name(column).unwrap();
        let share = 100.0 * (PACKETS - column_rows.logical_null_count()) as f64 / PACKETS as f64;
        // Of conversations, which are of unequal length.
        assert!((share - expected).abs() < expected / 2.0, "{column}: {share}");
    }

    // Nothing announces them: the first three packets of the two streams of 625 calls are not known yet.
    let rtp = shares(&rows(Mix::Rtp), "app");
    assert!(rtp["rtp"] > 100.0 - 100.0 * (6 * 625) as f64 / PACKETS as f64 - 1.0, "{rtp:?}");
}

#[test]
fn a_flood_has_a_conversation_a_packet() {
    let rows = rows(Mix::Flood);
    assert!(lengths(&rows).iter().all(|&len| len == 60));
    let flags = rows.column_by_name("tcp_flags").unwrap().as_primitive::<UInt16Type>();
    assert!(flags.iter().all(|flags| flags == Some(2)), "SYN alone (RFC 9293, section 3.1)");
    // Of 24 + 17 random bits of addresses, and ports, hardly two are alike.
    assert!(distinct(&rows, "flow_id") > PACKETS - 3);
}

#[test]
fn ids_of_a_repeated_frame_collide() {
    let rows = rows(Mix::Repeated);
    for id in ["packet_id", "payload_id", "flow_id"] {
        assert_eq!(distinct(&rows, id), 1, "{id}");
    }
}

#[test]
fn nothing_is_copied() {
    for &mix in Mix::ALL.iter().filter(|&&mix| mix != Mix::Repeated) {
        let mut scan = scan(capture(mix, PACKETS, 1), detect::scan_options(None));
        let mut tap = std::iter::from_fn(|| scan.next_with_messages().transpose());
        let taps: Vec<detect::Tap<'_>> = vec![&mut tap];
        let found =
            detect::examine(taps, detect::Options::default(), None, |_| Ok::<_, ArrowError>(())).unwrap();
        // Who signals with whom in mobile networks is named, and all that is.
        let named = found.claims.column_by_name("detector").unwrap().as_string::<i32>();
        assert!(named.iter().all(|name| name == Some("B20.peer")), "{}: {:?}", mix.name(), found.claims);
        let reported = found.claims.column_by_name("report").unwrap().as_boolean();
        assert_eq!(reported.true_count(), 0, "{}", mix.name());
        assert!(found.flows.num_rows() >= 100, "{}", mix.name());
    }
}

#[test]
fn a_seed_gives_the_same_bytes() {
    for &mix in Mix::ALL {
        assert!(capture(mix, 3_000, 7) == capture(mix, 3_000, 7), "{}", mix.name());
        assert!(capture(mix, 3_000, 7) != capture(mix, 3_000, 8), "{}", mix.name());
    }
}
