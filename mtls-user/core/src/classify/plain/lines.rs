//! Protocols of text lines that can turn to TLS in band: SMTP, FTP, IMAP, POP3, ManageSieve,
//! NNTP, IRC.
//!
//! A client that asks for TLS waits for the answer, so what it sends next tells what the answer
//! was: a ClientHello, or more lines, of which some may lead to another attempt.

use super::{Match, starts};
use crate::wire::tls::record::may_be_handshake;

/// The longest line.
const MAX_LINE: usize = 2048;

struct Dialect {
    name: &'static str,
    /// How the server's first line may begin; empty when the client speaks first.
    greetings: &'static [&'static str],
    /// Commands that come before a decision.
    neutral: &'static [&'static str],
    /// Commands that mean that no TLS will come.
    plain: &'static [&'static str],
    /// The command that asks for TLS.
    upgrade: &'static [&'static str],
    /// Each command has a tag before it.
    tagged: bool,
}

pub(super) fn smtp(client: &[u8], server: &[u8]) -> Match {
    Dialect {
        name: "smtp",
        greetings: &["220 ", "220-"],
        // A server that insists on TLS says so to the sender's address.
        neutral: &["EHLO", "HELO", "LHLO", "NOOP", "RSET", "HELP", "MAIL"],
        plain: &["RCPT", "DATA", "VRFY", "XCLIENT"],
        upgrade: &["STARTTLS"],
        tagged: false,
    }
    .recognize(client, server)
}

pub(super) fn ftp(client: &[u8], server: &[u8]) -> Match {
    Dialect {
        name: "ftp",
        greetings: &["220 ", "220-"],
        // The password is what must not be read; other ways to authenticate may be tried first.
        neutral: &[
            "FEAT", "SYST", "OPTS", "HOST", "PBSZ", "CLNT", "USER", "AUTH",
        ],
        plain: &["PASS", "ACCT", "LANG"],
        upgrade: &["AUTH TLS", "AUTH SSL", "AUTH TLS-C"],
        tagged: false,
    }
    .recognize(client, server)
}

pub(super) fn imap(client: &[u8], server: &[u8]) -> Match {
    Dialect {
        name: "imap",
        greetings: &["* OK", "* PREAUTH"],
        neutral: &["CAPABILITY", "ID", "NOOP"],
        plain: &[
            "LOGIN",
            "AUTHENTICATE",
            "SELECT",
            "LIST",
            "ENABLE",
            "EXAMINE",
            "STATUS",
        ],
        upgrade: &["STARTTLS"],
        tagged: true,
    }
    .recognize(client, server)
}

pub(super) fn pop3(client: &[u8], server: &[u8]) -> Match {
    Dialect {
        name: "pop3",
        greetings: &["+OK"],
        neutral: &["CAPA", "NOOP", "USER"],
        plain: &["PASS", "APOP", "AUTH", "STAT", "LIST"],
        upgrade: &["STLS"],
        tagged: false,
    }
    .recognize(client, server)
}

pub(super) fn sieve(client: &[u8], server: &[u8]) -> Match {
    Dialect {
        name: "sieve",
        greetings: &["\"IMPLEMENTATION\" "],
        neutral: &["CAPABILITY", "NOOP"],
        plain: &["AUTHENTICATE", "LOGOUT"],
        upgrade: &["STARTTLS"],
        tagged: false,
    }
    .recognize(client, server)
}

pub(super) fn nntp(client: &[u8], server: &[u8]) -> Match {
    Dialect {
        name: "nntp",
        greetings: &["200 ", "201 "],
        neutral: &["CAPABILITIES", "MODE", "HELP", "DATE"],
        plain: &[
            "AUTHINFO", "GROUP", "LIST", "ARTICLE", "POST", "IHAVE", "STAT", "XOVER",
        ],
        upgrade: &["STARTTLS"],
        tagged: false,
    }
    .recognize(client, server)
}

pub(super) fn irc(client: &[u8], server: &[u8]) -> Match {
    if server
        .first()
        .is_some_and(|b| !matches!(b, b':' | b'N' | b'P' | b'E'))
    {
        return Match::No;
    }
    Dialect {
        name: "irc",
        greetings: &[],
        neutral: &["CAP", "PASS", "USER"],
        plain: &["NICK", "JOIN"],
        upgrade: &["STARTTLS"],
        tagged: false,
    }
    .recognize(client, server)
}

