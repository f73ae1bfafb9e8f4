use super::*;

mod added;
mod checks;
mod named;
mod recordings;

/// What both sides send first, and the expected protocol. The server's bytes come between the
/// client's parts.
pub(super) struct Sample {
    client: Vec<u8>,
    server: Vec<u8>,
    found: Match,
}

pub(super) fn sample(client: impl AsRef<[u8]>, server: impl AsRef<[u8]>, found: Match) -> Sample {
    Sample {
        client: client.as_ref().to_vec(),
        server: server.as_ref().to_vec(),
        found,
    }
}

pub(super) fn upgrade(protocol: &'static str, client: usize, server: Option<usize>) -> Match {
    Match::Upgrade(Turn {
        protocol,
        client,
        server,
    })
}

pub(super) fn through(protocol: &'static str, client: usize, server: usize) -> Match {
    Match::Through(Turn {
        protocol,
        client,
        server: Some(server),
    })
}

/// The first bytes of a ClientHello's record.
pub(super) const HELLO: &[u8] = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03";

pub(super) fn with_hello(before: &[u8]) -> Vec<u8> {
    [before, HELLO].concat()
}

pub(super) fn mysql_greeting() -> Vec<u8> {
    let mut packet = vec![74, 0, 0, 0, 10];
    packet.extend(b"8.0.36\0");
    packet.resize(78, 1);
    packet
}

fn mysql_answer(flags: u16, len: u8) -> Vec<u8> {
    let mut packet = vec![len, 0, 0, 1];
    packet.extend(flags.to_le_bytes());
    packet.resize(usize::from(len) + 4, 0);
    packet
}

pub(super) fn ldap(operation: u8, value: &[u8]) -> Vec<u8> {
    let mut inner = vec![2, 1, 1, operation, value.len() as u8];
    inner.extend(value);
    let mut out = vec![0x30, inner.len() as u8];
    out.extend(inner);
    out
}

