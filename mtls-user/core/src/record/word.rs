//! Words of a fixed vocabulary, and how a program reads a word that was added later.
//!
//! This version writes an enum ([`vocabulary!`]), so the compiler checks every case. It reads a
//! [`Word`] of that enum: an unknown word of a newer daemon is kept and printed unchanged.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

/// A closed set of words.
pub trait Vocabulary: Copy + Ord + 'static {
    /// What the set is called in the JSON schema.
    const NAME: &'static str;
    /// Every word, in the order of the enum.
    const ALL: &'static [Self];

    /// The word in tables and JSON.
    fn as_str(self) -> &'static str;

    /// What it means, in a sentence.
    fn meaning(self) -> &'static str;

    /// The value with that word, if there is one.
    fn find(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.as_str() == word)
    }
}

/// Defines an enum whose values are written as words; `or` names the default.
macro_rules! vocabulary {
    ($(#[$meta:meta])* $name:ident $(or $default:ident)? { $($(#[doc = $doc:literal])+ $value:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name { $($(#[doc = $doc])+ $value,)+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$value),+];

            /// The word in tables and JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => $word,)+ }
            }
        }

        $(impl Default for $name {
            fn default() -> Self {
                Self::$default
            }
        })?

        impl $crate::record::Vocabulary for $name {
            const NAME: &'static str = stringify!($name);
            const ALL: &'static [Self] = &Self::ALL;

            fn as_str(self) -> &'static str {
                self.as_str()
            }

            fn meaning(self) -> &'static str {
                match self { $(Self::$value => concat!($($doc),+).trim_ascii(),)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use vocabulary;

/// A word that this version knows, or an unknown one that is kept unchanged.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Word<T> {
    /// A word of the vocabulary.
    Known(T),
    /// A word of another version's vocabulary.
    Other(SmolStr),
}

impl<T: Vocabulary> Word<T> {
    /// The value, if this version knows it.
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Other(_) => None,
        }
    }

    /// The word as it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(value) => value.as_str(),
            Self::Other(word) => word,
        }
    }
}

impl<T: Default> Default for Word<T> {
    fn default() -> Self {
        Self::Known(T::default())
    }
}

impl<T: Vocabulary> From<T> for Word<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<T: Vocabulary> From<&str> for Word<T> {
    fn from(word: &str) -> Self {
        T::find(word).map_or_else(|| Self::Other(word.into()), Self::Known)
    }
}

impl<T: Vocabulary> PartialEq<T> for Word<T> {
    fn eq(&self, other: &T) -> bool {
        self.known() == Some(*other)
    }
}

impl<T: Vocabulary> PartialEq<&str> for Word<T> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl<T: Vocabulary> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<T: Vocabulary> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de, T: Vocabulary> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(&*Cow::<'de, str>::deserialize(deserializer)?))
    }
}

impl<T: Vocabulary> JsonSchema for Word<T> {
    fn schema_name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let known = T::ALL
            .iter()
            .map(|value| json_schema!({ "const": value.as_str(), "description": value.meaning() }));
        let other = json_schema!({ "type": "string", "description": "a word of a later version" });
        json_schema!({ "anyOf": known.chain([other]).collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_word_of_a_later_version_is_kept() {
        let words: Vec<Word<Verdict>> =
            serde_json::from_str(r#"["mtls", "quantum-safe"]"#).unwrap();
        assert_eq!(words[0], Verdict::Mtls);
        assert_eq!(words[1], Word::Other("quantum-safe".into()));
        assert_eq!(words[1].known(), None);
        assert_eq!(
            serde_json::to_string(&words).unwrap(),
            r#"["mtls","quantum-safe"]"#
        );
    }

    #[test]
    fn every_word_says_what_it_means() {
        for verdict in Verdict::ALL {
            assert!(verdict.meaning().ends_with('.'), "{verdict}");
            assert_eq!(Verdict::find(verdict.as_str()), Some(verdict));
        }
    }
}
