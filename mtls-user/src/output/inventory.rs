//! The inventory as tables: workloads, and certificates.

use std::borrow::Cow;
use std::fmt::Write as _;

use mtls_core::record::{
    Aspect, Below, CertificateList, Inventory, InventoryItem, NotVisible, PostQuantum, Tally, Word,
};

use super::edges::{name, path};
use super::{Look, Sheet, count, safe, took};

/// The workloads, each as a client and as the server of each port.
pub(crate) fn inventory(inventory: &Inventory, look: Look) -> Sheet {
    let wide = look == Look::Wide;
    let mut header = vec!["NAMESPACE", "WORKLOAD", "ROLE", "PORT", "CONNS", "TLS"];
    if wide {
        header.extend([
            "OFFERED",
            "CIPHERS",
            "GROUPS_OFFERED",
            "ISSUERS",
            "IDENTITIES",
        ]);
    }
    header.extend(["GROUPS", "POST-QUANTUM", "CERTIFICATES"]);
    if inventory.policy.is_some() {
        header.push("VIOLATIONS");
    }
    let mut sheet = Sheet::new(header);
    for item in &inventory.items {
        let port = item
            .port
            .map_or_else(|| "-".to_owned(), |port| port.to_string());
        let mut cells = vec![
            safe(item.workload.namespace().unwrap_or("-")).into_owned(),
            name(&item.workload),
            item.role.to_string(),
            port,
            item.connections.to_string(),
            versions(item),
        ];
        if wide {
            cells.extend([
                tally(&item.versions_offered),
                tally(&item.ciphers),
                tally(&item.groups_offered),
                tally(&item.issuers),
                tally(&item.identities),
            ]);
        }
        cells.extend([
            tally(&item.groups),
            post_quantum(item.post_quantum),
            certificate(item),
        ]);
        if inventory.policy.is_some() {
            cells.push(below(item));
        }
        sheet.row(cells, None);
    }
    sheet.below = summary(inventory);
    sheet
}

/// The certificates, in the order in which they are.
pub(crate) fn certificates(list: &CertificateList, look: Look) -> Sheet {
    let wide = look == Look::Wide;
    let mut header = vec![
        "EXPIRES_IN",
        "EXPIRES",
        "KEY",
        "CONNS",
        "PRESENTED_BY",
        "ISSUER",
    ];
    if wide {
        header.extend(["SUBJECT", "SERIAL", "SHA256"]);
    }
    header.push("NAMES");
    let mut sheet = Sheet::new(header);
    for seen in &list.list.items {
        let of = &seen.certificate;
        let mut shown: Vec<_> = seen
            .shown_by
            .iter()
            .map(|by| format!("{} ({})", path(&by.workload), by.role))
            .collect();
        if seen.others > 0 {
            shown.push(format!("{} more", seen.others));
        }
        let date = of.not_after.to_string();
        let mut cells = vec![
            left(seen.days_left),
            date.split('T').next().unwrap_or_default().to_owned(),
            safe(&of.key).into_owned(),
            seen.connections.to_string(),
            shown.join(", "),
            or_dash(&of.issuer),
        ];
        if wide {
            cells.extend([
                or_dash(&of.subject),
                or_dash(&of.serial),
                or_dash(&of.sha256),
            ]);
        }
        let names: Vec<_> = of.sans.iter().map(|name| safe(name)).collect();
        cells.push(if names.is_empty() {
            or_dash(&of.subject)
        } else {
            names.join(", ")
        });
        sheet.row(cells, None);
    }
    if sheet.is_empty() {
        sheet
            .below
            .push_str("no certificate was sent unencrypted\n");
    }
    sheet.below.push_str(&not_visible(&list.not_visible));
    sheet
}

/// `server shop/cart:8443`.
pub(crate) fn item_name(item: &InventoryItem) -> String {
    let port = item.port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{} {}{port}", item.role, path(&item.workload))
}

fn or_dash(text: &str) -> String {
    if text.is_empty() {
        "-".into()
    } else {
        safe(text).into_owned()
    }
}

/// Values, with their numbers where there are several.
fn tally(tally: &Tally) -> String {
    let single = tally.values.len() == 1 && tally.other == 0;
    let mut parts: Vec<_> = tally
        .values
        .iter()
        .map(|(value, n)| {
            if single {
                or_dash(value)
            } else {
                format!("{} x{n}", or_dash(value))
            }
        })
        .collect();
    if tally.other > 0 {
        parts.push(format!("others x{}", tally.other));
    }
    if parts.is_empty() {
        "-".into()
    } else {
        parts.join(", ")
    }
}

/// Versions of TLS, and what is none.
fn versions(item: &InventoryItem) -> String {
    let known: u64 = item.tls_versions.values.values().sum::<u64>() + item.tls_versions.other;
    let clear = item.connections - item.tls_connections;
    let unknown = item.tls_connections.saturating_sub(known);
    if known == item.connections {
        return tally(&item.tls_versions);
    }
    let each = item.tls_versions.values.iter();
    let mut parts: Vec<_> = each
        .map(|(value, n)| format!("{} x{n}", safe(value)))
        .collect();
    for (n, what) in [(unknown, "?"), (clear, "no TLS")] {
        if n == item.connections {
            return what.into();
        }
        if n > 0 {
            parts.push(format!("{what} x{n}"));
        }
    }
    parts.join(", ")
}

