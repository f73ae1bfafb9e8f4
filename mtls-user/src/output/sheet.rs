//! A table, before it is known how it is written.

use std::borrow::Cow;
use std::io::{self, IsTerminal};

use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement};
use mtls_core::escape::{escape, lines};
use mtls_core::record::{Mark, Word};

use super::text;

/// Narrower terminals are written to as if they were so wide, in columns.
const NARROWEST: u16 = 60;
/// The last column is wrapped where it has so much room beside the others.
const ROOM: usize = 24;

/// Columns and rows, and what is said around them.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    columns: Vec<&'static str>,
    rows: Vec<(Vec<String>, Option<Color>)>,
    /// Lines above the table.
    pub(crate) above: String,
    /// Lines below it.
    pub(crate) below: String,
}

/// What the terminal can do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Screen {
    /// Its columns; `None` where it is none.
    pub(crate) width: Option<u16>,
    /// Whether colours are wanted.
    pub(crate) color: bool,
}

impl Screen {
    /// Standard output.
    pub(crate) fn of_stdout() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let says = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = says("TERM").is_none_or(|term| term == "dumb");
        let size = || ratatui::crossterm::terminal::size().ok();
        Self {
            width: is_terminal.then(size).flatten().map(|(width, _)| width),
            // https://no-color.org
            color: is_terminal && !dumb && says("NO_COLOR").is_none(),
        }
    }
}

impl Sheet {
    /// An empty table; its last column is the one that gives way on a narrow screen.
    pub(crate) fn new(columns: Vec<&'static str>) -> Self {
        Self {
            columns,
            ..Self::default()
        }
    }

    /// Adds a row; `mark` colours its STATUS. Nothing in it is obeyed by a terminal.
    pub(crate) fn row(&mut self, mut cells: Vec<String>, mark: Option<&Word<Mark>>) {
        for cell in &mut cells {
            if let Cow::Owned(escaped) = escape(cell, usize::MAX) {
                *cell = escaped;
            }
        }
        let color = mark.map(|mark| match mark.known() {
            Some(Mark::Mutual) => Color::Green,
            Some(Mark::Clear) => Color::Red,
            _ => Color::Yellow,
        });
        self.rows.push((cells, color));
    }

    /// Whether it has rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// As text, the rows alone where `headers` are not wanted.
    pub(crate) fn text(&self, headers: bool, screen: Screen) -> String {
        let mut out = String::new();
        if headers {
            out.push_str(&lines(&self.above));
        }
        if !self.rows.is_empty() {
            let last = self.columns.len().saturating_sub(1);
            let plain = Screen::default();
            let whole = self.table(headers, self.columns.len(), screen, None);
            let width = screen.width.map(|width| width.max(NARROWEST));
            let fits = width.is_none_or(|width| {
                let whole = self.table(headers, self.columns.len(), plain, None);
                widest(&whole) <= usize::from(width)
            });
            let beside = width.map_or(0, |width| {
                let others = self.table(headers, last, plain, None);
                usize::from(width).saturating_sub(widest(&others) + 2)
            });
            if fits {
                out.push_str(&whole);
            } else if beside >= ROOM {
                out.push_str(&self.table(headers, self.columns.len(), screen, width));
            } else {
                self.write_narrow(&mut out, headers, screen, width.unwrap_or(NARROWEST));
            }
        }
        if headers {
            let below = lines(&self.below);
            match screen.width {
                Some(width) => out.push_str(&text::wrap(&below, usize::from(width), "  ")),
                None => out.push_str(&below),
            }
        }
        out
    }

