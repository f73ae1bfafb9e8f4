//! Scenarios that only one stack supports: resumptions, pre-shared keys, retries, early data,
//! renegotiation, padding, old versions, rejections of every kind.
//!
//! OpenSSL's `s_server -www` answers each request with a page about the connection from the
//! server's point of view: a new or resumed session, with or without a client certificate. That is
//! the ground truth.

mod list;

use std::process::Command;

use super::stacks::{Kit, shell};
use list::ASK;
pub(super) use list::SPECIALS;

/// Connections to one server, captured in one file.
pub(super) struct Special {
    pub(super) version: &'static str,
    pub(super) name: &'static str,
    /// Options of `s_server`, besides port, certificate and key.
    server: &'static str,
    /// What the server reads, a shell command.
    commands: &'static str,
    pub(super) connections: &'static [Connection],
}

/// One connection.
pub(super) struct Connection {
    /// Options of `s_client`, besides the server's address and name.
    client: &'static str,
    /// What the client sends, a shell command.
    sends: &'static str,
    /// The ground truth of the flow.
    pub(super) truth: &'static str,
    /// Whether the client's output proves it.
    pub(super) proof: fn(&str) -> bool,
}

const DEMAND: &str = "-Verify 2 -verify_return_error -CAfile $CA";
const OWN: &str = "-cert $CERT -key $KEY";

impl Special {
    /// The server.
    pub(super) fn serve(&self, kit: &Kit, port: u16) -> Command {
        let certificate = if self.name == "psk" { "-nocert" } else { OWN };
        script(
            kit,
            &format!(
                "({}) | openssl s_server -accept {port} {certificate} {}",
                self.commands, self.server
            ),
        )
    }
}

impl Connection {
    /// The client.
    pub(super) fn connect(&self, kit: &Kit, to: std::net::SocketAddr) -> Command {
        // A client that waits for the server's page closes after the server.
        let input = if self.sends == ASK { "-no_ign_eof" } else { "" };
        script(
            kit,
            &format!(
                "({}) | openssl s_client {input} -connect {to} -servername $SNI -CAfile $CA {} 2>&1",
                self.sends, self.client
            ),
        )
    }
}

/// A shell script in the kit's directory, with its variables substituted.
fn script(kit: &Kit, text: &str) -> Command {
    let mut text = text.to_owned();
    for (name, value) in [
        ("$DISTRUST", "-verify_return_error -CAfile $ROGUE.pem"),
        ("$DEMAND", DEMAND),
        ("$OWN", OWN),
        ("$OLD", "-cipher ALL:@SECLEVEL=0"),
        (
            "$CCM8",
            "-ciphersuites TLS_AES_128_CCM_8_SHA256 -cipher ALL:@SECLEVEL=0",
        ),
    ] {
        text = text.replace(name, value);
    }
    let mut command = shell(&text);
    kit.variables(&mut command);
    command
}
