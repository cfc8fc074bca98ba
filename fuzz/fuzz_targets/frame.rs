//! Any bytes as a frame of any link type: no panic, issues inside the frame, ids alike when read twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tapsight::capture::LinkType;
use tapsight::classify::Classifier;
use tapsight::dissect::dissect;
use tapsight::packets::ids::Ids;

fuzz_target!(|data: &[u8]| {
    let Some((&[link, more], frame)) = data.split_first_chunk() else { return };
    let links = [
        0, 1, 9, 12, 50, 51, 100, 101, 104, 105, 107, 108, 113, 127, 143, 147, 178, 192, 228, 229, 239, 242, 258, 276,
    ];
    let link = LinkType(links[usize::from(link) % links.len()]);
    let wire_len = frame.len() as u32 + u32::from(more);
    let layers = dissect(link, frame, wire_len);
    assert!(layers.payload.len() <= frame.len());
    assert!(layers.issue.is_none_or(|issue| issue.offset as usize <= frame.len().max(wire_len as usize)));
    assert!(layers.outer.is_none() || !layers.encap.is_empty());
    assert!(layers.ip.is_some() || layers.outer.is_none());
    assert_eq!(Ids::of(&layers), Ids::of(&dissect(link, frame, wire_len)));
    Classifier::new().classify(&layers);
});
