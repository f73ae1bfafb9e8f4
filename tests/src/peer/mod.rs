//! A TLS or plaintext peer on rustls: `mtls-peer serve` and `mtls-peer connect`.
//!
//! Both ends say what they negotiated, so that a test can hold the daemon's verdict against what
//! the peers themselves know.

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
    /// Answer requests until killed. Prints `ready ADDR` when it listens.
    Serve(Serve),
    /// Make requests, and print what was negotiated, one JSON object a connection.
    Connect(Connect),
}

impl Peer {
    /// Does what the arguments say.
    pub fn run(self) -> anyhow::Result<()> {
        match self.role {
            Role::Serve(args) => serve::run(&args),
            Role::Connect(args) => connect::run(&args),
        }
    }
}

/// What is spoken on the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Mode {
    /// HTTP/1.1 in clear.
    PlainHttp,
    /// HTTP/1.1 over TLS; the client shows no certificate.
    Tls,
    /// HTTP/1.1 over TLS; the client shows a certificate, and the server demands one.
    Mtls,
    /// Bytes of no protocol; the server sends them back.
    Raw,
    /// The connection alone, without a byte of payload.
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
    /// The only version to speak; both by default.
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
    /// Application protocols, best first.
    #[arg(long, value_delimiter = ',')]
    pub(crate) alpn: Vec<String>,
}

#[derive(Args, Debug)]
struct Serve {
    /// Where to listen.
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
    /// Whom to connect to.
    #[arg(long)]
    addr: SocketAddr,
    #[arg(long, value_enum)]
    mode: Mode,
    #[command(flatten)]
    tls: Tls,
    /// Name to ask for and to check the server's certificate against.
    #[arg(long, default_value_t = crate::pki::dns_name("db"))]
    sni: String,
    /// Connections to make, one after the other.
    #[arg(long, default_value_t = 1)]
    connections: u32,
    /// Resume the first connection's session in those after it.
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
    /// Path to ask for.
    #[arg(long, default_value = "/")]
    path: String,
    /// What to call itself.
    #[arg(long, default_value = "mtls-peer/1.0")]
    user_agent: String,
}

/// What one end knows of a connection: the truth that a verdict is held against.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// This end's address.
    pub local: SocketAddr,
    /// The other end's.
    pub remote: SocketAddr,
    /// TLS version, `1.2` or `1.3`; `None` in clear.
    pub tls: Option<String>,
    /// The session was resumed.
    pub resumed: bool,
    /// The server verified a certificate of the client's (as only the server can tell).
    pub client_certificate: Option<bool>,
    /// Responses received or sent.
    pub responses: u32,
}
