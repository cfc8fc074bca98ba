//! Calls that seem to be one: both sides of what terminates a call and calls anew (a back-to-back user agent, RFC 7092).
//!
//! Nothing proves it but an identifier that both carry. Without one, a call is taken for the other side of an earlier one only if it begins while
//! that one is open and shortly after it, is for the same number, from no other, and comes from where that one went, or describes the same media; and
//! only if no other call fits as well. What it rests on, and how far that goes, stands beside it.

use std::collections::VecDeque;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::wire::ip::Addr;

/// How long after a call its other side begins at the latest, nanoseconds, where only numbers say so: longer than a call is routed, shorter
/// than people call again.
const WINDOW: i64 = 10_000_000_000;
/// How long identifiers are remembered, nanoseconds: as long as a call may ring.
const REMEMBERED: i64 = 300_000_000_000;
/// Keys that are remembered, and calls of one.
const MAX_KEYS: usize = 1 << 16;
const MAX_OF_KEY: usize = 16;
/// Digits that tell a number in whatever form it is written.
const TELLING: usize = 7;

/// What is compared of a call that begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup<'a> {
    pub call: u64,
    pub began: i64,
    pub is_over: bool,
    pub src: Addr,
    pub dst: Addr,
    pub caller: Option<&'a str>,
    pub callee: Option<&'a str>,
    pub diverted_by: &'a [String],
    pub session_id: Option<&'a str>,
    pub icid: Option<&'a str>,
}

/// That another call seems to be the same.
#[derive(Debug, Clone, PartialEq, Eq, get_size2::GetSize, Serialize, Deserialize)]
pub(super) struct Join {
    pub call: u64,
    /// What says so, in words.
    pub basis: String,
    pub confidence: String,
}

/// Calls of late, by what they may have in common.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Joins {
    known: HashMap<(u16, u64), Vec<u64>>,
    order: VecDeque<(i64, (u16, u64), u64)>,
}

