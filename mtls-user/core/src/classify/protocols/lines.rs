//! Text line protocols with an in-band upgrade to TLS: SMTP, FTP, IMAP, POP3, ManageSieve, NNTP,
//! IRC, NUT.
//!
//! A client that asks for TLS waits for the answer, so what it sends next shows the answer: a
//! ClientHello, or more lines, some of which may lead to another attempt.

use super::{First, Match, Recogniser, Shape, Turn, starts};
use crate::wire::tls::record::may_be_handshake;

pub(super) const RECOGNISERS: &[Recogniser] = &[
    Recogniser::new(First::WORD, |c, s| SMTP.recognise(c, s)),
    Recogniser::new(First::WORD, |c, s| FTP.recognise(c, s)),
    Recogniser::new(First::range(b'!', b'~'), |c, s| IMAP.recognise(c, s)),
    Recogniser::new(First::WORD, |c, s| POP3.recognise(c, s)),
    Recogniser::new(First::WORD, |c, s| SIEVE.recognise(c, s)),
    Recogniser::new(First::WORD, |c, s| NNTP.recognise(c, s)),
    Recogniser::new(First::WORD, |c, s| NUT.recognise(c, s)),
    Recogniser::new(First::WORD, irc),
];

/// The longest line.
const MAX_LINE: usize = 2048;
/// The longest line of a SASL exchange: it may contain a ticket.
const MAX_TOKEN: usize = 12 << 10;

/// SASL mechanisms (IANA registry), as commands name them.
pub(super) const MECHANISMS: [&str; 15] = [
    "PLAIN",
    "LOGIN",
    "EXTERNAL",
    "ANONYMOUS",
    "CRAM-MD5",
    "DIGEST-MD5",
    "GSSAPI",
    "GSS-SPNEGO",
    "NTLM",
    "OAUTHBEARER",
    "XOAUTH2",
    "SCRAM-SHA-1",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-256-PLUS",
];

struct Dialect {
    name: &'static str,
    /// How the server's first line may begin; empty if the client speaks first.
    greetings: &'static [&'static str],
    /// Commands before a decision.
    neutral: &'static [&'static str],
    /// Such commands that have no argument.
    bare: &'static [&'static str],
    /// Commands after which no TLS will follow.
    plain: &'static [&'static str],
    /// The commands that request TLS.
    upgrade: &'static [&'static str],
    /// Commands that begin a SASL exchange, after which everything may be encrypted.
    sealing: &'static [&'static str],
    /// Commands whose argument is encrypted.
    sealed: &'static [&'static str],
    /// How replies are distinguished from each other.
    replies: Replies,
}

/// How a dialect's replies are matched with its commands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Replies {
    /// Three digits and a space on each reply's last line.
    Codes,
    /// Each command has a tag, which its reply repeats.
    Tags,
    /// A refusal begins with this word.
    Word(&'static str),
}

const SMTP: Dialect = Dialect {
    name: "smtp",
    greetings: &["220 ", "220-"],
    // A server that requires TLS says so in reply to the sender's address.
    neutral: &["EHLO", "HELO", "LHLO", "NOOP", "RSET", "HELP", "MAIL"],
    bare: &[],
    plain: &["RCPT", "DATA", "VRFY", "XCLIENT"],
    upgrade: &["STARTTLS"],
    sealing: &["AUTH GSSAPI", "AUTH DIGEST-MD5", "AUTH GSS-SPNEGO"],
    sealed: &[],
    replies: Replies::Codes,
};

const FTP: Dialect = Dialect {
    name: "ftp",
    greetings: &["220 ", "220-"],
    // The password is the secret; other ways to authenticate may be tried first.
    neutral: &[
        "FEAT", "SYST", "OPTS", "HOST", "PBSZ", "PROT", "CLNT", "USER", "AUTH", "ADAT",
    ],
    bare: &[],
    plain: &["PASS", "ACCT", "LANG"],
    upgrade: &["AUTH TLS", "AUTH SSL", "AUTH TLS-C"],
    sealing: &[],
    // RFC 2228 §4: private and confidential; data protected by MIC is readable.
    sealed: &["ENC", "CONF"],
    replies: Replies::Codes,
};

