//! Mail: sent, fetched, and sorted.

use std::os::unix::fs::chown;

use anyhow::Result;
use mtls_tests::process::Process;
use mtls_tests::servers::Watched;
use mtls_tests::skip::{Need, runs_here};

use super::{NOBODY, VERSIONS};

const NEEDS: [Need; 3] = [
    Need::Root,
    Need::Openssl,
    Need::Programs(&["dovecot", "curl"]),
];

/// Dovecot with all of its services; with TLS, it asks for a certificate and insists on none.
fn serve(watched: &Watched, tls: bool) -> Result<Process> {
    let [cert, key, ca] = watched.tls("db")?;
    let ssl = if tls { "yes" } else { "no" };
    let dir = watched.dir("dovecot")?;
    chown(&dir, Some(NOBODY), Some(NOBODY))?;
    let config = watched.config(
        "dovecot.conf",
        &format!(
            "base_dir = {dir}/run\nlisten = *\nlog_path = /dev/stderr\n\
             protocols = imap pop3 submission lmtp sieve\n\
             ssl = {ssl}\nssl_cert = <{cert}\nssl_key = <{key}\nssl_ca = <{ca}\n\
             ssl_verify_client_cert = yes\nssl_require_crl = no\n\
             disable_plaintext_auth = no\nsubmission_relay_host = 127.0.0.1\n\
             service lmtp {{\n inet_listener lmtp {{\n port = 24\n }}\n}}\n\
             mail_location = maildir:{dir}/mail\n\
             passdb {{\n driver = static\n args = password=secret\n}}\n\
             userdb {{\n driver = static\n args = uid={NOBODY} gid={NOBODY} home={dir}/home\n}}\n"
        ),
    )?;
    watched.serve(4190, &format!("dovecot -F -c {config}"))
}

#[test]
fn dovecot() -> Result<()> {
    if !runs_here(&NEEDS) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let _server = serve(&watched, true)?;
    let [own_cert, own_key, _] = watched.tls("web")?;
    for (port, name) in [(143, "imap"), (110, "pop3"), (587, "smtp")] {
        let url = format!("{name}://{}:{port}", watched.ip());
        let curl = |args: &str| -> Result<()> {
            let line = format!("curl --silent --show-error --insecure {args} {url}");
            if name == "smtp" {
                // There is no server to relay to, nor a command that curl could ask it for.
                return watched.turned_away(&line);
            }
            watched.client(&format!("{line} --user user:secret"))?;
            Ok(())
        };
        curl("")?;
        watched.clear(port, name)?;
        curl("--ssl-reqd")?;
        watched.secure(port, name, "1.3", "not-presented")?;
        curl(&format!("--ssl-reqd --cert {own_cert} --key {own_key}"))?;
        watched.secure(port, name, "1.3", "presented")?;
    }
    for (port, dialect, name) in [
        (143, "imap", "imap"),
        (110, "pop3", "pop3"),
        (587, "smtp", "smtp"),
        (24, "lmtp", "smtp"),
        (4190, "sieve", "sieve"),
    ] {
        for version in VERSIONS {
            let args = format!("-starttls {dialect} -tls{}", version.replace('.', "_"));
            watched.openssl(port, &args, "")?;
            watched.secure(port, name, version, "not-presented")?;
            let own = format!("-cert {own_cert} -key {own_key}");
            watched.openssl(port, &format!("{args} {own}"), "")?;
            watched.secure(port, name, version, "presented")?;
        }
    }
    watched.compare()
}

/// openssl asks for TLS although it was not offered, and mostly tries it although it was refused.
#[test]
fn dovecot_that_refuses_tls() -> Result<()> {
    if !runs_here(&NEEDS) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let _server = serve(&watched, false)?;
    for (port, dialect, name) in [
        (143, "imap", "imap"),
        (110, "pop3", "pop3"),
        (587, "smtp", "smtp"),
        (24, "lmtp", "smtp"),
        (4190, "sieve", "sieve"),
    ] {
        watched.openssl(port, &format!("-starttls {dialect}"), "")?;
        watched.expect(port, ["plaintext", "upgrade", name])?;
    }
    watched.compare()
}
