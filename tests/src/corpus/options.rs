//! Options of other stacks' clients that change the lengths, the order or the number of the records
//! of their flight, each combined with whether the server requests a certificate and whether the
//! client has one.
//!
//! The server is OpenSSL's `s_server -www`, whose page says whether the client gave a certificate.

use std::net::SocketAddr;
use std::process::Command;

use super::stacks::{Kit, shell};

/// A client with an option.
pub(super) struct Options {
    pub(super) client: &'static str,
    /// The option's name.
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// A shell command. `OWN` is set if it should send a certificate.
    command: &'static str,
    /// Options of the server besides its version.
    server: &'static str,
}

/// Whether the server requests a certificate, and what the client has.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) truth: &'static str,
    ask: &'static str,
    own: Own,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    Nothing,
    Trusted,
    /// A certificate that the server does not trust.
    Rogue,
}

pub(super) const CASES: [Case; 5] = [
    Case {
        truth: "server-only",
        ask: "",
        own: Own::Trusted,
    },
    Case {
        truth: "requested-none",
        ask: "-verify 2 -CAfile $CA",
        own: Own::Nothing,
    },
    Case {
        truth: "mutual",
        ask: "-Verify 2 -verify_return_error -CAfile $CA",
        own: Own::Trusted,
    },
    Case {
        truth: "refused",
        ask: "-Verify 2 -verify_return_error -CAfile $CA",
        own: Own::Nothing,
    },
    Case {
        truth: "distrusted",
        ask: "-Verify 2 -verify_return_error -CAfile $CA",
        own: Own::Rogue,
    },
];

impl Options {
    pub(super) fn serve(&self, kit: &Kit, port: u16, case: Case) -> Command {
        let mut command = shell(&format!(
            "exec openssl s_server -www -accept {port} -cert $CERT -key $KEY -tls{} {} {}",
            self.version.replace('.', "_"),
            self.server,
            case.ask
        ));
        kit.variables(&mut command);
        command
    }

    pub(super) fn connect(&self, kit: &Kit, to: SocketAddr, case: Case) -> Command {
        let own = case.own != Own::Nothing;
        let script = kit.expand(self.command, own);
        let mut command = shell(&format!("({script}) 2>&1"));
        kit.variables(&mut command);
        command.env(
            "NICK",
            if case.own == Own::Rogue {
                "rogue"
            } else {
                "db"
            },
        );
        command.env("TO", to.to_string());
        command.env("IP", to.ip().to_string());
        command.env("PORT", to.port().to_string());
        command.env("VERSION", self.version);
        match case.own {
            Own::Nothing => {}
            Own::Trusted => {
                command.env("OWN", "1");
            }
            Own::Rogue => {
                let rogue = kit.rogue();
                command
                    .env("OWN", "1")
                    .env("CERT", rogue.cert)
                    .env("KEY", rogue.key);
            }
        }
        command
    }
}

impl Case {
    /// Whether a client's output, which includes the server's page, proves the expected outcome.
    pub(super) fn is_proven_by(self, printed: &str) -> bool {
        let page = printed.contains("HTTP/1.0 200");
        let given = !printed.contains("no client certificate available");
        match self.truth {
            "mutual" => page && given,
            "server-only" | "requested-none" => page && !given,
            _ => !page,
        }
    }

    /// Its word in `truth.csv`.
    pub(super) fn word(self) -> &'static str {
        match self.truth {
            "distrusted" => "refused",
            truth => truth,
        }
    }
}

const fn of(
    client: &'static str,
    name: &'static str,
    version: &'static str,
    command: &'static str,
) -> Options {
    Options {
        client,
        name,
        version,
        command,
        server: "",
    }
}

