//! Which source is queried, which records are shown, and in which format: the same for every verb.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::history::History;
use super::time::since;
use crate::cluster::Namespace;
use crate::output::Format;
use crate::select::{End, Filter, Ports, Since, Test, Wanted};
use crate::source::Source;
use crate::usage::wrong;

/// How a file is distinguished from an end that is called like it.
const FILES: [&str; 9] = [
    ".json", ".jsonl", ".pcap", ".pcapng", ".cap", ".snoop", ".gz", ".zst", ".dmp",
];

/// Filters.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Filters (several values of one are alternatives)")]
pub(in crate::cli) struct Select {
    /// Only from or to this namespace; repeatable.
    #[arg(short, long = "namespace", value_name = "NAME")]
    namespaces: Vec<String>,
    /// All namespaces: the default on a node; on a cluster, the default is the context's namespace.
    #[arg(short = 'A', long, conflicts_with = "namespaces")]
    all_namespaces: bool,
    /// Only this client; or a file to read.
    ///
    /// A file is a capture, or a saved answer (-o json, -o jsonl). Its name ends in .json, .pcap or the
    /// like, or begins with / or ./; - is standard input.
    #[arg(long, aliases = ["from-pod", "from-ip", "from-service", "from-workload"], value_name = "END|FILE")]
    from: Vec<Origin>,
    /// Only this server.
    #[arg(long, aliases = ["to-pod", "to-ip", "to-service", "to-workload"], value_name = "END")]
    to: Vec<End>,
    /// Only between these two, in either direction.
    #[arg(long, num_args = 2, value_names = ["END", "END"])]
    between: Vec<End>,
    /// Only this server port, or a range: 8000-8999.
    #[arg(long = "port", value_name = "PORT", value_delimiter = ',')]
    ports: Vec<Ports>,
    /// Only this protocol: tls, quic, http, postgresql and others.
    #[arg(long = "protocol", value_name = "NAME", value_delimiter = ',')]
    protocols: Vec<String>,
    /// Only this verdict (plaintext) or status (clear).
    ///
    /// A wrong word lists the right ones.
    #[arg(long = "verdict", value_name = "WORD", value_delimiter = ',')]
    verdicts: Vec<Wanted>,
    /// Not what matches this filter: --not port=53.
    #[arg(long, value_name = "FILTER=VALUE", value_parser = negated)]
    not: Vec<Test>,
    /// Only if seen in the last 10m, or since a time.
    ///
    /// Write a time like 2026-11-28T05:25:08Z.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// Only the N that were seen last.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    last: Option<u32>,
    #[command(flatten)]
    history: History,
}

/// What `--from` names.
#[derive(Clone, PartialEq, Debug)]
enum Origin {
    End(End),
    File(PathBuf),
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_path = text == "-" || text.starts_with(['.', '/']);
        if is_path || FILES.iter().any(|ending| text.ends_with(ending)) {
            return Ok(Self::File(text.into()));
        }
        let end = text.parse::<End>();
        let is_plain = matches!(end, Err(_) | Ok(End::Workload { kind: None, .. }));
        if !is_plain || !Path::new(text).is_file() {
            return end.map(Self::End);
        }
        // It may be meant either way, and the answers would be about different traffic.
        let name = text.rsplit('/').next().unwrap_or(text);
        Err(format!(
            "there is a file `{text}`: to read it (a capture: pcap, pcapng or snoop, plain, gzip or \
             zstd; or an answer that was saved with -o json or -o jsonl), write ./{text}; for a \
             workload of that name, write deploy/{name}, svc/{name} or pod/{name}"
        ))
    }
}

/// `port=53`.
fn negated(text: &str) -> Result<Test, String> {
    let names = "namespace, from, to, port, protocol, verdict";
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("write FILTER=VALUE, of the filters {names}"))?;
    Ok(match name {
        "n" | "namespace" => Test::Namespace(value.into()),
        "from" => Test::From(value.parse()?),
        "to" => Test::To(value.parse()?),
        "port" => Test::Port(value.parse()?),
        "protocol" => Test::Protocol(value.into()),
        "verdict" => Test::Verdict(value.parse()?),
        _ => return Err(format!("`{name}` is not a filter: write one of {names}")),
    })
}

/// `--not --port 53` as `--not port=53`, for whoever knows it from hubble.
pub(in crate::cli) fn joined(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut out = Vec::<OsString>::new();
    let mut args = args.peekable();
    while let Some(arg) = args.next() {
        let follows = (arg == "--not")
            .then(|| args.peek()?.to_str()?.strip_prefix("--"))
            .flatten()
            .filter(|name| !name.is_empty())
            .map(str::to_owned);
        out.push(arg);
        let Some(name) = follows else { continue };
        args.next();
        let mut text = OsString::from(&name);
        if !name.contains('=') {
            text.push("=");
            text.push(args.next().unwrap_or_default());
        }
        out.push(text);
    }
    out
}

impl Select {
    /// What is asked for.
    pub(in crate::cli) fn filter(&self) -> Filter {
        self.with(&[])
    }

