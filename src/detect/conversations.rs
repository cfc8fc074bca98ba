//! Flows by conversation, for claims to count what their copies are a part of.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

use super::Context;
use crate::classify::Label;
use crate::dissect::{Labels, Mac};
use crate::paths::{Flow, FlowKey, Path, PathId};

/// Where a frame was seen, and from whom to whom it went. VLANs are left out: a fork of two VLANs is one fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Link {
    pub tap: u16,
    src: Option<Mac>,
    dst: Option<Mac>,
    labels: Labels,
}

impl Link {
    pub fn of(path: &Path) -> Self {
        Self { tap: path.tap, src: path.eth_src, dst: path.eth_dst, labels: path.mpls }
    }

    /// The same link, the other way.
    pub fn back(self) -> Self {
        Self { src: self.dst, dst: self.src, ..self }
    }
}

/// The paths of the originals of a claim.
#[derive(Debug, Clone, Copy)]
pub(super) enum Originals<'a> {
    /// All paths over a link.
    Link(Link),
    /// These paths.
    Paths(&'a HashSet<PathId>),
}

/// A flow of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    flow_id: u64,
    link: u32,
    path: PathId,
    flow: u32,
}

/// All flows, sorted by conversation, link and path when that is first needed.
#[derive(Debug)]
pub(super) struct Conversations<'a> {
    context: Context<'a>,
    sorted: OnceCell<Sorted>,
}

#[derive(Debug)]
struct Sorted {
    members: Vec<Member>,
    links: HashMap<Link, u32>,
    /// The link of each path.
    link_of: Vec<u32>,
}

impl<'a> Conversations<'a> {
    pub fn new(context: Context<'a>) -> Self {
        Self { context, sorted: OnceCell::new() }
    }

    fn sorted(&self) -> &Sorted {
        self.sorted.get_or_init(|| {
            let mut links = HashMap::new();
            let mut number = |path: &Path| {
                let next = links.len() as u32;
                *links.entry(Link::of(path)).or_insert(next)
            };
            let link_of: Vec<u32> = self.context.paths.iter().map(&mut number).collect();
            let member = |(number, flow): (usize, &Flow)| {
                let link = link_of.get(flow.path as usize).copied()?;
                Some(Member { flow_id: flow.flow_id()?, link, path: flow.path, flow: number as u32 })
            };
            let flows = self.context.flows.iter().enumerate();
            let mut members: Vec<Member> = flows.filter_map(member).collect();
            members.sort_unstable();
            Sorted { members, links, link_of }
        })
    }

    /// Packets of these conversations on a link.
    pub fn carried(&self, flow_ids: &HashSet<u64>, link: Link) -> u64 {
        let mut packets = 0;
        self.visit(flow_ids, Originals::Link(link), |flow| packets += flow.packets);
        packets
    }

    /// Packets of these conversations on the paths of originals, and those of them that were compared with others. A packet
    /// seen by two taps counts once: of each flow, the tap that saw more of it counts.
    pub fn count(&self, flow_ids: &HashSet<u64>, originals: Originals<'_>) -> (u64, u64) {
        let mut seen: HashMap<FlowKey, BTreeMap<u16, (u64, u64)>> = HashMap::new();
        self.visit(flow_ids, originals, |flow| {
            // The flow and direction, whatever its path and label.
            let key = FlowKey { path: 0, label: Label::default(), ..flow.key() };
            let tap = self.context.paths.get(flow.path).tap;
            let (packets, compared) = seen.entry(key).or_default().entry(tap).or_default();
            *packets += flow.packets;
            *compared += flow.compared;
        });
        let most = seen.into_values().filter_map(|taps| taps.into_values().max());
        most.fold((0, 0), |sum, most| (sum.0 + most.0, sum.1 + most.1))
    }

    /// Shows every flow of these conversations on these paths.
    fn visit(&self, flow_ids: &HashSet<u64>, originals: Originals<'_>, mut show: impl FnMut(&Flow)) {
        let Sorted { members, links, link_of } = self.sorted();
        let mut show_all = |found: &[Member]| {
            let flows = found.iter().filter_map(|member| self.context.flows.get(member.flow));
            flows.for_each(&mut show);
        };
        for &id in flow_ids {
            match originals {
                Originals::Link(link) => {
                    let Some(&link) = links.get(&link) else { continue };
                    show_all(equal(members, |member| (member.flow_id, member.link).cmp(&(id, link))));
                }
                Originals::Paths(paths) => {
                    let all = equal(members, |member| member.flow_id.cmp(&id));
                    if all.len() <= paths.len() {
                        let mine = all.iter().filter(|member| paths.contains(&member.path));
                        mine.for_each(|&member| show_all(&[member]));
                        continue;
                    }
                    for &path in paths {
                        let Some(&link) = link_of.get(path as usize) else { continue };
                        show_all(equal(all, |member| (member.link, member.path).cmp(&(link, path))));
                    }
                }
            }
        }
    }
}

/// The members that are equal, of a list sorted by this order.
fn equal(sorted: &[Member], order: impl Fn(&Member) -> std::cmp::Ordering) -> &[Member] {
    let from = sorted.partition_point(|member| order(member).is_lt());
    let rest = sorted.get(from..).unwrap_or_default();
    rest.get(..rest.partition_point(|member| order(member).is_eq())).unwrap_or_default()
}
