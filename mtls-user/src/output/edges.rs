//! The table of `mtls edges`.

use super::{ago, safe, table};
use mtls_core::record::Verdict;
use mtls_node::edges::EdgeRow;

/// The rows as a table in Linkerd's columns; `wide` adds service accounts, identities, reasons
/// and times.
pub(crate) fn edges(rows: &[EdgeRow], wide: bool, now: u64) -> String {
    if rows.is_empty() {
        return "no flows in the window\n".into();
    }
    let mut header = vec!["SRC", "DST", "SRC_NS", "DST_NS"];
    if wide {
        header.extend(["SRC_SA", "DST_SA", "CLIENT_ID", "SERVER_ID"]);
    }
    header.push("SECURED");
    if wide {
        header.extend(["OPEN", "FIRST", "LAST", "REASON"]);
    }
    let mut out = table(&header);
    for row in rows {
        let mut cells = vec![
            name(&row.src, &row.src_kind, row.stale),
            name(&row.dst, &row.dst_kind, row.stale),
            or_dash(&row.src_namespace),
            or_dash(&row.dst_namespace),
        ];
        if wide {
            let known = [
                &row.src_service_account,
                &row.dst_service_account,
                &row.client_id,
                &row.server_id,
            ];
            cells.extend(known.map(|name| or_dash(name.as_deref().unwrap_or_default())));
        }
        cells.push(secured(row));
        if wide {
            cells.push(row.open.to_string());
            cells.push(ago(row.first_seen, now));
            cells.push(ago(row.last_seen, now));
            cells.push(safe(&row.reason).into_owned());
        }
        out.add_row(cells);
    }
    format!("{}\n", out.trim_fmt())
}

/// `√` only where every flow that carried data was mutual TLS; then the verdicts, worst first.
pub(crate) fn secured(row: &EdgeRow) -> String {
    let mark = match row.verdict {
        Verdict::Mtls => "√",
        Verdict::Plaintext | Verdict::Opaque | Verdict::Tls => "×",
        Verdict::TlsUnproven | Verdict::Unobserved | Verdict::Failed | Verdict::NoData => "?",
    };
    let mix: Vec<_> = row
        .verdicts
        .iter()
        .map(|(verdict, n)| format!("{verdict} {n}"))
        .collect();
    format!("{mark} {}", mix.join(", "))
}

fn name(name: &str, kind: &str, stale: Option<u64>) -> String {
    let stale = if stale.is_some() { " (stale)" } else { "" };
    let kind = match kind {
        "unknown" | "external" | "node" => format!(" ({kind})"),
        _ => String::new(),
    };
    format!("{}{kind}{stale}", safe(name))
}

fn or_dash(text: &str) -> String {
    if text.is_empty() {
        "-".into()
    } else {
        safe(text).into_owned()
    }
}
