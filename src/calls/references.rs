//! Calls of H.225.0 (ITU-T Q.931) and of Skinny: who calls whom and where media go, by call references.

use super::framed::Protocol;
use super::lines::{Act, Described, Line, Told};
use super::streams::Place;
use crate::wire::q931::{self, Q931};
use crate::wire::skinny::{self, Skinny};

/// What a message says of a call; none if it is of none. `is_known` says whether a line has a call.
pub(super) fn told<'a>(
    protocol: Protocol,
    place: &'a Place,
    bytes: &[u8],
    is_known: impl Fn(Line) -> bool,
) -> Option<Told<'a>> {
    match protocol {
        Protocol::H225 => h225(place, bytes),
        Protocol::Skinny => skinny(place, bytes, is_known),
    }
}

fn h225<'a>(place: &'a Place, bytes: &[u8]) -> Option<Told<'a>> {
    let message = Q931::parse(bytes)?;
    let name = q931::name(message.kind)?;
    let mut ends = [(place.src, place.src_port), (place.dst, place.dst_port)];
    ends.sort_unstable();
    let act = match message.kind {
        q931::SETUP => Act::Call,
        q931::ALERTING => Act::Ring,
        q931::CONNECT => Act::Answer,
        q931::RELEASE_COMPLETE => Act::Release,
        _ => Act::Other,
    };
    Some(Told {
        place,
        line: Line::Reference { tap: place.tap, ends, reference: message.reference },
        transport: "h225".into(),
        source: "Q.931",
        name: name.into(),
        act,
        sender: message.is_callees,
        caller: Some(false),
        tells_who: true,
        may_begin: act != Act::Other,
        is_first: act == Act::Call,
        called: message.called,
        calling: message.calling,
        diverted_by: message.redirecting.into_iter().collect(),
        cause: message.cause,
        medium: None,
        codec: None,
    })
}

/// The port of a manager of calls.
const MANAGER: u16 = 2000;

fn skinny<'a>(place: &'a Place, bytes: &[u8], is_known: impl Fn(Line) -> bool) -> Option<Told<'a>> {
    let message = Skinny::parse(bytes)?;
    // Whose kind of message it is, its sender chooses.
    let is_phones = place.dst_port == MANAGER;
    if place.src_port != MANAGER && place.dst_port != MANAGER {
        return None;
    }
    let (phone, manager) = if is_phones { (place.src, place.dst) } else { (place.dst, place.src) };
    let line = |reference| Line::Phone { tap: place.tap, phone, manager, reference };
    // A copy of what is said in a conference has a reference of its own, as of a recorder.
    let of_conference = message.conference.map(line).filter(|&line| is_known(line));
    let of_reference = message.reference.filter(|&reference| reference != 0).map(line);
    let is_others = of_conference.is_some_and(|line| of_reference.is_some_and(|of| of != line));
    let line = of_conference.or(of_reference)?;
    let name = skinny::name(message.kind)?;
    let name = match message.state.and_then(skinny::state_name) {
        Some(state) => format!("{name} {state}").into(),
        None => name.into(),
    };
    let mut act = Act::Other;
    let mut caller = None;
    if let Some(state) = message.state {
        act = match state {
            // A phone that is called goes off hook as well.
            1 if !is_known(line) => Act::Call,
            3 | 4 => Act::Ring,
            5 => Act::Answer,
            2 => Act::Release,
            6 | 7 | 14 => Act::Refuse,
            _ => Act::Other,
        };
        // Who is off hook before it rings calls; where it rings, somebody else does.
        caller = match state {
            1 if act == Act::Call => Some(true),
            3 => Some(true),
            4 => Some(false),
            _ => None,
        };
    }
    caller = match message.call_type {
        Some(2) => Some(true),
        Some(1 | 3) => Some(false),
        _ => caller,
    };
    let receiver = match message.kind {
        skinny::OPEN_RECEIVE_CHANNEL_ACK => Some(true),
        _ if is_others => None,
        _ => Some(false),
    };
    let codec = message.codec.filter(|_| message.kind == skinny::OPEN_RECEIVE_CHANNEL);
    let medium = message.endpoint.filter(|(_, port)| *port != 0).map(|endpoint| Described {
        receiver,
        endpoint,
        payload: message.codec.and_then(skinny::encoding),
    });
    let diverted = [message.redirecting, message.original_called];
    let diverted = diverted.into_iter().flatten().filter(|number| Some(number) != message.called.as_ref());
    Some(Told {
        place,
        line,
        transport: "skinny".into(),
        source: "Skinny",
        name,
        act,
        // Ends of a line are the phone and the manager.
        sender: is_phones,
        caller,
        tells_who: false,
        may_begin: message.state.is_some() || message.call_type.is_some(),
        // Where it rings, nothing comes before.
        is_first: act == Act::Call || message.state == Some(4),
        diverted_by: diverted.collect(),
        called: message.called,
        calling: message.calling,
        cause: None,
        medium,
        codec: codec.and_then(skinny::encoding),
    })
}
