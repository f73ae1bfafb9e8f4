//! The formats of an answer, the same for every list.

use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use serde::Serialize;
use serde_json::Value;

use super::path::{Path, Template, columns};
use super::sheet::{Screen, Sheet};
use super::text;

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
            _ => {
                return Err(
                    "write table, wide, json, jsonl, yaml, csv, name, linkerd, logfmt, cyclonedx, custom-columns=NAME:PATH,… or jsonpath=TEMPLATE"
                        .into(),
                );
            }
        })
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
            .map(|item| L::name(item) + "\n")
            .collect(),
        Format::Logfmt => {
            let lines = list.items().iter();
            let lines = lines.map(|item| L::line(item).map(|line| line + "\n"));
            lines
                .collect::<Option<String>>()
                .context("-o logfmt is of connections: `mtls flows`, `mtls tap`")?
        }
        Format::Cyclonedx => {
            let bill = list.bill();
            let bill = bill.context("-o cyclonedx is of `mtls inventory`")?;
            serde_json::to_string_pretty(&bill)? + "\n"
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
                out.push_str(&serde_json::to_string(item)?);
                out.push('\n');
            }
            out
        }
        Format::Yaml => {
            // By way of JSON: what is a string there is one here.
            let yaml = serde_saphyr::to_string(&serde_json::to_value(document)?);
            yaml.context("write YAML")?
        }
        Format::JsonPath(template) => template.fill(&serde_json::to_value(document)?)?,
        Format::Json => serde_json::to_string_pretty(document)? + "\n",
        _ => bail!(
            "this answer is no list of rows: write -o table, json, jsonl, yaml or jsonpath=TEMPLATE"
        ),
    })
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
    let path: Path = field.parse().map_err(anyhow::Error::msg)?;
    let mut keyed = Vec::with_capacity(items.len());
    let mut fields = None;
    for item in items.drain(..) {
        let value = serde_json::to_value(&item)?;
        let key = path.find(&value)?.first().map(|value| (*value).clone());
        let key = key.filter(|key| !key.is_null());
        let names = || {
            let names = value.as_object().into_iter().flat_map(|all| all.keys());
            names.cloned().collect::<Vec<_>>().join(", ")
        };
        fields.get_or_insert_with(names);
        keyed.push((key, item));
    }
    ensure!(
        keyed.is_empty() || keyed.iter().any(|(key, _)| key.is_some()),
        "--sort-by {field}: no item has that field; there are {}",
        fields.unwrap_or_default()
    );
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
    fn every_format_is_read_and_a_wrong_one_lists_them() {
        for word in [
            "table",
            "wide",
            "json",
            "jsonl",
            "yaml",
            "csv",
            "name",
            "linkerd",
            "logfmt",
            "cyclonedx",
        ] {
            word.parse::<Format>().unwrap();
        }
        "custom-columns=A:.b".parse::<Format>().unwrap();
        "jsonpath={.items}".parse::<Format>().unwrap();
        for wrong in ["xml", "json=x", "custom-columns", "jsonpath={"] {
            assert!(wrong.parse::<Format>().is_err(), "{wrong}");
        }
        assert!("xml".parse::<Format>().unwrap_err().contains("yaml"));
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
        let wrong = sort(&mut items, "m").unwrap_err().to_string();
        assert!(wrong.contains("at, n"), "{wrong}");
    }
}
