//! The formats of an answer, the same for every list.

use std::str::FromStr;

use anyhow::Context;
use mtls_core::escape::is_hidden;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_saphyr::DoubleQuoted;

use super::path::{Path, Template, columns};
use super::sheet::{Screen, Sheet};
use super::text;
use crate::usage::{Usage, wrong};

/// How an answer is written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Jsonl,
    /// The JSON document as YAML.
    Yaml,
    /// The wide columns as CSV.
    Csv,
    /// One name a line, for `mtls explain` and `kubectl`.
    Name,
    /// `key=value` fields, a line each: connections alone.
    Logfmt,
    /// The columns of `linkerd viz edges`.
    Linkerd,
    /// A bill of materials of CycloneDX: the inventory alone.
    Cyclonedx,
    /// These fields of each item.
    Columns(Vec<(String, Path)>),
    /// A template over the document.
    JsonPath(Template),
}

/// The forms of every list.
pub(crate) const LIST: [&str; 9] = [
    "table",
    "wide",
    "json",
    "jsonl",
    "yaml",
    "csv",
    "name",
    "custom-columns",
    "jsonpath",
];

/// The forms of an answer that is no list of rows.
pub(crate) const DOCUMENT: [&str; 5] = ["table", "json", "jsonl", "yaml", "jsonpath"];

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, argument) = match text.split_once('=') {
            Some((word, argument)) => (word, Some(argument)),
            None => (text, None),
        };
        Ok(match (word, argument) {
            ("table", None) => Self::Table,
            ("wide", None) => Self::Wide,
            ("json", None) => Self::Json,
            ("jsonl", None) => Self::Jsonl,
            ("yaml", None) => Self::Yaml,
            ("csv", None) => Self::Csv,
            ("name", None) => Self::Name,
            ("linkerd", None) => Self::Linkerd,
            ("logfmt", None) => Self::Logfmt,
            ("cyclonedx", None) => Self::Cyclonedx,
            ("custom-columns", Some(spec)) => Self::Columns(columns(spec)?),
            ("jsonpath", Some(template)) => Self::JsonPath(template.parse()?),
            _ => return Err(format!("`{text}` is no format")),
        })
    }
}

impl Format {
    /// Reads one of the forms that an answer has; a wrong one lists them.
    pub(crate) fn read(text: &str, forms: &[&str]) -> Result<Self, String> {
        let word = text.split('=').next().unwrap_or_default();
        if forms.contains(&word) {
            let with = |argument: &str| {
                let bare = !text.contains('=');
                bare.then(|| format!("write {word}={argument}"))
            };
            let missing = match word {
                "custom-columns" => with("NAME:PATH,..., as in custom-columns=FROM:.src.name"),
                "jsonpath" => with("TEMPLATE, as in jsonpath={.items[*].verdict}"),
                _ => None,
            };
            return missing.map_or_else(|| text.parse(), Err);
        }
        Err(format!("write {}", spelled(forms)))
    }
}

/// The forms with what their arguments are, as the help and errors list them.
pub(crate) fn spelled(forms: &[&str]) -> String {
    let spelled = forms.iter().map(|word| match *word {
        "custom-columns" => "custom-columns=NAME:PATH,...",
        "jsonpath" => "jsonpath=TEMPLATE",
        word => word,
    });
    let spelled: Vec<_> = spelled.collect();
    match spelled.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => spelled.concat(),
    }
}

/// Which columns a table has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// Those that answer the question.
    Short,
    /// All.
    Wide,
    /// Linkerd's.
    Linkerd,
}

/// A list that can be written in every format.
pub(crate) trait Listing: Serialize {
    /// What it is a list of.
    type Item: Serialize;
    /// Its items.
    fn items(&mut self) -> &mut Vec<Self::Item>;
    /// The table of them.
    fn sheet(&self, look: Look) -> Sheet;
    /// The name of an item.
    fn name(item: &Self::Item) -> String;
    /// The whole as a bill of materials, where it has one.
    fn bill(&self) -> Option<Value> {
        None
    }
    /// An item as a line of logfmt, where it has one.
    fn line(_item: &Self::Item) -> Option<String> {
        None
    }
}

