//! Upgrades to TLS, and protocols with their own encryption, by the specifications that each
//! recogniser cites.

use super::*;

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|b| !b.is_ascii_whitespace())
        .map(|b| (b as char).to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

pub(super) fn both(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A TPKT packet with an X.224 connection request or confirmation.
pub(super) fn x224(kind: u8, variable: &[u8]) -> Vec<u8> {
    let size = 11 + variable.len() as u8;
    let mut out = vec![3, 0, 0, size, size - 5, kind, 0, 0, 0, 0, 0];
    out.extend(variable);
    out
}

fn tds_packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let size = (8 + body.len()) as u16;
    let mut out = vec![kind, 1];
    out.extend(size.to_be_bytes());
    out.extend([0, 0, 1, 0]);
    out.extend(body);
    out
}

fn prelogin(kind: u8, encryption: u8) -> Vec<u8> {
    let mut options = hex("00 000b 0006 01 0011 0001 ff");
    options.extend([0x11, 0, 0, 0, 0, 0, encryption]);
    tds_packet(kind, &options)
}

fn rpc_call(program: u32, flavor: u32, credentials: &[u8]) -> Vec<u8> {
    let mut call = hex("0a1b2c3d 00000000 00000002");
    call.extend(program.to_be_bytes());
    call.extend(hex("00000004 00000000"));
    call.extend(flavor.to_be_bytes());
    call.extend((credentials.len() as u32).to_be_bytes());
    call.extend(credentials);
    call.extend([0; 8]);
    let mark = 0x8000_0000 | call.len() as u32;
    both(&[&mark.to_be_bytes(), &call])
}

fn nbd_option(option: u32, data: &[u8]) -> Vec<u8> {
    let mut out = b"IHAVEOPT".to_vec();
    out.extend(option.to_be_bytes());
    out.extend((data.len() as u32).to_be_bytes());
    out.extend(data);
    out
}

fn nbd_reply(option: u32, kind: u32) -> Vec<u8> {
    let mut out = hex("0003e889045565a9");
    out.extend(option.to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend([0; 4]);
    out
}

fn smb(magic: u8, command: u8) -> Vec<u8> {
    let mut message = vec![magic, b'S', b'M', b'B', 64, 0, 0, 0, 0, 0, 0, 0, command, 0];
    message.resize(64, 0);
    both(&[&[0, 0, 0, 64], &message])
}

fn sasl_bind(mechanism: &str) -> Vec<u8> {
    let mut sasl = vec![4, mechanism.len() as u8];
    sasl.extend(mechanism.bytes());
    let mut bind = vec![2, 1, 3, 4, 0, 0xa3, sasl.len() as u8];
    bind.extend(sasl);
    ldap(0x60, &bind)
}

/// A four-byte length, and a Kerberos token with these flags (RFC 4121 §4.2.6.2).
fn wrapped(flags: u8) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 32, 5, 4, flags, 0xff];
    out.resize(36, 0xa7);
    out
}

