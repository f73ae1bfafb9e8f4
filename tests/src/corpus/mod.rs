//! The corpus of captured handshakes: made with real TLS stacks, each flow with its ground truth.
//!
//! The ground truth comes from how the peers were configured and from their own success, never from
//! the packets: a server that requires a certificate and then answers the request has verified one.

mod options;
mod special;
mod stacks;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::bench::capture::read as frames;
use crate::netns::{Node, Pod};
use crate::pki::Pki;
use options::{CASES, OPTIONS, Options};
use special::{SPECIALS, Special};
use stacks::{Ask, Kit, STACKS, Stack, Version};

const PATIENCE: Duration = Duration::from_secs(20);
const PORT: u16 = 8443;

/// The ground truth of a flow.
#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    ask: Ask,
    certificate: bool,
    completes: bool,
}

const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "server-only",
        ask: Ask::No,
        certificate: false,
        completes: true,
    },
    Scenario {
        name: "mutual",
        ask: Ask::Need,
        certificate: true,
        completes: true,
    },
    Scenario {
        name: "requested-none",
        ask: Ask::Want,
        certificate: false,
        completes: true,
    },
    Scenario {
        name: "refused",
        ask: Ask::Need,
        certificate: false,
        completes: false,
    },
];

/// Regenerates every capture whose name contains `only`, or one of its parts between commas, in `out`,
/// and their rows of `truth.csv`.
pub fn make(out: &Path, only: &str) -> Result<()> {
    let node = Node::new()?;
    let pki = Pki::new(&node.files().join("pki"))?;
    let pcaps = out.join("pcap");
    fs::create_dir_all(&pcaps).with_context(|| format!("make {}", pcaps.display()))?;
    let mut corpus = Corpus {
        client: node.pod("corpus", "client")?,
        server: node.pod("corpus", "db")?,
        kit: Kit::new(&node.files().join("kit"), &pki)?,
        pcaps,
        only: only.split(',').map(str::to_owned).collect(),
        truths: BTreeMap::new(),
    };
    for version in [Version::Tls13, Version::Tls12] {
        for scenario in SCENARIOS {
            for serving in STACKS {
                for asking in STACKS {
                    corpus.pair(version, scenario, asking, serving);
                }
            }
        }
    }
    for special in SPECIALS {
        corpus.special(special);
    }
    for options in OPTIONS {
        for case in CASES.into_iter().filter(|case| options.has(*case)) {
            corpus.options(options, case);
        }
    }
    if corpus.truths.is_empty() {
        bail!("not one capture could be made");
    }
    write_truths(&out.join("truth.csv"), corpus)
}