    /// The same of edges and connections with one of these at either end.
    pub(in crate::cli) fn with(&self, either: &[End]) -> Filter {
        let ends = self.from.iter().filter_map(|from| match from {
            Origin::End(end) => Some(Test::From(end.clone())),
            Origin::File(_) => None,
        });
        let namespaces = self.namespaces.iter().cloned().map(Test::Namespace);
        let between = self.between.chunks_exact(2);
        let groups = [
            either.iter().cloned().map(Test::Either).collect(),
            namespaces.collect(),
            ends.collect(),
            self.to.iter().cloned().map(Test::To).collect(),
            between
                .map(|two| Test::Between(two[0].clone(), two[1].clone()))
                .collect(),
            self.ports.iter().cloned().map(Test::Port).collect(),
            self.protocols.iter().cloned().map(Test::Protocol).collect(),
            self.verdicts.iter().copied().map(Test::Verdict).collect(),
        ];
        Filter {
            all: Vec::from(groups),
            not: self.not.clone(),
            since: self.since,
            last: self.last.map(|last| last as usize),
        }
    }

    /// The namespaces that are asked for.
    pub(in crate::cli) fn namespaces(&self) -> &[String] {
        &self.namespaces
    }

    /// Who is asked: whom everything is asked of, unless a file or a server was named.
    pub(in crate::cli) fn source(&self, whom: &Source) -> anyhow::Result<Source> {
        let mut files = self.from.iter().filter_map(|from| match from {
            Origin::File(path) => Some(path),
            Origin::End(_) => None,
        });
        let question = self.history.question(self.since);
        match (files.next(), files.next()) {
            (Some(_), _) if question.is_some() => {
                wrong("--from FILE and --prometheus cannot be used together")
            }
            (None, _) if question.is_some() => Ok(question.map_or_else(
                || whom.clone(),
                |question| Source::Prometheus(Box::new(question)),
            )),
            (None, _) => Ok(match (whom, &self.namespaces[..]) {
                (Source::Cluster(options, _), _) if self.all_namespaces => {
                    Source::Cluster(options.clone(), Namespace::All)
                }
                (Source::Cluster(options, _), [one]) => {
                    Source::Cluster(options.clone(), Namespace::One(one.clone()))
                }
                (Source::Cluster(options, _), [_, ..]) => {
                    Source::Cluster(options.clone(), Namespace::All)
                }
                (whom, _) => whom.clone(),
            }),
            (Some(_), None) if matches!(whom, Source::Cluster(options, _) if options.is_asked_for()) => {
                wrong(
                    "--from FILE cannot be used with -l, --context and the other options of a cluster",
                )
            }
            (Some(file), None) => Ok(Source::File(file.clone())),
            (Some(_), Some(_)) => wrong("--from names several files: only one can be read"),
        }
    }
}

impl Select {
    /// Of a verb that names its files itself: an error where another source is named.
    pub(in crate::cli) fn names_no_source(&self) -> anyhow::Result<()> {
        let is_file = |from: &Origin| matches!(from, Origin::File(_));
        if self.from.iter().any(is_file) || self.history.question(self.since).is_some() {
            return wrong("the files are named without --from, and no other source can be given");
        }
        Ok(())
    }

    /// Who is asked where `first` does not answer.
    pub(in crate::cli) fn second(&self, first: &Source) -> Option<Source> {
        let question = self.history.second(self.since);
        let question = question.filter(|_| first.is_live())?;
        Some(Source::Prometheus(Box::new(question)))
    }
}

/// The format of the answer.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(in crate::cli) struct Output {
    /// The output format; `help::forms` has those of each verb.
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(in crate::cli) format: Format,
    /// Print rows only: no header, and no lines above or below the table.
    #[arg(long)]
    pub(in crate::cli) no_headers: bool,
    /// Sort by a field of the JSON (.dst.port, .last_seen); with a - before it, in descending order.
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    pub(in crate::cli) sort_by: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_takes_the_filter_that_follows_it() {
        let read = |line: &str| joined(line.split(' ').map(Into::into)).join(" ".as_ref());
        assert_eq!(read("edges --not --port 53 -A"), "edges --not port=53 -A");
        assert_eq!(read("edges --not --to=web"), "edges --not to=web");
        assert_eq!(read("edges --not port=53"), "edges --not port=53");
        assert_eq!(read("edges --not"), "edges --not");
        assert_eq!(negated("port=53"), Ok(Test::Port("53".parse().unwrap())));
        for wrong in ["53", "colour=red", "verdict=green", "port=x"] {
            assert!(negated(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_is_told_from_an_end() {
        for file in ["a.json", "./web", "/tmp/x", "-", "x.pcap.gz"] {
            assert!(matches!(file.parse(), Ok(Origin::File(_))), "{file}");
        }
        for end in ["deploy/web", "web", "10.0.0.0/8", "external"] {
            assert!(matches!(end.parse(), Ok(Origin::End(_))), "{end}");
        }
        assert!("deploy//".parse::<Origin>().is_err());
        // Tests run in the directory of the package.
        for file in ["Cargo.toml", "src/main.rs"] {
            let error = file.parse::<Origin>().unwrap_err();
            assert!(error.contains(&format!("./{file}")), "{error}");
            assert!(
                error.contains("deploy/") && error.contains("pcapng"),
                "{error}"
            );
        }
        for end in ["deploy/Cargo.toml", "src"] {
            assert!(matches!(end.parse(), Ok(Origin::End(_))), "{end}");
        }
    }
}
