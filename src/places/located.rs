//! What follows from the places of two ends: whose traffic it is, and which borders it crosses.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Country, Places};

/// What ends of conversations and of calls are looked up in.
#[derive(Debug, Clone)]
pub struct Located {
    /// What is known of addresses.
    pub places: Arc<Places>,
    /// The countries that count as home; without any, ends in one country are national.
    pub home: Vec<Country>,
}

/// Whose traffic it is, as a network of the home country sees it.
pub(crate) const SCOPES: [&str; 3] = ["national", "international", "transit"];

/// A country that is a single one.
pub(crate) fn single(country: Option<Country>) -> Option<Country> {
    country.filter(|country| !country.is_region())
}

/// The number of the scope of what these ends have, if there is one and all their countries are known.
pub(crate) fn scope(home: &[Country], ends: impl IntoIterator<Item = Option<Country>>) -> Option<u8> {
    let ends =
        ends.into_iter().map(single).collect::<Option<BTreeSet<_>>>().filter(|ends| !ends.is_empty())?;
    if home.is_empty() {
        return Some(u8::from(ends.len() > 1));
    }
    let at_home = ends.iter().filter(|country| home.contains(country)).count();
    Some(match at_home {
        0 => 2,
        count => u8::from(count < ends.len()),
    })
}

/// Countries of these in which none of the ends is; none if no country of them is known, or not all countries of the ends are.
pub(crate) fn abroad(
    ends: impl IntoIterator<Item = Option<Country>>,
    between: impl IntoIterator<Item = Option<Country>>,
) -> Option<BTreeSet<Country>> {
    let ends = ends.into_iter().map(single).collect::<Option<BTreeSet<_>>>()?;
    let between: BTreeSet<_> = between.into_iter().filter_map(single).collect();
    (!between.is_empty()).then(|| between.difference(&ends).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_is_that_which_a_home_network_sees() {
        let [be, de, fr, eu] = ["BE", "DE", "FR", "EU"].map(Country::from_code);
        let of = |home: &[Option<Country>]| home.iter().copied().flatten().collect::<Vec<_>>();
        for (home, src, dst, expected) in [
            (of(&[be]), be, be, Some("national")),
            (of(&[be]), be, de, Some("international")),
            (of(&[be]), de, be, Some("international")),
            (of(&[be]), de, de, Some("transit")),
            (of(&[be]), de, fr, Some("transit")),
            (of(&[be]), be, None, None),
            (of(&[be]), eu, be, None),
            (of(&[be, de]), be, de, Some("national")),
            (of(&[be, de]), fr, de, Some("international")),
            (of(&[]), de, de, Some("national")),
            (of(&[]), de, fr, Some("international")),
            (of(&[]), None, None, None),
        ] {
            let found = scope(&home, [src, dst]).map(|number| SCOPES[usize::from(number)]);
            assert_eq!(found, expected, "{home:?} {src:?} {dst:?}");
        }
    }
}
