//! What payload types stand for, and how good speech can be that is sent in them.

/// A codec, as a payload type or a session description names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    /// The encoding name, such as `PCMA`.
    pub name: Box<str>,
    /// Units of the timestamp in a second.
    pub clock_rate: u32,
}

/// Encoding name and clock rate of a static payload type: RFC 3551 tables 4 and 5.
pub(super) const fn of_static(payload_type: u8) -> Option<(&'static str, u32)> {
    Some(match payload_type {
        0 => ("PCMU", 8000),
        3 => ("GSM", 8000),
        4 => ("G723", 8000),
        5 => ("DVI4", 8000),
        6 => ("DVI4", 16_000),
        7 => ("LPC", 8000),
        8 => ("PCMA", 8000),
        // RFC 3551 section 4.5.2: it samples at 16 kHz, but its clock was once assigned in error.
        9 => ("G722", 8000),
        10 | 11 => ("L16", 44_100),
        12 => ("QCELP", 8000),
        COMFORT_NOISE => ("CN", 8000),
        14 => ("MPA", 90_000),
        15 => ("G728", 8000),
        16 => ("DVI4", 11_025),
        17 => ("DVI4", 22_050),
        18 => ("G729", 8000),
        25 => ("CelB", 90_000),
        26 => ("JPEG", 90_000),
        28 => ("nv", 90_000),
        31 => ("H261", 90_000),
        32 => ("MPV", 90_000),
        33 => ("MP2T", 90_000),
        34 => ("H263", 90_000),
        _ => return None,
    })
}

/// The payload type of comfort noise, RFC 3389.
pub(super) const COMFORT_NOISE: u8 = 13;

/// The encoding name of tones sent as events, RFC 4733.
pub(super) const EVENTS: &str = "telephone-event";

/// Equipment impairment and packet-loss robustness, ITU-T G.113 appendix I, tables I.1 and I.4: G.711 with the concealment of its own
/// appendix I, G.729 with annex A, G.723.1 at 6.3 kbit/s. None of codecs that the tables have no robustness for.
fn impairment(codec: &str) -> Option<(f64, f64)> {
    const KNOWN: [(&str, (f64, f64)); 5] = [
        ("PCMU", (0.0, 25.1)),
        ("PCMA", (0.0, 25.1)),
        ("G729", (11.0, 19.0)),
        ("G723", (15.0, 16.1)),
        ("GSM-EFR", (5.0, 10.0)),
    ];
    KNOWN.iter().find(|(name, _)| name.eq_ignore_ascii_case(codec)).map(|&(_, values)| values)
}

/// The transmission rating R of the E-model (ITU-T G.107) with its defaults, for a codec, a share of packets lost at random, and a delay from
/// mouth to ear in milliseconds: 93.2 - Idd - Ie,eff.
pub(super) fn rating(codec: &str, lost: f64, delay: f64) -> Option<f64> {
    let (impairment, robustness) = impairment(codec)?;
    let percent = 100.0 * lost.clamp(0.0, 1.0);
    let equipment = impairment + (95.0 - impairment) * percent / (percent + robustness);
    Some(93.2 - of_delay(delay) - equipment)
}

/// Idd of ITU-T G.107 section 7.4: none up to 100 ms.
fn of_delay(delay: f64) -> f64 {
    if delay <= 100.0 {
        return 0.0;
    }
    let x = (delay / 100.0).log2();
    let root = |value: f64| (1.0 + value.powi(6)).powf(1.0 / 6.0);
    25.0 * (root(x) - 3.0 * root(x / 3.0) + 2.0)
}

/// The mean opinion score that a rating stands for, ITU-T G.107 annex B.
pub(super) fn opinion(rating: f64) -> f64 {
    if rating <= 0.0 {
        1.0
    } else if rating >= 100.0 {
        4.5
    } else {
        (1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64, by: f64) {
        assert!((value - expected).abs() <= by, "{value} is not {expected}");
    }

    /// ITU-T G.107 table B.1.
    #[test]
    fn opinions_are_those_of_the_standard() {
        for (rating, expected) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)] {
            // The table is rounded up here and there.
            near(opinion(rating), expected, 0.007);
        }
        near(opinion(-1.0), 1.0, 0.0);
        near(opinion(101.0), 4.5, 0.0);
        near(opinion(93.2), 4.41, 0.005);
    }

    #[test]
    fn ratings_follow_from_loss_and_delay() {
        near(rating("PCMA", 0.0, 20.0).unwrap(), 93.2, 1e-9);
        near(rating("G729", 0.0, 0.0).unwrap(), 82.2, 1e-9);
        near(rating("G723", 0.0, 0.0).unwrap(), 78.2, 1e-9);
        // 95 * 2 / (2 + 25.1) = 7.01; 11 + 84 * 2 / (2 + 19) = 19.
        near(rating("pcmu", 0.02, 0.0).unwrap(), 86.19, 0.005);
        near(rating("G729", 0.02, 0.0).unwrap(), 74.2, 1e-9);
        // X = 1 at 200 ms: 25 * (2^(1/6) - 3 * (1 + 3^-6)^(1/6) + 2) = 3.044.
        near(rating("PCMA", 0.0, 200.0).unwrap(), 93.2 - 3.044, 0.005);
        // X = 2 at 400 ms: 25 * (65^(1/6) - 3 * (1 + (2/3)^6)^(1/6) + 2) = 24.06.
        near(rating("PCMA", 0.0, 400.0).unwrap(), 93.2 - 24.06, 0.05);
        assert_eq!(rating("opus", 0.0, 0.0), None);
    }
}
