//! The live screen of `mtls top`: the edges, the worst first, with filters and an explanation.
//!
//! One thread asks, one reads the keyboard and the mouse; this one draws, and never waits for an
//! answer.

mod ask;
mod columns;
mod draw;
mod keys;
mod view;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver};

use ratatui::crossterm::event::{self, DisableMouseCapture, EnableMouseCapture, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};

use crate::output::Style;
use crate::select::Filter;
use crate::source::Source;
use ask::{Answer, Asker};
use view::View;

/// What the screen waits for.
enum News {
    Input(Event),
    Answer(Answer),
    /// The terminal is gone.
    Gone(io::Error),
}

/// Shows the edges of `source` that `filter` takes, until it is left.
pub(crate) fn run(source: &Source, filter: &Filter, color: bool) -> anyhow::Result<()> {
    // Asked once before the screen is taken, so that a missing daemon is a plain message.
    let first = ask::edges(source, filter)?;
    let mut view = View::new(Style::of_locale(), color);
    view.take(first);
    if source.period().is_none() {
        // Reading a capture can have notes to print, which have no place on the screen.
        view.answer(ask::flows(source));
    }
    let (sender, news) = mpsc::channel();
    let asker = Asker::start(source.clone(), filter.clone(), sender.clone());
    std::thread::spawn(move || {
        loop {
            let one = event::read().map_or_else(News::Gone, News::Input);
            let gone = matches!(one, News::Gone(_));
            if sender.send(one).is_err() || gone {
                return;
            }
        }
    });
    let _mouse = Mouse::capture()?;
    let mut terminal = ratatui::init();
    let shown = show(&mut terminal, &mut view, &news, &asker);
    ratatui::restore();
    shown
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    view: &mut View,
    news: &Receiver<News>,
    asker: &Asker,
) -> anyhow::Result<()> {
    loop {
        // A frame is shown at once or not at all, where the terminal can.
        execute!(io::stdout(), BeginSynchronizedUpdate)?;
        let drawn = terminal.draw(|frame| draw::draw(frame, view)).map(drop);
        execute!(io::stdout(), EndSynchronizedUpdate)?;
        drawn?;
        asker.want_flows(view.wants_flows());
        let mut next = Some(news.recv()?);
        // What has come meanwhile is taken in before the next frame.
        while let Some(one) = next {
            match one {
                News::Input(event) => {
                    if keys::input(view, &event) == keys::Then::Quit {
                        return Ok(());
                    }
                }
                News::Answer(answer) => view.answer(answer),
                News::Gone(error) => return Err(error.into()),
            }
            next = news.try_recv().ok();
        }
    }
}

/// The mouse is the terminal's again when this goes, also in a panic.
struct Mouse;

impl Mouse {
    fn capture() -> io::Result<Self> {
        execute!(io::stdout(), EnableMouseCapture)?;
        Ok(Self)
    }
}

impl Drop for Mouse {
    fn drop(&mut self) {
        // Nothing is to be done about a terminal that is gone.
        let _ = execute!(io::stdout(), DisableMouseCapture);
        let _ = io::stdout().flush();
    }
}
