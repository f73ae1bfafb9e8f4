//! The graph of edges as SVG: workloads as boxes in columns, clients left of their servers, a line a
//! pair, in the colour and the dashes of the worst that is between them.

mod layout;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use askama::Template;
use mtls_core::record::{EdgeRecord, Mark, Peer, Word};

use crate::output::{Style, end_path, safe};

/// Most boxes that are drawn; beyond it they are namespaces.
const MOST: usize = 60;

/// A drawn graph.
#[derive(Debug)]
pub(crate) struct Graph {
    /// The `svg` element.
    pub(crate) svg: String,
    /// Whether its boxes are namespaces.
    pub(crate) by_namespace: bool,
    /// Boxes that were left out, where there are too many even so.
    pub(crate) left_out: usize,
}

/// A box.
#[derive(Debug)]
struct Vertex {
    /// As the filters take it.
    path: String,
    namespace: String,
    name: String,
    x: i32,
    y: i32,
}

/// A line between two boxes.
#[derive(Debug)]
struct Line {
    class: &'static str,
    from: String,
    to: String,
    /// What it is, in words.
    title: String,
    /// Of SVG: the curve.
    curve: String,
}

#[derive(Template)]
#[template(path = "graph.svg")]
struct Svg<'a> {
    standalone: bool,
    width: i32,
    height: i32,
    box_width: i32,
    box_height: i32,
    description: &'a str,
    boxes: &'a [Vertex],
    lines: &'a [Line],
}

/// What a mark is called in a style sheet.
pub(crate) fn class(mark: Option<&Word<Mark>>) -> &'static str {
    match mark.map(Word::known) {
        None => "exempt",
        Some(Some(Mark::Clear)) => "clear",
        Some(Some(Mark::OneWay)) => "one-way",
        Some(Some(Mark::Mutual)) => "mutual",
        Some(Some(Mark::Unknown) | None) => "unknown",
    }
}

/// A mark as people say it.
pub(crate) fn words(mark: Option<&Word<Mark>>) -> &'static str {
    match mark.map(Word::known) {
        None => "exempt traffic only",
        Some(Some(Mark::Clear)) => "plaintext",
        Some(Some(Mark::OneWay)) => "TLS, server only",
        Some(Some(Mark::Mutual)) => "mutual TLS",
        Some(Some(Mark::Unknown) | None) => "unknown",
    }
}

/// All edges between two boxes.
struct Pair {
    mark: Option<Word<Mark>>,
    connections: u64,
    ports: std::collections::BTreeSet<u16>,
}

/// Draws `edges`; `standalone` is a file of its own, with its own style.
pub(crate) fn draw(edges: &[EdgeRecord], standalone: bool) -> anyhow::Result<Graph> {
    let (mut boxes, mut pairs) = collect(edges, false);
    let by_namespace = boxes.len() > MOST;
    if by_namespace {
        (boxes, pairs) = collect(edges, true);
    }
    let left_out = boxes.len().saturating_sub(MOST);
    if left_out > 0 {
        keep_worst(&mut boxes, &mut pairs);
    }
    let ends: Vec<_> = pairs.keys().copied().collect();
    let (places, width, height) = layout::place(boxes.len(), &ends);
    for (own, (x, y)) in boxes.iter_mut().zip(&places) {
        (own.x, own.y) = (*x, *y);
    }
    let lines: Vec<_> = pairs
        .iter()
        .map(|((from, to), pair)| line(&boxes[*from], &boxes[*to], pair))
        .collect();
    let what = if by_namespace {
        "namespaces"
    } else {
        "workloads"
    };
    let description = format!(
        "{} {what}, {} connections between them",
        boxes.len(),
        lines.len()
    );
    let svg = Svg {
        standalone,
        width,
        height,
        box_width: layout::WIDTH,
        box_height: layout::HEIGHT,
        description: &description,
        boxes: &boxes,
        lines: &lines,
    };
    Ok(Graph {
        svg: svg.render()?,
        by_namespace,
        left_out,
    })
}

type Pairs = BTreeMap<(usize, usize), Pair>;

/// The boxes, by name, and what is between them.
fn collect(edges: &[EdgeRecord], by_namespace: bool) -> (Vec<Vertex>, Pairs) {
    let named = |peer: &Peer| -> (String, String, String) {
        let namespace = peer.namespace().map(|name| safe(name).into_owned());
        match namespace {
            Some(namespace) if by_namespace => {
                (format!("ns/{namespace}"), String::new(), namespace)
            }
            namespace => (
                end_path(peer),
                namespace.unwrap_or_default(),
                crate::output::edge_end(peer),
            ),
        }
    };
    let mut names = BTreeMap::new();
    for edge in edges {
        for (path, namespace, name) in [named(&edge.src), named(&edge.dst)] {
            names.insert(path, (namespace, name));
        }
    }
    let boxes: Vec<Vertex> = names
        .into_iter()
        .map(|(path, (namespace, name))| Vertex {
            path,
            namespace,
            name,
            x: 0,
            y: 0,
        })
        .collect();
    let find = |peer: &Peer| {
        let path = named(peer).0;
        boxes.binary_search_by(|own| own.path.cmp(&path)).ok()
    };
    let mut pairs = Pairs::new();
    for edge in edges {
        let (Some(from), Some(to)) = (find(&edge.src), find(&edge.dst)) else {
            continue;
        };
        let pair = pairs.entry((from, to)).or_insert(Pair {
            mark: None,
            connections: 0,
            ports: std::collections::BTreeSet::new(),
        });
        pair.mark = [pair.mark.take(), edge.mark.clone()]
            .into_iter()
            .flatten()
            .min();
        pair.connections += edge.connections;
        pair.ports.extend(edge.dst.port);
    }
    (boxes, pairs)
}

/// Leaves the boxes with the worst between them.
fn keep_worst(boxes: &mut Vec<Vertex>, pairs: &mut Pairs) {
    let mut worst: Vec<_> = pairs.iter().collect();
    worst.sort_by_key(|(_, pair)| (pair.mark.is_none(), pair.mark.clone()));
    let mut kept = std::collections::BTreeSet::new();
    for ((from, to), _) in worst {
        let both = [*from, *to];
        let more = both.iter().filter(|at| !kept.contains(*at)).count();
        if kept.len() + more <= MOST {
            kept.extend(both);
        }
    }
    let places: BTreeMap<_, _> = kept
        .iter()
        .enumerate()
        .map(|(at, own)| (*own, at))
        .collect();
    *pairs = std::mem::take(pairs)
        .into_iter()
        .filter_map(|((from, to), pair)| Some(((*places.get(&from)?, *places.get(&to)?), pair)))
        .collect();
    let mut at = 0..;
    boxes.retain(|_| at.next().is_some_and(|at| kept.contains(&at)));
}

fn line(from: &Vertex, to: &Vertex, pair: &Pair) -> Line {
    let ports: Vec<_> = pair.ports.iter().take(5).map(u16::to_string).collect();
    let more = if pair.ports.len() > 5 { ", …" } else { "" };
    let mark = pair.mark.as_ref();
    Line {
        class: class(mark),
        from: from.path.clone(),
        to: to.path.clone(),
        title: format!(
            "{} {} to {}, port {}{more}: {}, {} connections",
            Style::Unicode.mark(mark),
            from.path,
            to.path,
            ports.join(", "),
            words(mark),
            pair.connections
        ),
        curve: layout::curve((from.x, from.y), (to.x, to.y)),
    }
}
