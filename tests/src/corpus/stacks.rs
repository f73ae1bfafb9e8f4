//! How to run each TLS stack as server and as client.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::bin;
use crate::pki::{Identity, Pki, dns_name};
use crate::process::Process;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Tls13,
    Tls12,
}

impl Version {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tls13 => "1.3",
            Self::Tls12 => "1.2",
        }
    }
}

/// Whether the server requests a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    No,
    Want,
    Need,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stack {
    OpenSsl,
    GnuTls,
    Nss,
    Java,
    Go,
    Rustls,
}

pub(super) const STACKS: [Stack; 6] = [
    Stack::OpenSsl,
    Stack::GnuTls,
    Stack::Nss,
    Stack::Java,
    Stack::Go,
    Stack::Rustls,
];

impl Stack {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OpenSsl => "openssl",
            Self::GnuTls => "gnutls",
            Self::Nss => "nss",
            Self::Java => "java",
            Self::Go => "go",
            Self::Rustls => "rustls",
        }
    }
}

/// Programs, certificates and databases for the stacks.
pub(super) struct Kit {
    dir: PathBuf,
    ca: PathBuf,
    own: Identity,
    peer: PathBuf,
    peers: Peers,
}

/// The clients of [`super::options`], which `cargo xtask corpus` builds.
pub(super) struct Peers {
    rust: PathBuf,
    go: PathBuf,
    /// A Python with tlslite-ng and curl_cffi.
    python: PathBuf,
}

impl Peers {
    /// In the target directory of this program.
    fn find() -> Result<Self> {
        let here = std::env::current_exe().context("find this program")?;
        let target = here.ancestors().nth(2).context("no target directory")?;
        Ok(Self {
            rust: target.join("peers/debug/mtls-corpus-peers"),
            go: target.join("peers/go"),
            python: target.join("peers/python/bin/python"),
        })
    }
}

const REQUEST: &str = r"printf 'GET / HTTP/1.0\r\n\r\n'; sleep 0.5";

