//! A filter as one types: words that a row has to have, and `!words` that it must not.

/// The words.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Typed {
    wanted: Vec<String>,
    unwanted: Vec<String>,
}

impl Typed {
    /// `web !cart`: upper and lower case are one.
    pub(crate) fn new(text: &str) -> Self {
        let mut typed = Self::default();
        for word in text.to_lowercase().split_whitespace() {
            match word.strip_prefix('!') {
                // Not yet typed to its end.
                Some("") => {}
                Some(word) => typed.unwanted.push(word.to_owned()),
                None => typed.wanted.push(word.to_owned()),
            }
        }
        typed
    }

    /// Whether a row is asked for, whose text is in lower case.
    pub(crate) fn takes(&self, text: &str) -> bool {
        self.wanted.iter().all(|word| text.contains(word))
            && !self.unwanted.iter().any(|word| text.contains(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_to_be_there() {
        let row = "shop web cart 8443 ✓ mtls";
        for (text, takes) in [
            ("", true),
            ("  ", true),
            ("WEB", true),
            ("web cart", true),
            ("cart web", true),
            ("web db", false),
            ("!db", true),
            ("web !cart", false),
            ("!", true),
            ("✓", true),
        ] {
            assert_eq!(Typed::new(text).takes(row), takes, "{text:?}");
        }
    }
}
