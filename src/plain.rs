//! Numbers and addresses by the thousand, as bytes of a file: with serde's `with`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// What is its bytes, whatever they are.
pub(crate) trait Plain: FromBytes + IntoBytes + Immutable + Clone {}

impl<T: FromBytes + IntoBytes + Immutable + Clone> Plain for T {}

/// The first bytes of all values, then their second ones and so on: those alike stand together, and take less when compressed.
pub(crate) fn serialize<T: Plain, S: Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    let mut planes = Vec::with_capacity(size_of_val(values));
    for plane in 0..size_of::<T>() {
        planes.extend(values.iter().map(|value| value.as_bytes().get(plane).copied().unwrap_or_default()));
    }
    serializer.serialize_bytes(&planes)
}

/// The values that such bytes stand for.
pub(crate) fn deserialize<'de, T: Plain, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_bytes(Planes(PhantomData))
}

struct Planes<T>(PhantomData<T>);

impl<T: Plain> Visitor<'_> for Planes<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "values of {} bytes", size_of::<T>())
    }

    fn visit_bytes<E: Error>(self, planes: &[u8]) -> Result<Vec<T>, E> {
        let width = size_of::<T>();
        if !planes.len().is_multiple_of(width) {
            return Err(E::invalid_length(planes.len(), &self));
        }
        let count = planes.len() / width;
        let mut values = vec![T::new_zeroed(); count];
        for (at, plane) in planes.chunks_exact(count.max(1)).enumerate() {
            // Most values are small, or none at all.
            if plane.iter().all(|&byte| byte == 0) {
                continue;
            }
            for (value, &byte) in values.iter_mut().zip(plane) {
                if let Some(to) = value.as_mut_bytes().get_mut(at) {
                    *to = byte;
                }
            }
        }
        Ok(values)
    }
}
