//! What one stack alone can be told to do: resumptions, pre-shared keys, retries, early data,
//! renegotiation, padding, old versions, refusals of every kind.
//!
//! OpenSSL's `s_server -www` answers each request with a page on the connection as the server
//! knows it: a session new or continued, a certificate of the client or none. That is the truth.

use std::process::Command;

use super::stacks::{Kit, shell};

/// Connections to one server, captured in one file.
pub(super) struct Special {
    pub(super) version: &'static str,
    pub(super) name: &'static str,
    /// Options of `s_server`, beside port, certificate and key.
    server: &'static str,
    /// What the server reads, a shell command.
    commands: &'static str,
    pub(super) connections: &'static [Connection],
}

/// One connection.
pub(super) struct Connection {
    /// Options of `s_client`, beside the server's address and name.
    client: &'static str,
    /// What the client sends, a shell command.
    sends: &'static str,
    /// What the flow is.
    pub(super) truth: &'static str,
    /// Whether what the client printed proves it.
    pub(super) proof: fn(&str) -> bool,
}

const ASK: &str = r"printf 'GET / HTTP/1.0\r\n\r\n'; sleep 0.5";
/// The server's page says nothing then; what the client prints has to do.
const WAIT: &str = "sleep 2";
const NOTHING: &str = "true";
const DEMAND: &str = "-Verify 2 -verify_return_error -CAfile $CA";
const OWN: &str = "-cert $CERT -key $KEY";

/// What the page says of the session and of the client.
fn page(told: &str, reused: bool, certificate: bool) -> bool {
    let session = if reused { "\nReused, " } else { "\nNew, " };
    told.contains(session)
        && told.contains("HTTP/1.0 200")
        && told.contains("no client certificate available") != certificate
}

fn server_only(told: &str) -> bool {
    page(told, false, false)
}

fn mutual(told: &str) -> bool {
    page(told, false, true)
}

fn resumed_server_only(told: &str) -> bool {
    page(told, true, false)
}

fn resumed_mutual(told: &str) -> bool {
    page(told, true, true)
}

fn psk_12(told: &str) -> bool {
    page(told, false, false) && told.contains("-PSK-")
}

fn early(told: &str) -> bool {
    told.contains("Early data was accepted") && told.contains("\nReused, ")
}

fn first_of_early(told: &str) -> bool {
    told.contains("Max Early Data: 16384") && told.contains("\nNew, ")
}

fn retried(told: &str) -> bool {
    told.matches(", ClientHello\n").count() == 2
}

fn retried_mutual(told: &str) -> bool {
    retried(told) && mutual(told)
}

fn retried_server_only(told: &str) -> bool {
    retried(told) && server_only(told)
}

/// The client's CertificateVerify comes behind the second hello, or the server's late request.
fn authenticated_late(told: &str) -> bool {
    let late = told.split_once("\nNew, ").map_or("", |(_, late)| late);
    let asked = late.contains(", HelloRequest\n") || late.contains(", CertificateRequest\n");
    let gave = |line: &str| line.starts_with(">>> ") && line.ends_with(", CertificateVerify");
    asked && late.lines().any(gave)
}

/// No answer came, and the client says that the handshake failed.
fn fails(told: &str) -> bool {
    !told.contains("HTTP/1.0 200") && (told.contains("alert") || told.contains("verify failed"))
}

macro_rules! connection {
    ($client:expr, $truth:literal, $proof:expr) => {
        connection!($client, ASK, $truth, $proof)
    };
    ($client:expr, $sends:expr, $truth:literal, $proof:expr) => {
        Connection {
            client: $client,
            sends: $sends,
            truth: $truth,
            proof: $proof,
        }
    };
}

macro_rules! special {
    ($version:literal, $name:literal, $server:expr, $($connection:expr),+) => {
        special!(commands NOTHING, $version, $name, $server, $($connection),+)
    };
    (commands $commands:expr, $version:literal, $name:literal, $server:expr, $($connection:expr),+) => {
        Special {
            version: $version,
            name: $name,
            server: $server,
            commands: $commands,
            connections: &[$($connection),+],
        }
    };
}

