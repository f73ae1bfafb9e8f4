use mtls_core::record::{EdgeRecord, Kind, Peer, Workload};

use super::*;
use crate::output::fixtures::list;

fn peer(namespace: &str, name: &str) -> Peer {
    Peer {
        workload: Some(Workload {
            name: name.into(),
            namespace: namespace.into(),
            kind: Kind::Deployment.into(),
            ..Workload::default()
        }),
        ..Peer::default()
    }
}

fn edge(from: (&str, &str), to: (&str, &str), mark: Mark) -> EdgeRecord {
    EdgeRecord {
        src: peer(from.0, from.1),
        dst: peer(to.0, to.1),
        mark: Some(mark.into()),
        connections: 1,
        ..EdgeRecord::default()
    }
}

#[test]
fn clients_stand_left_of_their_servers() {
    let lines = [(0, 1), (1, 2), (0, 2)];
    let (places, width, height) = layout::place(3, &lines);
    assert!(places[0].0 < places[1].0 && places[1].0 < places[2].0);
    for (x, y) in &places {
        assert!(*x >= 0 && x + layout::WIDTH <= width, "{places:?} {width}");
        assert!(
            *y >= 0 && y + layout::HEIGHT <= height,
            "{places:?} {height}"
        );
    }
}

#[test]
fn no_two_boxes_are_at_one_place_whatever_the_lines() {
    for n in [0, 1, 2, 7, 60] {
        // All to all, circles and loops among them.
        let all = (0..n).flat_map(|from| (0..n).map(move |to| (from, to)));
        let ring = (0..n).map(|from| (from, (from + 1) % n));
        for lines in [all.collect::<Vec<_>>(), ring.collect(), Vec::new()] {
            let (places, ..) = layout::place(n, &lines);
            let apart: std::collections::HashSet<_> = places.iter().collect();
            assert_eq!(apart.len(), n);
        }
    }
}

#[test]
fn the_worst_of_a_pair_colours_its_line() {
    let edges = [
        edge(("shop", "web"), ("shop", "cart"), Mark::Mutual),
        edge(("shop", "web"), ("shop", "cart"), Mark::Clear),
        edge(("shop", "web"), ("shop", "db"), Mark::Mutual),
    ];
    let graph = draw(&edges, false).unwrap();
    assert_eq!(graph.svg.matches("class=\"line clear\"").count(), 1);
    assert_eq!(graph.svg.matches("class=\"line mutual\"").count(), 1);
    assert_eq!(graph.svg.matches("class=\"box\"").count(), 3);
    assert!(!graph.by_namespace);
}

#[test]
fn what_is_too_much_for_a_picture_is_drawn_by_namespace_and_then_left_out() {
    let name = |n: usize| format!("web-{n}");
    let edges: Vec<_> = (0..200)
        .map(|n| edge(("shop", &name(n)), ("data", "pg"), Mark::Mutual))
        .collect();
    let graph = draw(&edges, false).unwrap();
    assert!(graph.by_namespace);
    assert_eq!(graph.left_out, 0);
    assert_eq!(graph.svg.matches("class=\"box\"").count(), 2);
    let mut edges: Vec<_> = (0..200)
        .map(|n| edge((&name(n), "web"), ("data", "pg"), Mark::Mutual))
        .collect();
    edges.push(edge(("zoo", "ape"), ("zoo", "bar"), Mark::Clear));
    let graph = draw(&edges, false).unwrap();
    assert_eq!(graph.svg.matches("class=\"box\"").count(), MOST);
    assert_eq!(graph.left_out, 202 - MOST);
    assert!(graph.svg.contains("ns/zoo"), "the worst is drawn");
}

#[test]
fn names_write_no_markup() {
    let mut list = list();
    let evil = "<script>alert(1)</script>\"'&\u{1b}\u{202e}";
    list.items[0].src = peer(evil, evil);
    let graph = draw(&list.items, true).unwrap();
    assert!(!graph.svg.contains("<script"), "{}", graph.svg);
    assert!(!graph.svg.contains(['\u{1b}', '\u{202e}']));
    assert!(graph.svg.contains("script"));
}
