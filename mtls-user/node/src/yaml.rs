//! YAML files that people write.

use serde::de::DeserializeOwned;

/// Reads a document. An error is one line, with the place in the file.
///
/// # Errors
///
/// If the text is not YAML, or not what is expected.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options)
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_error_is_one_line_that_names_the_place() {
        let error = super::read::<Vec<String>>("- a\n- [\n").unwrap_err();
        let text = error.to_string();
        assert!(!text.contains('\n') && text.contains("line 2"), "{text}");
    }
}
