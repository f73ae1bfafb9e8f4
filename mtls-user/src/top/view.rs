//! What is shown, and what of it: the state of the screen.

use std::collections::BTreeSet;

use mtls_core::record::{EdgeKey, EdgeList, EdgeRecord, FlowRecord, Mark, Time, Word};

use super::ask::Answer;
use super::columns::{self, Column};
use crate::explain;
use crate::output::{Style, edge_cells, edges_summary};
use crate::select::Typed;

/// An edge, ready to be shown and searched.
pub(super) struct Row {
    pub(super) edge: EdgeRecord,
    pub(super) cells: [String; 9],
    key: EdgeKey,
    /// What a filter is looked for in: the cells in lower case.
    text: String,
}

/// An answer, ready to be shown.
pub(super) struct Rows {
    all: Vec<Row>,
    widest: [u16; 9],
    namespaces: BTreeSet<String>,
    summary: String,
    generated: Time,
}

impl Rows {
    pub(super) fn new(list: EdgeList, style: Style) -> Self {
        let summary = edges_summary(&list).trim_end().to_owned();
        let generated = list.generated;
        let mut widest = [0; 9];
        let mut namespaces = BTreeSet::new();
        let rows = list.items.into_iter().map(|edge| {
            let cells = edge_cells(&edge, style, generated.as_nanos());
            for (widest, cell) in widest.iter_mut().zip(&cells) {
                *widest = columns::width(cell).max(*widest);
            }
            let ends = [edge.src.namespace(), edge.dst.namespace()];
            namespaces.extend(ends.into_iter().flatten().map(str::to_owned));
            Row {
                text: cells.join(" ").to_lowercase(),
                key: edge.key(),
                cells,
                edge,
            }
        });
        Self {
            all: rows.collect(),
            widest,
            namespaces,
            summary,
            generated,
        }
    }
}

/// What an edge is shown or hidden by, in the order of the keys 1 to 5.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Group {
    Clear,
    OneWay,
    Unknown,
    Mutual,
    Exempt,
}

impl Group {
    pub(super) const ALL: [Self; 5] = [
        Self::Clear,
        Self::OneWay,
        Self::Unknown,
        Self::Mutual,
        Self::Exempt,
    ];

    pub(super) fn of(mark: Option<&Word<Mark>>) -> Self {
        match mark.map(Word::known) {
            None => Self::Exempt,
            Some(Some(Mark::Clear)) => Self::Clear,
            Some(Some(Mark::OneWay)) => Self::OneWay,
            Some(Some(Mark::Mutual)) => Self::Mutual,
            Some(Some(Mark::Unknown) | None) => Self::Unknown,
        }
    }

    pub(super) fn sign(self, style: Style) -> &'static str {
        let mark = match self {
            Self::Exempt => return style.mark(None),
            Self::Clear => Mark::Clear,
            Self::OneWay => Mark::OneWay,
            Self::Unknown => Mark::Unknown,
            Self::Mutual => Mark::Mutual,
        };
        style.mark(Some(&mark.into()))
    }
}

/// What covers or stands beside the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pane {
    None,
    Explanation,
    Help,
}

/// The state of the screen.
pub(super) struct View {
    rows: Rows,
    /// Which rows are shown, in their order.
    pub(super) shown: Vec<usize>,
    /// Why what is shown is not of now.
    pub(super) trouble: Option<String>,
    pub(super) filter: String,
    /// Keys go to the filter.
    pub(super) typing: bool,
    pub(super) namespace: Option<String>,
    pub(super) groups: [bool; 5],
    /// The column that is sorted by, and whether from its end.
    pub(super) sort: (usize, bool),
    /// The selected row of those that are shown, and the first one on the screen.
    pub(super) at: usize,
    pub(super) top: usize,
    selected: Option<EdgeKey>,
    pub(super) pane: Pane,
    pub(super) scroll: u16,
    flows: Option<(Vec<FlowRecord>, Time)>,
    explanation: Option<String>,
    pub(super) style: Style,
    pub(super) color: bool,
    /// Where the table's rows and header were drawn last, for the mouse.
    pub(super) area: ratatui::layout::Rect,
    pub(super) columns: Vec<Column>,
}

impl View {
    pub(super) fn new(style: Style, color: bool) -> Self {
        Self {
            rows: Rows {
                all: Vec::new(),
                widest: [0; 9],
                namespaces: BTreeSet::new(),
                summary: String::new(),
                generated: Time::default(),
            },
            shown: Vec::new(),
            trouble: None,
            filter: String::new(),
            typing: false,
            namespace: None,
            groups: [true, true, true, true, false],
            sort: (4, false),
            at: 0,
            top: 0,
            selected: None,
            pane: Pane::None,
            scroll: 0,
            flows: None,
            explanation: None,
            style,
            color,
            area: ratatui::layout::Rect::default(),
            columns: Vec::new(),
        }
    }