/// Whether key exchanges withstand a quantum computer, and who holds them back.
fn post_quantum(sums: PostQuantum) -> String {
    let all = sums.used + sums.held_back() + sums.unknown;
    let by = match (sums.held_back_by_client, sums.held_back_by_server) {
        (0, 0) => "",
        (_, 0) => "client offers none",
        (0, _) => "server chooses none",
        _ => "client or server",
    };
    match (sums.used, sums.held_back(), sums.unknown) {
        (0, 0, 0) => "-".into(),
        (_, 0, 0) => "yes".into(),
        (0, 0, _) => "?".into(),
        (0, _, 0) => format!("no: {by}"),
        (used, 0, unknown) => format!("{used} of {all}; ? x{unknown}"),
        (used, _, 0) => format!("{used} of {all}: {by}"),
        (used, _, unknown) => format!("{used} of {all}: {by}; ? x{unknown}"),
    }
}

fn left(days: i64) -> String {
    match days {
        ..0 => "EXPIRED".into(),
        0 => "<1d".into(),
        days => format!("{days}d"),
    }
}

fn certificate(item: &InventoryItem) -> String {
    let hidden = item.certificates_hidden;
    match (item.days_left, hidden) {
        (Some(days), 0) => format!("{}, {} left", tally(&item.key_types), left(days)),
        (Some(days), n) => {
            format!(
                "{}, {} left; encrypted x{n}",
                tally(&item.key_types),
                left(days)
            )
        }
        (None, 0) => "-".into(),
        (None, _) => "encrypted".into(),
    }
}

/// What violates the policy, and what could not be checked. Encrypted certificates are mentioned
/// once, below the table.
fn below(item: &InventoryItem) -> String {
    let mut parts: Vec<_> = item.below.iter().map(fault).collect();
    for (aspect, n) in &item.not_judged {
        if !matches!(aspect.known(), Some(Aspect::Key | Aspect::Validity)) {
            parts.push(format!("{} unknown x{n}", aspect_word(aspect)));
        }
    }
    if parts.is_empty() {
        "-".into()
    } else {
        parts.join("; ")
    }
}

fn fault(below: &Below) -> String {
    let value = safe(&below.value);
    let mut text = match below.aspect.known() {
        Some(Aspect::Encryption) => format!("no TLS: {value}"),
        Some(_) => format!("{} {value}", aspect_word(&below.aspect)),
        None => format!("{} {value}", safe(below.aspect.as_str())),
    };
    if let Some(by) = &below.held_back_by {
        let _ = write!(text, " (because of the {by})");
    }
    let _ = write!(text, " x{}", below.connections);
    text
}

/// An aspect as people say it.
fn aspect_word(aspect: &Word<Aspect>) -> Cow<'_, str> {
    match aspect.known() {
        Some(Aspect::Version) => "TLS version".into(),
        _ => safe(aspect.as_str()),
    }
}

fn summary(inventory: &Inventory) -> String {
    let mut text = String::new();
    if inventory.items.is_empty() {
        text.push_str("no connections to show\n");
    }
    // Writing to a String cannot fail.
    if inventory.window_seconds > 0 {
        let _ = write!(text, "last {}: ", took(inventory.window_seconds));
    }
    let _ = write!(
        text,
        "{}, {} with TLS",
        count(inventory.connections, "connection"),
        inventory.tls_connections
    );
    if let Some(watched) = &inventory.watched
        && let (Some(pods), Some(own)) = (watched.pods, watched.pods_watched)
    {
        let _ = write!(text, "; {own} of {} watched", count(pods, "pod"));
    }
    text.push('\n');
    let sums = inventory.post_quantum;
    let known = sums.used + sums.held_back();
    let _ = write!(
        text,
        "post-quantum: {} of {}",
        sums.used,
        count(known, "key exchange")
    );
    if sums.held_back() > 0 {
        let _ = write!(
            text,
            "; {} because of the client, {} because of the server",
            sums.held_back_by_client, sums.held_back_by_server
        );
    }
    text.push('\n');
    if let Some(policy) = &inventory.policy {
        let rest = inventory.connections - inventory.below - inventory.not_judged;
        let _ = writeln!(
            text,
            "policy {}: {} violate it, {} could not be checked completely, {rest} meet it",
            safe(policy),
            count(inventory.below, "connection"),
            inventory.not_judged
        );
    }
    if inventory.exempt > 0 {
        let _ = writeln!(
            text,
            "{} without TLS not listed (probes, scrapes and the like)",
            count(inventory.exempt, "exempt connection")
        );
    }
    text.push_str(&not_visible(&inventory.not_visible));
    if let Some(history) = &inventory.history
        && history.forgotten > 0
    {
        let _ = writeln!(
            text,
            "NOT COMPLETE: {} dropped, the daemon keeps {} (mtls daemon --history)",
            count(history.forgotten, "older connection"),
            history.capacity
        );
    }
    text
}

/// What is not known of whom, so that nobody takes a short list for a good one.
fn not_visible(hidden: &NotVisible) -> String {
    let parts = [
        (
            hidden.certificates,
            "certificates of TLS 1.3, which encrypts them",
        ),
        (hidden.groups, "key exchange groups of TLS 1.2 and older"),
        (hidden.hellos, "handshakes that were not observed"),
        (hidden.unobserved, "anything about what was not observed"),
    ];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{what} ({})", count(n, "connection")))
        .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!("not visible: {}\n", parts.join("; "))
    }
}