fn samples() -> Vec<Sample> {
    use Match::{Declined, Encrypted, Likely, Refused, Yes};
    let ssl_request = b"\0\0\0\x08\x04\xd2\x16\x2f";
    let gss_request = b"\0\0\0\x08\x04\xd2\x16\x30";
    let startup = b"\0\0\0\x13\0\x03\0\0user\0postgres\0\0";
    let start_tls = ldap(0x77, b"\x80\x161.3.6.1.4.1.1466.20037");
    let xmpp = b"<?xml version='1.0'?><stream:stream to='a' xmlns:stream='http://etherx.jabber.org/streams'>";
    let starttls = [
        &xmpp[..],
        b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    ]
    .concat();
    let http = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    let proxy2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x10\0\x20\0";
    vec![
        sample(http("GET / HTTP/1.1"), "", Yes("http/1.1")),
        sample(
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04",
            "",
            Yes("http/2"),
        ),
        sample(
            with_hello(http("CONNECT a:443 HTTP/1.1").as_bytes()),
            "HTTP/1.1 200 Connection established\r\n\r\n",
            through("HTTP CONNECT", 35, 39),
        ),
        sample(
            http("CONNECT a:443 HTTP/1.1"),
            "HTTP/1.1 403 No\r\n\r\n",
            Yes("http/1.1"),
        ),
        sample(
            with_hello(b"PROXY TCP4 10.0.0.1 10.0.0.2 4000 443\r\n"),
            "",
            through("PROXY protocol v1", 39, 0),
        ),
        sample(with_hello(proxy2), "", through("PROXY protocol v2", 28, 0)),
        sample(
            with_hello(b"\x05\x01\0\x05\x01\0\x03\x04host\x01\xbb"),
            b"\x05\0\x05\0\0\x01\x7f\0\0\x01\0\x50",
            through("SOCKS5", 14, 12),
        ),
        sample(
            with_hello(b"\x04\x01\x01\xbb\x0a\0\0\x01me\0"),
            b"\0\x5a\0\0\0\0\0\0",
            through("SOCKS4", 11, 8),
        ),
        sample(
            with_hello(ssl_request),
            "S",
            upgrade("postgresql", 8, Some(1)),
        ),
        sample(
            [&ssl_request[..], startup].concat(),
            "N",
            Refused("postgresql"),
        ),
        sample(
            with_hello(&[&gss_request[..], ssl_request].concat()),
            "NS",
            upgrade("postgresql", 16, Some(2)),
        ),
        sample(gss_request, "G", Encrypted("postgresql-gssapi")),
        sample(startup, "R", Yes("postgresql")),
        sample(
            with_hello(&mysql_answer(0x0a85, 32)),
            mysql_greeting(),
            upgrade("mysql", 36, Some(78)),
        ),
        sample(mysql_answer(0x0285, 80), mysql_greeting(), Yes("mysql")),
        sample(
            with_hello(&start_tls),
            b"\x30\x0c",
            upgrade("ldap", start_tls.len(), None),
        ),
        // A bind with a password, and one without.
        sample(
            ldap(0x60, b"\x02\x01\x03\x04\x04cn=a\x80\x01p"),
            "",
            Yes("ldap"),
        ),
        sample(ldap(0x60, b"\x02\x01\x03\x04\0\x80\0"), "", Likely("ldap")),
        // The root's entry and the schema's, then StartTLS; and a search for people.
        sample(
            with_hello(
                &[
                    ldap(0x63, b"\x04\0\x0a\x01\0\x0a\x01\x03"),
                    ldap(0x63, b"\x04\x0ccn=Subschema\x0a\x01\0"),
                    start_tls.clone(),
                ]
                .concat(),
            ),
            "",
            upgrade("ldap", 15 + 24 + start_tls.len(), None),
        ),
        sample(
            ldap(0x63, b"\x04\x09ou=people\x0a\x01\x02"),
            "",
            Yes("ldap"),
        ),
        sample(
            [start_tls, ldap(0x60, b"\x02\x01\x03")].concat(),
            "",
            Refused("ldap"),
        ),
        sample(
            with_hello(&starttls),
            "<proceed/>",
            upgrade("xmpp", starttls.len(), None),
        ),
        sample(
            with_hello(&[&xmpp[..], b"<t:starttls xmlns:t='urn:a'/>"].concat()),
            "<proceed/>",
            upgrade("xmpp", xmpp.len() + 29, None),
        ),
        sample(
            [&xmpp[..], b"<auth mechanism='PLAIN'>"].concat(),
            "",
            Yes("xmpp"),
        ),
        sample(
            with_hello(b"AMQP\x02\x01\0\0"),
            b"AMQP\x02\x01\0\0",
            upgrade("amqp", 8, Some(8)),
        ),
        sample(b"AMQP\0\0\x09\x01", "", Yes("amqp")),
        sample(
            with_hello(b"EHLO a\r\nSTARTTLS\r\n"),
            "220 mx ESMTP\r\n250-mx\r\n250 STARTTLS\r\n220 go\r\n",
            upgrade("smtp", 18, None),
        ),
        sample(
            "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
            "220 mx ESMTP\r\n",
            Yes("smtp"),
        ),
        sample(
            "EHLO a\r\nSTARTTLS\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
            "220 mx\r\n250 mx\r\n454 no\r\n",
            Refused("smtp"),
        ),
        sample(
            with_hello(b"EHLO a\r\nSTARTTLS x\r\nNOOP\r\nMAIL FROM:<a@b>\r\nSTARTTLS\r\n"),
            "220 mx\r\n250 mx\r\n501 no\r\n250\r\n530 TLS\r\n220 go\r\n",
            upgrade("smtp", 53, None),
        ),
        sample(
            "EHLO a\r\nSTARTTLS\r\n",
            "220 mx\r\n250\r\n454\r\n",
            Declined("smtp"),
        ),
        sample(
            "EHLO a\r\nSTARTTLS\r\nQUIT\r\n",
            "220 mx\r\n250\r\n454\r\n",
            Refused("smtp"),
        ),
        sample(
            with_hello(b"AUTH TLS\r\n"),
            "220 ftp\r\n234 go\r\n",
            upgrade("ftp", 10, None),
        ),
        sample(
            "USER me\r\nPASS it\r\n",
            "220 (vsFTPd 3.0.3)\r\n331\r\n",
            Yes("ftp"),
        ),
        sample(
            with_hello(b"AUTH GSSAPI\r\nUSER me\r\nAUTH TLS\r\n"),
            "220 (vsFTPd 3.0.3)\r\n504\r\n331\r\n234\r\n",
            upgrade("ftp", 32, None),
        ),
        sample(
            with_hello(b"a1 CAPABILITY\r\na2 starttls\r\n"),
            "* OK ready\r\na2 OK\r\n",
            upgrade("imap", 28, None),
        ),
        sample(
            with_hello(b". CAPABILITY\r\n. STARTTLS\r\n"),
            "* OK ready\r\n. OK\r\n",
            upgrade("imap", 26, None),
        ),
        sample("a1 LOGIN me pw\r\n", "* OK ready\r\n", Yes("imap")),
        sample(
            with_hello(b"CAPA\r\nSTLS\r\n"),
            "+OK\r\n+OK\r\n+OK\r\n",
            upgrade("pop3", 12, None),
        ),
        sample(
            "USER me\r\nPASS it\r\n",
            "+OK ready\r\n+OK\r\n",
            Yes("pop3"),
        ),
        sample(
            with_hello(b"STARTTLS\r\n"),
            "\"IMPLEMENTATION\" \"x\"\r\n\"STARTTLS\"\r\nOK\r\nOK\r\n",
            upgrade("sieve", 10, None),
        ),
        sample(
            "AUTHENTICATE \"PLAIN\" \"AHVzZXIAcHc=\"\r\n",
            "\"IMPLEMENTATION\" \"x\"\r\nOK\r\n",
            Yes("sieve"),
        ),
        sample(
            with_hello(b"STARTTLS\r\n"),
            "200 news\r\n382 go\r\n",
            upgrade("nntp", 10, None),
        ),
        sample("GROUP a.b\r\n", "200 news\r\n", Yes("nntp")),
        sample("CAP LS 302\r\nNICK me\r\n", ":srv NOTICE\r\n", Yes("irc")),
        sample(
            with_hello(b"STARTTLS\r\n"),
            ":srv 670 * :go\r\n",
            upgrade("irc", 10, None),
        ),
        sample("*1\r\n$4\r\nPING\r\n", "", Yes("redis")),
        sample("set k 0 0 1\r\nx\r\n", "", Yes("memcached")),
        sample("get key\r\n", "", Yes("memcached")),
        sample(
            b"\x80\0\0\x03\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\0key",
            "",
            Yes("memcached"),
        ),
        sample(
            "CONNECT {\"verbose\":false}\r\n",
            "INFO {\"server_id\":\"a\"}\r\n",
            Yes("nats"),
        ),
        sample(
            HELLO,
            "INFO {\"tls_required\":true}\r\n",
            upgrade("nats", 0, None),
        ),
        sample(
            "SSH-2.0-OpenSSH_9.6\r\n",
            "SSH-2.0-OpenSSH_9.6\r\n",
            Encrypted("ssh"),
        ),
        sample("", "SSH-2.0-dropbear\r\n", Encrypted("ssh")),
        sample("OPTIONS rtsp://a/b RTSP/1.0\r\n", "", Yes("rtsp")),
        sample("INVITE sip:a@b SIP/2.0\r\n", "", Yes("sip")),
        sample(
            b"\0\0\0\x15\0\x12\0\x03\0\0\0\x01\0\x07my-prod\0",
            "",
            Yes("kafka"),
        ),
        sample(
            b"\x3f\0\0\0\x01\0\0\0\0\0\0\0\xd4\x07\0\0\0\0\0\0admin.$cmd\0",
            "",
            Yes("mongodb"),
        ),
        sample(
            b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04abcd",
            "",
            Yes("mqtt"),
        ),
        sample(
            b"\x04\0\0\0\x05\0\0\0\0",
            b"\x84\0\0\0\x06",
            Yes("cassandra"),
        ),
        sample(
            [
                &b"\0\0\0\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x75\x30\0\0\0\0\0\0\0\0\0\0\0\x10"[..],
                &[0; 17],
            ]
            .concat(),
            "",
            Yes("zookeeper"),
        ),
        sample(
            b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01",
            "",
            Yes("dns"),
        ),
        sample(
            b"\0\0\0\x14\x80\x01\0\x01\0\0\0\x04ping\0\0\0\0\0",
            "",
            Yes("thrift"),
        ),
        // The rest of this list was sent by real clients and servers.
        sample(
            b"\x06\0\0\0\x05\0\0\0\0",
            b"\x84\0\0\0\x06",
            Yes("cassandra"),
        ),
        sample(
            b"\x42\0\0\0\x05\0\0\0\0",
            b"\x84\0\0\0\x06",
            Yes("cassandra"),
        ),
        sample(
            b"\0\0\0\x1a\0\0\0\x04echo\x01\0\0\0\x01\x0b\0\x01\0\0\0\x05hello\0",
            "",
            Yes("thrift"),
        ),
        sample(
            b"\0\0\0\x04echo\x01\0\0\0\x01\x0b\0\x01\0\0\0\x05hello\0",
            "",
            Yes("thrift"),
        ),
        sample(
            b"\0\0\0\x10\x82\x21\x01\x04echo\x18\x05hello\0",
            "",
            Yes("thrift"),
        ),
        sample(b"\x82\x21\x01\x04echo\x18\x05hello\0", "", Yes("thrift")),
        sample(
            b"\0\0\0\x24[1,\"echo\",1,1,{\"1\":{\"str\":\"hello\"}}]",
            "",
            Yes("thrift"),
        ),
        sample(
            "[1,\"echo\",1,1,{\"1\":{\"str\":\"hello\"}}]",
            "",
            Yes("thrift"),
        ),
        sample("mg a v\r\n", "VA 1\r\nb\r\n", Yes("memcached")),
        sample("ms k 2\r\nhi\r\n", "HD\r\n", Yes("memcached")),
        sample("mn\r\n", "MN\r\n", Yes("memcached")),
        sample("AUTH x\r\n", "-ERR AUTH <password> called", Yes("redis")),
        sample("HELLO 3\r\n", "%7\r\n$6\r\nserver\r\n", Yes("redis")),
        sample("INFO\r\n", "$4494\r\n# Server\r\n", Yes("redis")),
        sample("get a\n", "$1\r\nb\r\n", Yes("redis")),
        sample("mntr\n", "zk_version\t3.8.4", Yes("zookeeper")),
        sample("ruok", "imok", Yes("zookeeper")),
        sample(
            "stat",
            "stat is not executed because it is not in the whitelist.\n",
            Yes("zookeeper"),
        ),
        sample(
            "CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\n\n\0",
            "CONNECTED\n",
            Yes("stomp"),
        ),
        sample(b"\xda\xbb\xc2\0\0\0\0\0\0\0\0\x01", "", Yes("dubbo")),
    ]
}

fn all_samples() -> Vec<Sample> {
    let mut all = samples();
    all.extend(added::samples());
    all
}
