//! The screen as people see it: read the difference before you accept it
//! (`INSTA_UPDATE=always cargo test -p mtls-user top::`).

use insta::assert_snapshot;
use mtls_core::record::{EdgeList, FlowRecord};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{
    Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::style::{Color, Modifier};

use super::ask::Answer;
use super::draw;
use super::keys::{Then, input};
use super::view::{Rows, View};
use crate::output::fixtures::{list, mutual};
use crate::output::{Style, sort_edges};

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (160, 50);

/// A screen, and whoever sits before it.
struct Seat {
    view: View,
    terminal: Terminal<TestBackend>,
}

impl Seat {
    fn of(list: EdgeList, (width, height): (u16, u16), style: Style, color: bool) -> Self {
        let mut view = View::new(style, color);
        view.take(rows(list, style));
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut seat = Self { view, terminal };
        seat.draw();
        seat
    }

    fn new(size: (u16, u16)) -> Self {
        Self::of(list(), size, Style::Unicode, true)
    }

    fn draw(&mut self) {
        let view = &mut self.view;
        let drawn = self.terminal.draw(|frame| draw::draw(frame, view));
        drawn.unwrap();
    }

    fn press(&mut self, code: KeyCode) -> Then {
        let key = KeyEvent::new(code, KeyModifiers::NONE);
        let then = input(&mut self.view, &Event::Key(key));
        self.draw();
        then
    }

    fn write(&mut self, text: &str) {
        for c in text.chars() {
            self.press(KeyCode::Char(c));
        }
    }

    fn mouse(&mut self, kind: MouseEventKind, column: u16, row: u16) {
        let modifiers = KeyModifiers::NONE;
        let mouse = MouseEvent {
            kind,
            column,
            row,
            modifiers,
        };
        input(&mut self.view, &Event::Mouse(mouse));
        self.draw();
    }

    fn click(&mut self, column: u16, row: u16) {
        self.mouse(MouseEventKind::Down(MouseButton::Left), column, row);
    }

    fn lines(&self) -> Vec<String> {
        let screen = self.terminal.backend().to_string();
        let lines = screen.lines().map(|line| line.trim_matches('"').trim_end());
        lines.map(str::to_owned).collect()
    }

    fn has(&self, text: &str) -> bool {
        self.lines().iter().any(|line| line.contains(text))
    }

    /// Every line of the table that stands below its header.
    fn table(&self) -> Vec<String> {
        let lines = self.lines();
        let rows = lines.iter().skip(3).take(self.view.shown.len());
        rows.cloned().collect()
    }

    fn selected(&self) -> String {
        self.view.selected().unwrap().cells[1..4].join(" ")
    }
}

fn rows(mut list: EdgeList, style: Style) -> Rows {
    sort_edges(&mut list.items);
    Rows::new(list, style)
}

fn flow_to_cart() -> FlowRecord {
    let mut flow = mutual();
    flow.dst.workload.as_mut().unwrap().kind = mtls_core::record::Kind::Deployment.into();
    flow
}

/// So many edges, all of them different.
fn many(n: u16) -> EdgeList {
    let mut all = list();
    let first = all.items[0].clone();
    all.items = (0..n)
        .map(|port| {
            let mut edge = first.clone();
            edge.dst.port = Some(port);
            edge
        })
        .collect();
    all
}

#[test]
fn the_screen() {
    for (name, size) in [("80x24", SMALL), ("160x50", LARGE)] {
        let seat = Seat::new(size);
        assert_snapshot!(format!("edges_{name}"), seat.terminal.backend());
    }
    let ascii = Seat::of(list(), SMALL, Style::Ascii, false);
    assert_snapshot!("edges_ascii", ascii.terminal.backend());
    assert!(ascii.lines().concat().is_ascii());
}

#[test]
fn an_edge_is_explained_as_explain_does() {
    for (name, size) in [("80x24", SMALL), ("160x50", LARGE)] {
        let mut seat = Seat::new(size);
        seat.write("/cart 8443 web");
        seat.press(KeyCode::Enter);
        seat.press(KeyCode::Enter);
        assert!(seat.view.wants_flows());
        assert!(seat.has("asking for the connections"), "{:?}", seat.lines());
        let flows = vec![flow_to_cart()];
        seat.view.answer(Answer::Flows(flows, list().generated));
        seat.draw();
        assert_snapshot!(format!("explanation_{name}"), seat.terminal.backend());
        let first = seat.lines();
        for _ in 0..9 {
            seat.press(KeyCode::PageDown);
        }
        if size == SMALL {
            assert_ne!(seat.lines(), first, "what is below is reached");
        }
        let whole = seat.view.explanation().to_owned();
        let last = whole.lines().last().unwrap().trim();
        let last = last.rsplit(' ').next().unwrap();
        assert!(seat.has(last), "{last}: {:?}", seat.lines());
        assert_eq!(seat.press(KeyCode::Esc), Then::Go);
        assert!(!seat.view.wants_flows());
    }
}

#[test]
fn the_help_has_every_key_and_fits() {
    let mut seat = Seat::new(SMALL);
    seat.press(KeyCode::Char('?'));
    assert_snapshot!("help_80x24", seat.terminal.backend());
    seat.press(KeyCode::Esc);
    assert!(!seat.has("Keys"));
}

#[test]
fn it_filters_as_one_types() {
    let mut seat = Seat::new(LARGE);
    let all = seat.view.shown.len();
    seat.press(KeyCode::Char('/'));
    seat.write("CART");
    let cart = seat.view.shown.len();
    assert!(cart > 0 && cart < all, "{:?}", seat.lines());
    assert!(seat.table().iter().all(|row| row.contains("cart")));
    seat.write(" !web");
    assert!(
        seat.table().iter().all(|row| !row.contains("web")),
        "{:?}",
        seat.lines()
    );
    assert!(seat.view.shown.len() < cart);
    for _ in 0.." !web".len() {
        seat.press(KeyCode::Backspace);
    }
    assert_eq!(seat.view.shown.len(), cart);
    seat.press(KeyCode::Enter);
    // Keys are keys again.
    assert_eq!(seat.press(KeyCode::Char('q')), Then::Quit);
    seat.press(KeyCode::Esc);
    assert_eq!(seat.view.shown.len(), all);
    seat.press(KeyCode::Char('/'));
    seat.write("\u{1b}nothing is called so");
    assert!(seat.has("no edge matches"), "{:?}", seat.lines());
    seat.press(KeyCode::Esc);
    assert_eq!(seat.view.shown.len(), all);
}

#[test]
fn namespaces_and_verdicts_are_shown_by_turns() {
    let mut seat = Seat::new(LARGE);
    let all = seat.view.shown.len();
    seat.press(KeyCode::Char('n'));
    assert!(seat.has("namespace: data"));
    assert_eq!(seat.view.shown.len(), 1);
    seat.press(KeyCode::Char('n'));
    assert!(seat.has("namespace: shop"));
    seat.press(KeyCode::Char('n'));
    assert!(seat.has("namespace: all"));
    seat.press(KeyCode::Char('N'));
    assert!(seat.has("namespace: shop"));
    seat.press(KeyCode::Char('n'));
    assert_eq!(seat.view.shown.len(), all);
    for (key, sign) in [('1', "✗"), ('2', "!"), ('3', "?"), ('4', "✓")] {
        assert!(seat.table().iter().any(|row| row.contains(sign)), "{sign}");
        seat.press(KeyCode::Char(key));
        let rows = seat.table();
        assert!(
            !rows.iter().any(|row| row.contains(sign)),
            "{sign}: {rows:?}"
        );
        seat.press(KeyCode::Char(key));
    }
    seat.press(KeyCode::Char('5'));
    assert_eq!(seat.view.shown.len(), all + 1, "the kubelet's probes");
    for key in '1'..='5' {
        seat.press(KeyCode::Char(key));
    }
    assert!(seat.has("no edge matches"));
}

#[test]
fn it_is_sorted_by_any_column_in_both_orders() {
    let mut seat = Seat::new(LARGE);
    let mut orders = std::collections::HashSet::new();
    for _ in crate::output::EDGE_COLUMNS {
        orders.insert(seat.view.shown.clone());
        seat.press(KeyCode::Char('r'));
        orders.insert(seat.view.shown.clone());
        seat.press(KeyCode::Char('s'));
    }
    assert!(
        orders.len() > crate::output::EDGE_COLUMNS.len(),
        "{orders:?}"
    );
    assert!(
        seat.has("STATUS▾"),
        "the first column again: {:?}",
        seat.lines()
    );
    seat.click(50, 2);
    let arrows = seat.lines()[2].matches(['▾', '▴']).count();
    assert_eq!(arrows, 1);
    assert!(!seat.has("STATUS▾"), "a click on a heading sorts by it");
}

#[test]
fn what_is_selected_stays_so_when_the_answer_changes() {
    let mut seat = Seat::new(LARGE);
    seat.press(KeyCode::Char('G'));
    seat.press(KeyCode::Up);
    let selected = seat.selected();
    let mut next = list();
    next.items.swap(0, 5);
    next.items.push(many(3).items.remove(2));
    seat.view.take(rows(next, Style::Unicode));
    seat.draw();
    assert_eq!(seat.selected(), selected);
    seat.press(KeyCode::Char('s'));
    assert_eq!(seat.selected(), selected);
    seat.view
        .answer(Answer::Trouble("no daemon\u{1b}[2J".into()));
    seat.draw();
    assert!(seat.has("no daemon\\u{1b}[2J"), "{:?}", seat.lines());
}

#[test]
fn the_mouse_moves_and_selects() {
    let mut seat = Seat::of(many(200), SMALL, Style::Unicode, true);
    seat.mouse(MouseEventKind::ScrollDown, 5, 5);
    assert_eq!(seat.view.at, 3);
    seat.mouse(MouseEventKind::ScrollUp, 5, 5);
    assert_eq!(seat.view.at, 0);
    seat.click(5, 7);
    assert_eq!(seat.view.at, 4);
    seat.click(5, 7);
    assert!(seat.view.wants_flows(), "a second click explains");
    seat.mouse(MouseEventKind::ScrollDown, 5, 20);
    assert_eq!(
        seat.view.at, 4,
        "the wheel over the explanation scrolls that"
    );
    seat.click(5, 23);
    seat.click(200, 200);
    seat.click(79, 2);
}

#[test]
fn every_row_is_reached() {
    let mut seat = Seat::of(many(200), SMALL, Style::Unicode, true);
    let page = seat.view.area.height - 1;
    for at in 0..200 {
        assert_eq!(seat.view.at, at);
        let y = 3 + u16::try_from(seat.view.at - seat.view.top).unwrap();
        assert!(y < 3 + page);
        let cell = &seat.terminal.backend().buffer()[(0, y)];
        assert!(cell.modifier.contains(Modifier::REVERSED), "row {at}");
        seat.press(KeyCode::Down);
    }
    assert_eq!(seat.view.at, 199, "the end is the end");
    seat.press(KeyCode::Home);
    seat.press(KeyCode::PageDown);
    assert_eq!(seat.view.at, usize::from(page) - 1);
    seat.press(KeyCode::PageUp);
    assert_eq!(seat.view.at, 0);
    assert_eq!(seat.press(KeyCode::Esc), Then::Quit);
}

#[test]
fn nothing_of_another_size_stays_on_the_screen() {
    let mut seat = Seat::new(LARGE);
    let large = seat.lines();
    seat.terminal.backend_mut().resize(SMALL.0, SMALL.1);
    input(&mut seat.view, &Event::Resize(SMALL.0, SMALL.1));
    seat.draw();
    assert_eq!(seat.lines(), Seat::new(SMALL).lines());
    seat.terminal.backend_mut().resize(LARGE.0, LARGE.1);
    seat.draw();
    assert_eq!(seat.lines(), large);
    // Too small for anything is no reason to end.
    for size in [(1, 1), (3, 2), (10, 4), (500, 5)] {
        let mut seat = Seat::new(size);
        seat.press(KeyCode::Enter);
        seat.press(KeyCode::Char('?'));
    }
}

#[test]
fn colours_only_where_they_are_wanted() {
    let colours = |color| {
        let seat = Seat::of(list(), LARGE, Style::Unicode, color);
        let cells = seat.terminal.backend().buffer().content();
        let mut colours: Vec<_> = cells.iter().map(|cell| cell.fg).collect();
        colours.sort_by_key(|color| format!("{color:?}"));
        colours.dedup();
        colours
    };
    assert_eq!(colours(false), [Color::Reset]);
    for wanted in [Color::Red, Color::Yellow, Color::Green] {
        assert!(colours(true).contains(&wanted));
    }
}

#[test]
fn a_word_longer_than_the_screen_is_whole() {
    let id = "spiffe://cluster.local/ns/shop/sa/".to_owned() + &"x".repeat(200);
    let mut all = list();
    for edge in &mut all.items {
        edge.reason = Some(id.clone().into());
    }
    let mut seat = Seat::of(all, SMALL, Style::Unicode, true);
    seat.press(KeyCode::Enter);
    seat.view
        .answer(Answer::Flows(Vec::new(), list().generated));
    seat.draw();
    let shown: String = seat.lines()[10..].iter().map(|line| line.trim()).collect();
    assert!(shown.contains(&id), "{shown}");
}
