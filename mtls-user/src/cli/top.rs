//! `mtls top`: the edges, live, the worst first.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Row, Table, TableState};

use super::args::Top as Args;
use crate::output::{Style as Words, ago, edge_status, safe, sort_edges};
use crate::source::{Source, block_on};
use mtls_core::record::{EdgeRecord, Mark, Peer, Status, Word};

/// How often the daemon is asked.
const PERIOD: Duration = Duration::from_secs(1);

/// What is shown.
struct View {
    rows: Vec<EdgeRecord>,
    status: Status,
    /// Why what is shown is not of now.
    trouble: Option<String>,
    state: TableState,
}

pub(super) fn run(_args: &Args, whom: &Source) -> anyhow::Result<ExitCode> {
    if !std::io::stdout().is_terminal() {
        bail!("`mtls top` needs a terminal: use `mtls edges` here");
    }
    if matches!(whom, Source::Cluster(..)) {
        bail!("the screen is one node's: `edges --watch` goes on for a cluster");
    }
    let source = whom;
    // Asked once before the screen is taken, so that a missing daemon is a plain message.
    let (rows, status) = ask(source)?;
    let mut view = View {
        rows,
        status,
        trouble: None,
        state: TableState::default().with_selected(0),
    };
    let mut terminal = ratatui::init();
    let shown = show(&mut terminal, &mut view, source);
    ratatui::restore();
    shown?;
    Ok(ExitCode::SUCCESS)
}

fn ask(source: &Source) -> anyhow::Result<(Vec<EdgeRecord>, Status)> {
    block_on(async {
        let mut list = source.edges().await?;
        sort_edges(&mut list.items);
        Ok((list.items, source.status().await?))
    })
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    view: &mut View,
    source: &Source,
) -> anyhow::Result<()> {
    let mut next = Instant::now() + PERIOD;
    loop {
        terminal.draw(|frame| draw(frame, view))?;
        if event::poll(next.saturating_duration_since(Instant::now()))? {
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
            {
                let control = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('c') if control => return Ok(()),
                    KeyCode::Down | KeyCode::Char('j') => view.state.select_next(),
                    KeyCode::Up | KeyCode::Char('k') => view.state.select_previous(),
                    KeyCode::Home | KeyCode::Char('g') => view.state.select_first(),
                    KeyCode::End | KeyCode::Char('G') => view.state.select_last(),
                    _ => {}
                }
            }
            continue;
        }
        match ask(source) {
            Ok((rows, status)) => {
                view.rows = rows;
                view.status = status;
                view.trouble = None;
            }
            Err(error) => view.trouble = Some(format!("{error:#}")),
        }
        next = Instant::now() + PERIOD;
    }
}

fn draw(frame: &mut Frame<'_>, view: &mut View) {
    let [head, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let status = &view.status;
    let summary = format!(
        "{} interfaces · {} flows seen, {} classified, {} undecided · {} edges",
        status.kernel.interfaces.len(),
        status.flows.seen,
        status.flows.classified,
        status.flows.undecided,
        view.rows.len()
    );
    frame.render_widget(Line::from(summary).bold(), head);

    let now = mtls_node::clock::now();
    let words = Words::of_locale();
    let rows = view.rows.iter().map(|row| {
        let place = |peer: &Peer| {
            let name = peer.name();
            match peer.namespace() {
                None => safe(&name).into_owned(),
                Some(namespace) => format!("{}/{}", safe(namespace), safe(&name)),
            }
        };
        let port = row
            .dst
            .port
            .map_or_else(|| "-".to_owned(), |port| port.to_string());
        Row::new([
            Cell::from(place(&row.src)),
            Cell::from(place(&row.dst)),
            Cell::from(port),
            Cell::from(edge_status(row, words)).style(Style::new().fg(color(row.mark.as_ref()))),
            Cell::from(row.open_connections.to_string()),
            Cell::from(ago(row.last_seen, now)),
            Cell::from(safe(row.reason.as_deref().unwrap_or_default()).into_owned()),
        ])
    });
    let widths = [
        Constraint::Fill(2),
        Constraint::Fill(2),
        Constraint::Length(5),
        Constraint::Fill(2),
        Constraint::Length(6),
        Constraint::Length(7),
        Constraint::Fill(4),
    ];
    let header = ["SRC", "DST", "PORT", "STATUS", "OPEN", "LAST", "REASON"];
    let table = Table::new(rows, widths)
        .header(Row::new(header).style(Style::new().add_modifier(Modifier::BOLD)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(Block::bordered());
    frame.render_stateful_widget(table, body, &mut view.state);

    let foot_line = match &view.trouble {
        Some(trouble) => Line::from(safe(trouble).into_owned()).style(Color::Red),
        None => Line::from("↑↓ move · q quit"),
    };
    frame.render_widget(foot_line, foot);
}

fn color(mark: Option<&Word<Mark>>) -> Color {
    match mark.map(Word::known) {
        Some(Some(Mark::Mutual)) => Color::Green,
        Some(Some(Mark::Clear)) => Color::Red,
        Some(_) => Color::Yellow,
        None => Color::Reset,
    }
}
