//! The table of `mtls edges`.

use std::fmt::Write as _;

use super::{Style, ago, safe, style, table, took};
use mtls_core::record::{EdgeList, EdgeRecord, Kind, Mark, Peer, Tally, Transport, Workload};

/// The edges as a table, a port a line; `wide` adds service accounts, identities, how much was seen,
/// reasons and times. Edges whose every connection is exempt come last.
pub(crate) fn edges(list: &EdgeList, wide: bool, style: Style) -> String {
    let mut out = String::new();
    if list.items.is_empty() {
        out.push_str("no connections in the window\n");
    } else {
        let mut header = vec!["SRC", "DST", "PORT", "SRC_NS", "DST_NS"];
        if wide {
            header.extend(["SRC_SA", "DST_SA", "CLIENT_ID", "SERVER_ID"]);
        }
        header.push("STATUS");
        if wide {
            header.extend(["SEEN", "OPEN", "FIRST", "LAST", "REASON"]);
        }
        let mut table = table(&header);
        let mut items: Vec<_> = list.items.iter().collect();
        items.sort_by_cached_key(|edge| (edge.mark.is_none(), edge.mark.clone(), edge.key()));
        for edge in items {
            table.add_row(row(edge, wide, style, list.generated.as_nanos()));
        }
        out = format!("{}\n", table.trim_fmt());
    }
    out.push_str(&summary(list));
    out
}

fn row(edge: &EdgeRecord, wide: bool, style: Style, now: u64) -> Vec<String> {
    let mut cells = vec![
        name(&edge.src),
        name(&edge.dst),
        port(edge),
        or_dash(edge.src.namespace()),
        or_dash(edge.dst.namespace()),
    ];
    if wide {
        let account = |peer: &Peer| {
            let who = peer.workload.as_ref();
            or_dash(who.and_then(|who| who.service_account.as_deref()))
        };
        cells.extend([account(&edge.src), account(&edge.dst)]);
        cells.extend([most(&edge.client_identities), most(&edge.server_identities)]);
    }
    cells.push(status(edge, style));
    if wide {
        let seen = edge.coverage.complete;
        cells.push(format!("{seen}/{}", edge.connections));
        cells.push(edge.open_connections.to_string());
        cells.push(ago(edge.first_seen, now));
        cells.push(ago(edge.last_seen, now));
        cells.push(or_dash(edge.reason.as_deref()));
    }
    cells
}

/// The mark, then the verdicts, worst first, then what is exempt.
pub(crate) fn status(edge: &EdgeRecord, style: Style) -> String {
    let verdicts = edge.verdict_counts.iter();
    let verdicts = verdicts.map(|(verdict, n)| format!("{} ({n})", style::verdict(verdict)));
    let exempt = edge.exempt_counts.iter();
    let exempt = exempt.map(|(class, n)| format!("{} ({n})", style::exempt(class)));
    let mix: Vec<_> = verdicts.chain(exempt).collect();
    format!("{} {}", style.mark(edge.mark.as_ref()), mix.join(", "))
}

/// One line on all of them, and on what was not seen.
fn summary(list: &EdgeList) -> String {
    let edges: Vec<_> = list
        .items
        .iter()
        .filter(|edge| edge.mark.is_some())
        .collect();
    let of = |mark: Mark| {
        let marked = edges.iter().filter(|edge| edge.mark == Some(mark.into()));
        marked.count()
    };
    let mut parts = vec![match edges.len() {
        1 => "1 edge".to_owned(),
        n => format!("{n} edges"),
    }];
    for (mark, word) in [
        (Mark::Mutual, "mutual"),
        (Mark::OneWay, "server only"),
        (Mark::Clear, "in clear"),
        (Mark::Unknown, "unknown"),
    ] {
        if of(mark) > 0 {
            parts.push(format!("{} {word}", of(mark)));
        }
    }
    let exempt: u64 = list
        .items
        .iter()
        .flat_map(|edge| edge.exempt_counts.values())
        .sum();
    if exempt > 0 {
        parts.push(format!("{exempt} exempt connections"));
    }
    let node = list
        .node
        .as_deref()
        .map_or_else(String::new, |node| format!("{}, ", safe(node)));
    let watched = list.watched;
    let mut line = format!(
        "{node}last {}: {}; {} interfaces watched",
        took(list.window_seconds),
        parts.join(", "),
        watched.interfaces
    );
    if watched.interfaces_failed > 0 {
        // Writing to a String cannot fail.
        let failed = watched.interfaces_failed;
        let _ = write!(line, ", {failed} NOT watched (mtls status)");
    }
    if let Some(lost) = watched.samples_lost.filter(|lost| *lost > 0) {
        let _ = write!(line, "; {lost} SAMPLES LOST");
    }
    line.push('\n');
    line
}

/// `web`, `node/node-1`, `10.0.0.7 (unknown)`; `(stale)` where the name may be out of date.
pub(super) fn name(peer: &Peer) -> String {
    let name = peer.name();
    let name = safe(&name);
    let stale = |who: &Workload| who.stale.is_some();
    let stale = if peer.workload.as_ref().is_some_and(stale) {
        " (stale)"
    } else {
        ""
    };
    match peer.kind() {
        Some(Kind::Node) => format!("node/{name}{stale}"),
        Some(kind @ (Kind::Unknown | Kind::External)) => format!("{name} ({kind}){stale}"),
        _ => format!("{name}{stale}"),
    }
}

/// `443`; `53/udp`.
fn port(edge: &EdgeRecord) -> String {
    let port = edge
        .dst
        .port
        .map_or_else(|| "-".to_owned(), |port| port.to_string());
    if edge.transport == Transport::Tcp {
        port
    } else {
        format!("{port}/{}", safe(edge.transport.as_str()))
    }
}

/// The identity that most connections had, and how many others there are.
fn most(tally: &Tally) -> String {
    let Some((value, _)) = tally.values.iter().max_by_key(|(_, n)| **n) else {
        return "-".into();
    };
    match tally.values.len() - 1 + usize::from(tally.other > 0) {
        0 => safe(value).into_owned(),
        more => format!("{} (+{more})", safe(value)),
    }
}

fn or_dash(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| safe(text).into_owned())
}
