//! The table of `mtls edges`.

use std::fmt::Write as _;

use super::sheet::Sheet;
use super::{Look, Style, ago, count, safe, style, took};
use mtls_core::record::{
    EdgeList, EdgeRecord, Exempt, Expectation, Kind, Mark, Outcome, Peer, Tally, Transport,
    Verdict, Word, Workload,
};

/// The columns of the short table, and of the live screen.
pub(crate) const COLUMNS: [&str; 9] = [
    "NAMESPACE",
    "FROM",
    "TO",
    "PORT",
    "STATUS",
    "TLS",
    "CONNS",
    "LAST",
    "WHY",
];

/// The edges as a table, a port a line, in the order in which they are; those whose every connection
/// is exempt are counted, and shown with `all`.
pub(crate) fn edges(list: &EdgeList, look: Look, all: bool, style: Style) -> Sheet {
    let now = list.generated.as_nanos();
    let mut sheet = Sheet::new(match look {
        Look::Short => COLUMNS.to_vec(),
        Look::Wide => vec![
            "NAMESPACE",
            "FROM",
            "TO",
            "PORT",
            "STATUS",
            "TLS",
            "CONNS",
            "OPEN",
            "COMPLETE",
            "FIRST",
            "LAST",
            "PROTOCOL",
            "FROM_SA",
            "TO_SA",
            "CLIENT_ID",
            "SERVER_ID",
            "EXPECTED",
            "WHY",
        ],
        Look::Linkerd => vec!["SRC", "DST", "SRC_NS", "DST_NS", "SECURED"],
    });
    let shown = |edge: &&EdgeRecord| all || edge.mark.is_some();
    for edge in list.items.iter().filter(shown) {
        let cells = match look {
            Look::Linkerd => linkerd(edge, style),
            look => row(edge, look == Look::Wide, all, style, now),
        };
        sheet.row(cells, edge.mark.as_ref());
    }
    if let Some(lost) = list.watched.samples_lost.filter(|lost| *lost > 0) {
        let _ = writeln!(
            sheet.above,
            "{lost} SAMPLES LOST in this window: connections may be missing or undecided (mtls status)"
        );
    }
    if sheet.is_empty() {
        sheet.below.push_str("no edges to show\n");
    }
    if !all {
        sheet.below.push_str(&hidden(&list.items));
    }
    sheet.below.push_str(&line(list, all));
    sheet
}

/// The worst first; edges whose every connection is exempt last.
pub(crate) fn sort_edges(edges: &mut [EdgeRecord]) {
    edges.sort_by_cached_key(|edge| (edge.mark.is_none(), edge.mark.clone(), edge.key()));
}

/// The cells of an edge as the table has them, exempt connections counted.
pub(crate) fn cells(edge: &EdgeRecord, style: Style, now: u64) -> [String; 9] {
    let mut cells = row(edge, false, true, style, now).into_iter();
    std::array::from_fn(|_| cells.next().unwrap_or_default())
}

fn row(edge: &EdgeRecord, wide: bool, all: bool, style: Style, now: u64) -> Vec<String> {
    let mut cells = vec![
        namespaces(edge, style),
        name(&edge.src),
        name(&edge.dst),
        port(edge),
        status(edge, style),
        known(&edge.tls_versions),
    ];
    let connections: u64 = if all {
        edge.connections
    } else {
        edge.verdict_counts.values().sum()
    };
    cells.push(connections.to_string());
    if wide {
        cells.push(edge.open_connections.to_string());
        let seen = edge.coverage.complete;
        cells.push(format!("{seen}/{}", edge.connections));
        cells.push(ago(edge.first_seen, now));
    }
    cells.push(ago(edge.last_seen, now));
    if wide {
        let account = |peer: &Peer| {
            let who = peer.workload.as_ref();
            or_dash(who.and_then(|who| who.service_account.as_deref()))
        };
        cells.push(known(&edge.protocols));
        cells.extend([account(&edge.src), account(&edge.dst)]);
        cells.extend([most(&edge.client_identities), most(&edge.server_identities)]);
        cells.push(expected(edge.expectation.as_ref()));
        cells.push(or_dash(
            why(edge)
                .or_else(|| edge.reason.clone().map(Into::into))
                .as_deref(),
        ));
    } else {
        cells.push(why(edge).map_or_else(String::new, |why| safe(&why).into_owned()));
    }
    cells
}

