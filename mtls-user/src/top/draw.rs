//! Draws a frame. Only the rows on the screen are looked at, however many there are.

use mtls_core::record::Mark;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph, Row, Table, TableState, Wrap};

use super::columns::{GAP, fit, width};
use super::keys::HELP;
use super::view::{Group, Pane, View};
use crate::output::{Style as Words, safe};

/// The explanation stands beside the table from this width on, and below it otherwise.
const WIDE: u16 = 120;
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);

pub(super) fn draw(frame: &mut Frame<'_>, view: &mut View) {
    let [head, state, body, totals, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let summary = fit(view.summary(), head.width, view.style);
    frame.render_widget(Line::styled(summary, BOLD), head);
    frame.render_widget(settings(view), state);
    let (table_area, pane) = match view.pane {
        Pane::Explanation if body.width >= WIDE => {
            let [table, pane] =
                Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(body);
            (table, Some(pane))
        }
        Pane::Explanation => {
            let [table, pane] =
                Layout::vertical([Constraint::Fill(2), Constraint::Fill(3)]).areas(body);
            (table, Some(pane))
        }
        _ => (body, None),
    };
    table(frame, view, table_area);
    if let Some(pane) = pane {
        explanation(frame, view, pane);
    }
    if view.pane == Pane::Help {
        help(frame, view, body);
    }
    frame.render_widget(sums(view), totals);
    frame.render_widget(foot_line(view, foot.width), foot);
}

/// What is shown of all, and in which order.
fn settings(view: &View) -> Line<'static> {
    let mut spans = vec![Span::raw("filter: ")];
    spans.push(match (view.filter.as_str(), view.typing) {
        ("", false) => Span::styled("none", DIM),
        (filter, _) => Span::styled(safe(filter).into_owned(), BOLD),
    });
    if view.typing {
        spans.push(Span::styled(
            " ",
            Style::new().add_modifier(Modifier::REVERSED),
        ));
    }
    let namespace = view.namespace.as_deref().unwrap_or("all");
    spans.push(Span::raw(format!(
        "  namespace: {}  show:",
        safe(namespace)
    )));
    let hidden = if view.style == Words::Unicode {
        "·"
    } else {
        "."
    };
    for (at, group) in Group::ALL.into_iter().enumerate() {
        let sign = |sign| format!(" {}{sign}", at + 1);
        spans.push(if view.groups[at] {
            let style = tint(view, group).add_modifier(Modifier::BOLD);
            Span::styled(sign(group.sign(view.style)), style)
        } else {
            Span::styled(sign(hidden), DIM)
        });
    }
    Line::from(spans)
}

fn tint(view: &View, group: Group) -> Style {
    if !view.color {
        return Style::new();
    }
    Style::new().fg(match group {
        Group::Mutual => Color::Green,
        Group::Clear => Color::Red,
        Group::OneWay | Group::Unknown => Color::Yellow,
        Group::Exempt => Color::Reset,
    })
}

fn table(frame: &mut Frame<'_>, view: &mut View, area: Rect) {
    view.area = area;
    view.columns = view.columns_of(area.width);
    let height = usize::from(area.height.saturating_sub(1).max(1));
    // The selected row is on the screen, and the screen is full where it can be.
    view.top = view.top.min(view.at);
    if view.at >= view.top + height {
        view.top = (view.at + 1).saturating_sub(height);
    }
    view.top = view.top.min(view.shown.len().saturating_sub(height));
    let arrow = match (view.style, view.sort.1) {
        (Words::Unicode, false) => "▾",
        (Words::Unicode, true) => "▴",
        (Words::Ascii, false) => "v",
        (Words::Ascii, true) => "^",
    };
    let heading = view.columns.iter().map(|column| {
        let name = crate::output::EDGE_COLUMNS[column.at];
        let sorted = column.at == view.sort.0;
        let name = if sorted {
            format!("{name}{arrow}")
        } else {
            name.to_owned()
        };
        fit(&name, column.width, view.style)
    });
    let last = view.shown.len().min(view.top + height);
    let rows = (view.top..last).filter_map(|at| view.row(at)).map(|row| {
        let group = Group::of(row.edge.mark.as_ref());
        Row::new(view.columns.iter().map(|column| {
            let text = fit(&row.cells[column.at], column.width, view.style);
            if column.at == 4 {
                Span::styled(text, tint(view, group))
            } else {
                Span::raw(text)
            }
        }))
    });
    let widths = view
        .columns
        .iter()
        .map(|column| Constraint::Length(column.width));
    let table = Table::new(rows, widths)
        .column_spacing(GAP)
        .header(Row::new(heading).style(BOLD))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::default();
    state.select((!view.shown.is_empty()).then(|| view.at - view.top));
    frame.render_stateful_widget(table, area, &mut state);
    if view.shown.is_empty() {
        let text = if view.edges() == 0 {
            "no connections seen yet"
        } else {
            "no edge matches: Esc clears the filter, n changes the namespace, 1 to 5 show more"
        };
        let below = Rect {
            y: area.y + 1,
            height: area.height.saturating_sub(1),
            ..area
        };
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), below);
    }
}