    /// As many of the first columns as fit; the others below each row.
    fn write_narrow(&self, out: &mut String, headers: bool, screen: Screen, width: u16) {
        let last = self.columns.len().saturating_sub(1);
        let width = usize::from(width);
        let fits = |columns: usize| {
            widest(&self.table(headers, columns, Screen::default(), None)) <= width
        };
        let beside = (2..=last).rev().find(|columns| fits(*columns));
        let beside = beside.unwrap_or(1);
        let short = self.table(headers, beside, screen, None);
        let mut lines = short.lines();
        for line in lines.by_ref().take(usize::from(headers)) {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        for (line, (cells, _)) in lines.zip(&self.rows) {
            out.push_str(line.trim_end());
            out.push('\n');
            for (name, cell) in self.columns.iter().zip(cells).skip(beside) {
                if cell.is_empty() || cell == "-" {
                    continue;
                }
                // The last column is a sentence, which needs no name.
                let is_sentence = *name == "WHY" || *name == "FIX";
                let text = if is_sentence {
                    format!("    {cell}\n")
                } else {
                    format!("    {name}: {cell}\n")
                };
                out.push_str(&text::wrap(&text, width, "      "));
            }
        }
    }

    /// The first `columns` columns; wrapped into `width` in the last one, where that is given.
    fn table(&self, headers: bool, columns: usize, screen: Screen, width: Option<u16>) -> String {
        let names = &self.columns[..columns];
        let mut table = text::table(if headers { names } else { &[] });
        for (cells, color) in &self.rows {
            let cells = cells[..columns].iter().zip(names).map(|(cell, name)| {
                let color = color.filter(|_| screen.color && *name == "STATUS");
                match color {
                    Some(color) => Cell::new(cell).fg(color),
                    None => Cell::new(cell),
                }
            });
            table.add_row(cells.collect::<Vec<_>>());
        }
        if screen.color {
            table.enforce_styling();
        }
        if let Some(width) = width {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
            for column in table.column_iter_mut().take(columns.saturating_sub(1)) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.trim_fmt() + "\n"
    }

    /// As CSV (RFC 4180): `-` stands for nothing and is left out, and nothing is a formula.
    pub(crate) fn csv(&self, headers: bool) -> anyhow::Result<String> {
        let mut out = csv::Writer::from_writer(Vec::new());
        if headers {
            out.write_record(&self.columns)?;
        }
        for (cells, _) in &self.rows {
            out.write_record(cells.iter().map(|cell| harmless(cell)))?;
        }
        Ok(String::from_utf8(out.into_inner()?)?)
    }
}

/// The longest line, in characters.
fn widest(text: &str) -> usize {
    let lines = text.lines().map(|line| line.chars().count());
    lines.max().unwrap_or_default()
}

/// A spreadsheet runs what begins so.
fn harmless(cell: &str) -> String {
    match cell.as_bytes().first() {
        _ if cell == "-" => String::new(),
        Some(b'=' | b'+' | b'-' | b'@') => format!("'{cell}"),
        _ => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let mut sheet = Sheet::new(vec!["FROM", "STATUS", "WHY"]);
        let why = "client asked for TLS; server declined, and what was said after that is clear";
        let row = ["web", "✗ plaintext", why].map(str::to_owned);
        sheet.row(row.to_vec(), Some(&Mark::Clear.into()));
        sheet.row(["=1+1", "-", "a,b"].map(str::to_owned).to_vec(), None);
        sheet.below = "2 edges\n".into();
        sheet
    }

    #[test]
    fn a_narrow_screen_wraps_the_last_column_alone() {
        let screen = Screen {
            width: Some(60),
            color: false,
        };
        let text = sheet().text(true, screen);
        assert!(
            text.lines().all(|line| line.chars().count() <= 60),
            "{text}"
        );
        for word in ["plaintext", "declined,", "clear", "2 edges"] {
            assert!(text.contains(word), "{text}");
        }
        assert!(text.lines().count() > 4, "{text}");
        let mut long = sheet();
        long.rows[0].0[0] = "x".repeat(40);
        let text = long.text(true, screen);
        assert!(
            text.contains("\n    client asked for TLS; server declined"),
            "{text}"
        );
        assert!(
            text.lines().all(|line| line.chars().count() <= 60),
            "{text}"
        );
        // Neither has the second column room beside the first.
        long.rows[0].0[0] = "x".repeat(55);
        let text = long.text(true, screen);
        assert!(text.contains("\n    STATUS: ✗ plaintext\n"), "{text}");
        assert!(!text.contains('\u{1b}'));
        let wide = sheet().text(false, Screen::default());
        assert_eq!(wide.lines().count(), 2, "{wide}");
    }

    #[test]
    fn only_the_status_is_coloured() {
        let screen = Screen {
            width: None,
            color: true,
        };
        let text = sheet().text(true, screen);
        assert_eq!(text.matches("\u{1b}[").count(), 2, "{text:?}");
        assert!(text.contains("✗ plaintext"), "{text:?}");
    }

    #[test]
    fn csv_has_no_formulas() {
        assert_eq!(
            sheet().csv(true).unwrap().lines().last().unwrap(),
            "'=1+1,,\"a,b\""
        );
    }
}
