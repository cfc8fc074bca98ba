//! Any bytes as the payload of a datagram, a segment or an SCTP packet between any ports: no panic, and a label that has
//! a basis exactly when it has an application.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tapsight::capture::LinkType;
use tapsight::classify::Classifier;
use tapsight::dissect::dissect;

fuzz_target!(|data: &[u8]| {
    let Some((&[kind, a, b, c, d], payload)) = data.split_first_chunk() else { return };
    let payload = &payload[..payload.len().min(1400)];
    let (protocol, header): (u8, Vec<u8>) = match kind % 3 {
        0 => (17, [[a, b, c, d], [0; 4]].concat()),
        1 => (6, [[a, b, c, d], [0; 4], [0; 4], [0x50, 0x18, 0, 0], [0; 4]].concat()),
        _ => (132, [[a, b, c, d], [0; 4], [0; 4]].concat()),
    };
    let len = (20 + header.len() + payload.len()) as u16;
    let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet.extend_from_slice(&header);
    packet.extend_from_slice(payload);
    let mut classifier = Classifier::new();
    for _ in 0..5 {
        let label = classifier.classify(&dissect(LinkType::RAW, &packet, packet.len() as u32));
        assert_eq!(label.app.is_some(), label.basis.is_some());
    }
});