impl Kit {
    pub(super) fn new(dir: &Path, pki: &Pki) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let own = pki.identity("db")?;
        let kit = Self {
            dir: dir.into(),
            ca: pki.ca.clone(),
            own,
            peer: bin::peer()?,
            peers: Peers::find()?,
        };
        fs::write(dir.join("Peer.java"), include_str!("Peer.java"))?;
        fs::write(dir.join("peer.go"), include_str!("peer.go"))?;
        fs::write(dir.join("peer.c"), include_str!("peers/peer.c"))?;
        fs::write(dir.join("peer.py"), include_str!("peers/peer.py"))?;
        fs::write(dir.join("peer.escript"), include_str!("peers/peer.escript"))?;
        let (d, ca, cert, key) = (
            dir.display(),
            kit.ca.display(),
            kit.own.cert.display(),
            kit.own.key.display(),
        );
        let script = format!(
            "set -e; cd {d}
             openssl pkcs12 -export -in {cert} -inkey {key} -certfile {ca} -name db -passout pass:secret -out db.p12
             mkdir nss; certutil -N -d sql:nss --empty-password
             certutil -A -d sql:nss -n ca -t CT,C,C -i {ca}
             pk12util -i db.p12 -d sql:nss -W secret -K ''
             javac -d . Peer.java
             openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \\
               -subj /CN=rogue -keyout rogue.key -out rogue.pem
             for bits in 2048 4096; do openssl req -x509 -newkey rsa:$bits -nodes -days 3650 \\
               -subj /CN=db -addext subjectAltName=URI:spiffe://cluster.local/ns/shop/sa/db \\
               -keyout rsa$bits.key -out rsa$bits.pem; done
             printf 'GET / HTTP/1.0\\r\\n\\r\\n' > hello
             openssl pkcs12 -export -in rogue.pem -inkey rogue.key -name rogue -passout pass:secret -out rogue.p12
             pk12util -i rogue.p12 -d sql:nss -W secret -K ''
             openssl pkey -in {key} -pubout -out raw.pub
             cc -o peer-wolfssl peer.c -lwolfssl
             HOME={d} GOCACHE={d}/gocache go build -o peer-go peer.go"
        );
        Process::start(shell(&script))?
            .succeed(Duration::from_mins(3))
            .context(
                "prepare the stacks (gnutls-bin, libnss3-tools, a JDK, Go and openssl are needed)",
            )?;
        Ok(kit)
    }

    pub(super) fn server(&self, stack: Stack, port: u16, version: Version, ask: Ask) -> Command {
        let (d, ca, cert, key) = self.paths();
        shell(&match stack {
            Stack::OpenSsl => {
                let v = match version {
                    Version::Tls13 => "-tls1_3",
                    Version::Tls12 => "-tls1_2",
                };
                let ask = match ask {
                    Ask::No => String::new(),
                    Ask::Want => format!("-verify 2 -CAfile {ca}"),
                    Ask::Need => format!("-Verify 2 -verify_return_error -CAfile {ca}"),
                };
                format!(
                    "exec openssl s_server -www -accept {port} -cert {cert} -key {key} {v} {ask}"
                )
            }
            Stack::GnuTls => {
                let ask = match ask {
                    Ask::No => "--disable-client-cert",
                    Ask::Want => "",
                    Ask::Need => "--require-client-cert --verify-client-cert",
                };
                format!(
                    "exec gnutls-serv --http -q --port {port} --x509cafile {ca} --x509certfile {cert} --x509keyfile {key} --priority {} {ask}",
                    gnutls(version)
                )
            }
            Stack::Nss => {
                // -r requests a certificate, -rr requires one.
                let ask = match ask {
                    Ask::No => "",
                    Ask::Want => "-r",
                    Ask::Need => "-r -r",
                };
                format!(
                    "exec selfserv -d sql:{d}/nss -n db -p {port} -V {} {ask}",
                    nss(version)
                )
            }
            Stack::Java => format!(
                "exec java -cp {d} Peer serve {port} {d}/db.p12 {} {}",
                java(version),
                word(ask)
            ),
            Stack::Go => format!(
                "exec {d}/peer-go serve {port} {ca} {cert} {key} {} {}",
                version.name(),
                word(ask)
            ),
            // The test peer lacks rustls' verifier that admits anonymous clients: "want" is served
            // by requiring a certificate, and the flow is left out because it fails.
            Stack::Rustls => format!(
                "exec {} serve --addr 0.0.0.0:{port} --mode {} --tls {} --ca {ca} --cert {cert} --key {key}",
                self.peer.display(),
                if ask == Ask::No { "tls" } else { "mtls" },
                version.name()
            ),
        })
    }

    pub(super) fn client(
        &self,
        stack: Stack,
        to: SocketAddr,
        version: Version,
        certificate: bool,
    ) -> Command {
        let (d, ca, cert, key) = self.paths();
        let (ip, port, sni) = (to.ip(), to.port(), dns_name("db"));
        shell(&match stack {
            Stack::OpenSsl => {
                let v = match version {
                    Version::Tls13 => "-tls1_3",
                    Version::Tls12 => "-tls1_2",
                };
                let own = if certificate {
                    format!("-cert {cert} -key {key}")
                } else {
                    String::new()
                };
                format!(
                    "({REQUEST}) | openssl s_client -quiet -no_ign_eof -connect {to} -servername {sni} -CAfile {ca} {v} {own}"
                )
            }
            Stack::GnuTls => {
                let own = if certificate {
                    format!("--x509certfile {cert} --x509keyfile {key}")
                } else {
                    String::new()
                };
                format!(
                    "({REQUEST}) | gnutls-cli --no-ca-verification --sni-hostname {sni} --port {port} --priority {} {own} {ip}",
                    gnutls(version)
                )
            }
            Stack::Nss => {
                // Without its own database, it has no certificate to send.
                let own = if certificate {
                    format!("-d sql:{d}/nss -n db")
                } else {
                    "-D".into()
                };
                format!(
                    "({REQUEST}) | tstclnt -o -b -a {sni} -h {ip} -p {port} -V {} {own}",
                    nss(version)
                )
            }
            Stack::Java => format!(
                "exec java -cp {d} Peer connect {ip} {port} {d}/db.p12 {} {certificate} {sni}",
                java(version)
            ),
            Stack::Go => format!(
                "exec {d}/peer-go connect {to} {ca} {cert} {key} {} {certificate} {sni}",
                version.name()
            ),
            Stack::Rustls => format!(
                "{} connect --addr {to} --mode {} --tls {} --ca {ca} --cert {cert} --key {key} && echo HTTP/1. answered",
                self.peer.display(),
                if certificate { "mtls" } else { "tls" },
                version.name()
            ),
        })
    }

    /// Prepares `command` with a place to store sessions, and the names that the scripts of
    /// [`super::special`] use.
    pub(super) fn variables(&self, command: &mut Command) {
        command.current_dir(&self.dir).envs([
            ("CA", self.ca.as_os_str()),
            ("CERT", self.own.cert.as_os_str()),
            ("KEY", self.own.key.as_os_str()),
            ("ROGUE", self.dir.join("rogue").as_os_str()),
            ("RSA", self.dir.join("rsa2048").as_os_str()),
            ("BIG_RSA", self.dir.join("rsa4096").as_os_str()),
            ("SNI", dns_name("db").as_ref()),
        ]);
    }

    /// A command of [`super::options`], with the location of the clients. `own`: it sends a
    /// certificate.
    pub(super) fn expand(&self, command: &str, own: bool) -> String {
        let jars =
            ["tls", "prov", "pkix", "util"].map(|name| format!(":/usr/share/java/bc{name}.jar"));
        let java = format!(
            "-cp .{} Peer connect $IP $PORT $NICK.p12 TLSv$VERSION {own} $SNI",
            jars.concat()
        );
        let identity = if own { "-d sql:nss -n $NICK" } else { "-D" };
        let nss = format!(
            "({REQUEST}) | tstclnt -o -b -a $SNI -h $IP -p $PORT -V tls$VERSION:tls$VERSION {identity}"
        );
        let identity = if own { "-cert $CERT -key $KEY" } else { "" };
        let openssl = format!(
            "({REQUEST}) | openssl s_client -quiet -no_ign_eof -connect $TO -servername $SNI -CAfile $CA -tls1_${{VERSION#*.}} {identity}"
        );
        let files = if own {
            "--x509certfile $CERT --x509keyfile $KEY"
        } else {
            ""
        };
        let gnutls = format!(
            "({REQUEST}) | gnutls-cli --no-ca-verification --sni-hostname $SNI --port $PORT {files} $IP --priority NORMAL:-VERS-ALL:+VERS-TLS$VERSION"
        );
        let peers = &self.peers;
        command
            .replace("$OPENSSL", &openssl)
            .replace("$GNUTLS", &gnutls)
            .replace("$REQUEST", &format!("({REQUEST})"))
            .replace("$JAVA", &java)
            .replace("$NSS", &nss)
            .replace("$RUST", &peers.rust.display().to_string())
            .replace("$GO", &peers.go.display().to_string())
            .replace("$PYTHON", &peers.python.display().to_string())
    }

    /// A certificate that no peer trusts.
    pub(super) fn rogue(&self) -> Identity {
        Identity {
            cert: self.dir.join("rogue.pem"),
            key: self.dir.join("rogue.key"),
        }
    }

    fn paths(
        &self,
    ) -> (
        impl std::fmt::Display,
        impl std::fmt::Display,
        impl std::fmt::Display,
        impl std::fmt::Display,
    ) {
        (
            self.dir.display(),
            self.ca.display(),
            self.own.cert.display(),
            self.own.key.display(),
        )
    }
}

fn gnutls(version: Version) -> &'static str {
    match version {
        Version::Tls13 => "NORMAL:-VERS-ALL:+VERS-TLS1.3",
        Version::Tls12 => "NORMAL:-VERS-ALL:+VERS-TLS1.2",
    }
}

fn nss(version: Version) -> &'static str {
    match version {
        Version::Tls13 => "tls1.3:tls1.3",
        Version::Tls12 => "tls1.2:tls1.2",
    }
}

fn java(version: Version) -> &'static str {
    match version {
        Version::Tls13 => "TLSv1.3",
        Version::Tls12 => "TLSv1.2",
    }
}

fn word(ask: Ask) -> &'static str {
    match ask {
        Ask::No => "no",
        Ask::Want => "want",
        Ask::Need => "need",
    }
}

pub(super) fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}
