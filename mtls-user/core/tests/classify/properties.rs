//! Properties of every delivery of every flow.

use proptest::prelude::*;

use super::cases::cases;
use super::flows::*;
use mtls_core::classify::{Classifier, Context, Piece, Sessions, Side};
use mtls_core::record::{Cause, Origin, Verdict};

/// Whether a flow may go from one verdict to the next: from none to any, then only downwards
/// because of a contradiction.
fn may_follow(before: Verdict, after: Verdict) -> bool {
    use Verdict::{Failed, Mtls, NoData, Opaque, Plaintext, Tls, TlsUnproven, Unobserved};
    match before {
        NoData | Unobserved => true,
        Mtls | Tls | TlsUnproven => matches!(after, Failed | Plaintext | Opaque),
        Failed => matches!(after, Plaintext | Opaque),
        Plaintext | Opaque => false,
    }
}

fn is_undecided(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Unobserved | Verdict::TlsUnproven)
}

/// Where the second and third records of OpenSSL's flight begin, after ChangeCipherSpec and a
/// certificate. If a segment ends there, nothing shows that they were written together.
const WRITTEN_TOGETHER: [usize; 2] = [6 + 5 + 869, 6 + 5 + 869 + 5 + 96];

#[test]
fn every_segmentation_gives_the_same_finding() {
    for case in cases() {
        let (expected, _) = run(&deliver(&case.script, usize::MAX));
        for mss in (1..40).chain([64, 100, 255, 536, 1000, 1448]) {
            let (found, way) = run(&deliver(&case.script, mss));
            let apart = WRITTEN_TOGETHER.iter().any(|at| at.is_multiple_of(mss));
            if case.name == "1.3 OpenSSL, mutual" && apart {
                assert_eq!(found.verdict, Verdict::TlsUnproven, "in segments of {mss}");
                assert_eq!(found.cause, Cause::PaddingNotExcluded);
                continue;
            }
            assert_eq!(found, expected, "{} in segments of {mss}", case.name);
            for pair in way.windows(2) {
                assert!(may_follow(pair[0], pair[1]), "{}: {way:?}", case.name);
            }
        }
    }
}

/// A decision on a prefix stays, unless the rest contradicts it.
#[test]
fn every_prefix_is_right_or_undecided() {
    for case in cases() {
        let steps = deliver(&case.script, 1);
        for n in (0..steps.len()).step_by(53) {
            let mut classifier = Classifier::new(Origin::Syn);
            let mut sessions = Sessions::default();
            for step in &steps[..n] {
                give(&mut classifier, step, NOW, &mut sessions);
            }
            let verdict = classifier.verdict();
            assert!(
                verdict == case.verdict || may_follow(verdict, case.verdict),
                "{}: {verdict} after {n} bytes",
                case.name
            );
            // What is lost after the prefix proves nothing.
            let (client, server) = endpoints();
            classifier.finish(
                true,
                &mut Context {
                    client,
                    server,
                    sessions: &mut sessions,
                },
            );
            let lost = classifier.verdict();
            assert!(
                lost == verdict || lost == Verdict::Unobserved,
                "{}: {lost}",
                case.name
            );
        }
    }
}

/// What happens to a delivery on its way to the observer.
#[derive(Clone, Debug)]
enum Trouble {
    Later(prop::sample::Index, usize),
    Twice(prop::sample::Index, prop::sample::Index),
    Lost(prop::sample::Index),
}

fn trouble(losses: bool) -> impl Strategy<Value = Vec<Trouble>> {
    let later = (any::<prop::sample::Index>(), 1..6usize).prop_map(|(i, n)| Trouble::Later(i, n));
    let twice =
        any::<(prop::sample::Index, prop::sample::Index)>().prop_map(|(i, j)| Trouble::Twice(i, j));
    let lost = any::<prop::sample::Index>().prop_map(Trouble::Lost);
    let one = if losses {
        prop_oneof![later, twice, lost].boxed()
    } else {
        prop_oneof![later, twice].boxed()
    };
    prop::collection::vec(one, 0..6)
}

