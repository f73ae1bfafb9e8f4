//! What the help says beside the options: a short one that fits a screen (`-h`), and a long one with
//! examples (`--help`).

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, CommandFactory};

use super::Args;
use super::select::joined;
use crate::output::{DOCUMENT, Format, LIST, spelled};

/// How an end is written.
const END: &str = "END: deploy/web, pod/x, svc/x, ns/shop, shop/web, web, an address, a CIDR, node, external, unknown.";

/// The options that are worth a line of the short help; the others are in the long one.
const SHORT: [&str; 38] = [
    "all",
    "allow",
    "certificates",
    "dir",
    "duration",
    "either",
    "exemptions",
    "file",
    "files",
    "format",
    "from",
    "interfaces",
    "kubeconfig",
    "live",
    "max",
    "min_tls",
    "namespaces",
    "no_open",
    "node_name",
    "output",
    "pods",
    "payload",
    "policy",
    "listen",
    "ports",
    "ready",
    "require",
    "rules",
    "shell",
    "sign",
    "since",
    "strict_ready",
    "to",
    "verdicts",
    "watch",
    "what",
    "window",
    "write",
];

/// What is typed for which question, by verb.
const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        "check",
        &[
            (
                "is everything of the shop mutual TLS?",
                "mtls check -n shop",
            ),
            (
                "will it be, for the next minute?",
                "mtls check -n shop --for 60s --min-flows 10",
            ),
            (
                "by a file of rules, for code scanning",
                "mtls check --rules rules.yaml -o sarif",
            ),
            (
                "what would STRICT break?",
                "mtls check --strict-ready -n shop",
            ),
        ],
    ),
    (
        "classify",
        &[
            ("what is in a capture?", "mtls classify dump.pcap"),
            (
                "what of it is in clear?",
                "mtls classify dump.pcap --verdict plaintext -o wide",
            ),
        ],
    ),
    (
        "daemon",
        &[
            ("watch every pod of this node", "mtls daemon"),
            (
                "names from Kubernetes, of this node's pods",
                "mtls daemon --kubeconfig /etc/kubernetes/admin.conf --node-name node-1",
            ),
        ],
    ),
    (
        "edges",
        &[
            (
                "who talks to the database in clear?",
                "mtls edges --to data/pg --port 5432 --verdict plaintext",
            ),
            (
                "all but DNS, the busiest first",
                "mtls edges --not --port 53 --sort-by -connections",
            ),
            (
                "save it, and see tomorrow what has changed",
                "mtls edges -o json",
            ),
            ("", "mtls edges --baseline yesterday.json"),
            ("the columns of linkerd viz edges", "mtls edges -o linkerd"),
        ],
    ),
    (
        "explain",
        &[
            (
                "why is this edge not mutual?",
                "mtls explain shop/web data/pg:5432",
            ),
            (
                "why is this connection what it is?",
                "mtls explain c4396a12f63f53ce",
            ),
        ],
    ),
    (
        "diff",
        &[
            (
                "what has the change window changed?",
                "mtls diff before.json after.json",
            ),
            (
                "fail a nightly job where something got worse",
                "mtls diff --fail-on-worse before.json after.json",
            ),
        ],
    ),
    (
        "flows",
        &[
            (
                "the last 20 connections of a workload",
                "mtls flows deploy/web --last 20",
            ),
            (
                "those in clear, with everything that is known",
                "mtls flows --verdict plaintext -o wide",
            ),
        ],
    ),
    (
        "inventory",
        &[
            (
                "what is below TLS 1.2, or not of this policy?",
                "mtls inventory --policy intermediate",
            ),
            (
                "which certificates expire next?",
                "mtls inventory --certificates",
            ),
            (
                "a bill of materials of cryptography (CycloneDX)",
                "mtls inventory -o cyclonedx",
            ),
        ],
    ),
    (
        "record",
        &[
            (
                "what the database's clients do not encrypt, for Wireshark",
                "mtls record --to data/pg --verdict plaintext --payload -w pg.pcapng",
            ),
            (
                "a capture without what is confidential in it",
                "mtls record --from dump.pcap -w handshakes.pcapng",
            ),
        ],
    ),
    (
        "tap",
        &[
            ("what happens now in the shop?", "mtls tap -n shop"),
            (
                "ten seconds of it for a program",
                "mtls tap --for 10s -o jsonl",
            ),
        ],
    ),
    (
        "top",
        &[
            ("the edges of this node, live", "mtls top"),
            (
                "only what reaches the database",
                "mtls top --to data/pg --port 5432",
            ),
            (
                "a saved answer, to look around in",
                "mtls top --from edges.json",
            ),
        ],
    ),
    (
        "status",
        &[
            ("what don't you see?", "mtls status"),
            ("for a readiness probe", "mtls status --ready"),
        ],
    ),
    (
        "ui",
        &[
            ("the page of this node, in the browser", "mtls ui"),
            (
                "at a port that is forwarded from elsewhere",
                "mtls ui --listen 8420 --no-open",
            ),
            (
                "a saved answer, to look around in",
                "mtls ui --from edges.json",
            ),
        ],
    ),
    (
        "report",
        &[
            ("what an auditor takes away", "mtls report audit"),
            (
                "of one namespace, signed",
                "mtls report audit -n shop --sign minisign.key",
            ),
            ("of a saved answer", "mtls report audit --from edges.json"),
        ],
    ),
    ("doctor", &[("can the daemon run here?", "mtls doctor")]),
    (
        "version",
        &[("of this program and of the daemon", "mtls version")],
    ),
    ("completion", &[("for bash", "mtls completion bash")]),
];