/// What keeps it from being good; `None` where nothing does.
pub(crate) fn why(edge: &EdgeRecord) -> Option<String> {
    let mark = edge.mark.as_ref()?;
    if *mark == Mark::Mutual {
        return None;
    }
    if edge.verdict == Some(Verdict::Mtls.into()) {
        let seen = edge.coverage;
        return Some(format!(
            "{} of {} not seen completely",
            seen.partial + seen.unobserved,
            count(edge.connections, "connection")
        ));
    }
    edge.reason.as_deref().map(str::to_owned)
}

fn linkerd(edge: &EdgeRecord, style: Style) -> Vec<String> {
    let secured = match (edge.mark.as_ref().and_then(Word::known), style) {
        (Some(Mark::Mutual), Style::Unicode) => "√".to_owned(),
        (Some(Mark::Mutual), Style::Ascii) => "+".to_owned(),
        _ => or_dash(why(edge).as_deref()),
    };
    vec![
        name(&edge.src),
        name(&edge.dst),
        or_dash(edge.src.namespace()),
        or_dash(edge.dst.namespace()),
        secured,
    ]
}

/// `shop`, or `shop→data` between two.
fn namespaces(edge: &EdgeRecord, style: Style) -> String {
    let (src, dst) = (edge.src.namespace(), edge.dst.namespace());
    if src == dst {
        return or_dash(src);
    }
    let arrow = if style == Style::Unicode { "→" } else { "->" };
    format!("{}{arrow}{}", or_dash(src), or_dash(dst))
}

/// The mark, and the worst verdict with the share of it where there are others.
pub(crate) fn status(edge: &EdgeRecord, style: Style) -> String {
    let mark = style.mark(edge.mark.as_ref());
    let Some(verdict) = &edge.verdict else {
        let exempt = edge.exempt_counts.iter();
        let exempt = exempt.map(|(class, n)| format!("{} ({n})", style::exempt(class)));
        return format!("{mark} {}", exempt.collect::<Vec<_>>().join(", "));
    };
    let word = style::verdict(verdict);
    let total: u64 = edge.verdict_counts.values().sum();
    match edge.verdict_counts.get(verdict) {
        Some(n) if *n < total => format!("{mark} {word} ({n} of {total})"),
        _ => format!("{mark} {word}"),
    }
}

/// What is exempt, by its class: `8 kubelet probes and 5 refused connections hidden (--all)`.
fn hidden(edges: &[EdgeRecord]) -> String {
    let mut counts = std::collections::BTreeMap::<&Word<Exempt>, u64>::new();
    for (class, n) in edges.iter().flat_map(|edge| &edge.exempt_counts) {
        *counts.entry(class).or_default() += n;
    }
    if counts.is_empty() {
        return String::new();
    }
    let parts: Vec<_> = counts
        .into_iter()
        .map(|(class, n)| {
            let plural = if n == 1 { "" } else { "s" };
            match class.known() {
                Some(Exempt::KubeletProbe) => format!("{n} kubelet probe{plural}"),
                Some(Exempt::Scrape) => format!("{n} scrape{plural}"),
                Some(Exempt::NoData) => format!("{n} connection{plural} without data"),
                _ => format!("{n} {} connection{plural}", style::exempt(class)),
            }
        })
        .collect();
    let text = match parts.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => parts.join(""),
    };
    format!("{text} hidden (--all)\n")
}

/// One line about the edges, and about what was not seen.
pub(crate) fn summary(list: &EdgeList) -> String {
    line(list, false)
}

