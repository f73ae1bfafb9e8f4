//! Clients down, servers across, and in each cell the worst that is between them.

use std::collections::{BTreeMap, BTreeSet};

use mtls_core::record::{EdgeRecord, Mark, Peer, Word};

use crate::graph;
use crate::output::{Style, end_path, safe};

/// Most rows or columns of workloads; beyond it they are namespaces.
const MOST: usize = 24;
/// Most rows or columns at all.
const LIMIT: usize = 40;

/// A table.
#[derive(Debug)]
pub(super) struct Matrix {
    /// `workload` or `namespace`.
    pub(super) what: &'static str,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// Rows and columns that were left out.
    pub(super) left_out: usize,
}

/// A client.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) cells: Vec<Option<Cell>>,
}

/// What is between a client and a server.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) class: &'static str,
    pub(super) sign: &'static str,
    pub(super) words: &'static str,
    pub(super) connections: u64,
}

fn name(peer: &Peer, by_namespace: bool) -> String {
    match peer.namespace() {
        Some(namespace) if by_namespace => safe(namespace).into_owned(),
        _ => end_path(peer),
    }
}

/// The table of `edges`.
pub(super) fn matrix(edges: &[EdgeRecord]) -> Matrix {
    let names = |by_namespace| -> (BTreeSet<String>, BTreeSet<String>) {
        edges
            .iter()
            .map(|edge| (name(&edge.src, by_namespace), name(&edge.dst, by_namespace)))
            .unzip()
    };
    let (mut clients, mut servers) = names(false);
    let by_namespace = clients.len() > MOST || servers.len() > MOST;
    if by_namespace {
        (clients, servers) = names(true);
    }
    let left_out = clients.len().saturating_sub(LIMIT) + servers.len().saturating_sub(LIMIT);
    let mut worst = BTreeMap::<(String, String), (Option<Word<Mark>>, u64)>::new();
    for edge in edges {
        let key = (name(&edge.src, by_namespace), name(&edge.dst, by_namespace));
        let (mark, connections) = worst.entry(key).or_default();
        *mark = [mark.take(), edge.mark.clone()].into_iter().flatten().min();
        *connections += edge.connections;
    }
    let columns: Vec<_> = servers.into_iter().take(LIMIT).collect();
    let rows = clients.into_iter().take(LIMIT).map(|client| Row {
        cells: columns
            .iter()
            .map(|server| {
                let (mark, connections) = worst.get(&(client.clone(), server.clone()))?;
                Some(Cell {
                    class: graph::class(mark.as_ref()),
                    sign: Style::Unicode.mark(mark.as_ref()),
                    words: graph::words(mark.as_ref()),
                    connections: *connections,
                })
            })
            .collect(),
        name: client,
    });
    Matrix {
        what: if by_namespace {
            "namespace"
        } else {
            "workload"
        },
        rows: rows.collect(),
        columns,
        left_out,
    }
}
