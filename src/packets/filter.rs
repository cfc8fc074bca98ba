//! Rows that are not wanted, left out before their columns are made.

use super::column::Column;
use super::row::Row;
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

    /// Whether what earlier frames tell may decide on a row.
    pub(super) fn is_told_by_others(&self) -> bool {
        self.terms.iter().any(|(column, _)| is_told_by_others(*column))
    }

    /// Whether the row is kept.
    #[inline]
    pub(super) fn keeps(&self, row: &Row) -> bool {
        self.terms.iter().all(|term| matches(term, row))
    }

    /// Whether a row is kept as far as it is known by itself: what other frames may tell of it is left open.
    #[inline]
    pub(super) fn may_keep(&self, row: &Row) -> bool {
        self.terms.iter().all(|term| is_told_by_others(term.0) || matches(term, row))
    }
}

/// Whether earlier frames may change this column of a row.
fn is_told_by_others(column: Column) -> bool {
    matches!(column, Column::App | Column::Traffic | Column::Basis | Column::SrcPort | Column::DstPort)
}

#[inline]
fn matches((column, accepted): &(Column, Vec<u64>), row: &Row) -> bool {
    let value: u64 = match column {
        Column::App => row.app.into(),
        Column::Traffic => row.traffic.into(),
        Column::Basis => row.basis.into(),
        Column::IpVersion => row.ip_version.into(),
        Column::Protocol => row.protocol.into(),
        Column::Ttl => row.ttl.into(),
        Column::SrcPort => row.src_port.into(),
        Column::DstPort => row.dst_port.into(),
        Column::Vlan => row.vlan.into(),
        Column::Ethertype => row.ethertype.into(),
        Column::TunnelId => row.tunnel_id.into(),
        _ => return false,
    };
    row.has(*column) && accepted.contains(&value)
}

fn names<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|&label| name(label)).collect()
}
