//! The help texts: a short one that fits a screen (`-h`), and a long one with examples (`--help`).

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, CommandFactory};

use super::Args;
use super::select::joined;
use crate::output::{DOCUMENT, Format, LIST, spelled};

/// How a client or server is written.
const END: &str = "END is a client or server: deploy/web, pod/x, svc/x, ns/shop, shop/web, web, an address, a CIDR, node, external, unknown.";

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

/// Questions and the commands that answer them, by verb.
const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        "check",
        &[
            (
                "is all traffic of namespace shop mutual TLS?",
                "mtls check -n shop",
            ),
            (
                "the same for the traffic of the next minute",
                "mtls check -n shop --for 60s --min-flows 10",
            ),
            (
                "with a file of rules, for code scanning",
                "mtls check --rules rules.yaml -o sarif",
            ),
            (
                "what would break with STRICT?",
                "mtls check --strict-ready -n shop",
            ),
        ],
    ),
    (
        "classify",
        &[
            ("what is in a capture?", "mtls classify dump.pcap"),
            (
                "what is plaintext in it?",
                "mtls classify dump.pcap --verdict plaintext -o wide",
            ),
        ],
    ),
    (
        "daemon",
        &[
            ("watch every pod of this node", "mtls daemon"),
            (
                "with names from Kubernetes",
                "mtls daemon --kubeconfig /etc/kubernetes/admin.conf --node-name node-1",
            ),
        ],
    ),
    (
        "edges",
        &[
            (
                "who connects to the database in plaintext?",
                "mtls edges --to data/pg --port 5432 --verdict plaintext",
            ),
            (
                "everything but DNS, the busiest edges first",
                "mtls edges --not --port 53 --sort-by -connections",
            ),
            (
                "save the answer, and later see what has changed",
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
                "why does this connection have its verdict?",
                "mtls explain c4396a12f63f53ce",
            ),
        ],
    ),
    (
        "diff",
        &[
            ("what has changed?", "mtls diff before.json after.json"),
            (
                "fail a nightly job if something got worse",
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
                "plaintext connections, with all columns",
                "mtls flows --verdict plaintext -o wide",
            ),
        ],
    ),
    (
        "inventory",
        &[
            (
                "what violates this policy?",
                "mtls inventory --policy intermediate",
            ),
            (
                "which certificates expire next?",
                "mtls inventory --certificates",
            ),
            (
                "a cryptography bill of materials (CycloneDX)",
                "mtls inventory -o cyclonedx",
            ),
        ],
    ),
    (
        "record",
        &[
            (
                "the plaintext connections to the database, with payload",
                "mtls record --to data/pg --verdict plaintext --payload -w pg.pcapng",
            ),
            (
                "a copy of a capture without confidential data",
                "mtls record --from dump.pcap -w handshakes.pcapng",
            ),
        ],
    ),
    (
        "tap",
        &[
            ("live connections of namespace shop", "mtls tap -n shop"),
            ("ten seconds, for a program", "mtls tap --for 10s -o jsonl"),
        ],
    ),
    (
        "top",
        &[
            ("the edges of this node, live", "mtls top"),
            (
                "only connections to the database",
                "mtls top --to data/pg --port 5432",
            ),
            ("a saved answer", "mtls top --from edges.json"),
        ],
    ),
    (
        "status",
        &[
            ("what is not watched, and why?", "mtls status"),
            ("for a readiness probe", "mtls status --ready"),
        ],
    ),
    (
        "ui",
        &[
            ("open the page of this node in the browser", "mtls ui"),
            (
                "on a fixed port, for an SSH tunnel",
                "mtls ui --listen 8420 --no-open",
            ),
            ("a saved answer", "mtls ui --from edges.json"),
        ],
    ),
    (
        "report",
        &[
            ("create the report in directory audit", "mtls report audit"),
            (
                "for one namespace, signed",
                "mtls report audit -n shop --sign minisign.key",
            ),
            ("from a saved answer", "mtls report audit --from edges.json"),
        ],
    ),
    ("doctor", &[("can the daemon run here?", "mtls doctor")]),
    (
        "version",
        &[("versions of program and daemon", "mtls version")],
    ),
    (
        "completion",
        &[(
            "for bash, to be loaded with source <(mtls completion bash)",
            "mtls completion bash",
        )],
    ),
];

