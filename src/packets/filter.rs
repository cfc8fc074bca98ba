//! Rows that are not wanted, left out before their columns are made.

use super::builder::Row;
use super::column::Column;
use crate::classify::{App, Basis, Traffic};

/// What a column is compared to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// For columns of numbers.
    Number(u64),
    /// For label columns.
    Text(String),
}

/// Keeps the rows whose columns each equal one of the values given for them. A null equals nothing.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    terms: Vec<(Column, Vec<u64>)>,
}

impl Filter {
    /// Demands in addition that `column` equals one of `values`. `false` if the column cannot be compared here
    /// (it is left to whoever reads the rows); the filter is then unchanged.
    pub fn require(&mut self, column: Column, values: &[Value]) -> bool {
        let label = |names: &[&str], value: &Value| match value {
            // A name that no label has is equal to none.
            Value::Text(text) => {
                Some(names.iter().position(|name| name == text).map_or(u64::MAX, |position| position as u64))
            }
            Value::Number(_) => None,
        };
        let number = |value: &Value| match value {
            Value::Number(number) => Some(*number),
            Value::Text(_) => None,
        };
        let accepted: Option<Vec<u64>> = match column {
            Column::App => values.iter().map(|v| label(&names(App::ALL, App::name), v)).collect(),
            Column::Traffic => values.iter().map(|v| label(&names(Traffic::ALL, Traffic::name), v)).collect(),
            Column::Basis => values.iter().map(|v| label(&names(Basis::ALL, Basis::name), v)).collect(),
            Column::IpVersion
            | Column::Protocol
            | Column::SrcPort
            | Column::DstPort
            | Column::Vlan
            | Column::Ethertype
            | Column::TunnelId
            | Column::Ttl => values.iter().map(number).collect(),
            _ => None,
        };
        let Some(accepted) = accepted else { return false };
        self.terms.push((column, accepted));
        true
    }

    /// Whether every row is kept.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether the application or what follows from it is compared.
    pub fn needs_label(&self) -> bool {
        self.terms.iter().any(|(column, _)| matches!(column, Column::App | Column::Traffic | Column::Basis))
    }

    /// Whether the row is kept.
    #[inline]
    pub fn keeps(&self, row: &Row<'_>) -> bool {
        self.terms.iter().all(|(column, accepted)| {
            let layers = &row.layers;
            let value: Option<u64> = match column {
                Column::App => row.label.app.map(|app| app as u64),
                Column::Traffic => Some(row.label.traffic() as u64),
                Column::Basis => row.label.basis.map(|basis| basis as u64),
                Column::IpVersion => layers.ip.map(|ip| ip.version.into()),
                Column::Protocol => layers.ip.map(|ip| ip.protocol.into()),
                Column::Ttl => layers.ip.map(|ip| ip.ttl.into()),
                Column::SrcPort => layers.ports().map(|(src, _)| src.into()),
                Column::DstPort => layers.ports().map(|(_, dst)| dst.into()),
                Column::Vlan => layers.vlan.map(Into::into),
                Column::Ethertype => layers.ethertype.map(Into::into),
                Column::TunnelId => layers.tunnel_id.map(Into::into),
                _ => None,
            };
            value.is_some_and(|value| accepted.contains(&value))
        })
    }
}

fn names<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|&label| name(label)).collect()
}
