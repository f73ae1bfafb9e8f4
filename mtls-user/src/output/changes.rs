//! The table of `mtls diff`.

use mtls_core::record::{Change, EdgeChange, EdgeRecord};

use super::edges::{port, status, why};
use super::{Sheet, Style, end_path, safe};

/// The edges that differ, the worse first, and how many do.
pub(crate) fn changes(changes: &[EdgeChange], compared: usize, style: Style) -> Sheet {
    let mut sheet = Sheet::new(vec![
        "CHANGE", "FROM", "TO", "PORT", "BEFORE", "STATUS", "WHY",
    ]);
    for change in changes {
        let Some(edge) = change.after.as_ref().or(change.before.as_ref()) else {
            continue;
        };
        let shown = |edge: &Option<EdgeRecord>| {
            let shown = edge.as_ref().map(|edge| status(edge, style));
            shown.unwrap_or_else(|| "-".to_owned())
        };
        let why = change.after.as_ref().and_then(why).unwrap_or_default();
        sheet.row(
            vec![
                safe(change.change.as_str()).into_owned(),
                end_path(&edge.src),
                end_path(&edge.dst),
                port(edge),
                shown(&change.before),
                shown(&change.after),
                safe(&why).into_owned(),
            ],
            change.after.as_ref().and_then(|edge| edge.mark.as_ref()),
        );
    }
    let of = |kind: Change| {
        changes
            .iter()
            .filter(|change| change.change == kind)
            .count()
    };
    let same = compared.saturating_sub(changes.len());
    sheet.below = format!(
        "{} worse, {} new, {} better, {} gone, {same} as before\n",
        of(Change::Worse),
        of(Change::New),
        of(Change::Better),
        of(Change::Gone)
    );
    sheet
}