const IMAP: Dialect = Dialect {
    name: "imap",
    greetings: &["* OK", "* PREAUTH"],
    neutral: &["CAPABILITY", "ID", "NOOP"],
    bare: &[],
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
    sealing: &[
        "AUTHENTICATE GSSAPI",
        "AUTHENTICATE DIGEST-MD5",
        "AUTHENTICATE GSS-SPNEGO",
    ],
    sealed: &[],
    replies: Replies::Tags,
};

const POP3: Dialect = Dialect {
    name: "pop3",
    greetings: &["+OK"],
    neutral: &["CAPA", "NOOP", "USER"],
    // Asks for the available mechanisms.
    bare: &["AUTH"],
    plain: &["PASS", "APOP", "STAT", "LIST"],
    upgrade: &["STLS"],
    sealing: &["AUTH GSSAPI", "AUTH DIGEST-MD5", "AUTH GSS-SPNEGO"],
    sealed: &[],
    replies: Replies::Word("-ERR"),
};

const SIEVE: Dialect = Dialect {
    name: "sieve",
    greetings: &["\"IMPLEMENTATION\" "],
    neutral: &["CAPABILITY", "NOOP"],
    bare: &[],
    plain: &["AUTHENTICATE", "LOGOUT"],
    upgrade: &["STARTTLS"],
    sealing: &[
        "AUTHENTICATE \"GSSAPI\"",
        "AUTHENTICATE \"DIGEST-MD5\"",
        "AUTHENTICATE \"GSS-SPNEGO\"",
    ],
    sealed: &[],
    replies: Replies::Word("NO"),
};

const NNTP: Dialect = Dialect {
    name: "nntp",
    greetings: &["200 ", "201 "],
    neutral: &["CAPABILITIES", "MODE", "HELP", "DATE"],
    bare: &[],
    plain: &[
        "AUTHINFO", "GROUP", "LIST", "ARTICLE", "POST", "IHAVE", "STAT", "XOVER",
    ],
    upgrade: &["STARTTLS"],
    sealing: &["AUTHINFO SASL GSSAPI", "AUTHINFO SASL DIGEST-MD5"],
    sealed: &[],
    replies: Replies::Codes,
};

/// Network UPS Tools (developer guide, "Network protocol information"): the client speaks first,
/// and the server's first answer is unique to this protocol.
const NUT: Dialect = Dialect {
    name: "nut",
    greetings: &[
        "OK STARTTLS",
        "ERR ",
        "VAR ",
        "BEGIN LIST ",
        "Network UPS Tools ",
        "Commands: ",
    ],
    neutral: &["VER", "NETVER", "PROTVER", "HELP"],
    bare: &[],
    plain: &[
        "LIST", "GET", "USERNAME", "PASSWORD", "LOGIN", "LOGOUT", "SET", "INSTCMD", "FSD",
        "PRIMARY", "MASTER",
    ],
    upgrade: &["STARTTLS"],
    sealing: &[],
    sealed: &[],
    replies: Replies::Word("ERR"),
};

const IRC: Dialect = Dialect {
    name: "irc",
    greetings: &[],
    neutral: &["CAP", "PASS", "USER"],
    bare: &[],
    plain: &["NICK", "JOIN"],
    upgrade: &["STARTTLS"],
    sealing: &[],
    sealed: &[],
    replies: Replies::Word("ERROR"),
};

fn irc(client: &[u8], server: &[u8]) -> Match {
    let error = starts(server, b"ERROR :");
    match server {
        [] | [b':' | b'N' | b'P', ..] => IRC.recognise(client, server),
        _ if error == Shape::Yes => IRC.recognise(client, server),
        _ => error.then(Match::No),
    }
}

/// What was seen of a dialogue.
#[derive(Clone, Copy)]
struct Dialogue<'a> {
    server: &'a [u8],
    /// The server's first line, which identifies the protocol, has not arrived yet.
    unseen: bool,
    /// Commands that were read.
    commands: usize,
    /// The tag of the last command that requested TLS, and how many commands had been read
    /// including it.
    asked: Option<(&'a [u8], usize)>,
    /// A SASL exchange has begun.
    sealing: bool,
}