/// All of them. `$OWN` and `$DEMAND` stand for the options above.
pub(super) const SPECIALS: &[Special] = &[
    special!(
        "1.3",
        "resumed-mutual",
        "-www -tls1_3 $DEMAND",
        connection!("-tls1_3 $OWN -sess_out 13m.pem", "mutual", mutual),
        connection!("-tls1_3 -sess_in 13m.pem", "resumed-mutual", resumed_mutual)
    ),
    special!(
        "1.3",
        "resumed-server-only",
        "-www -tls1_3",
        connection!("-tls1_3 -sess_out 13s.pem", "server-only", server_only),
        connection!(
            "-tls1_3 -sess_in 13s.pem",
            "resumed-server-only",
            resumed_server_only
        )
    ),
    special!(
        "1.2",
        "ticket-mutual",
        "-www -tls1_2 $DEMAND",
        connection!("-tls1_2 $OWN -sess_out 12m.pem", "mutual", mutual),
        connection!("-tls1_2 -sess_in 12m.pem", "resumed-mutual", resumed_mutual)
    ),
    special!(
        "1.2",
        "ticket-server-only",
        "-www -tls1_2",
        connection!("-tls1_2 -sess_out 12s.pem", "server-only", server_only),
        connection!(
            "-tls1_2 -sess_in 12s.pem",
            "resumed-server-only",
            resumed_server_only
        )
    ),
    special!(
        "1.2",
        "session-id-mutual",
        "-www -tls1_2 -no_ticket $DEMAND",
        connection!("-tls1_2 $OWN -sess_out 12mi.pem", "mutual", mutual),
        connection!(
            "-tls1_2 -sess_in 12mi.pem",
            "resumed-mutual",
            resumed_mutual
        )
    ),
    special!(
        "1.2",
        "session-id-server-only",
        "-www -tls1_2 -no_ticket",
        connection!("-tls1_2 -sess_out 12si.pem", "server-only", server_only),
        connection!(
            "-tls1_2 -sess_in 12si.pem",
            "resumed-server-only",
            resumed_server_only
        )
    ),
    special!(
        commands "sleep 12; echo Q", "1.3", "early-data", "-tls1_3 -early_data -no_anti_replay",
        connection!("-tls1_3 -sess_out 13e.pem", WAIT, "server-only", first_of_early),
        connection!(
            "-tls1_3 -sess_in 13e.pem -early_data hello", WAIT, "resumed-server-only", early
        )
    ),
    special!(
        "1.3",
        "retry-mutual",
        "-www -tls1_3 -groups P-384 $DEMAND",
        connection!(
            "-msg -tls1_3 -groups X25519:P-384 $OWN",
            "mutual",
            retried_mutual
        )
    ),
    special!(
        "1.3",
        "retry-server-only",
        "-www -tls1_3 -groups P-384",
        connection!(
            "-msg -tls1_3 -groups X25519:P-384",
            "server-only",
            retried_server_only
        )
    ),
    special!(
        "1.3",
        "psk",
        "-www -tls1_3 -psk 1a2b3c4d",
        connection!("-tls1_3 -psk 1a2b3c4d", "psk", resumed_server_only)
    ),
    special!(
        "1.2",
        "psk",
        "-www -tls1_2 -psk 1a2b3c4d -cipher PSK",
        connection!("-tls1_2 -psk 1a2b3c4d -cipher PSK", "psk", psk_12)
    ),
    special!(
        commands "sleep 4; echo R; sleep 3; echo Q", "1.2", "renegotiated",
        "-tls1_2 -no_ticket -no_cache -CAfile $CA",
        connection!("-msg -tls1_2 $OWN", "sleep 7", "renegotiated", authenticated_late)
    ),
    special!(
        commands "sleep 4; echo c; sleep 3; echo Q", "1.3", "post-handshake", "-tls1_3 -CAfile $CA",
        connection!(
            "-msg -tls1_3 -enable_pha $OWN", "sleep 7", "post-handshake", authenticated_late
        )
    ),
    special!(
        "1.3",
        "padded-mutual",
        "-www -tls1_3 $DEMAND",
        connection!("-tls1_3 -record_padding 512 $OWN", "padded-mutual", mutual)
    ),
    special!(
        "1.3",
        "padded-server-only",
        "-www -tls1_3",
        connection!(
            "-tls1_3 -record_padding 512",
            "padded-server-only",
            server_only
        )
    ),
    special!(
        "1.3",
        "fragmented-mutual",
        "-www -tls1_3 -max_send_frag 512 $DEMAND",
        connection!("-tls1_3 -max_send_frag 512 $OWN", "mutual", mutual)
    ),
    special!(
        "1.3",
        "fragmented-server-only",
        "-www -tls1_3 -max_send_frag 512",
        connection!("-tls1_3 -max_send_frag 512", "server-only", server_only)
    ),
    special!(
        "1.3",
        "ccm8-mutual",
        "-www -tls1_3 $CCM8 $DEMAND",
        connection!("-tls1_3 $CCM8 $OWN", "mutual", mutual)
    ),
    special!(
        "1.3",
        "ccm8-server-only",
        "-www -tls1_3 $CCM8",
        connection!("-tls1_3 $CCM8", "server-only", server_only)
    ),
    special!(
        "1.3",
        "ccm8-requested-none",
        "-www -tls1_3 $CCM8 -verify 2 -CAfile $CA",
        connection!("-tls1_3 $CCM8", "requested-none", server_only)
    ),
    special!(
        "1.1",
        "mutual",
        "-www -tls1_1 $OLD $DEMAND",
        connection!("-tls1_1 $OLD $OWN", "mutual", mutual)
    ),
    special!(
        "1.1",
        "server-only",
        "-www -tls1_1 $OLD",
        connection!("-tls1_1 $OLD", "server-only", server_only)
    ),
    special!(
        "1.0",
        "mutual",
        "-www -tls1 $OLD $DEMAND",
        connection!("-tls1 $OLD $OWN", "mutual", mutual)
    ),
    special!(
        "1.0",
        "server-only",
        "-www -tls1 $OLD",
        connection!("-tls1 $OLD", "server-only", server_only)
    ),
    special!(
        "1.3",
        "server-distrusted",
        "-www -tls1_3 $DEMAND",
        connection!("-tls1_3 $OWN $DISTRUST", "rejected", fails)
    ),
    special!(
        "1.2",
        "server-distrusted",
        "-www -tls1_2 $DEMAND",
        connection!("-tls1_2 $OWN $DISTRUST", "rejected", fails)
    ),
    special!(
        "1.3",
        "client-distrusted",
        "-www -tls1_3 $DEMAND",
        connection!("-tls1_3 -cert $ROGUE.pem -key $ROGUE.key", "refused", fails)
    ),
    special!(
        "1.2",
        "client-distrusted",
        "-www -tls1_2 $DEMAND",
        connection!("-tls1_2 -cert $ROGUE.pem -key $ROGUE.key", "refused", fails)
    ),
    special!(
        "1.3",
        "no-common-version",
        "-www -tls1_3",
        connection!("-tls1_2", "no-common-version", fails)
    ),
    special!(
        "1.2",
        "no-common-cipher",
        "-www -tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256",
        connection!(
            "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305",
            "no-common-cipher",
            fails
        )
    ),
];

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
        // A client that waits for the server's page closes when the server has.
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

/// A shell script in the kit's directory, with what its variables stand for.
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
