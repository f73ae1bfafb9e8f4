//! The columns: which there are, how wide they are, and what is sorted by them.

use std::cmp::Ordering;

use ratatui::text::Line;

use super::view::Row;
use crate::output::{EDGE_COLUMNS, Style};

/// Those that give way where the screen is narrow.
const NAMED: [usize; 3] = [0, 1, 2];
const STATUS: usize = 4;
const TLS: usize = 5;
const WHY: usize = 8;
/// Between two columns.
pub(super) const GAP: u16 = 1;
/// Narrower than this, TLS is left to the explanation.
const NARROW: u16 = 100;
/// The reason is shown where it has so much room.
const ROOM: u16 = 24;

/// A column of the screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Column {
    /// Which of [`EDGE_COLUMNS`].
    pub(super) at: usize,
    pub(super) width: u16,
}

/// The columns of a screen so wide; `widest` is the longest cell of each.
pub(super) fn layout(width: u16, widest: &[u16; 9]) -> Vec<Column> {
    let narrow = width < NARROW;
    let natural = |at: usize| {
        let most = match at {
            STATUS if narrow => 19,
            STATUS => 28,
            TLS => 9,
            _ => 48,
        };
        // One more for the arrow of what is sorted.
        let name = EDGE_COLUMNS[at].len() as u16 + 1;
        widest[at].clamp(name, most.max(name))
    };
    let fixed: Vec<usize> = (3..WHY).filter(|at| !(narrow && *at == TLS)).collect();
    let taken: u16 = fixed.iter().map(|at| natural(*at) + GAP).sum();
    let mut rest = width.saturating_sub(taken);
    let wanted: u16 = NAMED.iter().map(|at| natural(*at) + GAP).sum();
    let with_why = rest >= wanted + ROOM;
    let mut columns = Vec::new();
    for (nth, at) in NAMED.into_iter().enumerate() {
        // What the shorter ones leave is the longer ones'.
        let shorter: u16 = NAMED[nth + 1..].iter().map(|at| natural(*at) + GAP).sum();
        let share = (rest / (NAMED.len() - nth) as u16).max(rest.saturating_sub(shorter));
        let own = natural(at).min(share.saturating_sub(GAP)).max(1);
        rest = rest.saturating_sub(own + GAP);
        columns.push(Column { at, width: own });
    }
    columns.extend(fixed.into_iter().map(|at| Column {
        at,
        width: natural(at),
    }));
    if with_why {
        columns.push(Column {
            at: WHY,
            width: rest,
        });
    }
    columns
}

/// How many columns of a terminal a text takes.
pub(super) fn width(text: &str) -> u16 {
    u16::try_from(Line::from(text).width()).unwrap_or(u16::MAX)
}

/// `text` in so many columns of a terminal, its end cut off where it is longer.
pub(super) fn fit(text: &str, most: u16, style: Style) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let end = if style == Style::Unicode { "…" } else { "~" };
    let mut out = String::new();
    for c in text.chars() {
        out.push(c);
        if width(&out) + 1 > most {
            out.pop();
            break;
        }
    }
    out + end
}

/// Two rows in the order of a column; the status has the worst first, times and numbers the largest.
pub(super) fn compare(column: usize, a: &Row, b: &Row) -> Ordering {
    match column {
        3 => a.edge.dst.port.cmp(&b.edge.dst.port),
        STATUS => Ordering::Equal,
        6 => b.edge.connections.cmp(&a.edge.connections),
        7 => b.edge.last_seen.cmp(&a.edge.last_seen),
        other => a.cells[other].cmp(&b.cells[other]),
    }
}