/// Writes a list.
pub(crate) fn list<L: Listing>(
    mut list: L,
    format: &Format,
    headers: bool,
    sort_by: Option<&str>,
    screen: Screen,
) -> anyhow::Result<String> {
    if let Some(field) = sort_by {
        sort(list.items(), field)?;
    }
    Ok(match format {
        Format::Table => list.sheet(Look::Short).text(headers, screen),
        Format::Wide => list.sheet(Look::Wide).text(headers, screen),
        Format::Linkerd => list.sheet(Look::Linkerd).text(headers, screen),
        Format::Csv => list.sheet(Look::Wide).csv(headers)?,
        Format::Name => list
            .items()
            .iter()
            .map(|item| mtls_core::escape::lines(&L::name(item)).into_owned() + "\n")
            .collect(),
        Format::Logfmt => {
            let lines = list.items().iter();
            let lines = lines.map(|item| L::line(item).map(|line| line + "\n"));
            let lines = lines.collect::<Option<String>>();
            lines.ok_or_else(|| {
                Usage("-o logfmt is of connections: `mtls flows`, `mtls tap`".into())
            })?
        }
        Format::Cyclonedx => {
            let none = || {
                Usage(
                    "-o cyclonedx is of `mtls inventory`, of workloads and certificates at once"
                        .into(),
                )
            };
            let bill = list.bill().ok_or_else(none)?;
            text::json(&bill, true)?
        }
        Format::Columns(columns) => fields(list.items(), columns, headers)?,
        _ => document(&list, &list_items(&list)?, format)?,
    })
}

fn list_items<L: Listing>(list: &L) -> anyhow::Result<Vec<Value>> {
    let mut value = serde_json::to_value(list)?;
    Ok(match value["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    })
}

/// Writes a document in one of the formats that programs read; its items, a line each, as JSON
/// lines.
pub(crate) fn document(
    document: &impl Serialize,
    items: &[impl Serialize],
    format: &Format,
) -> anyhow::Result<String> {
    Ok(match format {
        Format::Jsonl => {
            let mut out = String::new();
            for item in items {
                out.push_str(&text::json(item, false)?);
            }
            out
        }
        Format::Yaml => yaml(document)?,
        Format::JsonPath(template) => template.fill(&serde_json::to_value(document)?)?,
        Format::Json => text::json(document, true)?,
        _ => return wrong(format!("this answer has -o {}", spelled(&DOCUMENT))),
    })
}

/// YAML, with what is hidden as escapes in double quotes. A key cannot be put into these: a document
/// that has such a key is in the flow style, which is JSON's.
fn yaml(document: &impl Serialize) -> anyhow::Result<String> {
    // By way of JSON: what is a string there is one here.
    let value = serde_json::to_value(document)?;
    let text = if has_hidden_key(&value) {
        serde_json::to_string_pretty(&value)? + "\n"
    } else {
        serde_saphyr::to_string(&Quoted(&value)).context("write YAML")?
    };
    Ok(mtls_core::escape::yaml(&text).into_owned())
}

fn has_hidden_key(value: &Value) -> bool {
    match value {
        Value::Array(all) => all.iter().any(has_hidden_key),
        Value::Object(all) => all
            .iter()
            .any(|(key, one)| key.chars().any(is_hidden) || has_hidden_key(one)),
        _ => false,
    }
}

/// A value whose strings are in double quotes where something in them is hidden.
struct Quoted<'a>(&'a Value);

impl Serialize for Quoted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(text) if text.chars().any(is_hidden) => {
                DoubleQuoted(text).serialize(serializer)
            }
            Value::Array(all) => serializer.collect_seq(all.iter().map(Quoted)),
            Value::Object(all) => {
                serializer.collect_map(all.iter().map(|(key, one)| (key, Quoted(one))))
            }
            plain => plain.serialize(serializer),
        }
    }
}