impl Dialect {
    fn recognize(&self, client: &[u8], server: &[u8]) -> Match {
        // One dialect's greeting may be another's; the first command tells them apart.
        let greetings = self.greetings.iter().map(|g| starts(server, g.as_bytes()));
        let greeting = greetings.fold(Match::No, |a, b| if a == Match::No { b } else { a });
        let unseen = if self.greetings.is_empty() {
            server.is_empty()
        } else if greeting == Match::No {
            return Match::No;
        } else {
            greeting == Match::More
        };
        let may_begin = |b: &u8| {
            if self.tagged {
                is_tag(*b)
            } else {
                b.is_ascii_alphanumeric()
            }
        };
        if !client.first().is_none_or(may_begin) {
            return Match::No;
        }
        self.commands(client, unseen)
    }

    /// `unseen`: the server's words, which make this the protocol, are still to come.
    fn commands(&self, client: &[u8], unseen: bool) -> Match {
        let mut known = false;
        let mut asked = false;
        let mut at = 0;
        let pending = |known, asked| match (known && !unseen, asked) {
            (true, true) => Match::Asked(self.name),
            (true, false) => Match::Likely(self.name),
            (false, _) => Match::More,
        };
        let decided = |asked| match (unseen, asked) {
            (true, _) => Match::More,
            (false, true) => Match::Refused(self.name),
            (false, false) => Match::Yes(self.name),
        };
        loop {
            let rest = &client[at..];
            if asked && may_be_handshake(rest, 1) {
                return if unseen || rest.len() < 6 {
                    pending(true, true)
                } else {
                    Match::Upgrade {
                        protocol: self.name,
                        client: at,
                        server: None,
                    }
                };
            }
            if asked && !rest.first().is_some_and(u8::is_ascii_graphic) {
                return decided(true);
            }
            let Some(end) = rest.iter().position(|b| *b == b'\n') else {
                return match rest.len() > MAX_LINE {
                    true if asked => decided(true),
                    true => Match::No,
                    false => pending(known, asked),
                };
            };
            let line = rest[..end].trim_ascii();
            let command = if self.tagged {
                let tag = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
                line[tag..].trim_ascii_start()
            } else {
                line
            };
            let is = |words: &[&str]| words.iter().any(|word| begins_with_word(command, word));
            if is(self.upgrade) {
                asked = true;
            } else if is(self.plain) || known && !is(self.neutral) {
                return decided(asked);
            } else if !is(self.neutral) {
                return Match::No;
            }
            known = true;
            at += end + 1;
        }
    }
}

/// The protocol of a server's first words, when the client's are missing.
pub(in crate::classify) fn greeting(server: &[u8]) -> Option<&'static str> {
    let line = server.split(|b| *b == b'\n').next().unwrap_or_default();
    let says = |word: &str| {
        line.windows(word.len())
            .any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    };
    match line {
        [b'2', b'2', b'0', b' ' | b'-', ..] if says("SMTP") => Some("smtp"),
        [b'2', b'2', b'0', b' ' | b'-', ..] if says("FTP") => Some("ftp"),
        [b'2', b'0', b'0' | b'1', b' ', ..] if says("NNTP") || says("NNRP") => Some("nntp"),
        [b'*', b' ', b'O', b'K', b' ', ..] => Some("imap"),
        [b'+', b'O', b'K', b' ' | b'\r', ..] => Some("pop3"),
        _ => None,
    }
}

/// Whether IMAP has this byte in a tag (RFC 9051 §9, "tag"): openssl's is a full stop.
fn is_tag(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(&byte)
}

/// Whether a line begins with these words, in either case.
fn begins_with_word(line: &[u8], word: &str) -> bool {
    line.split_at_checked(word.len())
        .is_some_and(|(head, tail)| {
            head.eq_ignore_ascii_case(word.as_bytes())
                && tail.first().is_none_or(|b| !b.is_ascii_alphanumeric())
        })
}
