//! Calls of ISUP (ITU-T Q.764) and BICC: one call a circuit, from the initial address message to the release.

use std::borrow::Cow;

use super::lines::{Act, Line, Told};
use super::streams::Place;
use crate::messages::ss7;

/// Kinds of messages, Q.763 table 4.
const INITIAL_ADDRESS: u8 = 1;
const ADDRESS_COMPLETE: u8 = 6;
const CONNECT: u8 = 7;
const ANSWER: u8 = 9;
const RELEASE: u8 = 12;
const RELEASE_COMPLETE: u8 = 16;

/// The name of a kind of message, Q.762.
fn name(kind: u8) -> Cow<'static, str> {
    Cow::Borrowed(match kind {
        INITIAL_ADDRESS => "IAM",
        2 => "SAM",
        3 => "INR",
        4 => "INF",
        5 => "COT",
        ADDRESS_COMPLETE => "ACM",
        CONNECT => "CON",
        8 => "FOT",
        ANSWER => "ANM",
        RELEASE => "REL",
        13 => "SUS",
        14 => "RES",
        RELEASE_COMPLETE => "RLC",
        17 => "CCR",
        18 => "RSC",
        44 => "CPG",
        _ => return Cow::Owned(format!("ISUP {kind}")),
    })
}

/// What a row of SS7 says of a call; none if it is of none.
pub(super) fn told<'a>(place: &'a Place, view: &ss7::View<'a>, row: usize) -> Option<Told<'a>> {
    let (opc, dpc) = (view.opc(row)?, view.dpc(row)?);
    let number = |number: Option<Cow<'a, str>>| number.map(Cow::into_owned);
    let line = Line::Circuit {
        tap: place.tap,
        ends: (opc.min(dpc), opc.max(dpc)),
        network: view.network(row),
        service: view.service(row)?,
        cic: view.cic(row)?,
    };
    let kind = view.isup_type(row)?;
    let diverted = [number(view.redirecting(row)), number(view.original_called(row))];
    let act = match kind {
        INITIAL_ADDRESS => Act::Call,
        ADDRESS_COMPLETE => Act::Ring,
        ANSWER | CONNECT => Act::Answer,
        RELEASE => Act::Release,
        _ => Act::Other,
    };
    Some(Told {
        place,
        line,
        transport: view.adaptation(row)?,
        source: "ISUP",
        name: name(kind),
        act,
        sender: opc > dpc,
        caller: None,
        tells_who: true,
        // What supervises circuits alone makes no call.
        may_begin: act != Act::Other,
        is_first: act == Act::Call,
        called: number(view.called(row)),
        calling: number(view.calling(row)),
        diverted_by: diverted.into_iter().flatten().collect(),
        cause: view.cause(row),
        medium: None,
        codec: None,
    })
}
