//! What passed between taps, as a table.

use std::sync::Arc;

use arrow_array::builder::{
    Float64Builder, Int64Builder, ListBuilder, StructBuilder, TimestampNanosecondBuilder,
};
use arrow_array::{ArrayRef, BooleanArray, Int8Array, RecordBatch, StringArray, UInt64Array};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use serde::{Deserialize, Serialize};

use super::clock::Solved;

/// What became of the packets of one class of traffic between two taps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Verdicts {
    pub flows: u64,
    pub passed: u64,
    pub lost: u64,
    pub inserted: u64,
    pub modified: u64,
    pub readdressed: u64,
    pub copied: u64,
    pub diverted: u64,
    pub capture_loss: u64,
    pub remarked: u64,
}

impl Verdicts {
    pub fn judged(&self) -> u64 {
        self.passed + self.lost + self.inserted + self.modified + self.readdressed + self.diverted
    }
}

/// A row.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line {
    pub from: u16,
    pub to: u16,
    pub traffic: &'static str,
    pub verdicts: Verdicts,
    pub delays: Option<(i64, i64)>,
    pub ttl_fall: Option<i8>,
    pub clocks: Solved,
}

/// Wilson's interval for a share of `k` in `n`, at `z` standard deviations (Wilson 1927); all of 0 to 1 for none in none.
pub(super) fn wilson(k: u64, n: u64, z: f64) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let (n, share) = (n as f64, k.min(n) as f64 / n as f64);
    let square = z * z;
    let middle = share + square / (2.0 * n);
    let half = z * (share * (1.0 - share) / n + square / (4.0 * n * n)).sqrt();
    let whole = 1.0 + square / n;
    (((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0))
}

/// How probable it is that of `n` things, each of which falls into a share of all by chance, at least `k` do.
pub(super) fn at_least(k: u64, n: u64, share: f64) -> f64 {
    if k == 0 || share >= 1.0 {
        return 1.0;
    }
    if k > n || share <= 0.0 {
        return 0.0;
    }
    let ways: f64 = (1..=k).map(|i| ((n - k + i) as f64 / i as f64).ln()).sum();
    let mut exactly = (ways + k as f64 * share.ln() + (n - k) as f64 * (1.0 - share).ln()).exp();
    let mut sum = 0.0;
    for i in k..=n {
        sum += exactly;
        exactly *= (n - i) as f64 / (i + 1) as f64 * share / (1.0 - share);
    }
    sum.min(1.0)
}

/// For 95 %.
const Z: f64 = 1.96;

type Count = fn(&Verdicts) -> u64;

const COUNTS: [(&str, Count); 11] = [
    ("flows", |v| v.flows),
    ("judged", Verdicts::judged),
    ("passed", |v| v.passed),
    ("lost", |v| v.lost),
    ("inserted", |v| v.inserted),
    ("modified", |v| v.modified),
    ("readdressed", |v| v.readdressed),
    ("copied", |v| v.copied),
    ("diverted", |v| v.diverted),
    ("capture_loss", |v| v.capture_loss),
    ("remarked", |v| v.remarked),
];

/// Counts of which the share is told too.
const SHARES: [usize; 6] = [3, 4, 5, 6, 7, 8];

fn steps_fields() -> Fields {
    Fields::from(vec![Field::new("ts", time(), false), Field::new("step_ns", DataType::Int64, false)])
}

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

/// The schema of the table: from one tap to another, the class of traffic, counts of packets, shares of those judged with their
/// 95 % intervals, delays, and the clocks.
pub fn compared_schema() -> SchemaRef {
    let mut fields: Vec<Field> =
        ["from_tap", "to_tap", "traffic"].map(|name| Field::new(name, DataType::Utf8, false)).into();
    fields.extend(COUNTS.iter().map(|(name, _)| Field::new(*name, DataType::UInt64, false)));
    for (name, _) in SHARES.iter().filter_map(|&at| COUNTS.get(at)) {
        for end in ["low", "high"] {
            fields.push(Field::new(format!("{name}_{end}"), DataType::Float64, true));
        }
    }
    let steps = Field::new("item", DataType::Struct(steps_fields()), false);
    fields.extend([
        Field::new("delay_p50_ns", DataType::Int64, true),
        Field::new("delay_p99_ns", DataType::Int64, true),
        Field::new("ttl_fall", DataType::Int8, true),
        Field::new("both_ways", DataType::Boolean, false),
        Field::new("offset_ns", DataType::Int64, false),
        Field::new("offset_uncertainty_ns", DataType::Int64, true),
        Field::new("drift_ppm", DataType::Float64, true),
        Field::new("drift_uncertainty_ppm", DataType::Float64, true),
        Field::new("clock_steps", DataType::List(Arc::new(steps)), false),
    ]);
    Arc::new(Schema::new(fields))
}

