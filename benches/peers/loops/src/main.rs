//! The least that a program made of existing crates does with a capture: `loops records FILE` finds the records,
//! `loops headers FILE` also slices the headers of each. Prints how many packets there were.

use std::error::Error;
use std::fs::File;
use std::hint::black_box;

use etherparse::SlicedPacket;
use pcap_parser::{PcapBlockOwned, PcapError, create_reader};

/// Bytes read at a time, more than the longest record.
const BUFFER: usize = 1 << 20;

/// Calls `each` with every frame of a classic pcap and says how many there were.
fn frames(path: &str, mut each: impl FnMut(&[u8])) -> Result<u64, Box<dyn Error>> {
    let mut reader = create_reader(BUFFER, File::open(path)?).map_err(|error| format!("{error:?}"))?;
    let mut packets = 0;
    loop {
        match reader.next() {
            Ok((length, block)) => {
                if let PcapBlockOwned::Legacy(record) = block {
                    packets += 1;
                    each(record.data);
                }
                reader.consume(length);
            }
            Err(PcapError::Eof) => return Ok(packets),
            Err(PcapError::Incomplete(_)) => reader.refill().map_err(|error| format!("{error:?}"))?,
            Err(error) => return Err(format!("{error:?}").into()),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let packets = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["records", path] => frames(path, |frame| {
            black_box(frame);
        }),
        // What cannot be sliced is a result too.
        ["headers", path] => frames(path, |frame| {
            black_box(SlicedPacket::from_ethernet(frame).ok());
        }),
        _ => Err("usage: loops records|headers FILE".into()),
    }?;
    println!("packets {packets}");
    Ok(())
}