impl Dialect {
    fn recognise(&self, client: &[u8], server: &[u8]) -> Match {
        // Dialects may have the same greeting; the first command distinguishes them.
        let greetings = self.greetings.iter().map(|g| starts(server, g.as_bytes()));
        let greeting = greetings.fold(Shape::No, |a, b| if a == Shape::No { b } else { a });
        let unseen = if self.greetings.is_empty() {
            server.is_empty()
        } else if greeting == Shape::No {
            return Match::No;
        } else {
            greeting == Shape::More
        };
        let may_begin = |b: &u8| {
            if self.replies == Replies::Tags {
                is_tag(*b)
            } else {
                b.is_ascii_alphanumeric()
            }
        };
        if !client.first().is_none_or(may_begin) {
            return Match::No;
        }
        self.commands(
            client,
            Dialogue {
                server,
                unseen,
                commands: 0,
                asked: None,
                sealing: false,
            },
        )
    }

    fn commands<'a>(&self, client: &'a [u8], mut seen: Dialogue<'a>) -> Match {
        let mut at = 0;
        loop {
            let rest = &client[at..];
            if seen.asked.is_some() && may_be_handshake(rest, 1) {
                return if seen.unseen || rest.len() < 6 {
                    self.pending(seen)
                } else {
                    Match::Upgrade(Turn {
                        protocol: self.name,
                        client: at,
                        server: None,
                    })
                };
            }
            if seen.sealing && rest.first() == Some(&0) && !seen.unseen {
                // The length prefix of an encrypted buffer (RFC 4422 §3.7).
                return Match::Encrypted(self.name);
            }
            if seen.asked.is_some() && !rest.first().is_some_and(u8::is_ascii_graphic) {
                return self.decided(seen);
            }
            let Some(end) = rest.iter().position(|b| *b == b'\n') else {
                let limit = if seen.commands > 0 {
                    MAX_TOKEN
                } else {
                    MAX_LINE
                };
                return match rest.len() > limit {
                    true if seen.commands > 0 => self.decided(seen),
                    true => Match::No,
                    false => self.pending(seen),
                };
            };
            let line = rest[..end].trim_ascii();
            at += end + 1;
            if seen.sealing && is_token(line) {
                continue;
            }
            let (tag, command) = match line.iter().position(|b| *b == b' ') {
                Some(space) if self.replies == Replies::Tags => {
                    (&line[..space], line[space..].trim_ascii_start())
                }
                None if self.replies == Replies::Tags => (line, &[][..]),
                _ => (&[][..], line),
            };
            let is = |words: &[&str]| words.iter().any(|word| begins_with_word(command, word));
            let bare = |words: &[&str]| {
                let same = |word: &&str| command.eq_ignore_ascii_case(word.as_bytes());
                words.iter().any(same)
            };
            // Redis has such a command, followed by a password.
            let mechanism = command.get(5..).filter(|_| is(self.bare));
            let authenticates =
                mechanism.is_some_and(|name| MECHANISMS.iter().any(|m| begins_with_word(name, m)));
            if is(self.upgrade) {
                seen.asked = Some((tag, seen.commands + 1));
            } else if is(self.sealed) && !seen.unseen {
                return Match::Encrypted(self.name);
            } else if is(self.sealing) && (seen.commands > 0 || self.name != SMTP.name) {
                // FTP begins with the same command, and SMTP with another.
                seen.sealing = true;
            } else if bare(self.bare) || is(self.neutral) {
            } else if is(self.plain) || authenticates || seen.commands > 0 {
                return self.decided(seen);
            } else {
                return Match::No;
            }
            seen.commands += 1;
        }
    }

    /// It is this protocol, if the server has confirmed it, and may still upgrade to TLS.
    fn pending(&self, seen: Dialogue<'_>) -> Match {
        match seen.asked {
            _ if seen.commands == 0 || seen.unseen => Match::More,
            None => Match::Likely(self.name),
            // What followed was not a ClientHello.
            Some((_, number)) if seen.commands > number => Match::Declined(self.name),
            Some((tag, number)) if self.has_declined(seen.server, tag, number) => {
                Match::Declined(self.name)
            }
            Some(_) => Match::Asked(self.name),
        }
    }

    /// No TLS will follow.
    fn decided(&self, seen: Dialogue<'_>) -> Match {
        match seen.asked {
            _ if seen.unseen => Match::More,
            Some(_) => Match::Refused(self.name),
            None => Match::Yes(self.name),
        }
    }

    /// Whether the request for TLS with this tag and number was refused.
    fn has_declined(&self, server: &[u8], tag: &[u8], number: usize) -> bool {
        let lines = server.split_inclusive(|b| *b == b'\n');
        let mut lines = lines.filter(|line| line.ends_with(b"\n"));
        match self.replies {
            Replies::Codes => {
                let is_last = |line: &&[u8]| {
                    line.len() > 3 && line[..3].iter().all(u8::is_ascii_digit) && line[3] != b'-'
                };
                // The greeting is the first.
                let answer = lines.filter(is_last).nth(number);
                answer.is_some_and(|line| matches!(line[0], b'4' | b'5'))
            }
            Replies::Tags => {
                let answer = lines.find_map(|line| line.strip_prefix(tag)?.strip_prefix(b" "));
                answer.is_some_and(|words| !begins_with_word(words, "OK"))
            }
            Replies::Word(bad) => lines.next_back().is_some_and(|line| {
                // IRC servers may also answer with a number: 691 is "STARTTLS failed".
                let number = self.name == "irc" && line.windows(5).any(|w| w == b" 691 ");
                line.starts_with(bad.as_bytes()) || number
            }),
        }
    }
}