/// The command line with its help.
pub(in crate::cli) fn command() -> Command {
    // Whom to ask is said in the long help.
    let whole = Args::command().mut_args(|arg| arg.hide_short_help(true));
    whole.mut_subcommands(|verb| {
        let own = EXAMPLES.iter().find(|(name, _)| *name == verb.get_name());
        let forms = forms(verb.get_name());
        let takes_ends = verb.get_arguments().any(|arg| {
            let values = arg.get_value_names().unwrap_or_default();
            values.iter().any(|value| value.as_str().contains("END"))
        });
        let mut long = verb
            .get_after_help()
            .map_or_else(String::new, |own| format!("{own}\n\n"));
        if takes_ends {
            long.push_str(END);
            long.push_str("\n\n");
        }
        long.push_str("Examples:");
        for (what, line) in own.map_or(&[][..], |(_, examples)| examples) {
            if !what.is_empty() {
                long.push_str("\n  # ");
                long.push_str(what);
            }
            long.push_str("\n  ");
            long.push_str(line);
        }
        verb.after_help("Everything else, and examples: --help")
            .after_long_help(long)
            .mut_args(|arg| {
                let arg = if arg.get_id() == "format" {
                    formatted(arg, &forms)
                } else {
                    arg
                };
                let is_short = SHORT.contains(&arg.get_id().as_str());
                arg.hide_short_help(!is_short)
            })
    })
}

/// The forms in which a verb's answer can be written.
fn forms(verb: &str) -> Vec<&'static str> {
    let list = |more: &[&'static str]| [&LIST[..], more].concat();
    match verb {
        "edges" => list(&["linkerd"]),
        "flows" | "classify" => list(&["logfmt"]),
        "inventory" => list(&["cyclonedx"]),
        // The wide table of changes is the table.
        "diff" => LIST.into_iter().filter(|form| *form != "wide").collect(),
        // It has no end, and so no document with a head and items.
        "tap" => [
            "table", "json", "jsonl", "yaml", "name", "logfmt", "jsonpath",
        ]
        .into(),
        _ => DOCUMENT.into(),
    }
}