fn suffer(steps: &mut Vec<Step>, troubles: &[Trouble]) {
    for trouble in troubles {
        if steps.is_empty() {
            return;
        }
        match trouble {
            Trouble::Later(at, n) => {
                let at = at.index(steps.len());
                let step = steps.remove(at);
                steps.insert((at + n).min(steps.len()), step);
            }
            // A copy comes after the original, as a retransmission does.
            Trouble::Twice(at, to) => {
                let at = at.index(steps.len());
                let step = steps[at].clone();
                let to = at + 1 + to.index(steps.len() - at);
                steps.insert(to, step);
            }
            Trouble::Lost(at) => drop(steps.remove(at.index(steps.len()))),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn reordered_and_repeated_segments_never_mislead(
        at in any::<prop::sample::Index>(),
        mss in 20..1500usize,
        troubles in trouble(false),
    ) {
        let cases = cases();
        let case = &cases[at.index(cases.len())];
        let mut steps = deliver(&case.script, mss);
        suffer(&mut steps, &troubles);
        let (found, _) = run(&steps);
        prop_assert!(
            found.verdict == case.verdict || is_undecided(found.verdict),
            "{}: {} ({})", case.name, found.verdict, found.reason
        );
    }

    #[test]
    fn lost_segments_never_mislead(
        at in any::<prop::sample::Index>(),
        mss in 20..1500usize,
        troubles in trouble(true),
    ) {
        let cases = cases();
        let case = &cases[at.index(cases.len())];
        let mut steps = deliver(&case.script, mss);
        suffer(&mut steps, &troubles);
        let (found, _) = run(&steps);
        // The server's rejection may have been lost.
        let was = found.verdict == case.verdict
            || is_undecided(found.verdict)
            || case.verdict == Verdict::Failed
            || found.verdict == Verdict::NoData;
        // The rest of a plaintext protocol may be too little to recognise it.
        let named_less = matches!(case.verdict, Verdict::Plaintext | Verdict::Opaque)
            && matches!(found.verdict, Verdict::Plaintext | Verdict::Opaque);
        prop_assert!(
            was || named_less,
            "{}: {} ({})", case.name, found.verdict, found.reason
        );
    }

    /// Whatever block a client pads to, it is never mutual without a request or without a
    /// certificate; not on any prefix either.
    #[test]
    fn padding_is_never_taken_for_a_certificate(
        block in 1..4000_u16,
        openssl in any::<bool>(),
        raw_key in any::<bool>(),
        hash in prop::sample::select(vec![32_u16, 48]),
        given_none in any::<bool>(),
        requests in prop::collection::vec(1..3000_u16, 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let padded = |content: u16| (content + 1).next_multiple_of(block) + 16;
        let mut records: Vec<u16> = given_none.then(|| padded(8)).into_iter().collect();
        records.push(padded(hash + 4));
        records.extend(requests.iter().map(|len| padded(*len)));
        let offer = Offer { openssl, raw_key, ..Offer::default() };
        let goodbye = padded(2);
        let script = tls13_with_request(offer, false, &records, goodbye);
        let steps = deliver(&script, 1448);
        for steps in [&steps[..], &steps[..cut.index(steps.len())]] {
            let (finding, way) = run(steps);
            prop_assert!(!way.contains(&Verdict::Mtls), "{records:?}: {}", finding.reason);
            prop_assert!(finding.verdict != Verdict::Mtls, "{records:?}: {}", finding.reason);
            prop_assert!(finding.verdict != Verdict::Plaintext, "{}", finding.reason);
        }
    }

    /// Arbitrary input: no panic, an answer, and never mutual TLS by accident.
    #[test]
    fn noise_is_survived(
        pieces in prop::collection::vec(
            (any::<bool>(), 0..5000u64, prop::collection::vec(any::<u8>(), 0..300), any::<Option<u16>>()),
            0..40,
        ),
        midstream in any::<bool>(),
    ) {
        let origin = if midstream { Origin::Midstream } else { Origin::Syn };
        let mut classifier = Classifier::new(origin);
        let mut sessions = Sessions::default();
        let (client, server) = endpoints();
        for (of_client, offset, bytes, ack) in &pieces {
            let side = if *of_client { Side::Client } else { Side::Server };
            let len = bytes.len() as u32;
            let ack = ack.map(u64::from);
            let piece = Piece { offset: *offset, len, bytes, ack, time: NOW, inside: false };
            classifier.segment(side, piece, &mut Context { client, server, sessions: &mut sessions });
        }
        classifier.finish(false, &mut Context { client, server, sessions: &mut sessions });
        let finding = classifier.finding();
        prop_assert!(!matches!(finding.verdict, Verdict::Mtls | Verdict::Tls));
    }
}
