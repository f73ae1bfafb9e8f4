//! The options for OpenSSL, and the output that proves that they took effect.

use super::{Connection, Special};

pub(super) const ASK: &str = r"printf 'GET / HTTP/1.0\r\n\r\n'; sleep 0.5";
/// The server's page is empty then, so the client's output has to do.
const WAIT: &str = "sleep 2";
const NOTHING: &str = "true";

/// What the page says about the session and the client.
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

/// The client's CertificateVerify follows the second hello, or the server's late request.
fn authenticated_late(told: &str) -> bool {
    let late = told.split_once("\nNew, ").map_or("", |(_, late)| late);
    let asked = late.contains(", HelloRequest\n") || late.contains(", CertificateRequest\n");
    let gave = |line: &str| line.starts_with(">>> ") && line.ends_with(", CertificateVerify");
    asked && late.lines().any(gave)
}

/// A second handshake without a certificate request.
fn renegotiated_alone(told: &str) -> bool {
    let late = told.split_once("\nNew, ").map_or("", |(_, late)| late);
    late.contains(", HelloRequest\n")
        && late.contains(", ClientKeyExchange\n")
        && !told.contains(", CertificateVerify")
}

/// No answer came, and the client reports a failed handshake.
fn fails(told: &str) -> bool {
    !told.contains("HTTP/1.0 200") && (told.contains("alert") || told.contains("verify failed"))
}

/// A connection that requests the server's page.
const fn to(client: &'static str, truth: &'static str, proof: fn(&str) -> bool) -> Connection {
    Connection {
        client,
        sends: ASK,
        truth,
        proof,
    }
}

/// Connections to a server without commands.
const fn of(
    version: &'static str,
    name: &'static str,
    server: &'static str,
    connections: &'static [Connection],
) -> Special {
    Special {
        version,
        name,
        server,
        commands: NOTHING,
        connections,
    }
}