/// Upgrades to TLS through proxies and text protocols.
fn ways_to_tls() -> Vec<Sample> {
    use Match::{Asked, Declined, Encrypted, Likely, Refused, Yes};
    let connect = "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n";
    let twice = [connect, connect].concat();
    let denied = "HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno";
    let upgrade_tls = "OPTIONS * HTTP/1.1\r\nHost: a\r\nUpgrade: TLS/1.0\r\n\r\n";
    let secret = "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\nUpgrade: TLS/1.2\r\n\r\n";
    let switching = "HTTP/1.1 101 Switching\r\nUpgrade: TLS/1.0\r\n\r\n";
    let gnutella = "GNUTELLA CONNECT/0.6\r\nUpgrade: TLS/1.0\r\n\r\n";
    let agreed = "GNUTELLA/0.6 200 OK\r\nUpgrade: TLS/1.0\r\n\r\n";
    let confirmed = "GNUTELLA/0.6 200 OK\r\n\r\n";
    let xmpp =
        "<?xml version='1.0'?><stream:stream xmlns:stream='http://etherx.jabber.org/streams'>";
    let children = [
        xmpp,
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls >",
    ]
    .concat();
    let ssl = hex("00000008 04d2162f");
    let startup = b"\0\0\0\x13\0\x03\0\0user\0postgres\0\0";
    vec![
        sample(
            with_hello(twice.as_bytes()),
            [denied, "HTTP/1.1 200 OK\r\n\r\n"].concat(),
            through("HTTP CONNECT", twice.len(), denied.len() + 19),
        ),
        sample(
            with_hello(connect.as_bytes()),
            "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            through("HTTP CONNECT", connect.len(), 41),
        ),
        sample(connect, denied, Likely("http/1.1")),
        sample(
            [connect, "GET / HTTP/1.1\r\n\r\n"].concat(),
            denied,
            Yes("http/1.1"),
        ),
        sample(
            with_hello(upgrade_tls.as_bytes()),
            switching,
            upgrade("http/1.1", upgrade_tls.len(), Some(switching.len())),
        ),
        sample(upgrade_tls, switching, Asked("http/1.1")),
        sample(upgrade_tls, "HTTP/1.1 200 OK\r\n\r\n", Refused("http/1.1")),
        sample(secret, "", Yes("http/1.1")),
        sample(
            with_hello([gnutella, confirmed].concat().as_bytes()),
            agreed,
            upgrade(
                "gnutella",
                gnutella.len() + confirmed.len(),
                Some(agreed.len()),
            ),
        ),
        sample(
            with_hello(b"AUTH\r\nSTLS\r\n"),
            "+OK ready\r\n+OK\r\nPLAIN\r\n.\r\n+OK\r\n",
            upgrade("pop3", 12, None),
        ),
        sample("AUTH PLAIN\r\n", "+OK\r\n", Yes("pop3")),
        sample(
            with_hello(children.as_bytes()),
            "<proceed/>",
            upgrade("xmpp", children.len(), None),
        ),
        sample(&children, "<stream:features/><proceed/>", Asked("xmpp")),
        sample(&children, "<failure/>", Declined("xmpp")),
        sample(
            "EHLO a\r\nSTARTTLS\r\n",
            "220 mx\r\n250 mx\r\n220 go\r\n",
            Asked("smtp"),
        ),
        sample("a STARTTLS\r\n", "* OK\r\na NO never\r\n", Declined("imap")),
        sample("a STARTTLS\r\n", "* OK\r\na OK begin\r\n", Asked("imap")),
        sample(
            with_hello(b"STARTTLS\n"),
            "OK STARTTLS\n",
            upgrade("nut", 9, None),
        ),
        sample(
            "STARTTLS\n",
            "ERR FEATURE-NOT-CONFIGURED\n",
            Declined("nut"),
        ),
        sample("USERNAME me\n", "OK STARTTLS\n", Yes("nut")),
        // PostgreSQL whose answers were not all seen, or have not arrived yet.
        sample(with_hello(&ssl), "NS", upgrade("postgresql", 8, None)),
        sample(&ssl, "S", Asked("postgresql")),
        sample(&ssl, "N", Declined("postgresql")),
        sample(
            both(&[&hex("0000010c 04d2162e"), &[7; 260]]),
            "",
            Yes("postgresql"),
        ),
        sample(both(&[&ssl, startup]), "N", Refused("postgresql")),
        // Encrypted by a SASL mechanism.
        sample(
            both(&[b"a AUTHENTICATE GSSAPI\r\nYII=\r\n\r\n", &wrapped(2)]),
            "* OK\r\n+ \r\n+ YII=\r\na OK\r\n",
            Encrypted("imap"),
        ),
        sample(
            "a AUTHENTICATE GSSAPI\r\nYII=\r\nb SELECT INBOX\r\n",
            "* OK\r\n+ \r\na OK\r\n",
            Yes("imap"),
        ),
        sample(
            "AUTH GSSAPI\r\nADAT YII=\r\nENC AAAA\r\n",
            "220 ftp\r\n334\r\n235\r\n",
            Encrypted("ftp"),
        ),
        sample(
            "AUTH GSSAPI\r\nADAT YII=\r\nMIC AAAA\r\n",
            "220 ftp\r\n334\r\n235\r\n",
            Yes("ftp"),
        ),
        sample(
            both(&[&sasl_bind("GSS-SPNEGO"), &wrapped(6)]),
            "",
            Encrypted("ldap"),
        ),
        sample(both(&[&sasl_bind("GSSAPI"), &wrapped(4)]), "", Yes("ldap")),
        sample(
            both(&[
                &sasl_bind("GSSAPI"),
                &ldap(0x63, b"\x04\x03o=a\x0a\x01\x02"),
            ]),
            "",
            Yes("ldap"),
        ),
        sample(sasl_bind("PLAIN"), "", Yes("ldap")),
        sample(
            both(&[
                xmpp.as_bytes(),
                b"<auth mechanism='GSSAPI'>YII=</auth>",
                &wrapped(2),
            ]),
            "",
            Encrypted("xmpp"),
        ),
        sample(
            "SSH-2.0-a\r\n",
            "This system is monitored.\r\n",
            Encrypted("ssh"),
        ),
        sample("", "Hello\r\nSSH-2.0-b\r\n", Encrypted("ssh")),
    ]
}

