//! Marks and words for people.

use std::borrow::Cow;

use mtls_core::record::{Exempt, Mark, Verdict, Word};

use super::safe;

/// What the terminal can show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    /// Everything.
    Unicode,
    /// Nothing beyond ASCII.
    Ascii,
}

impl Style {
    /// By the locale of this process, as `setlocale(3)` finds it.
    pub(crate) fn of_locale() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        Self::of(&locale.unwrap_or_default())
    }

    fn of(locale: &str) -> Self {
        let locale = locale.to_ascii_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") {
            Self::Unicode
        } else {
            Self::Ascii
        }
    }

    /// The mark of an edge.
    pub(crate) fn mark(self, mark: Option<&Word<Mark>>) -> &'static str {
        let Some(mark) = mark else { return "-" };
        match (mark.known(), self) {
            (Some(Mark::Mutual), Self::Unicode) => "✓",
            (Some(Mark::Mutual), Self::Ascii) => "+",
            (Some(Mark::OneWay), _) => "!",
            (Some(Mark::Clear), Self::Unicode) => "✗",
            (Some(Mark::Clear), Self::Ascii) => "x",
            (Some(Mark::Unknown) | None, _) => "?",
        }
    }
}

/// A verdict as people say it.
pub(crate) fn verdict(verdict: &Word<Verdict>) -> Cow<'_, str> {
    Cow::Borrowed(match verdict.known() {
        Some(Verdict::Mtls) => "mTLS",
        Some(Verdict::Tls) => "TLS, server only",
        Some(Verdict::TlsUnproven) => "TLS, client auth unknown",
        Some(Verdict::Plaintext) => "plaintext",
        Some(Verdict::Opaque) => "opaque",
        Some(Verdict::Failed) => "handshake failed",
        Some(Verdict::NoData) => "no data",
        Some(Verdict::Unobserved) => "not observed",
        None => return safe(verdict.as_str()),
    })
}

/// A class of exempt connections as people say it.
pub(crate) fn exempt(class: &Word<Exempt>) -> Cow<'_, str> {
    Cow::Borrowed(match class.known() {
        Some(Exempt::NoData) => "no data",
        Some(Exempt::Refused) => "refused",
        Some(Exempt::KubeletProbe) => "kubelet probe",
        Some(Exempt::Scrape) => "scrape",
        Some(Exempt::Declared) => "declared exempt",
        Some(Exempt::Dns) => "DNS",
        None => return safe(class.as_str()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_locale_of_utf_8_gets_more_than_ascii() {
        for utf8 in ["en_US.UTF-8", "C.utf8", "de_DE.UTF-8@euro"] {
            assert_eq!(Style::of(utf8), Style::Unicode, "{utf8}");
        }
        for ascii in ["", "C", "POSIX", "en_US.ISO-8859-1"] {
            assert_eq!(Style::of(ascii), Style::Ascii, "{ascii}");
        }
        for mark in Mark::ALL {
            let mark = Word::from(mark);
            assert!(Style::Ascii.mark(Some(&mark)).is_ascii());
        }
    }

    #[test]
    fn every_verdict_and_mark_can_be_told_from_the_others() {
        let words: std::collections::BTreeSet<_> = Verdict::ALL
            .into_iter()
            .map(|v| verdict(&v.into()).into_owned())
            .collect();
        assert_eq!(words.len(), Verdict::ALL.len());
        for style in [Style::Unicode, Style::Ascii] {
            let marks = Mark::ALL.map(|mark| style.mark(Some(&mark.into())));
            let distinct: std::collections::BTreeSet<_> = marks.into_iter().collect();
            assert_eq!(distinct.len(), Mark::ALL.len());
        }
        let later = Word::<Verdict>::Other("quantum\u{1b}safe".into());
        assert_eq!(verdict(&later), "quantum\\u{1b}safe");
    }
}
