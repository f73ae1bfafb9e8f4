//! A TLS or plaintext peer on rustls: `mtls-peer serve` and `mtls-peer connect`.
//!
//! Both ends report what they negotiated, so that a test can compare the daemon's verdict with it.

mod connect;
mod http;
mod serve;
pub(crate) mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

/// The arguments of `mtls-peer`.
#[derive(Parser, Debug)]
#[command(
    name = "mtls-peer",
    about = "One end of a connection, for tests and the demo"
)]
pub struct Peer {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand, Debug)]
enum Role {
    /// Answer requests until killed. Prints `ready ADDR` when it is listening.
    Serve(Serve),
    /// Make requests, and print what was negotiated, one JSON object per connection.
    Connect(Connect),
}

impl Peer {
    /// Runs according to the arguments.
    pub fn run(self) -> anyhow::Result<()> {
        match self.role {
            Role::Serve(args) => serve::run(&args),
            Role::Connect(args) => connect::run(&args),
        }
    }
}

/// The protocol of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Mode {
    /// Unencrypted HTTP/1.1.
    PlainHttp,
    /// HTTP/1.1 over TLS; the client sends no certificate.
    Tls,
    /// HTTP/1.1 over TLS; the client sends a certificate, and the server requires one.
    Mtls,
    /// Bytes of no protocol; the server echoes them.
    Raw,
    /// Only the connection, without payload.
    Silent,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Version {
    #[value(name = "1.2")]
    Tls12,
    #[value(name = "1.3")]
    Tls13,
}

#[derive(Args, Debug)]
pub(crate) struct Tls {
    /// The only version to use; both by default.
    #[arg(long = "tls")]
    pub(crate) version: Option<Version>,
    /// Certificate authority to trust, PEM.
    #[arg(long)]
    pub(crate) ca: Option<PathBuf>,
    /// Own certificate, PEM.
    #[arg(long)]
    pub(crate) cert: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long)]
    pub(crate) key: Option<PathBuf>,
    /// Application protocols, in order of preference.
    #[arg(long, value_delimiter = ',')]
    pub(crate) alpn: Vec<String>,
}

#[derive(Args, Debug)]
struct Serve {
    /// Address to listen on.
    #[arg(long)]
    addr: SocketAddr,
    #[arg(long, value_enum)]
    mode: Mode,
    #[command(flatten)]
    tls: Tls,
    /// Size of a response's body.
    #[arg(long, default_value_t = 64)]
    body: usize,
}

#[derive(Args, Debug)]
struct Connect {
    /// Address to connect to.
    #[arg(long)]
    addr: SocketAddr,
    #[arg(long, value_enum)]
    mode: Mode,
    #[command(flatten)]
    tls: Tls,
    /// Server name to request and to verify the server's certificate against.
    #[arg(long, default_value_t = crate::pki::dns_name("db"))]
    sni: String,
    /// Connections to make, one after the other.
    #[arg(long, default_value_t = 1)]
    connections: u32,
    /// Resume the first connection's session in the following ones.
    #[arg(long)]
    resume: bool,
    /// Requests on each connection.
    #[arg(long, default_value_t = 1)]
    requests: u32,
    /// Milliseconds between requests.
    #[arg(long, default_value_t = 0)]
    interval: u64,
    /// Seconds to keep a connection open after its last response.
    #[arg(long, default_value_t = 0.0)]
    hold: f64,
    /// Path to request.
    #[arg(long, default_value = "/")]
    path: String,
    /// User agent.
    #[arg(long, default_value = "mtls-peer/1.0")]
    user_agent: String,
}

/// What one end knows about a connection: the ground truth for a verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// This end's address.
    pub local: SocketAddr,
    /// The other end's.
    pub remote: SocketAddr,
    /// TLS version, `1.2` or `1.3`; `None` if unencrypted.
    pub tls: Option<String>,
    /// The session was resumed.
    pub resumed: bool,
    /// The server verified a client certificate (only the server knows).
    pub client_certificate: Option<bool>,
    /// Responses received or sent.
    pub responses: u32,
}