/// Binary protocols that upgrade to TLS, or encrypt.
fn upgrades() -> Vec<Sample> {
    use Match::{Asked, Declined, Encrypted, Likely, Refused, Yes};
    let request = x224(0xe0, &hex("01 00 0800 03000000"));
    let cookie = x224(
        0xe0,
        &both(&[b"Cookie: mstshash=me\r\n", &hex("01 00 0800 0b000000")]),
    );
    let confirm = |kind: u8, value: u8| x224(0xd0, &[kind, 0, 8, 0, value, 0, 0, 0]);
    let security = |method: u8| {
        let data = [0x02, 0x0c, 12, 0, method, 0, 0, 0, method, 0, 0, 0];
        both(&[&confirm(2, 0), &data])
    };
    let tls_call = rpc_call(100_003, 7, &[]);
    let agrees = both(&[
        &hex("80000020 0a1b2c3d 00000001 00000000 00000000 00000008"),
        b"STARTTLS\0\0\0\0",
    ]);
    let refuses = hex("80000018 0a1b2c3d 00000001 00000000 00000000 00000000 00000000");
    let gss = |procedure: u8, service: u8| {
        let head = [0, 0, 0, 1, 0, 0, 0, procedure, 0, 0, 0, 1, 0, 0, 0, service];
        rpc_call(100_003, 6, &both(&[&head, &[0; 4]]))
    };
    let nbd_server = both(&[b"NBDMAGICIHAVEOPT", &[0, 3]]);
    let nbd_flags = [0, 0, 0, 3];
    let x_get = hex("01000000 01");
    let x_capabilities = hex("05000000 02 0a020801");
    let x_tls = both(&[
        &hex("14000000 02 0a110a0f"),
        b"\x0a\x03tls",
        &hex("12080801120408073801"),
    ]);
    let x_ok = hex("01000000 00");
    let rfb = b"RFB 003.008\n";
    let vencrypt = both(&[rfb, &hex("13 0002 00000104")]);
    let ce = |tls: bool| {
        let mut message = hex("01000000 80000101 00000000 00000001 00000001 00000108 4000000c");
        message.extend(b"node");
        if tls {
            message.extend(hex("0000012b 4000000c 00000001"));
        }
        message[3] = message.len() as u8;
        message
    };
    let mut cea = ce(true);
    cea[4] = 0;
    let hello_wrapped = tds_packet(0x12, HELLO);
    let on = prelogin(0x12, 1);
    vec![
        sample(
            with_hello(&request),
            confirm(2, 1),
            upgrade("rdp", 19, Some(19)),
        ),
        sample(
            with_hello(&cookie),
            confirm(2, 2),
            upgrade("rdp", cookie.len(), Some(19)),
        ),
        sample(&request, confirm(2, 1), Asked("rdp")),
        sample(&request, confirm(3, 2), Declined("rdp")),
        sample(both(&[&request, &[3, 0]]), security(2), Encrypted("rdp")),
        sample(both(&[&request, &[3, 0]]), security(0), Yes("rdp")),
        sample(
            both(&[&on, &hello_wrapped]),
            prelogin(4, 1),
            Match::Wrapped(
                Turn {
                    protocol: "tds",
                    client: on.len(),
                    server: Some(on.len()),
                },
                Framing::Tds,
            ),
        ),
        sample(&on, prelogin(4, 3), Asked("tds")),
        sample(&on, prelogin(4, 2), Declined("tds")),
        // Only the login is encrypted.
        sample(
            both(&[&prelogin(0x12, 0), &hello_wrapped]),
            prelogin(4, 0),
            Yes("tds"),
        ),
        sample(
            hex("10 01 0090 0000 01 00 88000000 04000074"),
            "",
            Yes("tds"),
        ),
        sample(
            with_hello(&tls_call),
            &agrees,
            upgrade("nfs", 44, Some(agrees.len())),
        ),
        sample(&tls_call, &refuses, Declined("nfs")),
        sample(
            both(&[&tls_call, &rpc_call(100_003, 1, &[])]),
            &refuses,
            Refused("nfs"),
        ),
        sample(rpc_call(100_000, 0, &[]), "", Yes("rpcbind")),
        sample(both(&[&gss(1, 3), &gss(0, 3)]), "", Encrypted("nfs")),
        sample(both(&[&gss(1, 2), &gss(0, 2)]), "", Yes("nfs")),
        sample(
            with_hello(&both(&[
                &nbd_flags,
                &nbd_option(8, &[]),
                &nbd_option(5, &[]),
            ])),
            both(&[&nbd_server, &nbd_reply(8, 0x8000_0001), &nbd_reply(5, 1)]),
            upgrade("nbd", 36, Some(58)),
        ),
        sample(
            both(&[&nbd_flags, &nbd_option(5, &[])]),
            both(&[&nbd_server, &nbd_reply(5, 0x8000_0002)]),
            Declined("nbd"),
        ),
        sample(
            both(&[&nbd_flags, &nbd_option(7, b"disk")]),
            &nbd_server,
            Yes("nbd"),
        ),
        sample(
            with_hello(&x_tls),
            both(&[&hex("05000000 0b 08051a00"), &x_ok]),
            upgrade("mysqlx", 24, Some(14)),
        ),
        sample(
            with_hello(&both(&[&x_get, &x_tls])),
            both(&[&x_capabilities, &x_ok]),
            upgrade("mysqlx", 29, Some(14)),
        ),
        sample(&x_tls, hex("02000000 01 08"), Declined("mysqlx")),
        sample(
            both(&[&hex("0a000000 04"), b"\x0a\x07MYSQL41"]),
            "",
            Yes("mysqlx"),
        ),
        sample(
            with_hello(&vencrypt),
            both(&[rfb, &hex("02 0213 0002 00 02 00000104 00000105 01")]),
            upgrade("vnc", 19, Some(28)),
        ),
        sample(
            with_hello(&both(&[rfb, &[18]])),
            both(&[rfb, &[1, 18]]),
            upgrade("vnc", 13, Some(14)),
        ),
        sample(both(&[rfb, &[1]]), both(&[rfb, &[1, 1]]), Yes("vnc")),
        sample(
            both(&[rfb, &[129]]),
            both(&[rfb, &[1, 129]]),
            Encrypted("vnc"),
        ),
        sample("", rfb, Likely("vnc")),
        sample(with_hello(&[3]), "", upgrade("consul", 1, Some(0))),
        sample(with_hello(&[4]), "", upgrade("nomad", 1, Some(0))),
        sample(
            with_hello(&ce(true)),
            &cea,
            upgrade("diameter", ce(true).len(), Some(cea.len())),
        ),
        sample(ce(false), "", Yes("diameter")),
        sample(
            with_hello(&hex("fffb2e fffa2e01fff0")),
            hex("fffd2e fffa2e01fff0"),
            upgrade("telnet", 9, None),
        ),
        sample(
            both(&[&hex("fffb18"), b"root\r\n"]),
            both(&[&hex("fffd18"), b"login: "]),
            Yes("telnet"),
        ),
        sample(
            both(&[&smb(0xfe, 0), &smb(0xfe, 1), &smb(0xfd, 0)]),
            "",
            Encrypted("smb"),
        ),
        sample(
            both(&[&smb(0xfe, 0), &smb(0xfe, 1), &smb(0xfe, 3)]),
            "",
            Yes("smb"),
        ),
        sample(smb(0xfe, 0), "", Likely("smb")),
    ]
}

pub(super) fn samples() -> Vec<Sample> {
    let mut all = ways_to_tls();
    all.extend(upgrades());
    all.extend(super::named::samples());
    all
}
