//! What the keyboard and the mouse do.

use ratatui::crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::layout::Position;

use super::columns::GAP;
use super::view::{Pane, View};

/// Longest filter, in bytes.
const MAX_FILTER: usize = 128;
/// Rows of a turn of the mouse's wheel.
const WHEEL: usize = 3;

/// Keys and what they do, as the help says it.
pub(super) const HELP: [(&str, &str); 14] = [
    (
        "up down j k",
        "move; PgUp and PgDn by a page, g and G to the ends",
    ),
    ("Enter", "explain the edge, like `mtls explain`; Esc closes"),
    ("PgUp PgDn", "scroll the explanation while it is open"),
    ("/", "filter as you type: rows that contain every word,"),
    ("", "and no !word; Enter keeps the filter, Esc clears it"),
    ("n N", "next namespace, previous namespace"),
    ("1", "show or hide plaintext"),
    ("2", "show or hide TLS, server only"),
    ("3", "show or hide what could not be determined"),
    ("4", "show or hide mTLS"),
    (
        "5",
        "show or hide exempt traffic: probes, scrapes, refused ports",
    ),
    ("s r", "sort by the next column, reverse the order"),
    ("mouse", "wheel: scroll; click: select, on a heading: sort"),
    ("q", "quit"),
];

/// What follows an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Then {
    Go,
    Quit,
}

pub(super) fn input(view: &mut View, event: &Event) -> Then {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => return pressed(view, *key),
        Event::Mouse(mouse) => clicked(view, *mouse),
        // A changed size is seen when the next frame is drawn.
        _ => {}
    }
    Then::Go
}

fn pressed(view: &mut View, key: KeyEvent) -> Then {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control && key.code == KeyCode::Char('c') {
        return Then::Quit;
    }
    if view.typing {
        typed(view, key, control);
        return Then::Go;
    }
    let page = usize::from(view.area.height.saturating_sub(2).max(1));
    match key.code {
        KeyCode::Char('q') => return Then::Quit,
        KeyCode::Esc => match view.pane {
            Pane::None if view.filter.is_empty() => return Then::Quit,
            Pane::None => set_filter(view, String::new()),
            _ => view.pane = Pane::None,
        },
        KeyCode::PageDown if view.pane == Pane::Explanation => {
            view.scroll = view.scroll.saturating_add(5);
        }
        KeyCode::PageUp if view.pane == Pane::Explanation => {
            view.scroll = view.scroll.saturating_sub(5);
        }
        KeyCode::Down | KeyCode::Char('j') => view.select(view.at.saturating_add(1)),
        KeyCode::Up | KeyCode::Char('k') => view.select(view.at.saturating_sub(1)),
        KeyCode::PageDown => view.select(view.at.saturating_add(page)),
        KeyCode::PageUp => view.select(view.at.saturating_sub(page)),
        KeyCode::Home | KeyCode::Char('g') => view.select(0),
        KeyCode::End | KeyCode::Char('G') => view.select(usize::MAX),
        KeyCode::Enter => toggle(view, Pane::Explanation),
        KeyCode::Char('?' | 'h') => toggle(view, Pane::Help),
        KeyCode::Char('/') => view.typing = true,
        KeyCode::Char('n') => view.turn_namespace(false),
        KeyCode::Char('N') => view.turn_namespace(true),
        KeyCode::Char(digit @ '1'..='5') => {
            let at = digit as usize - '1' as usize;
            view.groups[at] = !view.groups[at];
            view.refresh();
        }
        KeyCode::Char('s') => {
            let next = (view.sort.0 + 1) % crate::output::EDGE_COLUMNS.len();
            view.sort_by(next);
        }
        KeyCode::Char('r') => view.sort_by(view.sort.0),
        _ => {}
    }
    Then::Go
}

fn typed(view: &mut View, key: KeyEvent, control: bool) {
    let mut filter = view.filter.clone();
    match key.code {
        KeyCode::Enter => view.typing = false,
        KeyCode::Esc => {
            view.typing = false;
            filter.clear();
        }
        KeyCode::Backspace => drop(filter.pop()),
        KeyCode::Char('u' | 'w') if control => filter.clear(),
        KeyCode::Char(c) if !control && !c.is_control() && filter.len() < MAX_FILTER => {
            filter.push(c);
        }
        KeyCode::Down => view.select(view.at.saturating_add(1)),
        KeyCode::Up => view.select(view.at.saturating_sub(1)),
        _ => {}
    }
    if filter != view.filter {
        set_filter(view, filter);
    }
}

fn set_filter(view: &mut View, filter: String) {
    view.filter = filter;
    view.refresh();
}

fn toggle(view: &mut View, pane: Pane) {
    view.pane = if view.pane == pane { Pane::None } else { pane };
    view.scroll = 0;
}

fn clicked(view: &mut View, mouse: MouseEvent) {
    let place = Position::new(mouse.column, mouse.row);
    let inside = view.area.contains(place);
    match mouse.kind {
        MouseEventKind::ScrollDown if inside => view.select(view.at.saturating_add(WHEEL)),
        MouseEventKind::ScrollUp if inside => view.select(view.at.saturating_sub(WHEEL)),
        MouseEventKind::ScrollDown => view.scroll = view.scroll.saturating_add(1),
        MouseEventKind::ScrollUp => view.scroll = view.scroll.saturating_sub(1),
        MouseEventKind::Down(MouseButton::Left) if inside && view.pane != Pane::Help => {
            let row = usize::from(mouse.row - view.area.y);
            if row == 0 {
                let mut end = view.area.x;
                for column in &view.columns {
                    end += column.width + GAP;
                    if mouse.column < end {
                        let at = column.at;
                        return view.sort_by(at);
                    }
                }
            } else if view.top + row - 1 < view.shown.len() {
                let again = view.at == view.top + row - 1;
                view.select(view.top + row - 1);
                if again {
                    toggle(view, Pane::Explanation);
                }
            }
        }
        _ => {}
    }
}
