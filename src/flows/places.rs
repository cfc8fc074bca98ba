//! The columns of a row that say where its ends are.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::UInt32Type;
use arrow_schema::{ArrowError, DataType, Field};

use super::conversation::Conversation;
use super::rows::{addresses, outer};
use super::table::Tunnel;
use crate::arrays::{Names, columns, labels, numbers, texts};
use crate::places::zones::{Seen, Zone};
use crate::places::{Country, Located, Place, SCOPES, abroad, scope};
use crate::wire::ip::Addr;

/// What is known of the ends of one conversation.
struct Ends {
    src: Place,
    dst: Place,
    src_zone: Option<Zone>,
    dst_zone: Option<Zone>,
    outer_src: Option<Country>,
    outer_dst: Option<Country>,
}

impl Ends {
    /// Countries of the tunnel's ends in which neither end of the conversation is.
    fn crosses(&self) -> Option<BTreeSet<Country>> {
        abroad([self.src.country, self.dst.country], [self.outer_src, self.outer_dst])
    }
}

/// A batch with a row for each of the conversations.
pub(super) fn batch(
    flows: &[&Conversation],
    taps: &Names,
    tunnels: &[Tunnel],
    located: &Located,
) -> Result<RecordBatch, ArrowError> {
    let places = &*located.places;
    let country = |addr: Option<Addr>| addr.and_then(|addr| places.of(addr).country);
    let all: Vec<Ends> = flows
        .iter()
        .map(|flow| {
            let (src, dst) = addresses(flow);
            let place = |addr: Option<Addr>| addr.map(|addr| places.of(addr)).unwrap_or_default();
            let tunnel = (flow.key.tunnel as usize).checked_sub(1).and_then(|number| tunnels.get(number));
            let (outer_src, outer_dst) = tunnel.map(|tunnel| outer(flow, tunnel)).unwrap_or_default();
            let tap = taps.all().get(usize::from(flow.key.tap)).map(String::as_str);
            // Labels, tags and taps say where packets came from, not where they go.
            let from = Seen {
                mac: flow.forward_start.eth_src,
                mpls: flow.mpls.as_slice(),
                vlans: flow.vlans.as_slice(),
                taps: tap.as_slice(),
            };
            let to =
                Seen { mac: flow.reverse_start.eth_src.or(flow.forward_start.eth_dst), ..Seen::default() };
            Ends {
                src: place(src),
                dst: place(dst),
                src_zone: places.zones().of(src, from),
                dst_zone: places.zones().of(dst, to),
                outer_src: country(outer_src),
                outer_dst: country(outer_dst),
            }
        })
        .collect();
    let each = || all.iter();
    let mut codes = Names::default();
    let mut number = |country: Option<Country>| country.map(|country| codes.number(country.code()));
    let src_country: Vec<_> = each().map(|ends| number(ends.src.country)).collect();
    let dst_country: Vec<_> = each().map(|ends| number(ends.dst.country)).collect();
    let outer_src_country: Vec<_> = each().map(|ends| number(ends.outer_src)).collect();
    let outer_dst_country: Vec<_> = each().map(|ends| number(ends.outer_dst)).collect();
    let network = |place: &Place| place.network.and_then(|number| places.networks().get(number as usize));
    let asn = |place: &Place| network(place).and_then(|network| network.asn);
    let name =
        |place: &Place| network(place).map(|network| network.name.as_str()).filter(|name| !name.is_empty());
    let mut crossed =
        ListBuilder::new(StringBuilder::new()).with_field(Arc::new(Field::new("item", DataType::Utf8, true)));
    for ends in each() {
        match ends.crosses() {
            Some(countries) => {
                crossed.append_value(countries.into_iter().map(|country| Some(country.code())));
            }
            None => crossed.append_null(),
        }
    }
    columns! {
        "Where the ends of conversations are, by what is known of their addresses.":
        /// Country of the source: code of two letters.
        src_country = labels(codes.all(), src_country.into_iter())?;
        /// Country of the destination.
        dst_country = labels(codes.all(), dst_country.into_iter())?;
        /// `national`: both ends are in the home country, or without one, in the same. `international`: one end is in the home country, or without one, they
        /// are in two. `transit`: neither end is in the home country. Null where a country is not known.
        scope = labels(&SCOPES, each().map(|ends| scope(&located.home, [ends.src.country, ends.dst.country]).map(u16::from)))?;
        /// Number of the autonomous system of the source.
        src_asn = numbers::<UInt32Type>(each().map(|ends| asn(&ends.src)));
        /// Number of the autonomous system of the destination.
        dst_asn = numbers::<UInt32Type>(each().map(|ends| asn(&ends.dst)));
        /// Name of the network of the source.
        src_network = texts(each().map(|ends| name(&ends.src)));
        /// Name of the network of the destination.
        dst_network = texts(each().map(|ends| name(&ends.dst)));
        /// Zone of the source: by prefix, else by its MAC, label, VLAN or tap.
        src_zone = labels(places.zones().names(), each().map(|ends| ends.src_zone))?;
        /// Zone of the destination: by prefix, else by its MAC.
        dst_zone = labels(places.zones().names(), each().map(|ends| ends.dst_zone))?;
        /// Country of `outer_src`, the end of the tunnel on the source's side.
        outer_src_country = labels(codes.all(), outer_src_country.into_iter())?;
        /// Country of `outer_dst`.
        outer_dst_country = labels(codes.all(), outer_dst_country.into_iter())?;
        /// Countries that the tunnel leads through though neither end is there: those of its ends. Empty if none; null without a tunnel, or where
        /// countries are not known.
        crosses = Arc::new(crossed.finish());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_crosses_countries_in_which_neither_end_is() {
        let code = Country::from_code;
        let place = |text| Place { country: code(text), ..Place::default() };
        let crosses = |src, dst, outer_src, outer_dst| {
            let (src, dst, outer_src, outer_dst) = (place(src), place(dst), code(outer_src), code(outer_dst));
            let found = Ends { src, dst, outer_src, outer_dst, src_zone: None, dst_zone: None }.crosses();
            found.map(|countries| countries.into_iter().map(Country::code).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(crosses("BE", "BE", "BE", "NL").as_deref(), Some("NL"));
        assert_eq!(crosses("BE", "BE", "NL", "DE").as_deref(), Some("DE NL"));
        assert_eq!(crosses("BE", "NL", "BE", "NL").as_deref(), Some(""));
        assert_eq!(crosses("BE", "BE", "", "").as_deref(), None);
        assert_eq!(crosses("BE", "BE", "EU", "").as_deref(), None);
        assert_eq!(crosses("", "BE", "NL", "NL").as_deref(), None);
    }
}
