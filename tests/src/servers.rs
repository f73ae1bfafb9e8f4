//! Real servers and their own clients, observed twice: by the daemon, and by a capture that `mtls
//! classify` reads.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use serde_json::Value;

use crate::bin;
use crate::capture::Capture;
use crate::daemon::{Daemon, Tap, mtls};
use crate::netns::Pod;
use crate::pki::spiffe_id;
use crate::process::Process;
use crate::scene::Scene;

/// Timeout for a server to listen, and for a client to finish.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A scene with both observers. Servers run in its pod `db`, clients in `web`.
pub struct Watched {
    tap: Tap,
    capture: Capture,
    packets: PathBuf,
    /// The flows that were checked.
    seen: RefCell<Vec<Value>>,
    _daemon: Daemon,
    /// The node and its pods.
    pub scene: Scene,
}

impl Watched {
    /// Moves this thread onto a new node, and starts both observers.
    pub fn new() -> Result<Self> {
        let scene = Scene::new()?;
        let daemon = Daemon::start(&scene.node)?;
        let packets = scene.node.files().join("packets.pcap");
        Ok(Self {
            tap: daemon.tap()?,
            capture: Capture::start(&scene.db.veth(), &packets)?,
            packets,
            seen: RefCell::default(),
            _daemon: daemon,
            scene,
        })
    }

    /// The server's address.
    pub fn ip(&self) -> String {
        self.scene.db.v4().to_string()
    }

    /// An empty directory for a server's files.
    pub fn dir(&self, name: &str) -> Result<String> {
        let dir = self.scene.node.files().join(name);
        std::fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        text(dir)
    }

    /// Covers a system directory with an empty one, on this node.
    pub fn cover(&self, dir: &str) -> Result<()> {
        let tmpfs = Some("tmpfs");
        mount(tmpfs, dir, tmpfs, MsFlags::empty(), None::<&str>)
            .with_context(|| format!("cover {dir}"))
    }

    /// Writes a server's configuration to a file.
    pub fn config(&self, name: &str, content: &str) -> Result<String> {
        let path = self.scene.node.files().join(name);
        std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        text(path)
    }

    /// The files with a workload's certificate, its key, and the authority.
    pub fn tls(&self, workload: &str) -> Result<[String; 3]> {
        let own = self.scene.pki.identity(workload)?;
        Ok([
            text(own.cert)?,
            text(own.key)?,
            text(self.scene.pki.ca.clone())?,
        ])
    }

    /// Starts a server that stays in the foreground; it is listening on `port` when this returns.
    pub fn serve(&self, port: u16, line: &str) -> Result<Process> {
        self.serve_in(&self.scene.db, port, line)
    }

    /// Starts a server in the given pod.
    pub fn serve_in(&self, pod: &Pod, port: u16, line: &str) -> Result<Process> {
        let mut server = pod.start(command(line)?)?;
        let listens = pod.await_listener(port, PATIENCE);
        ensure!(
            listens.is_ok() && server.running()?,
            "{line} does not serve port {port}\n{}",
            server.told()
        );
        Ok(server)
    }

    /// Runs a client to its successful end; returns its output.
    pub fn client(&self, line: &str) -> Result<String> {
        let mut client = self.scene.web.start(command(line)?)?;
        client.succeed(PATIENCE).with_context(|| line.to_owned())
    }

    /// Runs a client that is rejected.
    pub fn turned_away(&self, line: &str) -> Result<()> {
        let mut client = self.scene.web.start(command(line)?)?;
        let status = client.wait(PATIENCE)?;
        ensure!(!status.success(), "{line} succeeded\n{}", client.told());
        Ok(())
    }

    /// Runs `openssl s_client` with `input` for the server.
    pub fn openssl(&self, port: u16, args: &str, input: &str) -> Result<String> {
        let line = format!("openssl s_client -connect {}:{port} {args}", self.ip());
        let mut client = (self.scene.web).start_with_input(command(&line)?, input.as_bytes())?;
        client.wait(PATIENCE)?;
        Ok(client.told())
    }

