//! Options of other stacks' clients that change the lengths, the order or the number of the records
//! of their flight, each combined with whether the server requests a certificate and whether the
//! client has one.
//!
//! The server is OpenSSL's `s_server -www`, whose page says whether the client gave a certificate, and
//! whether a session was resumed. For what it does not support, GnuTLS's server is used.

use std::net::SocketAddr;
use std::process::Command;

mod list;

use super::stacks::{Kit, shell};
pub(super) use list::OPTIONS;

/// A client with an option.
pub(super) struct Options {
    pub(super) client: &'static str,
    /// The option's name.
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// A shell command. `OWN` is set if it should send a certificate.
    command: &'static str,
    server: Server,
    /// How the client may hide what it sent, if it may.
    hides: Option<&'static str>,
    /// It connects twice, and resumes its session.
    again: bool,
}

/// The server, with options besides its version.
#[derive(Clone, Copy)]
enum Server {
    OpenSsl(&'static str),
    GnuTls(&'static str),
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
    /// Whether the case makes sense: what was refused cannot be resumed, and a client that offers only
    /// a raw key ends the handshake itself if it has none to give.
    pub(super) fn has(&self, case: Case) -> bool {
        match case.truth {
            "refused" | "distrusted" if self.again => false,
            "refused" | "requested-none" => self.name != "raw-key",
            _ => true,
        }
    }

    pub(super) fn server(&self) -> &'static str {
        match self.server {
            Server::OpenSsl(_) => "openssl",
            Server::GnuTls(_) => "gnutls",
        }
    }

    pub(super) fn serve(&self, kit: &Kit, port: u16, case: Case) -> Command {
        let version = self.version;
        let mut command = shell(&match self.server {
            Server::OpenSsl(options) => format!(
                "exec openssl s_server -www -accept {port} -cert $CERT -key $KEY -tls{} {options} {}",
                version.replace('.', "_"),
                case.ask
            ),
            Server::GnuTls(options) => {
                let ask = match case.truth {
                    "server-only" => "--disable-client-cert",
                    "requested-none" => "",
                    "distrusted" => "--require-client-cert --verify-client-cert",
                    _ => "--require-client-cert",
                };
                format!(
                    "exec gnutls-serv --http -q --port {port} --x509cafile $CA --x509certfile $CERT --x509keyfile $KEY --priority NORMAL:-VERS-ALL:+VERS-TLS{version}{options} {ask}"
                )
            }
        });
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

    /// Whether a client's output, which includes the server's page, proves the expected outcome.
    pub(super) fn is_proven_by(&self, case: Case, printed: &str) -> bool {
        let page = printed.contains("HTTP/1.0 200");
        // GnuTLS's page does not say it: its server demands what the case wants.
        let given = match self.server {
            Server::OpenSsl(_) => !printed.contains("no client certificate available"),
            Server::GnuTls(_) => case.truth == "mutual",
        };
        let resumed = !self.again || printed.contains("Reused, ");
        match case.truth {
            "mutual" => page && given && resumed,
            "server-only" | "requested-none" => page && !given && resumed,
            _ => !page,
        }
    }

    /// The ground truth in `truth.csv`.
    pub(super) fn word(&self, case: Case) -> String {
        match (case.truth, self.hides) {
            ("distrusted", Some(how)) => format!("{how}-refused"),
            (truth, Some(how)) => format!("{how}-{truth}"),
            ("distrusted" | "refused", None) => "refused".to_owned(),
            ("mutual", _) if self.again => "mutual+resumed-mutual".to_owned(),
            (truth, _) if self.again => format!("{truth}+resumed-server-only"),
            (truth, _) => truth.to_owned(),
        }
    }
}