/// All of them.
pub(super) const OPTIONS: &[Options] = &[
    of("rustls", "plain", "1.3", "$RUST rustls"),
    of("rustls", "fragment", "1.3", "$RUST rustls fragment"),
    of(
        "rustls",
        "tiny-fragment",
        "1.3",
        "$RUST rustls tiny-fragment",
    ),
    of("rustls", "key-update", "1.3", "$RUST rustls key-update"),
    of(
        "rustls",
        "key-update-fragment",
        "1.3",
        "$RUST rustls key-update fragment",
    ),
    of("rustls", "fragment", "1.2", "$RUST rustls fragment"),
    of("s2n", "plain", "1.3", "$RUST s2n"),
    of("s2n", "latency", "1.3", "$RUST s2n latency"),
    of("s2n", "key-update", "1.3", "$RUST s2n key-update"),
    of("s2n", "tickets", "1.3", "$RUST s2n tickets"),
    of("go", "alpn", "1.3", "$GO go-tls-client alpn"),
    of(
        "go",
        "full-records",
        "1.3",
        "$GO go-tls-client full-records",
    ),
    Options {
        server: "-groups P-384",
        ..of("go", "retry", "1.3", "$GO go-tls-client retry")
    },
    of(
        "boringssl",
        "chrome",
        "1.3",
        "$PYTHON peer.py boringssl chrome",
    ),
    of(
        "boringssl",
        "chrome99",
        "1.3",
        "$PYTHON peer.py boringssl chrome99",
    ),
    of(
        "boringssl",
        "safari",
        "1.3",
        "$PYTHON peer.py boringssl safari",
    ),
    of(
        "boringssl",
        "firefox",
        "1.3",
        "$PYTHON peer.py boringssl firefox",
    ),
    of(
        "boringssl",
        "chrome",
        "1.2",
        "$PYTHON peer.py boringssl chrome",
    ),
    of("tlslite", "plain", "1.3", "$PYTHON peer.py tlslite"),
    of(
        "tlslite",
        "record-limit",
        "1.3",
        "$PYTHON peer.py tlslite record-limit",
    ),
    of("tlslite", "pad", "1.3", "$PYTHON peer.py tlslite pad"),
    of("tlslite", "retry", "1.3", "$PYTHON peer.py tlslite retry"),
    of(
        "tlslite",
        "key-update",
        "1.3",
        "$PYTHON peer.py tlslite key-update",
    ),
    of("tlslite", "plain", "1.2", "$PYTHON peer.py tlslite"),
    of("wolfssl", "plain", "1.3", "./peer-wolfssl"),
    of("wolfssl", "group", "1.3", "./peer-wolfssl group"),
    of("wolfssl", "fragment", "1.3", "./peer-wolfssl fragment"),
    of(
        "wolfssl",
        "post-handshake",
        "1.3",
        "./peer-wolfssl post-handshake",
    ),
    of("wolfssl", "retry", "1.3", "./peer-wolfssl retry"),
    of("wolfssl", "key-update", "1.3", "./peer-wolfssl key-update"),
    of(
        "wolfssl",
        "key-update-group",
        "1.3",
        "./peer-wolfssl key-update group",
    ),
    of("wolfssl", "plain", "1.2", "./peer-wolfssl"),
    of("wolfssl", "group", "1.2", "./peer-wolfssl group"),
    of("wolfssl", "fragment", "1.2", "./peer-wolfssl fragment"),
    of("erlang", "plain", "1.3", "escript peer.escript"),
    of(
        "erlang",
        "middlebox-off",
        "1.3",
        "escript peer.escript middlebox-off",
    ),
    of(
        "erlang",
        "key-update",
        "1.3",
        "escript peer.escript key-update",
    ),
    of("erlang", "fragment", "1.3", "escript peer.escript fragment"),
    of("erlang", "alpn", "1.3", "escript peer.escript alpn"),
    of("erlang", "plain", "1.2", "escript peer.escript"),
    of("erlang", "fragment", "1.2", "escript peer.escript fragment"),
    of(
        "java",
        "middlebox-off",
        "1.3",
        "java -Djdk.tls.client.useCompatibilityMode=false $JAVA",
    ),
    of(
        "java",
        "fragment",
        "1.3",
        "java -Djsse.enableMFLNExtension=true -Dpeer.packet=512 $JAVA",
    ),
    of(
        "java",
        "small-packets",
        "1.3",
        "java -Dpeer.packet=300 $JAVA",
    ),
    of(
        "java",
        "key-update",
        "1.3",
        r"printf 'jdk.tls.keyLimits=AES/GCM/NoPadding KeyUpdate 10, ChaCha20-Poly1305 KeyUpdate 10\n' > limits; java -Djava.security.properties=limits $JAVA",
    ),
    of(
        "java",
        "small-packets",
        "1.2",
        "java -Dpeer.packet=300 $JAVA",
    ),
    of(
        "bouncycastle",
        "plain",
        "1.3",
        "java -Dpeer.provider=bc $JAVA",
    ),
    of(
        "bouncycastle",
        "plain",
        "1.2",
        "java -Dpeer.provider=bc $JAVA",
    ),
    of(
        "bouncycastle",
        "fragment",
        "1.3",
        "java -Dpeer.provider=bc -Dpeer.packet=512 -Djsse.enableMFLNExtension=true $JAVA",
    ),
    of("nss", "middlebox", "1.3", "$NSS -e"),
    of("nss", "false-start", "1.2", "$NSS -g"),
    of("nss", "post-handshake", "1.3", "$NSS -E"),
    of("nss", "ech-grease", "1.3", "$NSS -i 200"),
    of("nss", "delegated", "1.3", "$NSS -B"),
    Options {
        server: "-groups P-384",
        ..of("nss", "retry", "1.3", "$NSS -I x25519,P384")
    },
];
