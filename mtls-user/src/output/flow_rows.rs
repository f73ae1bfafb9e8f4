//! Connections a line each: the table of `mtls flows`, and the columns of `mtls tap`.

use std::fmt::Write as _;

use mtls_core::record::{Event, FlowList, FlowRecord, Kind, Mark, Peer, Verdict};

use super::edges::{expected, name};
use super::flows::{address, service, text};
use super::text::wrap;
use super::{Look, Screen, Sheet, Style, ago, count, safe, style, took};

/// The width of each column of the tap but the last.
const WIDTHS: [usize; 6] = [12, 22, 28, 26, 7, 12];
/// The same on a narrow terminal, where the other columns are on a second line.
const NARROW: [usize; 4] = [8, 14, 22, 26];
/// Columns that the last one needs beside the others.
const LEAST_WHY: usize = 24;

/// The connections as a table, in the order in which they are.
pub(crate) fn flows(list: &FlowList, look: Look, style: Style) -> Sheet {
    let now = list.generated.as_nanos();
    let wide = look == Look::Wide;
    let mut header = vec!["LAST", "FROM", "TO", "STATUS", "TLS", "PROTOCOL", "STATE"];
    if wide {
        header.extend([
            "ID",
            "FIRST",
            "SRC",
            "DST",
            "EVIDENCE",
            "BYTES",
            "CLIENT_ID",
            "SERVER_ID",
            "EXPECTED",
            "NOTES",
        ]);
    }
    header.push("WHY");
    let mut sheet = Sheet::new(header);
    for flow in &list.items {
        let tls = flow.tls.as_deref();
        let mut cells = vec![
            ago(flow.last_seen, now),
            end(&flow.src),
            server(flow),
            status(flow, style),
            text(tls.and_then(|tls| tls.version.as_deref())),
            safe(&flow.protocol).into_owned(),
            state(flow).into(),
        ];
        if wide {
            let bytes = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
            let notes: Vec<_> = flow.notes.iter().map(|note| safe(note)).collect();
            cells.extend([
                text(flow.id.as_deref()),
                ago(flow.first_seen, now),
                address(&flow.src),
                service(flow),
                text(flow.evidence.as_ref().map(mtls_core::record::Word::as_str)),
                format!("{}/{}", bytes(flow.bytes.client), bytes(flow.bytes.server)),
                text(tls.and_then(|tls| tls.client_identity.as_deref())),
                text(tls.and_then(|tls| tls.server_identity.as_deref())),
                expected(flow.expectation.as_ref()),
                notes.join("; "),
            ]);
        }
        cells.push(safe(&flow.reason).into_owned());
        sheet.row(cells, flow.mark().map(Into::into).as_ref());
    }
    if sheet.is_empty() {
        sheet.below.push_str("no connections to show\n");
    }
    sheet.below.push_str(&summary(list));
    sheet
}

/// `over`: it counts as ended although its end was not seen.
fn state(flow: &FlowRecord) -> &'static str {
    match (&flow.event, flow.closed) {
        (_, true) => "closed",
        (Some(event), _) if *event == Event::Closed => "over",
        _ => "open",
    }
}

/// How many, and how far back that goes.
fn summary(list: &FlowList) -> String {
    let open = list
        .items
        .iter()
        .filter(|flow| state(flow) == "open")
        .count();
    let mut line = format!(
        "{}, {open} open",
        count(list.items.len() as u64, "connection")
    );
    let Some(history) = &list.history else {
        return line + "\n";
    };
    // Writing to a String cannot fail.
    if history.forgotten > 0 {
        let since = history
            .since
            .map(|since| ago(since, list.generated.as_nanos()));
        let _ = write!(
            line,
            "; NOT COMPLETE: {} older ones dropped, the last {} ago, the daemon keeps {} (mtls daemon --history)",
            history.forgotten,
            since.unwrap_or_default(),
            history.capacity
        );
    } else {
        let _ = write!(line, "; last {}", took(list.window_seconds));
    }
    line + "\n"
}