/// A line that sets the pane apart, and the text.
fn explanation(frame: &mut Frame<'_>, view: &mut View, area: Rect) {
    let beside = area.y == view.area.y;
    let [rule, mut text_area] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(area);
    let line = if view.style == Words::Unicode {
        "─"
    } else {
        "-"
    };
    let title = format!("{line} explanation ");
    let rest = usize::from(rule.width).saturating_sub(title.chars().count());
    frame.render_widget(Line::styled(title + &line.repeat(rest), DIM), rule);
    if beside {
        text_area.x += 1;
        text_area.width = text_area.width.saturating_sub(1);
    }
    let lines = wrap(view.explanation(), text_area.width);
    let hidden = lines.len().saturating_sub(usize::from(text_area.height));
    view.scroll = view.scroll.min(u16::try_from(hidden).unwrap_or(u16::MAX));
    let text: Vec<_> = lines.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(text).scroll((view.scroll, 0)), text_area);
}

/// Lines no wider than that, broken between words, and within one that is wider than a line; what
/// follows stands below the words before it.
fn wrap(text: &str, most: u16) -> Vec<String> {
    let mut lines = Vec::new();
    for whole in text.lines() {
        let start = whole.len() - whole.trim_start().len();
        let indent = " ".repeat(if start > 0 { start + 3 } else { 0 });
        let mut line = " ".repeat(start);
        let mut between = "";
        for word in whole.split_whitespace() {
            if !between.is_empty() && width(&line) + 1 + width(word) > most {
                lines.push(std::mem::replace(&mut line, indent.clone()));
                between = "";
            }
            line.push_str(between);
            for c in word.chars() {
                if width(&line) >= most && line.len() > indent.len() {
                    lines.push(std::mem::replace(&mut line, indent.clone()));
                }
                line.push(c);
            }
            between = " ";
        }
        lines.push(line);
    }
    lines
}

fn help(frame: &mut Frame<'_>, view: &View, area: Rect) {
    frame.render_widget(Clear, area);
    let mut lines = vec![Line::styled("Keys", BOLD), Line::default()];
    for (key, what) in HELP {
        let key = Span::styled(format!("  {key:<13}"), BOLD);
        lines.push(Line::from(vec![key, Span::raw(what)]));
    }
    lines.push(Line::default());
    let signs = Group::ALL.map(|group| group.sign(view.style));
    lines.push(Line::raw(format!(
        "{} plaintext  {} server only  {} unknown  {} mutual TLS  {} exempt",
        signs[0], signs[1], signs[2], signs[3], signs[4]
    )));
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
}

/// What the rows that are shown add up to.
fn sums(view: &View) -> Line<'static> {
    let (mut connections, mut open, mut exempt) = (0, 0, 0);
    let mut groups = [0_u64; 5];
    for row in (0..view.shown.len()).filter_map(|at| view.row(at)) {
        connections += row.edge.connections;
        open += row.edge.open_connections;
        exempt += row.edge.exempt_counts.values().sum::<u64>();
        groups[Group::of(row.edge.mark.as_ref()) as usize] += 1;
    }
    let mut spans = vec![Span::raw(format!(
        "{} of {} edges:",
        view.shown.len(),
        view.edges()
    ))];
    for group in Group::ALL {
        let n = groups[group as usize];
        if n > 0 {
            let text = format!(" {}{n}", group.sign(view.style));
            spans.push(Span::styled(text, tint(view, group)));
        }
    }
    spans.push(Span::raw(format!(
        "  {connections} connections, {open} open, {exempt} exempt"
    )));
    Line::from(spans)
}

fn foot_line(view: &View, width: u16) -> Line<'static> {
    if let Some(trouble) = &view.trouble {
        let text = fit(&safe(trouble), width, view.style);
        return Line::styled(text, tint(view, Group::of(Some(&Mark::Clear.into()))));
    }
    let keys: &[&str] = if view.typing {
        &["type to filter", "Enter keep", "Esc clear"]
    } else {
        &[
            "Enter explain",
            "/ filter",
            "n namespace",
            "1-5 show",
            "s sort",
            "? help",
            "q quit",
        ]
    };
    let between = if view.style == Words::Unicode {
        " · "
    } else {
        " | "
    };
    Line::styled(keys.join(between), DIM)
}
