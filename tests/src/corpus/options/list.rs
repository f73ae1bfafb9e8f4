//! The options of each stack's client.

use super::{Options, Server};

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
        server: Server::OpenSsl(""),
        hides: None,
        again: false,
    }
}

const fn again(client: &'static str, version: &'static str, command: &'static str) -> Options {
    Options {
        again: true,
        ..of(client, "again", version, command)
    }
}

const fn padded(name: &'static str, command: &'static str) -> Options {
    Options {
        hides: Some("padded"),
        ..of("openssl", name, "1.3", command)
    }
}

/// All of them.
pub(in crate::corpus) const OPTIONS: &[Options] = &[
    of("rustls", "plain", "1.3", "$RUST rustls"),
    of("rustls", "fragment", "1.3", "$RUST rustls fragment"),
    Options {
        hides: Some("fragmented"),
        ..of(
            "rustls",
            "tiny-fragment",
            "1.3",
            "$RUST rustls tiny-fragment",
        )
    },
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
        server: Server::OpenSsl("-groups P-384"),
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
        server: Server::OpenSsl("-groups P-384"),
        ..of("nss", "retry", "1.3", "$NSS -I x25519,P384")
    },
    of("openssl", "plain", "1.3", "$PYTHON peer.py openssl"),
    of("openssl", "joined", "1.3", "$PYTHON peer.py openssl joined"),
    of(
        "openssl",
        "chain",
        "1.3",
        "$PYTHON peer.py openssl chain=12",
    ),
    Options {
        hides: Some("long"),
        ..of(
            "openssl",
            "long-chain",
            "1.3",
            "$PYTHON peer.py openssl chain=20",
        )
    },
    again("openssl", "1.3", "$PYTHON peer.py openssl again"),
    padded("pad-data-200", "$PYTHON peer.py openssl pad=200,0"),
    padded("pad-64", "$PYTHON peer.py openssl pad=64"),
    padded("pad-100", "$PYTHON peer.py openssl pad=100"),
    padded("pad-flight-100", "$PYTHON peer.py openssl pad=0,100"),
    padded("pad-flight-200", "$PYTHON peer.py openssl pad=0,200"),
    padded("pad-flight-600", "$PYTHON peer.py openssl pad=0,600"),
    padded("pad-flight-3000", "$PYTHON peer.py openssl pad=0,3000"),
    padded("pad-apart", "$PYTHON peer.py openssl pad=300,600"),
    padded(
        "pad-flight-200-joined",
        "$PYTHON peer.py openssl pad=0,200 joined",
    ),
    padded(
        "pad-apart-joined",
        "$PYTHON peer.py openssl pad=300,600 joined",
    ),
    of("openssl", "middlebox-off", "1.3", "$OPENSSL -no_middlebox"),
    of("openssl", "max-fragment", "1.3", "$OPENSSL -maxfraglen 512"),
    of("openssl", "max-fragment", "1.2", "$OPENSSL -maxfraglen 512"),
    of(
        "openssl",
        "chacha",
        "1.3",
        "$OPENSSL -ciphersuites TLS_CHACHA20_POLY1305_SHA256",
    ),
    of(
        "gnutls",
        "middlebox-off",
        "1.3",
        "$GNUTLS:%DISABLE_TLS13_COMPAT_MODE",
    ),
    of("gnutls", "record-limit", "1.3", "$GNUTLS --recordsize 512"),
    of("gnutls", "record-limit", "1.2", "$GNUTLS --recordsize 512"),
    of("gnutls", "key-update", "1.3", "$GNUTLS --rehandshake"),
    of(
        "gnutls",
        "post-handshake",
        "1.3",
        "$GNUTLS --post-handshake-auth",
    ),
    of("gnutls", "alpn", "1.3", "$GNUTLS --alpn h2 --alpn http/1.1"),
    again("gnutls", "1.3", "$GNUTLS --resume --waitresumption"),
    again("gnutls", "1.2", "$GNUTLS --resume"),
    Options {
        server: Server::GnuTls(" --compress-cert zlib"),
        ..of(
            "gnutls",
            "compressed",
            "1.3",
            "$GNUTLS --compress-cert zlib",
        )
    },
    Options {
        server: Server::GnuTls(" --compress-cert zlib"),
        ..of("rustls", "compressed", "1.3", "$RUST rustls")
    },
    Options {
        server: Server::GnuTls(":+CTYPE-CLI-RAWPK --rawpkkeyfile $KEY --rawpkfile raw.pub"),
        ..of(
            "gnutls",
            "raw-key",
            "1.3",
            "$REQUEST | gnutls-cli --no-ca-verification --sni-hostname $SNI --port $PORT ${OWN:+--rawpkkeyfile $KEY --rawpkfile raw.pub} $IP --priority NORMAL:-VERS-ALL:+VERS-TLS1.3:-CTYPE-CLI-ALL:+CTYPE-CLI-RAWPK",
        )
    },
    of("go", "chain", "1.3", "$GO go-tls-client chain"),
    again("go", "1.3", "$GO go-tls-client again"),
    again("go", "1.2", "$GO go-tls-client again"),
    again("rustls", "1.3", "$RUST rustls again"),
    again("rustls", "1.2", "$RUST rustls again"),
    again("tlslite", "1.3", "$PYTHON peer.py tlslite again"),
    again("erlang", "1.3", "escript peer.escript again"),
    Options {
        server: Server::OpenSsl("-groups P-384"),
        ..of("erlang", "retry", "1.3", "escript peer.escript retry")
    },
    again("java", "1.3", "java -Dpeer.again=true $JAVA"),
    again("java", "1.2", "java -Dpeer.again=true $JAVA"),
    of("java", "alpn", "1.3", "java -Dpeer.alpn=h2 $JAVA"),
    Options {
        server: Server::OpenSsl("-groups P-384"),
        ..of(
            "java",
            "retry",
            "1.3",
            "java -Djdk.tls.namedGroups=x25519,secp384r1 $JAVA",
        )
    },
    of(
        "boringssl",
        "chrome131",
        "1.3",
        "$PYTHON peer.py boringssl chrome131",
    ),
    of("nss", "tickets", "1.3", "$NSS -u"),
    of("nss", "chacha", "1.3", "$NSS -c :1303"),
];