/// The mark and the verdict, or why it is exempt.
fn status(flow: &FlowRecord, style: Style) -> String {
    if let Some(exempt) = &flow.exempt {
        return format!("- {}", style::exempt(&exempt.class));
    }
    let mark = flow.mark().map(Into::into);
    // What exposed nothing shows nothing good either.
    let mark = mark.or_else(|| (flow.verdict == Verdict::Failed).then(|| Mark::Unknown.into()));
    format!(
        "{} {}",
        style.mark(mark.as_ref()),
        style::verdict(&flow.verdict)
    )
}

/// `shop/web`, `node/node-1`, or the address.
fn end(peer: &Peer) -> String {
    match (peer.namespace(), peer.kind()) {
        (Some(namespace), _) => format!("{}/{}", safe(namespace), name(peer)),
        (None, Some(Kind::Node)) => name(peer),
        (None, _) => safe(&peer.name()).into_owned(),
    }
}

/// The server and its port.
fn server(flow: &FlowRecord) -> String {
    let name = end(&flow.dst);
    let name = if name.contains(':') {
        format!("[{name}]")
    } else {
        name
    };
    let port = service(flow);
    let port = port.rsplit_once(':').map_or("-", |(_, port)| port);
    format!("{name}:{port}")
}

/// The header of the tap's columns.
pub(crate) fn tap_header(screen: Screen) -> String {
    if narrow(screen).is_some() {
        return columns(&["TIME", "FROM", "TO", "STATUS"], &NARROW, "");
    }
    columns(
        &["TIME", "FROM", "TO", "STATUS", "TLS", "PROTOCOL"],
        &WIDTHS,
        "WHY",
    )
}

/// The width of a terminal that has no room for the tap's columns.
fn narrow(screen: Screen) -> Option<usize> {
    let columns: usize = WIDTHS.iter().map(|width| width + 2).sum();
    let width = screen.width.map(usize::from);
    width.filter(|width| *width < columns + LEAST_WHY)
}

/// A line of the tap: the time of day in UTC, then the rest in columns.
pub(crate) fn tap_line(flow: &FlowRecord, style: Style, screen: Screen) -> String {
    let time = flow.last_seen.to_string();
    let tls = flow.tls.as_deref().and_then(|tls| tls.version.as_deref());
    if let Some(width) = narrow(screen) {
        let cells = [
            time.get(11..19).unwrap_or_default(),
            &end(&flow.src),
            &server(flow),
            &status(flow, style),
        ];
        let version = tls.map_or_else(String::new, |tls| format!("TLS {}, ", safe(tls)));
        let why = format!(
            "    {version}{}: {}",
            safe(&flow.protocol),
            safe(&flow.reason)
        );
        let row = columns(&cells, &NARROW, "");
        return format!("{row}\n{}", wrap(&why, width, "      ").trim_end());
    }
    let cells = [
        time.get(11..23).unwrap_or_default(),
        &end(&flow.src),
        &server(flow),
        &status(flow, style),
        &text(tls),
        &safe(&flow.protocol),
    ];
    columns(&cells, &WIDTHS, &safe(&flow.reason))
}

fn columns(cells: &[&str], widths: &[usize], last: &str) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        // Writing to a String cannot fail.
        let _ = write!(line, "{cell:<width$}  ");
    }
    line.push_str(last);
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tap_fits_a_terminal_of_80_columns() {
        let screen = Screen {
            width: Some(80),
            color: false,
        };
        let mut flow = crate::output::fixtures::mutual();
        flow.reason =
            "client sent a certificate (inferred from an 886-byte encrypted record)".into();
        let text = tap_header(screen) + "\n" + &tap_line(&flow, Style::Unicode, screen);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(text.contains("\n    ") && text.contains(flow.reason.split(' ').next().unwrap()));
    }

    #[test]
    fn what_ended_unseen_is_not_open() {
        let flow = |event: Event, closed| FlowRecord {
            event: Some(event.into()),
            closed,
            ..FlowRecord::default()
        };
        assert_eq!(state(&flow(Event::Classified, false)), "open");
        assert_eq!(state(&flow(Event::Closed, false)), "over");
        assert_eq!(state(&flow(Event::Closed, true)), "closed");
        assert_eq!(state(&FlowRecord::default()), "open");
    }
}
