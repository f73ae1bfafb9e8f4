//! A shell, a directory, files, and names.

use anyhow::Result;
use mtls_tests::servers::Watched;
use mtls_tests::skip::{Need, runs_here};

#[test]
fn openssh() -> Result<()> {
    let programs = Need::Programs(&["sshd", "ssh", "ssh-keygen"]);
    if !runs_here(&[Need::Root, programs]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    // Where sshd keeps what it takes its privileges from cannot be set.
    watched.cover("/run")?;
    std::fs::create_dir("/run/sshd")?;
    let [_, key, _] = watched.tls("db")?;
    let [_, own_key, _] = watched.tls("web")?;
    let own = watched.client(&format!("ssh-keygen -y -f {own_key}"))?;
    let own = watched.config("authorized_keys", &own)?;
    let config = watched.config(
        "sshd_config",
        &format!(
            "HostKey {key}\nAuthorizedKeysFile {own}\nStrictModes no\nUsePAM no\n\
             PermitRootLogin yes\nPidFile none\n"
        ),
    )?;
    let _server = watched.serve(22, &format!("sshd -D -e -f {config}"))?;
    watched.client(&format!(
        "ssh -F none -i {own_key} -o BatchMode=yes -o StrictHostKeyChecking=no
         -o UserKnownHostsFile=/dev/null root@{} true",
        watched.ip()
    ))?;
    let flow = watched.expect(22, ["opaque", "first-bytes", "ssh"])?;
    let reason = "encrypted by ssh itself, not by TLS";
    assert_eq!(flow["reason"], reason, "{flow:#}");
    watched.compare()
}

#[test]
fn slapd() -> Result<()> {
    let programs = Need::Programs(&["slapd", "ldapwhoami"]);
    if !runs_here(&[Need::Root, programs]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let [cert, key, ca] = watched.tls("db")?;
    let [own_cert, own_key, _] = watched.tls("web")?;
    let ip = watched.ip();
    let clear = watched.config("clear.conf", "")?;
    let config = watched.config(
        "slapd.conf",
        &format!(
            "TLSCertificateFile {cert}\nTLSCertificateKeyFile {key}\n\
             TLSCACertificateFile {ca}\nTLSVerifyClient try\n"
        ),
    )?;
    let _clear = watched.serve(388, &format!("slapd -d 0 -h ldap://0.0.0.0:388 -f {clear}"))?;
    let _secure = watched.serve(
        389,
        &format!("slapd -d 0 -h ldap://0.0.0.0:389 -f {config}"),
    )?;
    let client = |port: u16, args: &str, own: &str| {
        watched.client(&format!(
            "env LDAPTLS_REQCERT=never {own} ldapwhoami -x {args} -H ldap://{ip}:{port}"
        ))
    };
    client(388, "", "")?;
    watched.clear(388, "ldap")?;
    client(388, "-Z", "")?;
    watched.expect(388, ["plaintext", "upgrade", "ldap"])?;
    client(389, "-ZZ", "")?;
    watched.secure(389, "ldap", "1.3", "not-presented")?;
    client(
        389,
        "-ZZ",
        &format!("LDAPTLS_CERT={own_cert} LDAPTLS_KEY={own_key}"),
    )?;
    watched.secure(389, "ldap", "1.3", "presented")?;
    watched.compare()
}

#[test]
fn vsftpd() -> Result<()> {
    let programs = Need::Programs(&["vsftpd", "curl"]);
    if !runs_here(&[Need::Root, programs]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let [cert, key, ca] = watched.tls("db")?;
    let [own_cert, own_key, _] = watched.tls("web")?;
    let (dir, empty) = (watched.dir("ftp")?, watched.dir("empty")?);
    watched.config("ftp/a-file-to-list", "")?;
    let config = watched.config(
        "vsftpd.conf",
        &format!(
            "listen=YES\nlisten_ipv6=NO\nbackground=NO\nseccomp_sandbox=NO\n\
             anonymous_enable=YES\nanon_root={dir}\nsecure_chroot_dir={empty}\n\
             pasv_min_port=2121\npasv_max_port=2121\n\
             ssl_enable=YES\nallow_anon_ssl=YES\nrequire_ssl_reuse=NO\nssl_ciphers=HIGH\n\
             rsa_cert_file={cert}\nrsa_private_key_file={key}\nca_certs_file={ca}\n\
             ssl_request_cert=YES\n"
        ),
    )?;
    let _server = watched.serve(21, &format!("vsftpd {config}"))?;
    let curl = format!(
        "curl --silent --show-error --insecure ftp://{}/",
        watched.ip()
    );
    watched.client(&curl)?;
    watched.clear(21, "ftp")?;
    watched.clear(2121, "unknown")?;
    watched.client(&format!("{curl} --ssl-reqd"))?;
    watched.secure(21, "ftp", "1.3", "not-presented")?;
    // Of the listing's own connection, that resumes the session, more cannot be determined.
    let unproven = ["tls-unproven", "handshake-shape", "tls"];
    watched.expect(2121, unproven)?;
    watched.client(&format!(
        "{curl} --ssl-reqd --cert {own_cert} --key {own_key}"
    ))?;
    watched.secure(21, "ftp", "1.3", "presented")?;
    watched.expect(2121, unproven)?;
    watched.compare()
}

#[test]
fn dnsmasq() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Programs(&["dnsmasq", "dig"])]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let _server = watched.serve(
        53,
        "dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file --user=root --no-resolv
         --no-hosts --address=/db.shop/10.42.1.2",
    )?;
    let dig = format!("dig +tcp +short @{} db.shop", watched.ip());
    assert_eq!(watched.client(&dig)?.trim(), "10.42.1.2");
    watched.clear(53, "dns")?;
    watched.compare()
}