    /// Waits until the daemon has a verdict for an open connection to `port`.
    pub fn await_verdict(&self, port: u16) -> Result<()> {
        self.tap.find(|record| record["dst"]["port"] == port)?;
        Ok(())
    }

    /// The daemon's final record of a connection to `port` that has not been checked yet.
    ///
    /// # Panics
    ///
    /// If verdict, evidence or protocol differ.
    pub fn expect(&self, port: u16, wanted: [&str; 3]) -> Result<Value> {
        let mut seen = self.seen.borrow_mut();
        let record = self.tap.find(|record| {
            let ended = record["event"] == "closed" && record["dst"]["port"] == port;
            ended && !seen.iter().any(|one| one["id"] == record["id"])
        })?;
        let found = ["verdict", "evidence", "protocol"].map(|key| record[key].as_str());
        assert_eq!(found, wanted.map(Some), "{record:#}");
        assert_eq!(record["origin"], "syn", "{record:#}");
        assert_eq!(record["dst"]["name"], "db", "{record:#}");
        seen.push(record.clone());
        Ok(record)
    }

    /// The next connection to `port` was plaintext from its first byte on.
    pub fn clear(&self, port: u16, protocol: &str) -> Result<Value> {
        self.expect(port, ["plaintext", "first-bytes", protocol])
    }

    /// The next connection to `port` was secured by TLS of `version`, from its start or (for
    /// protocols other than `tls`) in band, and with this state of the client certificate.
    ///
    /// # Panics
    ///
    /// If it was not.
    pub fn secure(
        &self,
        port: u16,
        protocol: &str,
        version: &str,
        certificate: &str,
    ) -> Result<Value> {
        let verdict = match certificate {
            "presented" => "mtls",
            "refused" => "failed",
            _ => "tls",
        };
        let evidence = match version {
            "1.3" => "handshake-shape",
            _ => "certificates",
        };
        let flow = self.expect(port, [verdict, evidence, protocol])?;
        let tls = &flow["tls"];
        assert_eq!(tls["version"], version, "{flow:#}");
        assert_eq!(tls["client_certificate"], certificate, "{flow:#}");
        if (version, certificate) == ("1.2", "presented") {
            assert_eq!(tls["client_identity"], spiffe_id("web"), "{flow:#}");
        }
        let turned = format!("upgrade: {protocol} upgraded to TLS in band");
        assert_eq!(has_note(&flow, &turned), protocol != "tls", "{flow:#}");
        Ok(flow)
    }

    /// Ends the capture, and checks that it gives the same results, and no other connection.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub fn compare(self) -> Result<()> {
        self.capture.stop()?;
        let args = ["classify", "-o", "jsonl"].map(Into::into);
        let answer = mtls(args.into_iter().chain([self.packets]))?;
        let mut flows = Vec::new();
        for line in answer.out.lines() {
            let flow: Value = serde_json::from_str(line)?;
            flows.push(flow);
        }
        let seen = self.seen.into_inner();
        assert_eq!(flows.len(), seen.len(), "{flows:#?}");
        for told in &seen {
            let flow = flows.iter().find(|flow| flow["id"] == told["id"]);
            let flow = flow.with_context(|| format!("not in the capture: {told:#}"))?;
            for key in ["verdict", "evidence", "protocol", "reason", "tls", "notes"] {
                assert_eq!(flow[key], told[key], "{key} of {flow:#}\nand {told:#}");
            }
            for key in ["method", "authority", "path", "status", "user_agent"] {
                assert_eq!(flow["http"][key], told["http"][key], "{flow:#}");
            }
        }
        Ok(())
    }
}

/// Whether a flow has this note.
pub fn has_note(flow: &Value, note: &str) -> bool {
    let notes = flow["notes"].as_array();
    notes.is_some_and(|notes| notes.iter().any(|one| one == note))
}

/// A command line without quoting, for a program in Debian's location.
fn command(line: &str) -> Result<Command> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command")?;
    let mut command = Command::new(bin::system(program).with_context(|| format!("no {program}"))?);
    command.args(words);
    Ok(command)
}

fn text(path: PathBuf) -> Result<String> {
    path.into_os_string()
        .into_string()
        .map_err(|path| anyhow::anyhow!("{} is no text", path.display()))
}
