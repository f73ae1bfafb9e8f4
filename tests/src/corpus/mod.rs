//! The corpus of captured handshakes: made by real TLS stacks, each flow with its truth.
//!
//! The truth comes from how the peers were told to behave and from their own success, never from
//! looking at the packets: a server that demands a certificate and then answers the request has
//! verified one.

mod stacks;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::bench::capture::{Frame, read as frames};
use crate::netns::{Node, Pod};
use crate::pki::Pki;
use crate::process::Process;
use stacks::{Ask, Kit, STACKS, Stack, Version};

const PATIENCE: Duration = Duration::from_secs(20);
const PORT: u16 = 8443;

/// What a flow is, as its peers know it.
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

/// Makes every capture anew in `out`, with `truth.csv` beside them.
pub fn make(out: &Path) -> Result<()> {
    let node = Node::new()?;
    let (client, server) = (node.pod("corpus", "client")?, node.pod("corpus", "db")?);
    let pki = Pki::new(&node.files().join("pki"))?;
    let kit = Kit::new(&node.files().join("kit"), &pki)?;
    let pcaps = out.join("pcap");
    fs::create_dir_all(&pcaps).with_context(|| format!("make {}", pcaps.display()))?;
    let mut truth = fs::File::create(out.join("truth.csv")).context("make truth.csv")?;
    writeln!(truth, "pcap,client,server,version,truth")?;
    let mut made = 0;
    for version in [Version::Tls13, Version::Tls12] {
        for scenario in SCENARIOS {
            for serving in STACKS {
                for asking in STACKS {
                    let name = format!(
                        "{}-{}-{}-{}.pcap",
                        version.name(),
                        scenario.name,
                        asking.name(),
                        serving.name(),
                    );
                    let setting = Setting {
                        kit: &kit,
                        version,
                        scenario,
                        asking,
                        serving,
                    };
                    match setting.record(&client, &server, &pcaps.join(&name)) {
                        Ok(()) => {
                            made += 1;
                            writeln!(
                                truth,
                                "{name},{},{},{},{}",
                                asking.name(),
                                serving.name(),
                                version.name(),
                                scenario.name
                            )?;
                            eprintln!("{made:4} {name}");
                        }
                        Err(error) => {
                            let _ = fs::remove_file(pcaps.join(&name));
                            eprintln!("   - {name}: left out: {error:#}");
                        }
                    }
                }
            }
        }
    }
    if made == 0 {
        bail!("not one capture could be made");
    }
    Ok(())
}

struct Setting<'a> {
    kit: &'a Kit,
    version: Version,
    scenario: Scenario,
    asking: Stack,
    serving: Stack,
}

impl Setting<'_> {
    fn record(&self, client: &Pod, server: &Pod, file: &Path) -> Result<()> {
        let listening =
            server.start(
                self.kit
                    .server(self.serving, PORT, self.version, self.scenario.ask),
            )?;
        server.await_listener(PORT, PATIENCE).with_context(|| {
            format!(
                "{} does not serve\n{}",
                self.serving.name(),
                listening.told()
            )
        })?;
        let mut dumpcap = Command::new("dumpcap");
        dumpcap.args([
            "-q",
            "-P",
            "-i",
            "eth0",
            "-f",
            &format!("tcp port {PORT}"),
            "-w",
        ]);
        dumpcap.arg(file);
        let mut capture = server.start(dumpcap)?;
        capture
            .err
            .find(PATIENCE, |line| line.starts_with("File: ").then_some(()))
            .with_context(|| format!("dumpcap does not start\n{}", capture.told()))?;
        // Its socket is open a little after it says so.
        std::thread::sleep(Duration::from_millis(150));
        let mut asked = client.start(self.kit.client(
            self.asking,
            (server.v4(), PORT).into(),
            self.version,
            self.scenario.certificate,
        ))?;
        let _ = asked.wait(PATIENCE);
        std::thread::sleep(Duration::from_millis(500));
        stop(&mut capture)?;
        let answered = asked.told().contains("HTTP/1.");
        let whole = frames(file).is_ok_and(|frames| frames.iter().any(Frame::ends));
        if !whole {
            bail!("dumpcap was stopped before it had written the end of the connection");
        }
        if answered != self.scenario.completes {
            bail!(
                "answered: {answered}\n{}\n{}",
                asked.told(),
                listening.told()
            );
        }
        Ok(())
    }
}

fn stop(capture: &mut Process) -> Result<()> {
    capture.signal(Signal::SIGINT)?;
    capture.wait(PATIENCE)?;
    Ok(())
}
