//! Peers on TLS and QUIC stacks that are Rust crates: rustls and s2n-tls as clients over TCP, quinn,
//! s2n-quic and dimpl as clients and servers.
//!
//! `mtls-corpus-peers ROLE OPTION...`; the rest is in the environment, which [`Setup`] describes.

mod dtls;
mod quic;
mod rustls_client;
mod s2n_client;
mod setup;

use anyhow::{Result, bail};
use setup::Setup;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let role = args.next().unwrap_or_default();
    let setup = Setup::new(args.collect())?;
    // s2n-quic brings a second provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match role.as_str() {
        "rustls" => rustls_client::run(&setup),
        "s2n" => s2n_client::run(&setup),
        "dimpl-client" => dtls::client(&setup),
        "dimpl-server" => dtls::server(&setup),
        "quinn-client" => quic::block_on(quic::quinn_client(&setup)),
        "quinn-server" => quic::block_on(quic::quinn_server(&setup)),
        "s2n-quic-client" => quic::block_on(quic::s2n_client(&setup)),
        "s2n-quic-server" => quic::block_on(quic::s2n_server(&setup)),
        _ => bail!("unknown role {role}"),
    }
}