/// Writes the new rows, and keeps those of all other captures.
fn write_truths(path: &Path, corpus: Corpus) -> Result<()> {
    let mut truths = corpus.truths;
    let before = fs::read_to_string(path).unwrap_or_default();
    for line in before.lines().skip(1) {
        if let Some((name, row)) = line.split_once(',')
            && !corpus.only.iter().any(|only| name.contains(only))
        {
            truths.insert(name.to_owned(), row.to_owned());
        }
    }
    let mut text = "pcap,client,server,version,truth\n".to_owned();
    for (name, row) in truths {
        writeln!(text, "{name},{row}")?;
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// Whether a client's output is as expected.
type Proof<'a> = &'a dyn Fn(&str) -> bool;

/// The corpus being made.
struct Corpus {
    client: Pod,
    server: Pod,
    kit: Kit,
    pcaps: PathBuf,
    only: Vec<String>,
    /// The rest of each row, by the capture's name.
    truths: BTreeMap<String, String>,
}

impl Corpus {
    /// One scenario between two stacks.
    fn pair(&mut self, version: Version, scenario: Scenario, asking: Stack, serving: Stack) {
        let (client, server, version_name) = (asking.name(), serving.name(), version.name());
        let name = format!("{version_name}-{}-{client}-{server}.pcap", scenario.name);
        let serve = self.kit.server(serving, PORT, version, scenario.ask);
        let ask = self
            .kit
            .client(asking, self.address(), version, scenario.certificate);
        let proof = |told: &str| told.contains("HTTP/1.") == scenario.completes;
        let row = format!("{client},{server},{version_name},{}", scenario.name);
        self.add(name, row, serve, vec![(ask, &proof)]);
    }

    /// An option of OpenSSL only.
    fn special(&mut self, special: &Special) {
        let name = format!("{}-{}-openssl-openssl.pcap", special.version, special.name);
        let serve = special.serve(&self.kit, PORT);
        let mut truths = Vec::new();
        let mut asks: Vec<(Command, Proof<'_>)> = Vec::new();
        for connection in special.connections {
            truths.push(connection.truth);
            let ask = connection.connect(&self.kit, self.address());
            asks.push((ask, &connection.proof));
        }
        let row = format!("openssl,openssl,{},{}", special.version, truths.join("+"));
        self.add(name, row, serve, asks);
    }

    /// A client with an option that changes its flight.
    fn options(&mut self, options: &Options, case: options::Case) {
        let Options {
            client, version, ..
        } = options;
        let name = format!(
            "{version}-{}-{client}-{}-{}.pcap",
            case.truth,
            options.name,
            options.server()
        );
        let serve = options.serve(&self.kit, PORT, case);
        let ask = options.connect(&self.kit, self.address(), case);
        let proof = |printed: &str| options.is_proven_by(case, printed);
        let (server, word) = (options.server(), options.word(case));
        let row = format!("{client},{server},{version},{word}");
        self.add(name, row, serve, vec![(ask, &proof)]);
    }

    fn address(&self) -> SocketAddr {
        (self.server.v4(), PORT).into()
    }

    /// Adds a capture with its row of ground truth, or reports why it is missing.
    fn add(&mut self, name: String, row: String, serve: Command, asks: Vec<(Command, Proof<'_>)>) {
        if !self.only.iter().any(|only| name.contains(only)) {
            return;
        }
        match self.record(&name, serve, asks) {
            Ok(()) => {
                eprintln!("{:4} {name}", self.truths.len() + 1);
                self.truths.insert(name, row);
            }
            Err(error) => {
                let _ = fs::remove_file(self.pcaps.join(&name));
                eprintln!("   - {name}: left out: {error:#}");
            }
        }
    }

    /// Captures the connections of `asks`, one after the other, to the server of `serve`.
    fn record(&self, name: &str, serve: Command, asks: Vec<(Command, Proof<'_>)>) -> Result<()> {
        let file = self.pcaps.join(name);
        let listening = self.server.start(serve)?;
        self.server
            .await_listener(PORT, PATIENCE)
            .with_context(|| format!("the server does not serve\n{}", listening.told()))?;
        let mut dumpcap = Command::new("dumpcap");
        let filter = format!("tcp port {PORT}");
        dumpcap.args(["-q", "-P", "-i", "eth0", "-f", &filter, "-w"]);
        dumpcap.arg(&file);
        let mut capture = self.server.start(dumpcap)?;
        capture
            .err
            .find(PATIENCE, |line| line.starts_with("File: ").then_some(()))
            .with_context(|| format!("dumpcap does not start\n{}", capture.told()))?;
        // Its socket is open shortly after it reports so.
        std::thread::sleep(Duration::from_millis(150));
        let connections = asks.len();
        for (ask, proof) in asks {
            let mut asked = self.client.start(ask)?;
            let _ = asked.wait(PATIENCE);
            let told = asked.told();
            if !proof(&told) {
                bail!("it did not go as it had to\n{told}\n{}", listening.told());
            }
        }
        std::thread::sleep(Duration::from_millis(500));
        capture.signal(Signal::SIGINT)?;
        capture.wait(PATIENCE)?;
        let ended = frames(&file).map_or(0, |frames| frames.iter().filter(|f| f.ends()).count());
        if ended < connections {
            bail!("dumpcap was stopped before it had written the end of the connection");
        }
        Ok(())
    }
}