/// The protocol of a server's first line, if the client's is missing or is not an answer to it.
pub(in crate::classify) fn greeting(server: &[u8]) -> Option<&'static str> {
    let line = server.split(|b| *b == b'\n').next().unwrap_or_default();
    let says = |word: &str| {
        line.windows(word.len())
            .any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    };
    match line {
        [b'2', b'2', b'0', b' ' | b'-', ..] if says("SMTP") || says("LMTP") => Some("smtp"),
        [b'2', b'2', b'0', b' ' | b'-', ..] if says("FTP") => Some("ftp"),
        [b'2', b'0', b'0' | b'1', b' ', ..] if says("NNTP") || says("NNRP") => Some("nntp"),
        [b'*', b' ', b'O', b'K', b' ', ..] => Some("imap"),
        [b'+', b'O', b'K', b' ' | b'\r', ..] => Some("pop3"),
        _ => None,
    }
}

/// Whether this is a line of a dialect that may still upgrade to TLS: a reply, or a command before
/// a decision.
pub(super) fn may_precede_tls(line: &[u8]) -> bool {
    let code = |line: &[u8]| line[..3].iter().all(u8::is_ascii_digit);
    let reply = match line {
        [_, _, _, b' ' | b'-', ..] if code(line) => true,
        // A line of a list, which the server sends one per segment.
        [b' ' | b':' | b'"', ..] | [b'*' | b'+', b' ', ..] => true,
        _ => ["+OK", "-ERR", "OK", "NO", "ERR"]
            .iter()
            .any(|word| begins_with_word(line, word)),
    };
    reply || is_command(line, |d, is| is(d.upgrade) || is(d.neutral))
}

/// Whether a line requests TLS in one of the dialects, or with XMPP's element.
pub(super) fn asks_for_tls(line: &[u8]) -> bool {
    let starttls = line
        .windows(9)
        .any(|w| w == b"<starttls" || w == b":starttls");
    starttls || is_command(line, |d, is| is(d.upgrade))
}

/// Whether a line, with or without a tag, is one of the commands that `choose` selects.
fn is_command(line: &[u8], choose: impl Fn(&Dialect, &dyn Fn(&[&str]) -> bool) -> bool) -> bool {
    let tagged = line
        .iter()
        .position(|b| *b == b' ')
        .map(|at| &line[at + 1..]);
    [Some(line), tagged].into_iter().flatten().any(|line| {
        let is = |words: &[&str]| words.iter().any(|word| begins_with_word(line, word));
        let dialects = [&SMTP, &FTP, &IMAP, &POP3, &SIEVE, &NNTP, &NUT, &IRC];
        dialects.iter().any(|dialect| choose(dialect, &is))
    })
}

/// Whether an IMAP tag may contain this byte (RFC 9051 §9, "tag"): openssl uses a full stop.
fn is_tag(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(&byte)
}

/// Whether a line belongs to a SASL exchange: base64, its cancellation, or nothing.
fn is_token(line: &[u8]) -> bool {
    line == b"*"
        || line
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"+/=\"".contains(b))
}

/// Whether a line begins with these words, ignoring case.
fn begins_with_word(line: &[u8], word: &str) -> bool {
    line.split_at_checked(word.len())
        .is_some_and(|(head, tail)| {
            head.eq_ignore_ascii_case(word.as_bytes())
                && tail.first().is_none_or(|b| !b.is_ascii_alphanumeric())
        })
}
