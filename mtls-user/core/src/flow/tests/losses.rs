//! Reports of what was not seen: segments missing from a capture, lost samples, connections evicted
//! by the kernel.

use super::scene::*;
use super::*;
use crate::record::{Cause, Unseen, Verdict};

#[test]
fn a_capture_that_lacks_segments_says_so() {
    let mut scene = Scene::new();
    scene.open();
    scene.exchange();
    let c = 100 + GET.len() as u32;
    scene.cross(data(segment(client(), server(), c + 500, 539, ACK), GET));
    assert_eq!(scene.table.open().next().unwrap().unseen(), [Unseen::Bytes]);
    // … until they arrive.
    scene.cross(data(segment(client(), server(), c, 539, ACK), &[b'x'; 500]));
    assert_eq!(scene.table.open().next().unwrap().unseen(), []);
}

#[test]
fn losses_reach_the_flows_that_they_may_concern() {
    let mut scene = Scene::new();
    scene.links = [7, 9];
    scene.open();
    let loss = |link, since, until| Loss {
        what: Unseen::Samples,
        link,
        between: None,
        since,
        until,
    };
    let verdict = |scene: &Scene| scene.table.open().next().unwrap().verdict();
    assert_eq!(
        scene.table.lost(&loss(Some(8), 0, u64::MAX)),
        0,
        "another interface"
    );
    assert_eq!(
        scene.table.lost(&loss(None, 0, SECOND)),
        0,
        "before its time"
    );
    let elsewhere = Loss {
        what: Unseen::Fragments,
        between: Some([end(1, 0).ip, end(3, 0).ip]),
        ..loss(None, 0, u64::MAX)
    };
    assert_eq!(scene.table.lost(&elsewhere), 0, "other pods");
    assert_eq!(verdict(&scene), Verdict::NoData);
    assert_eq!(scene.table.lost(&loss(Some(9), 0, u64::MAX)), 1);
    assert_eq!(verdict(&scene), Verdict::Unobserved);
    // Its end may have been lost: it does not stay open forever.
    let mut closed = Vec::new();
    let later = scene.time + 700 * SECOND;
    scene.table.expire(later, &mut |event, view| {
        closed.push((event, view.record()));
    });
    assert_eq!(kinds(&closed), [Event::Closed]);
    assert_eq!(closed[0].1.verdict, Verdict::Unobserved);
    assert_eq!(closed[0].1.unseen, [Unseen::Samples]);
}

#[test]
fn a_decided_flow_outlives_a_loss() {
    let mut scene = Scene::new();
    scene.links = [7, 9];
    scene.open();
    scene.exchange();
    let all = Loss {
        what: Unseen::Samples,
        link: None,
        between: None,
        since: 0,
        until: u64::MAX,
    };
    assert_eq!(scene.table.lost(&all), 1);
    let view = scene.table.open().next().unwrap();
    assert_eq!(view.verdict(), Verdict::Plaintext);
    assert!(view.unseen().is_empty());
}

/// The daemon was restarted: other connections show which side accepts connections.
#[test]
fn a_server_is_known_by_other_connections() {
    let listener = end(2, 50_051);
    let mut table = FlowTable::new(Limits::default());
    let mid = data(
        segment(listener, end(3, 40_001), 7, 7, ACK),
        b"\x17\x03\x03",
    );
    let unknown = run(&mut table, &[mid]);
    assert_eq!(unknown[0].1.src.port, Some(50_051), "who speaks first asks");
    let noted = |record: &FlowRecord| {
        record
            .notes
            .iter()
            .any(|n| n.starts_with("direction-unknown: "))
    };
    assert!(noted(&unknown[0].1));
    let known = run(
        &mut table,
        &[
            segment(client(), listener, 99, 0, SYN),
            segment(listener, client(), 499, 100, SYN | ACK),
            data(
                segment(listener, end(3, 40_002), 7, 7, ACK),
                b"\x17\x03\x03",
            ),
        ],
    );
    let record = &known.last().unwrap().1;
    assert_eq!(
        (record.src.port, record.dst.port),
        (Some(40_002), Some(50_051))
    );
    assert!(!noted(record));
}

#[test]
fn a_connection_that_the_kernel_gave_up_is_marked_and_not_open_for_ever() {
    use crate::wire::{Unread, What};
    let (a, b) = (end(1, 40_000), end(2, 80));
    let mut table = FlowTable::new(Limits::default());
    run(
        &mut table,
        &[
            segment(a, b, 99, 0, SYN),
            segment(b, a, 499, 100, SYN | ACK),
        ],
    );
    let evicted = Unread {
        time: 2,
        link: 7,
        direction: Direction::Egress,
        src: b,
        dst: a,
        what: What::Evicted,
    };
    table.unread(&[evicted]);
    let view = table.open().next().expect("it is open");
    assert_eq!(view.unseen(), [Unseen::Samples]);
    let events = {
        let mut events = Vec::new();
        table.expire(12_000_000_000, &mut |event, view| {
            events.push((event, view.record()));
        });
        events
    };
    assert_eq!(kinds(&events), [Event::Closed]);
    assert_eq!(events[0].1.verdict, Verdict::Unobserved);
    assert!(!events[0].1.closed, "its end was not seen");
}

/// The kernel reports fragments before it reports the connection, whose SYNs are not samples.
#[test]
fn fragments_reported_before_their_connection_mark_it() {
    use crate::wire::{Unread, What};
    let (a, b) = (end(1, 40_000), end(2, 80));
    let mut table = FlowTable::new(Limits::default());
    let fragments = Unread {
        time: 2,
        link: 7,
        direction: Direction::Egress,
        src: a,
        dst: b,
        what: What::Fragments,
    };
    table.unread(&[fragments]);
    run(
        &mut table,
        &[
            segment(a, b, 99, 0, SYN),
            segment(b, a, 499, 100, SYN | ACK),
        ],
    );
    let view = table.open().next().expect("it is open");
    assert_eq!(view.unseen(), [Unseen::Fragments]);
    assert_eq!(view.verdict(), Verdict::Unobserved);
    assert_eq!(view.finding().cause, Cause::Fragmented);
}