    pub(super) fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Edges(rows) => self.take(*rows),
            Answer::Flows(flows, generated) => {
                self.flows = Some((flows, generated));
                self.explanation = None;
            }
            Answer::Trouble(trouble) => self.trouble = Some(trouble),
        }
    }

    /// Shows another answer; what is selected stays so.
    pub(super) fn take(&mut self, rows: Rows) {
        self.rows = rows;
        self.trouble = None;
        self.explanation = None;
        self.refresh();
    }

    /// Looks anew for what is to be shown.
    pub(super) fn refresh(&mut self) {
        let typed = Typed::new(&self.filter);
        let is_shown = |row: &Row| {
            let namespaces = [row.edge.src.namespace(), row.edge.dst.namespace()];
            self.groups[Group::of(row.edge.mark.as_ref()) as usize]
                && self
                    .namespace
                    .as_deref()
                    .is_none_or(|wanted| namespaces.contains(&Some(wanted)))
                && typed.takes(&row.text)
        };
        let rows = &self.rows.all;
        self.shown = (0..rows.len()).filter(|at| is_shown(&rows[*at])).collect();
        let (column, reverse) = self.sort;
        // Stable: rows that are alike stay in the order of the answer, the worst first.
        self.shown
            .sort_by(|a, b| columns::compare(column, &rows[*a], &rows[*b]));
        if reverse {
            self.shown.reverse();
        }
        let selected = self.selected.as_ref();
        let same = selected.and_then(|key| self.shown.iter().position(|at| rows[*at].key == *key));
        self.select(same.unwrap_or(self.at));
    }

    /// Selects a row of those that are shown, or the last one.
    pub(super) fn select(&mut self, at: usize) {
        self.at = at.min(self.shown.len().saturating_sub(1));
        let key = self.selected().map(|row| row.key.clone());
        if key != self.selected {
            self.selected = key;
            self.explanation = None;
            self.scroll = 0;
        }
    }

    pub(super) fn row(&self, shown: usize) -> Option<&Row> {
        self.rows.all.get(*self.shown.get(shown)?)
    }

    pub(super) fn selected(&self) -> Option<&Row> {
        self.row(self.at)
    }

    pub(super) fn columns_of(&self, width: u16) -> Vec<Column> {
        columns::layout(width, &self.rows.widest)
    }

    pub(super) fn summary(&self) -> &str {
        &self.rows.summary
    }

    /// How many edges there are in all.
    pub(super) fn edges(&self) -> usize {
        self.rows.all.len()
    }

    /// The next namespace, or the one before; after the last come all.
    pub(super) fn turn_namespace(&mut self, back: bool) {
        let all: Vec<_> = self.rows.namespaces.iter().collect();
        let own = self.namespace.as_ref();
        let at = own.and_then(|own| all.iter().position(|one| *one == own));
        let next = match (at, back) {
            (None, false) => Some(0),
            (None, true) => all.len().checked_sub(1),
            (Some(at), false) => Some(at + 1).filter(|at| *at < all.len()),
            (Some(at), true) => at.checked_sub(1),
        };
        self.namespace = next.and_then(|at| all.get(at)).map(|name| (*name).clone());
        self.refresh();
    }

    /// Sorts by a column; from its end where it is sorted by already.
    pub(super) fn sort_by(&mut self, column: usize) {
        self.sort = match self.sort {
            (own, reverse) if own == column => (own, !reverse),
            _ => (column, false),
        };
        self.refresh();
    }

    /// Whether connections are needed to explain something.
    pub(super) fn wants_flows(&self) -> bool {
        self.pane == Pane::Explanation
    }

    /// The explanation of the selected edge, as `mtls explain` prints it.
    pub(super) fn explanation(&mut self) -> &str {
        if self.explanation.is_none() {
            let text = match (self.selected(), &self.flows) {
                (None, _) => "no edge is selected".to_owned(),
                (Some(_), None) => "asking for the connections of this edge".to_owned(),
                (Some(row), Some((flows, generated))) => {
                    let now = self.rows.generated.max(*generated);
                    explain::text(&explain::edge_among(row.edge.clone(), flows, now))
                }
            };
            self.explanation = Some(text);
        }
        self.explanation.as_deref().unwrap_or_default()
    }
}
