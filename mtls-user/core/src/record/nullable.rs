//! Text that may be absent: null in JSON, never `""`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

pub(super) fn serialize<S: Serializer>(text: &SmolStr, serializer: S) -> Result<S::Ok, S::Error> {
    (!text.is_empty()).then_some(text).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SmolStr, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