/// A number without what stands before it where it is dialled from afar; none if it is a name.
fn digits(number: &str) -> Option<&str> {
    let digits = number.strip_prefix('+').or_else(|| number.strip_prefix("00")).unwrap_or(number);
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

/// Whether two numbers are the same in their international, national or local form, or two names.
fn is_same(one: &str, other: &str) -> bool {
    let (Some(one), Some(other)) = (digits(one), digits(other)) else { return one == other };
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    // The zero before a national number is not of it.
    let national = short.strip_prefix('0').unwrap_or(short);
    short == long || national.len() >= TELLING && long.ends_with(national)
}

/// Whether it names nobody: RFC 3323 section 4.1.
fn is_anonymous(name: &str) -> bool {
    ["anonymous", "restricted", "unavailable", "unknown"].iter().any(|none| name.eq_ignore_ascii_case(none))
}

fn key(tap: u16, kind: u8, text: &[u8]) -> (u16, u64) {
    (tap, xxhash_rust::xxh3::xxh3_64_with_seed(text, kind.into()))
}

fn number_key(tap: u16, number: &str) -> (u16, u64) {
    let digits = digits(number).unwrap_or(number);
    let from = digits.len().saturating_sub(TELLING);
    key(tap, 0, digits.as_bytes().get(from..).unwrap_or_default())
}

/// An identifier that is one: not that of nobody (RFC 7989 section 5).
fn identifier(id: Option<&str>) -> Option<&str> {
    id.filter(|id| id.bytes().any(|byte| byte != b'0'))
}

impl Joins {
    /// The earlier call that this one seems to be the other side of. `open` says what is known of calls that go on.
    pub fn find<'a>(
        &mut self,
        tap: u16,
        setup: &Setup<'_>,
        media: &[(Addr, u16)],
        open: impl Fn(u64) -> Option<(Setup<'a>, Vec<(Addr, u16)>)>,
    ) -> Option<Join> {
        let own: Vec<_> = setup
            .callee
            .map(|callee| number_key(tap, callee))
            .into_iter()
            .chain(identifier(setup.session_id).map(|id| key(tap, 1, id.as_bytes())))
            .chain(identifier(setup.icid).map(|id| key(tap, 2, id.as_bytes())))
            .collect();
        let diverted = setup.diverted_by.iter().map(|number| number_key(tap, number));
        let mut candidates: Vec<_> = own
            .iter()
            .copied()
            .chain(diverted)
            .filter_map(|key| self.known.get(&key))
            .flatten()
            .copied()
            .collect();
        candidates.sort_unstable();
        candidates.dedup();
        self.remember(&own, setup);
        let mut best: Option<(usize, Join)> = None;
        let mut is_ambiguous = false;
        for number in candidates.into_iter().filter(|&number| number != setup.call) {
            let Some((other, theirs)) = open(number) else { continue };
            let Some((rank, join)) = compare(&other, &theirs, setup, media) else { continue };
            let before = best.as_ref().map(|(rank, _)| *rank);
            is_ambiguous = before == Some(rank) || is_ambiguous && before > Some(rank);
            if before < Some(rank) {
                best = Some((rank, join));
            }
        }
        best.map(|(_, join)| join).filter(|_| !is_ambiguous)
    }

    fn remember(&mut self, keys: &[(u16, u64)], setup: &Setup<'_>) {
        while let Some(&(ts, key, call)) = self.order.front()
            && (self.order.len() >= MAX_KEYS || setup.began.saturating_sub(ts) > REMEMBERED)
        {
            self.order.pop_front();
            if let Some(calls) = self.known.get_mut(&key) {
                calls.retain(|&known| known != call);
                if calls.is_empty() {
                    self.known.remove(&key);
                }
            }
        }
        for &key in keys {
            let calls = self.known.entry(key).or_default();
            if calls.len() >= MAX_OF_KEY {
                calls.remove(0);
            }
            calls.push(setup.call);
            self.order.push_back((setup.began, key, setup.call));
        }
    }
}

/// What an earlier call and a later one have in common, and how far that goes; none if it is not enough.
fn compare(
    other: &Setup<'_>,
    theirs: &[(Addr, u16)],
    setup: &Setup<'_>,
    media: &[(Addr, u16)],
) -> Option<(usize, Join)> {
    let both = |one: Option<&str>, other: Option<&str>| {
        one.zip(other).is_some_and(|(one, other)| is_same(one, other))
    };
    let apart = setup.began.saturating_sub(other.began);
    let is_shared = |one, other| identifier(one).is_some() && one == other;
    let has_session = is_shared(setup.session_id, other.session_id);
    let has_icid = is_shared(setup.icid, other.icid);
    let is_callee = both(setup.callee, other.callee);
    let is_diverted =
        setup.diverted_by.iter().any(|number| other.callee.is_some_and(|callee| is_same(number, callee)));
    let is_caller = both(setup.caller, other.caller);
    let has_other_caller = !is_caller
        && [setup.caller, other.caller].iter().all(|name| name.is_some_and(|name| !is_anonymous(name)));
    // Between one address and itself, nobody can tell which side of it is meant.
    let is_between = setup.src != setup.dst && other.src != other.dst;
    let is_relayed = is_between && setup.src == other.dst;
    let has_media = media.iter().any(|endpoint| theirs.contains(endpoint));
    let is_soon = (0..=WINDOW).contains(&apart) && !other.is_over;
    let is_number =
        [setup.callee, other.callee].iter().all(|name| name.is_some_and(|name| digits(name).is_some()));
    let confidence = if has_session || has_icid {
        "high"
    } else if !is_soon || !(is_callee || is_diverted) || !(is_relayed || has_media) || has_other_caller {
        return None;
    } else if is_caller && is_number && has_media {
        "high"
    } else if is_caller && is_number {
        "medium"
    } else {
        "low"
    };
    let words = [
        (has_session, "session-id"),
        (has_icid, "icid"),
        (is_callee, "callee"),
        (is_diverted, "diversion"),
        (is_caller, "caller"),
        (is_relayed, "address"),
        (has_media, "media"),
    ];
    let words: Vec<_> = words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
    let rank = match confidence {
        "high" => 200,
        "medium" => 100,
        _ => 0,
    };
    let basis = words.join(" ");
    Some((rank + words.len(), Join { call: other.call, basis, confidence: confidence.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Addr = [1; 16];
    const B: Addr = [2; 16];
    const C: Addr = [3; 16];
    const SECOND: i64 = 1_000_000_000;

    fn setup<'a>(call: u64, src: Addr, dst: Addr, caller: &'a str, callee: &'a str) -> Setup<'a> {
        Setup {
            call,
            began: call as i64 * SECOND,
            is_over: false,
            src,
            dst,
            caller: Some(caller),
            callee: Some(callee),
            diverted_by: &[],
            session_id: None,
            icid: None,
        }
    }

    /// The join of the last of these calls.
    fn last(calls: &[Setup<'_>]) -> Option<String> {
        let mut joins = Joins::default();
        let of = |number| calls.iter().find(|call| call.call == number).map(|call| (*call, Vec::new()));
        let mut found = None;
        for call in calls {
            found = joins.find(0, call, &[], of);
        }
        found.map(|join| format!("{} {}: {}", join.call, join.confidence, join.basis))
    }

    #[test]
    fn the_other_side_comes_from_where_the_call_went() {
        let one = setup(1, A, B, "+32470123456", "+3225550199");
        let national = setup(2, B, C, "0470123456", "025550199");
        assert_eq!(last(&[one, national]).as_deref(), Some("1 medium: callee caller address"));
        let hidden = setup(2, B, C, "anonymous", "+3225550199");
        assert_eq!(last(&[one, hidden]).as_deref(), Some("1 low: callee address"));
        let named = [setup(1, A, B, "alice", "bob"), setup(2, B, C, "alice", "bob")];
        assert_eq!(last(&named).as_deref(), Some("1 low: callee caller address"));
    }

    #[test]
    fn what_only_looks_like_it_is_left_alone() {
        let one = setup(1, A, B, "+32470123456", "+3225550199");
        for (why, other) in [
            ("another caller", setup(2, B, C, "+32470123457", "+3225550199")),
            ("another callee", setup(2, B, C, "+32470123456", "+3225550198")),
            ("the same caller again", setup(2, A, B, "+32470123456", "+3225550199")),
            ("from elsewhere", setup(2, C, A, "+32470123456", "+3225550199")),
            ("too late", setup(12, B, C, "+32470123456", "+3225550199")),
        ] {
            assert_eq!(last(&[one, other]), None, "{why}");
        }
        let over = Setup { is_over: true, ..one };
        assert_eq!(last(&[over, setup(2, B, C, "+32470123456", "+3225550199")]), None);
        // All on one host.
        assert_eq!(last(&[setup(1, A, A, "sipp", "service"), setup(2, A, A, "sipp", "service")]), None);
        // Two that fit alike.
        let two = setup(2, C, B, "+32470123456", "+3225550199");
        assert_eq!(last(&[one, two, setup(3, B, [4; 16], "+32470123456", "+3225550199")]), None);
    }

    #[test]
    fn identifiers_join_whatever_else_differs() {
        let id = Some("ab30317f1a784dc48ff824d0d3715d86");
        let one = Setup { session_id: id, ..setup(1, A, B, "1", "2") };
        let far = Setup { session_id: id, ..setup(100, C, A, "3", "4") };
        assert_eq!(last(&[one, far]).as_deref(), Some("1 high: session-id"));
        let nil = Some("00000000000000000000000000000000");
        let (one, far) = (Setup { session_id: nil, ..one }, Setup { session_id: nil, ..far });
        assert_eq!(last(&[one, far]), None);
    }

    #[test]
    fn numbers_in_other_forms_are_the_same() {
        for (one, other, same) in [
            ("+3225550199", "003225550199", true),
            ("+3225550199", "3225550199", true),
            ("+3225550199", "025550199", true),
            ("+3225550199", "5550199", true),
            ("+3225550199", "550199", false),
            ("100", "100", true),
            ("100", "1100", false),
            ("bob", "Bob", false),
        ] {
            assert_eq!(is_same(one, other), same, "{one} {other}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut joins = Joins::default();
        for call in 0..200_000 {
            let callee = call.to_string();
            joins.find(0, &Setup { began: 0, ..setup(call, A, B, "1", &callee) }, &[], |_| None);
        }
        assert!(joins.order.len() <= MAX_KEYS && joins.known.len() <= MAX_KEYS);
        for call in 0..1000 {
            joins.find(0, &Setup { began: 0, ..setup(call, A, B, "1", "2") }, &[], |_| None);
        }
        assert!(joins.known.values().all(|calls| calls.len() <= MAX_OF_KEY));
    }
}
