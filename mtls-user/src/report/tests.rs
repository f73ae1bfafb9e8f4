use mtls_core::record::{EdgeList, FlowList, Mark, SCHEMA, Status, Time};

use super::{Asked, Report, check, coverage, write};
use crate::output::fixtures::{hostile, list, mutual, status_of_a_node};
use crate::output::sort_edges;

fn report(mut edges: EdgeList, statuses: Vec<Status>) -> Report {
    sort_edges(&mut edges.items);
    let flows = FlowList {
        schema: SCHEMA,
        node: edges.node.clone(),
        generated: edges.generated,
        window_seconds: 600,
        nodes: None,
        watched: None,
        history: None,
        items: vec![mutual(), hostile()],
    };
    let asked = Asked {
        made: Time::from_nanos(1_795_843_509_000_000_000),
        source: "the daemon of this node".into(),
        command: "report audit".into(),
        is_of_all: true,
    };
    Report::new(asked, edges, Some(flows), statuses)
}

fn page(report: &Report) -> String {
    let dir = tempfile::tempdir().unwrap();
    write(report, dir.path(), None).unwrap();
    std::fs::read_to_string(dir.path().join("report.html")).unwrap()
}

/// Without tags, as one reads it.
fn text(page: &str) -> String {
    let body = page.split_once("<body>").unwrap().1;
    let parts = body.split('<').filter_map(|part| part.split_once('>'));
    let words: Vec<_> = parts
        .flat_map(|(_, text)| text.split_whitespace())
        .collect();
    words.join(" ")
}

#[test]
fn a_report_says_what_was_not_seen() {
    let page = text(&page(&report(list(), vec![status_of_a_node()])));
    for part in [
        "not known: no source names all pods",
        "41; 3 NOT WATCHED",
        "Samples lost in the window 17",
        "interface veth1 is not watched: ENODEV",
        "38 of 39",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn good_is_said_only_of_what_was_seen_whole() {
    let verdict = |keep: fn(&Mark) -> bool, whole: bool| {
        let mut edges = list();
        edges.watched.samples_lost = Some(0);
        edges.watched.interfaces_failed = 0;
        edges.items.retain(|edge| {
            let mark = edge.mark.as_ref().and_then(mtls_core::record::Word::known);
            mark.is_some_and(|mark| keep(&mark))
        });
        let mut status = status_of_a_node();
        if whole {
            status.kernel.not_attached.clear();
            status.sources.clear();
        }
        let page = text(&page(&report(edges, vec![status])));
        page.split("  ")
            .find(|part| part.contains("mutual TLS."))
            .unwrap_or(&page)
            .to_owned()
    };
    let good = verdict(|mark| *mark == Mark::Mutual, true);
    assert!(
        good.contains("All 1 edges that were seen are mutual TLS."),
        "{good}"
    );
    assert!(!good.contains("Not everything was seen"), "{good}");
    let partly = verdict(|mark| *mark == Mark::Mutual, false);
    assert!(partly.contains("Not everything was seen"), "{partly}");
    let bad = verdict(|_| true, true);
    assert!(
        bad.contains("5 of 6 edges are not, or are not known to be, mutual TLS."),
        "{bad}"
    );
    let nothing = verdict(|_| false, true);
    assert!(nothing.contains("nothing is known of whether"), "{nothing}");
}

#[test]
fn a_share_is_never_rounded_up() {
    assert_eq!(coverage::share(9_999, 10_000), "9999 of 10000 (99.9 %)");
    assert_eq!(coverage::share(3, 3), "3 of 3 (100.0 %)");
    assert_eq!(coverage::share(0, 0), "none");
    assert_eq!(
        coverage::share(u64::MAX, u64::MAX),
        format!("{0} of {0} (100.0 %)", u64::MAX)
    );
}

#[test]
fn a_directory_with_something_in_it_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let new = dir.path().join("a/b");
    check(&new).unwrap();
    assert!(!new.exists(), "what is looked at is not made");
    std::fs::create_dir_all(&new).unwrap();
    check(&new).unwrap();
    std::fs::write(new.join("mine"), "").unwrap();
    for taken in [new.clone(), new.join("mine")] {
        assert!(check(&taken).unwrap_err().is::<crate::usage::Usage>());
    }
}

#[test]
fn the_inventory_is_in_it_whole_and_its_sum_in_the_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let report = report(list(), vec![status_of_a_node()]);
    let files = write(&report, dir.path(), None).unwrap();
    assert!(files.contains(&"inventory.json"), "{files:?}");
    let text = std::fs::read(dir.path().join("inventory.json")).unwrap();
    let read: mtls_core::record::Inventory = serde_json::from_slice(&text).unwrap();
    assert_eq!(
        read,
        crate::inventory::of(report.flows.clone().unwrap(), None)
    );
    assert!(!read.items.is_empty());
    let manifest = std::fs::read_to_string(dir.path().join("SHA256SUMS")).unwrap();
    for name in files.iter().filter(|name| **name != "SHA256SUMS") {
        assert!(
            manifest.contains(&format!("  {name}\n")),
            "{name}: {manifest}"
        );
    }
}

#[test]
fn a_report_that_cannot_be_written_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let report = report(list(), Vec::new());
    // A file stands where a directory would be.
    let place = dir.path().join("file");
    std::fs::write(&place, "").unwrap();
    assert!(write(&report, &place.join("audit"), None).is_err());
    // One of its files cannot be written.
    let place = dir.path().join("audit");
    std::fs::create_dir_all(place.join("edges.json/mine")).unwrap();
    assert!(write(&report, &place, None).is_err());
    let left: Vec<_> = std::fs::read_dir(&place).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn large_answers_make_a_page_that_says_what_it_leaves_out() {
    let mut edges = list();
    let clear = edges.items[5].clone();
    edges.items = (0..3_000)
        .map(|port| {
            let mut edge = clear.clone();
            edge.dst.port = Some(port);
            edge
        })
        .collect();
    let report = report(edges, Vec::new());
    assert_eq!(report.more_findings, 2_800);
    let page = text(&page(&report));
    assert!(
        page.contains("1000 more are in edges.csv"),
        "no note on edges"
    );
    assert!(
        page.contains("2800 more edges are not mutual TLS"),
        "no note on findings"
    );
}
