//! The starting point of most tests: a node with two pods, certificates, and ways to make them
//! talk.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::bin;
use crate::netns::{Node, Place, Pod};
use crate::peer::Report;
use crate::pki::{Pki, dns_name};
use crate::process::Process;

/// Timeout of one exchange.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node with a client's and a server's pod.
pub struct Scene {
    /// Pod `shop/web`, in the role of the client.
    pub web: Pod,
    /// Pod `shop/db`, in the role of the server.
    pub db: Pod,
    /// Certificates for both.
    pub pki: Pki,
    /// The node.
    pub node: Node,
}

impl Scene {
    /// Moves this thread onto a new node with two pods.
    pub fn new() -> Result<Self> {
        let node = Node::new()?;
        Ok(Self {
            web: node.pod("shop", "web")?,
            db: node.pod("shop", "db")?,
            pki: Pki::new(&node.files().join("pki"))?,
            node,
        })
    }

    /// Starts `mtls-peer serve ARGS` in `pod`; it is listening when this returns.
    pub fn serve(&self, pod: &impl Place, addr: SocketAddr, args: &[&str]) -> Result<Process> {
        let server = pod.start(self.peer("serve", pod.workload(), addr, args)?)?;
        server
            .out
            .find(PATIENCE, |line| line.starts_with("ready ").then_some(()))
            .with_context(|| format!("the server did not start\n{}", server.told()))?;
        Ok(server)
    }

    /// Starts `mtls-peer connect ARGS` in `pod`.
    pub fn client(&self, pod: &impl Place, addr: SocketAddr, args: &[&str]) -> Result<Process> {
        pod.start(self.peer("connect", pod.workload(), addr, args)?)
    }

    /// Runs `mtls-peer connect ARGS` in `pod`; returns what it negotiated, per connection.
    pub fn connect(
        &self,
        pod: &impl Place,
        addr: SocketAddr,
        args: &[&str],
    ) -> Result<Vec<Report>> {
        reports(&self.client(pod, addr, args)?.succeed(PATIENCE)?)
    }

    /// Requests `addr` from the node itself, unencrypted, like a kubelet probe.
    pub fn probe(&self, addr: SocketAddr) -> Result<Vec<Report>> {
        let host = addr.to_string();
        let mut args = vec!["--mode", "plain-http", "--path", "/healthz", "--sni", &host];
        args.extend(["--user-agent", "kube-probe/1.31"]);
        let probe = self.peer("connect", "kubelet", addr, &args)?;
        reports(&Process::start(probe)?.succeed(PATIENCE)?)
    }

    /// The command line of an `mtls-peer` with the certificate of `workload`.
    pub fn peer(
        &self,
        role: &str,
        workload: &str,
        addr: SocketAddr,
        args: &[&str],
    ) -> Result<Command> {
        let own = self.pki.identity(workload)?;
        let mut command = Command::new(bin::peer()?);
        command.args([role, "--addr", &addr.to_string()]);
        command.arg("--ca").arg(&self.pki.ca);
        command
            .arg("--cert")
            .arg(&own.cert)
            .arg("--key")
            .arg(&own.key);
        command.args(args);
        Ok(command)
    }

    /// Starts `openssl s_server` in `pod` as a web server that requests a client certificate if
    /// `mutual`.
    pub fn openssl_serve(
        &self,
        pod: &Pod,
        port: u16,
        mutual: bool,
        args: &[&str],
    ) -> Result<Process> {
        let mut command = Command::new("openssl");
        command.args(["s_server", "-www", "-accept", &port.to_string()]);
        let own = self.pki.identity(pod.workload())?;
        command.arg("-cert").arg(own.cert).arg("-key").arg(own.key);
        if mutual {
            command
                .args(["-Verify", "2", "-verify_return_error", "-CAfile"])
                .arg(&self.pki.ca);
        }
        command.args(args);
        let server = pod.start(command)?;
        pod.await_listener(port, PATIENCE)
            .with_context(|| server.told())?;
        Ok(server)
    }

    /// Makes one request with `openssl s_client` in `pod`, sending a certificate if `mutual`.
    /// Returns its output: the server's response, or the error if it was rejected.
    pub fn openssl_connect(
        &self,
        pod: &Pod,
        addr: SocketAddr,
        mutual: bool,
        args: &[&str],
    ) -> Result<String> {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            "-servername",
            &dns_name("db"),
        ]);
        command
            .args(["-connect", &addr.to_string()])
            .arg("-CAfile")
            .arg(&self.pki.ca);
        if mutual {
            let own = self.pki.identity(pod.workload())?;
            command.arg("-cert").arg(own.cert).arg("-key").arg(own.key);
        }
        command.args(args);
        let client = pod.start_with_input(command, b"GET / HTTP/1.1\r\nhost: db\r\n\r\n")?;
        // A keep-alive server leaves closing to the client.
        client
            .out
            .find(PATIENCE, |line| line.starts_with("HTTP/1.").then_some(()));
        Ok(client.told())
    }
}

/// The reports that an `mtls-peer` printed.
pub fn reports(out: &str) -> Result<Vec<Report>> {
    out.lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).with_context(|| format!("read a report: {line}")))
        .collect()
}

/// `ip` and `port` together.
pub fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}