fn fields(
    items: &[impl Serialize],
    columns: &[(String, Path)],
    headers: bool,
) -> anyhow::Result<String> {
    let names: Vec<_> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let mut table = text::table(if headers { &names } else { &[] });
    for item in items {
        let item = serde_json::to_value(item)?;
        let cells = columns.iter().map(|(_, path)| path.cell(&item));
        table.add_row(cells.collect::<anyhow::Result<Vec<_>>>()?);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    Ok(format!("{}\n", table.trim_fmt()))
}

/// Sorts by a field of the JSON; what lacks it comes last, and those that are equal stay as they are.
fn sort<T: Serialize>(items: &mut Vec<T>, field: &str) -> anyhow::Result<()> {
    let (field, backwards) = match field.strip_prefix('-') {
        Some(field) => (field, true),
        None => (field, false),
    };
    let path: Path = field.parse().map_err(Usage)?;
    let mut keyed = Vec::with_capacity(items.len());
    let (mut is_there, mut fields) = (false, None);
    for item in items.drain(..) {
        let value = serde_json::to_value(&item)?;
        let key = path.find(&value)?.first().map(|value| (*value).clone());
        is_there |= key.is_some();
        let key = key.filter(|key| !key.is_null());
        let names = || {
            let names = value.as_object().into_iter().flat_map(|all| all.keys());
            names.cloned().collect::<Vec<_>>().join(", ")
        };
        fields.get_or_insert_with(names);
        keyed.push((key, item));
    }
    if !keyed.is_empty() && !is_there {
        return wrong(format!(
            "--sort-by {field}: no item has that field; there are {}",
            fields.unwrap_or_default()
        ));
    }
    keyed.sort_by(|(a, _), (b, _)| {
        let missing = a.is_none().cmp(&b.is_none());
        let order = a.as_ref().zip(b.as_ref()).map(|(a, b)| compare(a, b));
        let order = order.unwrap_or(std::cmp::Ordering::Equal);
        missing.then(if backwards { order.reverse() } else { order })
    });
    items.extend(keyed.into_iter().map(|(_, item)| item));
    Ok(())
}

fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => match (a.as_str(), b.as_str()) {
            (Some(a), Some(b)) => a.cmp(b),
            _ => a.to_string().cmp(&b.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_form_is_read_and_a_wrong_one_lists_those_of_the_answer() {
        for word in LIST
            .iter()
            .chain(&DOCUMENT)
            .chain(&["linkerd", "logfmt", "cyclonedx"])
        {
            let text = match *word {
                "custom-columns" => "custom-columns=A:.b",
                "jsonpath" => "jsonpath={.items}",
                word => word,
            };
            Format::read(text, &[word]).unwrap();
        }
        for wrong in [
            "xml",
            "",
            "json=x",
            "custom-columns",
            "custom-columns=A",
            "jsonpath",
            "jsonpath={",
        ] {
            assert!(Format::read(wrong, &LIST).is_err(), "{wrong}");
        }
        let wrong = Format::read("csv", &DOCUMENT).unwrap_err();
        assert_eq!(wrong, "write table, json, jsonl, yaml or jsonpath=TEMPLATE");
    }

    #[test]
    fn yaml_has_the_values_that_json_has() {
        for text in ["web", "a\u{9b}\u{202e}\u{e0041}\n\u{1b}: \"b'", "yes", "10"] {
            let document = json!({ "a": [text, 1, null], text: { "b": text } });
            let yaml = yaml(&document).unwrap();
            assert!(
                yaml.chars()
                    .all(|c| c == '\n' || !mtls_core::escape::is_hidden(c))
            );
            let read: Value = serde_saphyr::from_str(&yaml).unwrap();
            assert_eq!(read, document, "{yaml}");
        }
    }

    #[test]
    fn numbers_sort_as_numbers_and_what_is_missing_comes_last() {
        let mut items = vec![
            json!({ "n": 10, "at": 0 }),
            json!({ "n": null, "at": 1 }),
            json!({ "n": 9, "at": 2 }),
        ];
        let order = |items: &[Value]| -> Vec<_> {
            items
                .iter()
                .map(|item| item["at"].as_u64().unwrap())
                .collect()
        };
        sort(&mut items, ".n").unwrap();
        assert_eq!(order(&items), [2, 0, 1]);
        sort(&mut items, "-n").unwrap();
        assert_eq!(order(&items), [0, 2, 1]);
        // A field that nothing has is null, one that is not there is a mistake.
        let mut nulls = vec![json!({ "n": null })];
        sort(&mut nulls, "n").unwrap();
        let wrong = sort(&mut items, "m").unwrap_err();
        assert!(wrong.is::<Usage>());
        let wrong = wrong.to_string();
        assert!(wrong.contains("at, n"), "{wrong}");
    }
}
