//! The real daemon, queried through the real command line.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::bin;
use crate::census;
use crate::netns::Node;
use crate::process::Process;

/// Timeout for starting or stopping the daemon.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running daemon; killed with its guard.
pub struct Daemon {
    process: Process,
    socket: PathBuf,
}

/// The result of running the command line.
#[derive(Debug)]
pub struct Answer {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Daemon {
    /// Starts the daemon on this node.
    pub fn start(node: &Node) -> Result<Self> {
        Self::start_with(node, &[])
    }

    /// Starts the daemon on this node, with the pods' names and with more arguments.
    pub fn start_with(node: &Node, args: &[&str]) -> Result<Self> {
        let names = node.netns_dir();
        let names = names.to_str().context("a path that is no text")?;
        Self::start_over(node, &[&["--netns-dir", names], args].concat())
    }

    /// Starts the daemon on this node with exactly these arguments, plus its socket.
    pub fn start_over(node: &Node, args: &[&str]) -> Result<Self> {
        let socket = node.files().join("mtls.sock");
        Self::start_as(Self::command(&socket, args)?, socket)
    }

    /// Starts a daemon with a command of the caller, which must listen on `socket`.
    pub fn start_as(command: Command, socket: PathBuf) -> Result<Self> {
        let process = Process::start(command)?;
        let daemon = Self { process, socket };
        let ready = |line: &str| line.contains("ready: ").then_some(());
        if daemon.process.err.find(PATIENCE, ready).is_none() {
            bail!("the daemon did not get ready\n{}", daemon.process.told());
        }
        Ok(daemon)
    }

    /// The command that starts a daemon on a socket.
    pub fn command(socket: &Path, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(bin::mtls()?);
        command.arg("daemon").arg("--socket").arg(socket).args(args);
        Ok(command)
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its log.
    pub fn log(&self) -> String {
        self.process.err.text()
    }

    /// `mtls ARGS`, asking this daemon.
    pub fn ask(&self, args: &[&str]) -> Result<Answer> {
        mtls(
            args.iter()
                .map(OsStr::new)
                .chain([OsStr::new("--socket"), self.socket.as_os_str()]),
        )
    }

    /// `mtls edges -o json`.
    pub fn edges(&self) -> Result<Vec<Value>> {
        match self.json(&["edges", "-o", "json"])?["items"].take() {
            Value::Array(edges) => Ok(edges),
            other => bail!("edges are no array: {other}"),
        }
    }

    /// `mtls status -o json`.
    pub fn status(&self) -> Result<Value> {
        self.json(&["status", "-o", "json"])
    }

    fn json(&self, args: &[&str]) -> Result<Value> {
        let answer = self.ask(args)?;
        if answer.code != Some(0) {
            bail!("mtls {args:?}: {answer:?}\n{}", self.process.told());
        }
        serde_json::from_str(&answer.out).with_context(|| format!("mtls {args:?}: {}", answer.out))
    }

    /// The edges between two names, one for each port, once their connections over all ports have
    /// these counts per verdict, and are all closed.
    pub fn await_counts(&self, src: &str, dst: &str, wanted: &[(&str, u64)]) -> Result<Vec<Value>> {
        let wanted: BTreeMap<_, _> = wanted.iter().map(|(v, n)| ((*v).to_owned(), *n)).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut edges = self.edges()?;
            edges.retain(|edge| edge["src"]["name"] == src && edge["dst"]["name"] == dst);
            let mut counts = BTreeMap::new();
            for (verdict, n) in edges
                .iter()
                .filter_map(|e| e["verdict_counts"].as_object())
                .flatten()
            {
                *counts.entry(verdict.clone()).or_default() += n.as_u64().unwrap_or_default();
            }
            let open = edges.iter().any(|edge| edge["open_connections"] != 0);
            if counts == wanted && !open {
                return Ok(edges);
            }
            if Instant::now() > deadline {
                bail!(
                    "{counts:?} instead of {wanted:?} in {edges:#?}\n{}",
                    self.process.told()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The edge between two names, once it satisfies `good`.
    pub fn await_edge(&self, src: &str, dst: &str, good: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let edges = self.edges()?;
            let between: Vec<_> = edges
                .iter()
                .filter(|edge| edge["src"]["name"] == src && edge["dst"]["name"] == dst)
                .collect();
            if between.len() > 1 {
                bail!(
                    "{src} → {dst} is there {} times: {between:#?}",
                    between.len()
                );
            }
            if let Some(edge) = between.first().filter(|edge| good(edge)) {
                return Ok((*edge).clone());
            }
            if Instant::now() > deadline {
                bail!(
                    "no such edge {src} → {dst} in {edges:#?}\n{}",
                    self.process.told()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The reported number of watched interfaces.
    pub fn interfaces(&self) -> Result<usize> {
        let status = self.status()?;
        let interfaces = status["kernel"]["interfaces"].as_array();
        Ok(interfaces
            .with_context(|| format!("no interfaces in {status}"))?
            .len())
    }

    /// Waits until it watches exactly this many interfaces.
    pub fn await_interfaces(&self, wanted: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let watched = self.interfaces()?;
            if watched == wanted {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "{watched} interfaces are watched instead of {wanted}\n{}",
                    self.process.told()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts `mtls tap -o jsonl`; it listens when this returns.
    pub fn tap(&self) -> Result<Tap> {
        let mut command = Command::new(bin::mtls()?);
        command
            .args(["tap", "-o", "jsonl", "--socket"])
            .arg(&self.socket);
        let tap = Tap(Process::start(command)?);
        let deadline = Instant::now() + PATIENCE;
        while !census::has_client(&self.socket)? {
            if Instant::now() > deadline {
                bail!("the tap did not connect\n{}", tap.0.told());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        // Between the connection and its request.
        std::thread::sleep(Duration::from_millis(100));
        Ok(tap)
    }

    /// Ends it with a signal; returns how it ended.
    pub fn stop(mut self, signal: Signal) -> Result<ExitStatus> {
        self.process.signal(signal)?;
        self.process.wait(PATIENCE)
    }
}

/// A running `mtls tap`.
pub struct Tap(Process);

impl Tap {
    /// The first record that satisfies `good`.
    pub fn find(&self, good: impl Fn(&Value) -> bool) -> Result<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line)
                .ok()
                .filter(|record| good(record))
        };
        match self.0.out.find(PATIENCE, parse) {
            Some(record) => Ok(record),
            None => bail!("no such record in the tap\n{}", self.0.told()),
        }
    }

    /// Every record so far.
    pub fn records(&self) -> Result<Vec<Value>> {
        self.0
            .out
            .all()
            .iter()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
            .collect()
    }
}

/// Runs `mtls` to its end.
pub fn mtls(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Answer> {
    mtls_with(args, &[])
}

/// The same with additional environment variables.
pub fn mtls_with(
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    environment: &[(&str, &str)],
) -> Result<Answer> {
    let mut command = Command::new(bin::mtls()?);
    command.envs(environment.iter().copied());
    command.args(args).env_remove("MTLS_SOCKET");
    command.env("LC_ALL", "C.UTF-8");
    run(command)
}

/// Runs a command to its end.
pub fn run(command: Command) -> Result<Answer> {
    let mut process = Process::start(command)?;
    let status = process.wait(PATIENCE)?;
    Ok(Answer {
        code: status.code(),
        out: process.out.text(),
        err: process.err.text(),
    })
}