/// All of them. `$OWN` and `$DEMAND` stand for the options above.
pub(in crate::corpus) const SPECIALS: &[Special] = &[
    of(
        "1.3",
        "resumed-mutual",
        "-www -tls1_3 $DEMAND",
        &[
            to("-tls1_3 $OWN -sess_out 13m.pem", "mutual", mutual),
            to("-tls1_3 -sess_in 13m.pem", "resumed-mutual", resumed_mutual),
        ],
    ),
    of(
        "1.3",
        "resumed-server-only",
        "-www -tls1_3",
        &[
            to("-tls1_3 -sess_out 13s.pem", "server-only", server_only),
            to(
                "-tls1_3 -sess_in 13s.pem",
                "resumed-server-only",
                resumed_server_only,
            ),
        ],
    ),
    of(
        "1.2",
        "ticket-mutual",
        "-www -tls1_2 $DEMAND",
        &[
            to("-tls1_2 $OWN -sess_out 12m.pem", "mutual", mutual),
            to("-tls1_2 -sess_in 12m.pem", "resumed-mutual", resumed_mutual),
        ],
    ),
    of(
        "1.2",
        "ticket-server-only",
        "-www -tls1_2",
        &[
            to("-tls1_2 -sess_out 12s.pem", "server-only", server_only),
            to(
                "-tls1_2 -sess_in 12s.pem",
                "resumed-server-only",
                resumed_server_only,
            ),
        ],
    ),
    of(
        "1.2",
        "session-id-mutual",
        "-www -tls1_2 -no_ticket $DEMAND",
        &[
            to("-tls1_2 $OWN -sess_out 12mi.pem", "mutual", mutual),
            to(
                "-tls1_2 -sess_in 12mi.pem",
                "resumed-mutual",
                resumed_mutual,
            ),
        ],
    ),
    of(
        "1.2",
        "session-id-server-only",
        "-www -tls1_2 -no_ticket",
        &[
            to("-tls1_2 -sess_out 12si.pem", "server-only", server_only),
            to(
                "-tls1_2 -sess_in 12si.pem",
                "resumed-server-only",
                resumed_server_only,
            ),
        ],
    ),
    Special {
        commands: "sleep 12; echo Q",
        ..of(
            "1.3",
            "early-data",
            "-tls1_3 -early_data -no_anti_replay",
            &[
                Connection {
                    sends: WAIT,
                    ..to("-tls1_3 -sess_out 13e.pem", "server-only", first_of_early)
                },
                Connection {
                    sends: WAIT,
                    ..to(
                        "-tls1_3 -sess_in 13e.pem -early_data hello",
                        "resumed-server-only",
                        early,
                    )
                },
            ],
        )
    },
    of(
        "1.3",
        "retry-mutual",
        "-www -tls1_3 -groups P-384 $DEMAND",
        &[to(
            "-msg -tls1_3 -groups X25519:P-384 $OWN",
            "mutual",
            retried_mutual,
        )],
    ),
    of(
        "1.3",
        "retry-server-only",
        "-www -tls1_3 -groups P-384",
        &[to(
            "-msg -tls1_3 -groups X25519:P-384",
            "server-only",
            retried_server_only,
        )],
    ),
    of(
        "1.3",
        "psk",
        "-www -tls1_3 -psk 1a2b3c4d",
        &[to("-tls1_3 -psk 1a2b3c4d", "psk", resumed_server_only)],
    ),
    of(
        "1.2",
        "psk",
        "-www -tls1_2 -psk 1a2b3c4d -cipher PSK",
        &[to("-tls1_2 -psk 1a2b3c4d -cipher PSK", "psk", psk_12)],
    ),
    Special {
        commands: "sleep 4; echo R; sleep 3; echo Q",
        ..of(
            "1.2",
            "renegotiated",
            "-tls1_2 -no_ticket -no_cache -CAfile $CA",
            &[Connection {
                sends: "sleep 7",
                ..to("-msg -tls1_2 $OWN", "renegotiated", authenticated_late)
            }],
        )
    },
    Special {
        commands: "sleep 4; echo R; sleep 3; echo Q",
        ..of(
            "1.2",
            "renegotiated-rsa",
            "-tls1_2 -no_ticket -no_cache -CAfile $CA -cert $RSA.pem -key $RSA.key -cipher AES128-GCM-SHA256",
            &[Connection {
                sends: "sleep 7",
                ..to(
                    "-msg -tls1_2 $OWN -cipher AES128-GCM-SHA256",
                    "renegotiated-rsa",
                    authenticated_late,
                )
            }],
        )
    },
    Special {
        commands: "sleep 4; echo r; sleep 3; echo Q",
        ..of(
            "1.2",
            "renegotiated-rsa-none",
            "-tls1_2 -no_ticket -no_cache -cert $BIG_RSA.pem -key $BIG_RSA.key -cipher AES128-GCM-SHA256",
            &[Connection {
                sends: "sleep 7",
                ..to(
                    "-msg -tls1_2 -cipher AES128-GCM-SHA256",
                    "renegotiated-none",
                    renegotiated_alone,
                )
            }],
        )
    },
    Special {
        commands: "sleep 4; echo r; sleep 3; echo Q",
        ..of(
            "1.2",
            "renegotiated-server-only",
            "-tls1_2 -no_ticket -no_cache",
            &[Connection {
                sends: "sleep 7",
                ..to("-msg -tls1_2", "server-only", renegotiated_alone)
            }],
        )
    },
    Special {
        commands: "sleep 4; echo c; sleep 3; echo Q",
        ..of(
            "1.3",
            "post-handshake",
            "-tls1_3 -CAfile $CA",
            &[Connection {
                sends: "sleep 7",
                ..to(
                    "-msg -tls1_3 -enable_pha $OWN",
                    "post-handshake",
                    authenticated_late,
                )
            }],
        )
    },
    of(
        "1.3",
        "padded-mutual",
        "-www -tls1_3 $DEMAND",
        &[to(
            "-tls1_3 -record_padding 512 $OWN",
            "padded-mutual",
            mutual,
        )],
    ),
    of(
        "1.3",
        "padded-server-only",
        "-www -tls1_3",
        &[to(
            "-tls1_3 -record_padding 512",
            "padded-server-only",
            server_only,
        )],
    ),
    of(
        "1.3",
        "padded-200-server-only",
        "-www -tls1_3",
        &[to(
            "-tls1_3 -record_padding 200",
            "padded-server-only",
            server_only,
        )],
    ),
    of(
        "1.3",
        "padded-300-server-only",
        "-www -tls1_3",
        &[to(
            "-tls1_3 -record_padding 300",
            "padded-server-only",
            server_only,
        )],
    ),
    of(
        "1.3",
        "padded-200-requested-none",
        "-www -tls1_3 -verify 2 -CAfile $CA",
        &[to(
            "-tls1_3 -record_padding 200",
            "padded-requested-none",
            server_only,
        )],
    ),
    of(
        "1.3",
        "padded-200-mutual",
        "-www -tls1_3 $DEMAND",
        &[to(
            "-tls1_3 -record_padding 200 $OWN",
            "padded-mutual",
            mutual,
        )],
    ),
    of(
        "1.3",
        "padded-1000-cut-server-only",
        "-www -tls1_3",
        &[to(
            "-tls1_3 -max_send_frag 512 -record_padding 1000",
            "padded-server-only",
            server_only,
        )],
    ),
    of(
        "1.3",
        "fragmented-mutual",
        "-www -tls1_3 -max_send_frag 512 $DEMAND",
        &[to("-tls1_3 -max_send_frag 512 $OWN", "mutual", mutual)],
    ),
    of(
        "1.3",
        "fragmented-server-only",
        "-www -tls1_3 -max_send_frag 512",
        &[to("-tls1_3 -max_send_frag 512", "server-only", server_only)],
    ),
    of(
        "1.3",
        "ccm8-mutual",
        "-www -tls1_3 $CCM8 $DEMAND",
        &[to("-tls1_3 $CCM8 $OWN", "mutual", mutual)],
    ),
    of(
        "1.3",
        "ccm8-server-only",
        "-www -tls1_3 $CCM8",
        &[to("-tls1_3 $CCM8", "server-only", server_only)],
    ),
    of(
        "1.3",
        "ccm8-requested-none",
        "-www -tls1_3 $CCM8 -verify 2 -CAfile $CA",
        &[to("-tls1_3 $CCM8", "requested-none", server_only)],
    ),
    of(
        "1.1",
        "mutual",
        "-www -tls1_1 $OLD $DEMAND",
        &[to("-tls1_1 $OLD $OWN", "mutual", mutual)],
    ),
    of(
        "1.1",
        "server-only",
        "-www -tls1_1 $OLD",
        &[to("-tls1_1 $OLD", "server-only", server_only)],
    ),
    of(
        "1.0",
        "mutual",
        "-www -tls1 $OLD $DEMAND",
        &[to("-tls1 $OLD $OWN", "mutual", mutual)],
    ),
    of(
        "1.0",
        "server-only",
        "-www -tls1 $OLD",
        &[to("-tls1 $OLD", "server-only", server_only)],
    ),
    of(
        "1.3",
        "server-distrusted",
        "-www -tls1_3 $DEMAND",
        &[to("-tls1_3 $OWN $DISTRUST", "rejected", fails)],
    ),
    of(
        "1.2",
        "server-distrusted",
        "-www -tls1_2 $DEMAND",
        &[to("-tls1_2 $OWN $DISTRUST", "rejected", fails)],
    ),
    of(
        "1.3",
        "client-distrusted",
        "-www -tls1_3 $DEMAND",
        &[to(
            "-tls1_3 -cert $ROGUE.pem -key $ROGUE.key",
            "refused",
            fails,
        )],
    ),
    of(
        "1.2",
        "client-distrusted",
        "-www -tls1_2 $DEMAND",
        &[to(
            "-tls1_2 -cert $ROGUE.pem -key $ROGUE.key",
            "refused",
            fails,
        )],
    ),
    of(
        "1.3",
        "no-common-version",
        "-www -tls1_3",
        &[to("-tls1_2", "no-common-version", fails)],
    ),
    of(
        "1.2",
        "no-common-cipher",
        "-www -tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256",
        &[to(
            "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305",
            "no-common-cipher",
            fails,
        )],
    ),
];