/// The command line with its help.
pub(in crate::cli) fn command() -> Command {
    // The options that choose the source are in the long help.
    let whole = Args::command().mut_args(|arg| arg.hide_short_help(true));
    let mut whole = whole.mut_subcommands(|verb| {
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
        verb.after_help("More options and examples: --help")
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
    });
    // Gives every verb the global options.
    whole.build();
    whole.mut_subcommands(|verb| {
        let is_local = LOCAL.contains(&verb.get_name());
        let is_daemon = verb.get_name() == "daemon";
        verb.mut_args(|arg| {
            let id = arg.get_id().as_str();
            // The daemon has a kubeconfig of its own.
            let is_foreign = GLOBAL.contains(&id) || (id == "kubeconfig" && !is_daemon);
            arg.hide(is_local && is_foreign)
        })
    })
}

/// Verbs that query no daemon, and the options that they therefore do not show.
const LOCAL: [&str; 4] = ["classify", "completion", "daemon", "diff"];
const GLOBAL: [&str; 6] = [
    "as_account",
    "context",
    "daemon_namespace",
    "node_timeout",
    "selector",
    "token_file",
];

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
    let long = format!("The output format: {}", spelled(forms));
    let first = forms.iter().take(4).copied();
    let more = (forms.len() > 4).then_some("and more");
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
    ("authz", "`mtls check --rules FILE`"),
    ("capture", "`mtls record -w FILE`"),
    ("certificates", "`mtls inventory --certificates`"),
    ("certs", "`mtls inventory --certificates`"),
    ("compare", "`mtls diff BEFORE AFTER`"),
    ("connections", "`mtls flows`"),
    ("dashboard", "`mtls ui`"),
    ("describe", "`mtls explain FROM TO`"),
    ("dump", "`mtls record -w FILE`"),
    ("get", "`mtls edges` or `mtls flows`"),
    ("graph", "`mtls ui`"),
    ("health", "`mtls status` or `mtls doctor`"),
    ("list", "`mtls edges` or `mtls flows`"),
    ("logs", "`mtls tap`"),
    ("monitor", "`mtls tap`"),
    ("po", "`mtls status`"),
    ("pods", "`mtls status`"),
    ("routes", "`mtls edges`"),
    ("services", "`mtls edges svc`"),
    ("stat", "`mtls edges`"),
    ("svc", "`mtls edges svc`"),
    ("verify", "`mtls check`"),
    (
        "viz",
        "`mtls edges` or `mtls tap` or `mtls top` or `mtls ui`",
    ),
    ("watch", "`mtls edges --watch`"),
];

/// Where a verb is unknown here and known elsewhere: what it is called here.
pub(in crate::cli) fn instead(error: &clap::Error) -> Option<(&'static str, &'static str)> {
    let ContextValue::String(word) = error.get(ContextKind::InvalidSubcommand)? else {
        return None;
    };
    OTHERS.iter().find(|(other, _)| other == word).copied()
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
            .map(|verb| verb.clone().term_width(80))
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
    fn help_needs_no_more_than_ascii() {
        for mut verb in verbs() {
            let text = verb.render_long_help().to_string();
            assert!(text.is_ascii(), "{}:\n{text}", verb.get_name());
        }
    }

    #[test]
    fn verbs_show_only_options_that_they_use() {
        for mut verb in verbs() {
            let text = verb.render_long_help().to_string();
            let is_local = LOCAL.contains(&verb.get_name());
            assert_eq!(is_local, !text.contains("--context"), "{}", verb.get_name());
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
            for line in here.split('`').filter(|part| part.starts_with("mtls")) {
                let verb = line.split(' ').nth(1).unwrap_or_default();
                assert!(verbs.contains(&verb.to_owned()), "{other}: {line}");
            }
            let error = command().try_get_matches_from(["mtls", other]).unwrap_err();
            assert_eq!(instead(&error), Some((other, here)), "{other}: {error}");
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
