//! `jsonpath=…` and `custom-columns=…`, as `kubectl` has them: paths are JSONPath (RFC 9535), with
//! or without `$` and the dot before them.

use std::str::FromStr;

use anyhow::{Context, anyhow};
use jsonpath_rust::JsonPath as _;
use serde_json::Value;

use super::safe;

/// A path into a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Path(String);

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = text.trim().trim_start_matches('{').trim_end_matches('}');
        let full = match inner.chars().next() {
            Some('$') => inner.to_owned(),
            Some('.' | '[') => format!("${inner}"),
            Some(_) => format!("$.{inner}"),
            None => return Err("an empty path".into()),
        };
        jsonpath_rust::parser::parse_json_path(&full)
            .map_err(|error| format!("`{text}` is no JSONPath: {error}"))?;
        Ok(Self(full))
    }
}

impl Path {
    /// What it leads to.
    pub(super) fn find<'a>(&self, document: &'a Value) -> anyhow::Result<Vec<&'a Value>> {
        let found = document.query(&self.0);
        found.map_err(|error| anyhow!("{}: {error}", self.0))
    }

    /// What it leads to, as one cell.
    pub(super) fn cell(&self, document: &Value) -> anyhow::Result<String> {
        let found = self.find(document)?;
        let cells: Vec<_> = found.into_iter().map(text).collect();
        Ok(if cells.is_empty() {
            "<none>".into()
        } else {
            cells.join(",")
        })
    }
}

/// A value as people write it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "<none>".into(),
        Value::String(text) => safe(text).into_owned(),
        other => mtls_core::escape::json(&other.to_string()).into_owned(),
    }
}

/// `NAME:.path,NAME:.path`.
pub(super) fn columns(spec: &str) -> Result<Vec<(String, Path)>, String> {
    let columns = spec.split(',').map(|column| {
        let (name, path) = column
            .split_once(':')
            .ok_or("write NAME:PATH,NAME:PATH, as in FROM:.src.name,PORT:.dst.port")?;
        Ok((name.to_owned(), path.parse()?))
    });
    columns.collect()
}

/// A text with paths in braces; `{range PATH}…{end}` repeats what is between.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Path(Path),
    Range(Path, Vec<Part>),
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A bare path is one too.
        if !text.contains('{') {
            return Ok(Self(vec![Part::Path(text.parse()?)]));
        }
        let mut rest = text;
        let parts = parts(&mut rest, 0)?;
        Ok(Self(parts))
    }
}

/// Reads up to the end of the text, or of the range that it is `depth` deep in.
fn parts(rest: &mut &str, depth: usize) -> Result<Vec<Part>, String> {
    if depth > 8 {
        return Err("more than 8 ranges in each other".into());
    }
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let Some(open) = rest.find('{') else {
            parts.push(Part::Text(std::mem::take(rest).into()));
            break;
        };
        if open > 0 {
            parts.push(Part::Text(rest[..open].into()));
        }
        let inner = &rest[open + 1..];
        let close = close(inner).ok_or("a { without its }")?;
        *rest = &inner[close + 1..];
        match inner[..close].trim() {
            "end" if depth > 0 => return Ok(parts),
            "end" => return Err("{end} without {range}".into()),
            word if word.starts_with(['"', '\'']) => parts.push(Part::Text(unquoted(word)?)),
            word => parts.push(match word.strip_prefix("range ") {
                Some(path) => Part::Range(path.parse()?, self::parts(rest, depth + 1)?),
                None => Part::Path(word.parse()?),
            }),
        }
    }
    if depth > 0 {
        return Err("{range} without {end}".into());
    }
    Ok(parts)
}

/// Where the brace that is open closes; those in quotes are none.
fn close(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '}') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

fn unquoted(word: &str) -> Result<String, String> {
    let quote = &word[..1];
    let inner = word[1..]
        .strip_suffix(quote)
        .ok_or_else(|| format!("{word} is not closed"))?;
    Ok(inner
        .replace("\\n", "\n")
        .replace("\\t", "\t")
        .replace("\\\"", "\""))
}

impl Template {
    /// The text, with what its paths lead to.
    pub(super) fn fill(&self, document: &Value) -> anyhow::Result<String> {
        let mut out = String::new();
        fill(&self.0, document, &mut out).context("jsonpath")?;
        if !out.ends_with('\n') {
            out.push('\n');
        }
        Ok(out)
    }
}

fn fill(parts: &[Part], document: &Value, out: &mut String) -> anyhow::Result<()> {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Path(path) => {
                let found = path.find(document)?;
                let found: Vec<_> = found
                    .into_iter()
                    .filter(|value| !value.is_null())
                    .map(text)
                    .collect();
                out.push_str(&found.join(" "));
            }
            Part::Range(path, inner) => {
                for one in path.find(document)? {
                    fill(inner, one, out)?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_of_kubectl_are_filled() {
        let document = json!({ "items": [
            { "src": { "name": "web" }, "dst": { "port": 443 } },
            { "src": { "name": "a\u{1b}b" }, "dst": { "port": null } },
        ]});
        let fill = |text: &str| text.parse::<Template>().unwrap().fill(&document).unwrap();
        assert_eq!(fill("{.items[*].src.name}"), "web a\\u{1b}b\n");
        assert_eq!(fill(".items[0].dst.port"), "443\n");
        assert_eq!(
            fill("{range .items[*]}{.src.name}:{.dst.port}{\"\\n\"}{end}"),
            "web:443\na\\u{1b}b:\n"
        );
        assert_eq!(fill("{.items[?@.dst.port == 443].src.name}"), "web\n");
        for wrong in ["{.items", "{end}", "{range .items[*]}x", "{.items[}", ""] {
            assert!(wrong.parse::<Template>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn columns_have_names_and_paths() {
        let columns = columns("FROM:.src.name,PORT:dst.port").unwrap();
        let document = json!({ "src": { "name": "web" } });
        assert_eq!(columns[0].1.cell(&document).unwrap(), "web");
        assert_eq!(columns[1].1.cell(&document).unwrap(), "<none>");
        assert!(super::columns("FROM").is_err());
    }
}
