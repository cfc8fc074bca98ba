//! Columns of addresses and of telephone numbers, and what is known of each value.

use std::sync::Arc;

use arrow_array::builder::{StringDictionaryBuilder, UInt16Builder, UInt32Builder};
use arrow_array::types::{UInt16Type, UInt32Type};
use arrow_array::{Array, ArrayRef, DictionaryArray, RecordBatch, StringArray, UInt16Array};
use arrow_schema::ArrowError;

use super::{Country, Places, Source, numbering, special};
use crate::packets::address::{addresses, text_values};

/// A row for each address of a column, given as 16 bytes or as text: `country`, `source` (who says so: `zone`,
/// the name of a file, or `registry`), `asn`, `network`, `zone`, and in `special` what an address is for that lies nowhere. Null where
/// nothing is known.
pub fn look_up(column: &dyn Array, places: &Places) -> Result<RecordBatch, ArrowError> {
    let all = addresses(column)?;
    let mut countries = UInt16Builder::with_capacity(all.len());
    let mut zones = UInt16Builder::with_capacity(all.len());
    let mut asns = UInt32Builder::with_capacity(all.len());
    let mut networks = StringDictionaryBuilder::<UInt32Type>::new();
    let mut sources = StringDictionaryBuilder::<UInt16Type>::new();
    let mut specials = StringDictionaryBuilder::<UInt16Type>::new();
    for addr in all {
        let place = addr.map(|addr| places.of(addr)).unwrap_or_default();
        countries.append_option(place.country.map(Country::number));
        sources.append_option(place.source.and_then(|source| match source {
            Source::Zone(_) => Some("zone"),
            Source::File(number) => places.files().get(usize::from(number)).map(String::as_str),
            Source::Registry => Some("registry"),
        }));
        zones.append_option(place.zone);
        let network = place.network.and_then(|number| places.networks().get(number as usize));
        asns.append_option(network.and_then(|network| network.asn));
        networks.append_option(network.map(|network| &network.name).filter(|name| !name.is_empty()));
        specials.append_option(addr.and_then(special));
    }
    let names = StringArray::from_iter_values(places.zones().names());
    batch([
        ("country", codes(countries.finish())?),
        ("source", Arc::new(sources.finish())),
        ("asn", Arc::new(asns.finish())),
        ("network", Arc::new(networks.finish())),
        ("zone", Arc::new(DictionaryArray::<UInt16Type>::try_new(zones.finish(), Arc::new(names))?)),
        ("special", Arc::new(specials.finish())),
    ])
}

/// A row for each international telephone number of a column of text: `country`, and `name`, that of the country, service or network.
pub fn look_up_numbers(column: &dyn Array) -> Result<RecordBatch, ArrowError> {
    let mut countries = UInt16Builder::with_capacity(column.len());
    let mut names = StringDictionaryBuilder::<UInt16Type>::new();
    for number in text_values(column)? {
        let whose = number.and_then(numbering);
        countries.append_option(whose.and_then(|whose| whose.country).map(Country::number));
        names.append_option(whose.map(|whose| whose.name));
    }
    batch([("country", codes(countries.finish())?), ("name", Arc::new(names.finish()))])
}

/// Numbers of countries as their codes.
fn codes(numbers: UInt16Array) -> Result<ArrayRef, ArrowError> {
    let all = (0..Country::NUMBERS as u16).filter_map(Country::from_number).map(Country::code);
    let all = StringArray::from_iter_values(all);
    Ok(Arc::new(DictionaryArray::<UInt16Type>::try_new(numbers, Arc::new(all))?))
}

/// Columns with their names. All may have nulls, whether or not this batch has.
fn batch<const N: usize>(columns: [(&'static str, ArrayRef); N]) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
}