/// The same; with `all`, edges with exempt traffic only are counted too.
fn line(list: &EdgeList, all: bool) -> String {
    let of = |mark: Mark| {
        let marked = list.items.iter();
        marked.filter(|edge| edge.mark == Some(mark.into())).count()
    };
    let edges = list.items.iter().filter(|edge| edge.mark.is_some()).count();
    let mut parts = vec![count(edges as u64, "edge")];
    for (mark, word) in [
        (Mark::Mutual, "mTLS"),
        (Mark::OneWay, "server only"),
        (Mark::Clear, "plaintext"),
        (Mark::Unknown, "unknown"),
    ] {
        if of(mark) > 0 {
            parts.push(format!("{} {word}", of(mark)));
        }
    }
    if all && list.items.len() > edges {
        parts.push(format!(
            "and {} with exempt traffic only",
            list.items.len() - edges
        ));
    }
    let node = list
        .node
        .as_deref()
        .map_or_else(String::new, |node| format!("{}, ", safe(node)));
    let window = match list.window_seconds {
        0 => String::new(),
        window => format!("last {}: ", took(window)),
    };
    format!("{node}{window}{}{}\n", parts.join(", "), watched(list))
}

/// How much could be seen; nothing of what is no node's.
fn watched(list: &EdgeList) -> String {
    let watched = list.watched;
    if list.window_seconds == 0 {
        return String::new();
    }
    let mut text = match (watched.pods, watched.pods_watched) {
        (Some(pods), Some(seen)) if pods > 0 => {
            format!("; {seen} of {} watched", count(pods, "pod"))
        }
        _ => format!("; {} watched", count(watched.interfaces, "interface")),
    };
    if watched.interfaces_failed > 0 {
        // Writing to a String cannot fail.
        let failed = count(watched.interfaces_failed, "interface");
        let _ = write!(text, ", {failed} NOT watched (mtls status)");
    }
    text
}

/// `web`, `node/node-1`, `10.0.0.7 (unknown)`; `(stale)` where the name may be out of date.
pub(crate) fn name(peer: &Peer) -> String {
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

/// An end as the filters and `mtls explain` take it: `shop/deployment/web`.
pub(crate) fn path(peer: &Peer) -> String {
    let who = peer.workload.as_ref();
    let name = peer.name();
    let name = safe(&name);
    match (peer.namespace(), who.map(|who| who.kind.as_str())) {
        (Some(namespace), Some(kind)) if peer.kind().is_some() => {
            format!("{}/{kind}/{name}", safe(namespace))
        }
        (Some(namespace), _) => format!("{}/{name}", safe(namespace)),
        (None, _) if peer.kind() == Some(Kind::Node) => format!("node/{name}"),
        (None, _) => name.into_owned(),
    }
}

/// `443`; `53/udp`.
pub(crate) fn port(edge: &EdgeRecord) -> String {
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

/// All values that were met, the word for the rest last.
fn known(tally: &Tally) -> String {
    let mut values: Vec<_> = tally.values.keys().map(|value| safe(value)).collect();
    if tally.other > 0 {
        values.push("others".into());
    }
    if values.is_empty() {
        "-".into()
    } else {
        values.join(",")
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

/// How it compares with what is expected of it.
pub(super) fn expected(expectation: Option<&Expectation>) -> String {
    let Some(expectation) = expectation else {
        return "-".into();
    };
    if expectation.outcome == Outcome::NothingExpected {
        return "-".into();
    }
    match &expectation.reason {
        Some(reason) => format!("{}: {}", safe(expectation.outcome.as_str()), safe(reason)),
        None => safe(expectation.outcome.as_str()).into_owned(),
    }
}

fn or_dash(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| safe(text).into_owned())
}

/// The edge as `mtls explain` takes it: `shop/deployment/web data/statefulset/pg:5432`.
pub(crate) fn edge_name(edge: &EdgeRecord) -> String {
    format!("{} {}", path(&edge.src), at_port(&edge.dst, &port(edge)))
}

/// An end and its port, with an address of IPv6 in brackets (RFC 3986 §3.2.2).
pub(crate) fn at_port(peer: &Peer, port: &str) -> String {
    let end = path(peer);
    if end.parse::<std::net::Ipv6Addr>().is_ok() {
        format!("[{end}]:{port}")
    } else {
        format!("{end}:{port}")
    }
}