/// The table, [`compared_schema`]. `taps` are the names that tap numbers index.
pub(super) fn to_batch(lines: &[Line], taps: &[String]) -> Result<RecordBatch, ArrowError> {
    let name = |tap: u16| taps.get(usize::from(tap)).map_or("", String::as_str);
    let text = |of: &dyn Fn(&Line) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(lines.iter().map(of)))
    };
    let mut arrays: Vec<ArrayRef> = vec![
        text(&|line| name(line.from).to_owned()),
        text(&|line| name(line.to).to_owned()),
        text(&|line| line.traffic.to_owned()),
    ];
    for (_, count) in COUNTS {
        arrays.push(Arc::new(UInt64Array::from_iter_values(lines.iter().map(|line| count(&line.verdicts)))));
    }
    for (_, count) in SHARES.iter().filter_map(|&at| COUNTS.get(at)) {
        let (mut low, mut high) = (Float64Builder::new(), Float64Builder::new());
        for line in lines {
            let judged = line.verdicts.judged();
            let interval = (judged > 0).then(|| wilson(count(&line.verdicts), judged, Z));
            low.append_option(interval.map(|(low, _)| low));
            high.append_option(interval.map(|(_, high)| high));
        }
        arrays.push(Arc::new(low.finish()));
        arrays.push(Arc::new(high.finish()));
    }
    let (mut p50, mut p99, mut unsure) = (Int64Builder::new(), Int64Builder::new(), Int64Builder::new());
    let (mut drift, mut drift_unsure) = (Float64Builder::new(), Float64Builder::new());
    let mut steps = ListBuilder::new(StructBuilder::from_fields(steps_fields(), 0)).with_field(Field::new(
        "item",
        DataType::Struct(steps_fields()),
        false,
    ));
    for line in lines {
        p50.append_option(line.delays.map(|(p50, _)| p50));
        p99.append_option(line.delays.map(|(_, p99)| p99));
        unsure.append_option(line.clocks.offset_uncertainty);
        drift.append_option(line.clocks.drift);
        drift_unsure.append_option(line.clocks.drift_uncertainty);
        for &(ts, step) in &line.clocks.steps {
            let row = steps.values();
            if let Some(field) = row.field_builder::<TimestampNanosecondBuilder>(0) {
                field.append_value(ts);
            }
            if let Some(field) = row.field_builder::<Int64Builder>(1) {
                field.append_value(step);
            }
            row.append(true);
        }
        steps.append(true);
    }
    arrays.push(Arc::new(p50.finish()));
    arrays.push(Arc::new(p99.finish()));
    arrays.push(Arc::new(lines.iter().map(|line| line.ttl_fall).collect::<Int8Array>()));
    arrays.push(Arc::new(lines.iter().map(|line| Some(line.clocks.both_ways)).collect::<BooleanArray>()));
    let offsets = lines.iter().map(|line| line.clocks.offset);
    arrays.push(Arc::new(arrow_array::Int64Array::from_iter_values(offsets)));
    arrays.push(Arc::new(unsure.finish()));
    arrays.push(Arc::new(drift.finish()));
    arrays.push(Arc::new(drift_unsure.finish()));
    arrays.push(Arc::new(steps.finish()));
    RecordBatch::try_new(compared_schema(), arrays)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of Newcombe 1998, table I, method 3.
    #[test]
    fn wilsons_interval() {
        for (k, n, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let (from, to) = wilson(k, n, 1.959_964);
            assert!((from - low).abs() < 5e-5 && (to - high).abs() < 5e-5, "{k} of {n}: {from} to {to}");
        }
    }

    #[test]
    fn a_binomial_tail() {
        // Of ten throws of a coin, eight and more heads: (45 + 10 + 1) / 1024. Three sixes with three dice: 1 / 216.
        for (k, n, share, expected) in
            [(8, 10, 0.5, 56.0 / 1024.0), (3, 3, 1.0 / 6.0, 1.0 / 216.0), (0, 5, 0.1, 1.0), (4, 3, 0.5, 0.0)]
        {
            assert!((at_least(k, n, share) - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn no_line_is_an_empty_table() {
        assert_eq!(to_batch(&[], &[]).unwrap().num_rows(), 0);
    }
}
