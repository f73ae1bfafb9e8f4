//! Properties of every recogniser, checked on every sample.

use super::*;

#[test]
fn every_sample_is_what_it_is() {
    let mut wrong = Vec::new();
    for s in all_samples() {
        let found = identify(&s.client, &s.server);
        if found != s.found {
            let shown = s.client.escape_ascii();
            wrong.push(format!("{shown}: {found:?}, not {:?}", s.found));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A recogniser never revises its answer for a prefix, and no two claim the same flow.
#[test]
fn decisions_are_monotone_and_exclusive() {
    let mut wrong = Vec::new();
    for s in all_samples() {
        let shown = s.client.escape_ascii();
        for (i, recogniser) in ALL.iter().enumerate() {
            let recognise = recogniser.recognise;
            // The client's bytes grow while the server's are complete, then the other way round.
            for grow_client in [true, false] {
                let whole = if grow_client {
                    s.client.len()
                } else {
                    s.server.len()
                };
                let mut before = Match::More;
                for n in 0..=whole {
                    let now = if grow_client {
                        recognise(&s.client[..n], &s.server)
                    } else {
                        recognise(&s.client, &s.server[..n])
                    };
                    let kept = match before {
                        Match::More => true,
                        Match::Likely(_) => now != Match::No && now != Match::More,
                        Match::Asked(_) | Match::Declined(_) => matches!(
                            now,
                            Match::Asked(_)
                                | Match::Declined(_)
                                | Match::Refused(_)
                                | Match::Upgrade(_)
                                | Match::Wrapped(..)
                                | Match::Encrypted(_)
                        ),
                        // More of the server's bytes determine where TLS begins in them.
                        Match::Upgrade(turn @ Turn { server: None, .. }) => match now {
                            Match::Upgrade(now) => {
                                (now.protocol, now.client) == (turn.protocol, turn.client)
                            }
                            _ => false,
                        },
                        decided => now == decided,
                    };
                    if !kept {
                        wrong.push(format!(
                            "recogniser {i}, {n} bytes of {shown}: {before:?} then {now:?}"
                        ));
                        break;
                    }
                    before = now;
                }
            }
            let found = recognise(&s.client, &s.server);
            if found.is_decided() && found != s.found {
                wrong.push(format!("recogniser {i} claims {shown}: {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A recogniser that is not asked because of the first byte would not have matched.
#[test]
fn nobody_knows_a_first_byte_that_is_not_its() {
    for s in all_samples() {
        let Some(byte) = s.client.first() else {
            continue;
        };
        for (i, recogniser) in ALL.iter().enumerate() {
            let found = (recogniser.recognise)(&s.client, &s.server);
            assert!(
                recogniser.first.has(*byte) || !found.is_decided() && !found.is_named(),
                "recogniser {i}: {found:?} of {}",
                s.client.escape_ascii()
            );
        }
    }
}

/// A file in this directory that is not in the registry is not even compiled.
#[test]
fn every_file_is_registered() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/classify/protocols");
    let helpers = ["mod", "bytes", "matches", "middle"];
    let mut files = 0;
    for entry in std::fs::read_dir(here).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_none_or(|end| end != "rs") || helpers.contains(&name) {
            continue;
        }
        files += 1;
        let registered = REGISTRY.iter().any(|(family, _)| *family == name);
        assert!(registered, "add a line for {name} to the registry");
    }
    assert_eq!(files, REGISTRY.len());
}

/// `cargo fmt` does not find files that are declared in a macro.
#[test]
fn every_file_is_formatted() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/classify/protocols");
    let files = REGISTRY
        .iter()
        .map(|(family, _)| here.join(family).with_extension("rs"));
    let formatted = std::process::Command::new("rustfmt")
        .args(["--check", "--edition", "2024"])
        .args(files)
        .output()
        .expect("run rustfmt");
    assert!(
        formatted.status.success(),
        "{}",
        String::from_utf8_lossy(&formatted.stdout)
    );
}

#[test]
fn garbage_is_nothing_and_soon() {
    let mut state = 1u32;
    let mut noise = || {
        let bytes: Vec<u8> = (0..64)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        bytes
    };
    for i in 0..20_000 {
        let (client, server) = (noise(), noise());
        let server = if i % 2 == 0 { &server[..] } else { &[] };
        assert!(
            !identify(&client, server).is_decided(),
            "{}",
            client.escape_ascii()
        );
    }
}