/// `-o` with these forms.
fn formatted(arg: Arg, forms: &[&'static str]) -> Arg {
    let long = format!("How it is written: {}", spelled(forms));
    let first = forms.iter().take(5).copied();
    let more = (forms.len() > 5).then_some("…");
    let short: Vec<_> = first.chain(more).collect();
    let short = short.join(", ");
    let forms = forms.to_vec();
    arg.value_parser(move |text: &str| Format::read(text, &forms))
        .help(short)
        .long_help(long)
}

/// The arguments as this program has them: what `linkerd viz`, `hubble` and `kubectl get` have before
/// the verb is left out, and hubble's word is ours.
pub(in crate::cli) fn arguments(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut args = joined(args);
    if args.len() > 2 && args.get(1).is_some_and(|arg| arg == "viz" || arg == "get") {
        args.remove(1);
    }
    args
}

/// What others call it, and what it is called here.
const OTHERS: [(&str, &str); 24] = [
    ("authz", "mtls check --rules FILE"),
    ("capture", "mtls record -w FILE"),
    ("certificates", "mtls inventory --certificates"),
    ("certs", "mtls inventory --certificates"),
    ("compare", "mtls diff BEFORE AFTER"),
    ("connections", "mtls flows"),
    ("dashboard", "mtls ui"),
    ("describe", "mtls explain FROM TO"),
    ("dump", "mtls record -w FILE"),
    ("get", "mtls edges, mtls flows"),
    ("graph", "mtls ui"),
    ("health", "mtls status, mtls doctor"),
    ("list", "mtls edges, mtls flows"),
    ("logs", "mtls tap"),
    ("monitor", "mtls tap"),
    ("po", "mtls status"),
    ("pods", "mtls status"),
    ("routes", "mtls edges"),
    ("services", "mtls edges svc"),
    ("stat", "mtls edges"),
    ("svc", "mtls edges svc"),
    ("verify", "mtls check"),
    ("viz", "mtls edges, mtls tap, mtls top, mtls ui"),
    ("watch", "mtls edges --watch"),
];

/// Where a verb is unknown here and known elsewhere: what it is called here.
pub(in crate::cli) fn instead(error: &clap::Error) -> Option<&'static str> {
    let ContextValue::String(word) = error.get(ContextKind::InvalidSubcommand)? else {
        return None;
    };
    let known = OTHERS.iter().find(|(other, _)| other == word);
    known.map(|(_, here)| *here)
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;
    use clap::error::ErrorKind;

    use super::*;

    fn verbs() -> Vec<Command> {
        let mut command = command().term_width(80);
        command.build();
        let verbs = command.get_subcommands();
        verbs
            .filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
            .cloned()
            .collect()
    }

    #[test]
    fn the_short_help_fits_a_screen() {
        let top = command().term_width(80).render_help().to_string();
        assert!(top.lines().count() <= 30, "{top}");
        for mut verb in verbs() {
            let text = verb.render_help().to_string();
            assert!(text.lines().count() <= 24, "{}:\n{text}", verb.get_name());
        }
    }

    #[test]
    fn every_verb_has_examples_that_are_right() {
        for mut verb in verbs() {
            let text = verb.render_long_help().to_string();
            let examples: Vec<_> = text
                .lines()
                .filter_map(|line| line.strip_prefix("  mtls "))
                .collect();
            assert!(!examples.is_empty(), "{}", verb.get_name());
            for example in examples {
                let words = std::iter::once("mtls").chain(example.split(' '));
                let words = arguments(words.map(Into::into));
                let matches = command().try_get_matches_from(words);
                let matches = matches.unwrap_or_else(|error| panic!("{example}: {error}"));
                Args::from_arg_matches(&matches).unwrap();
            }
        }
    }

    #[test]
    fn what_others_type_is_understood() {
        for line in [
            "mtls viz edges deploy -n shop",
            "mtls viz tap deploy/web -n shop",
            "mtls observe --from-pod shop/web --to-ip 10.0.0.1 --not --port 53",
            "mtls get edges -A -o wide",
        ] {
            let words = arguments(line.split(' ').map(Into::into));
            command()
                .try_get_matches_from(words)
                .unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn who_knows_another_tool_gets_an_answer_or_a_pointer() {
        for line in [
            "mtls viz edges deployment -n shop -o wide",
            "mtls viz stat deploy -n shop",
            "mtls viz top deploy/web --namespace shop",
            "mtls viz tap ns/shop --to deploy/db -o json",
            "mtls viz routes svc/web",
            "mtls viz authz deploy/web",
            "mtls viz dashboard",
            "mtls viz",
            "mtls stat deploy",
            "mtls observe",
            "mtls observe -n shop --protocol http --last 20 -o jsonpb",
            "mtls observe --from-pod shop/web --to-service data/pg --port 5432",
            "mtls observe --verdict DROPPED",
            "mtls observe -f",
            "mtls list",
            "mtls get edges -A",
            "mtls get flows -n shop -o yaml",
            "mtls get pods -A -o wide",
            "mtls get svc",
            "mtls get",
            "mtls describe deploy/web",
            "mtls logs deploy/web",
            "mtls top pods",
            "mtls status",
        ] {
            let words = arguments(line.split(' ').map(Into::into));
            let Err(error) = command().try_get_matches_from(words) else {
                continue;
            };
            let text = error.to_string();
            let pointer = instead(&error).is_some();
            // A wrong value lists the right ones, and what no verb takes is said with the verb's help.
            let is_unknown = error.kind() == ErrorKind::InvalidSubcommand;
            let says = text.contains("write ") || (!is_unknown && text.contains("--help"));
            assert!(pointer || says, "{line}: {text}");
        }
        let verbs: Vec<_> = verbs()
            .iter()
            .map(|verb| verb.get_name().to_owned())
            .collect();
        for (other, here) in OTHERS {
            assert!(!verbs.contains(&other.to_owned()), "{other} is a verb");
            for line in here.split(", ") {
                let verb = line.split(' ').nth(1).unwrap_or_default();
                assert!(verbs.contains(&verb.to_owned()), "{other}: {line}");
            }
            let error = command().try_get_matches_from(["mtls", other]).unwrap_err();
            assert_eq!(instead(&error), Some(here), "{other}: {error}");
        }
    }

    #[test]
    fn helps() {
        insta::assert_snapshot!("help", command().term_width(80).render_help());
        for mut verb in verbs() {
            let name = verb.get_name().to_owned();
            insta::assert_snapshot!(format!("help_{name}"), verb.render_help());
            insta::assert_snapshot!(format!("help_{name}_long"), verb.render_long_help());
        }
    }
}
