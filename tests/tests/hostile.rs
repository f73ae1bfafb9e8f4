//! Checks that no verb in any format prints text from a hostile peer or file in a form that a
//! terminal would interpret: control characters of either kind, direction marks, invisible
//! characters. The answers contain every field of the schema, so that new fields are tested too.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use mtls_core::escape::is_hidden;
use mtls_tests::bin;
use mtls_tests::daemon::{Answer, mtls};
use serde_json::{Map, Value, json};

/// An escape sequence in either of its forms, a direction override, a tag, a line break.
const HOSTILE: &str = "x\u{1b}[31m\u{9b}2J\u{202e}\u{e0041}\u{200b}\u{7f}\r\ny: \"z'";

/// Documents built from the schema, with hostile text in every string.
struct Schema {
    definitions: Map<String, Value>,
    /// Whether words belong to the vocabularies, or are hostile as well.
    words: bool,
}

impl Schema {
    fn new(words: bool) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema.json");
        let schema: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        let definitions = schema["$defs"].as_object().context("no types")?.clone();
        Ok(Self { definitions, words })
    }

    fn of(&self, name: &str) -> Value {
        self.make(&self.definitions[name], 0)
    }

    fn make(&self, schema: &Value, depth: usize) -> Value {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().unwrap_or_default();
            return self.make(&self.definitions[name], depth + 1);
        }
        for choice in ["anyOf", "oneOf"] {
            let Some(all) = schema[choice].as_array() else {
                continue;
            };
            let words: Vec<_> = all.iter().filter(|one| one["const"].is_string()).collect();
            if !words.is_empty() && self.words {
                // The worst verdict, mark and level come first.
                return words[0]["const"].clone();
            }
            let one = all
                .iter()
                .find(|one| one["const"].is_null() && one["type"] != "null");
            return one.map_or(Value::Null, |one| self.make(one, depth + 1));
        }
        let kinds = match &schema["type"] {
            Value::Array(kinds) => kinds.clone(),
            kind => vec![kind.clone()],
        };
        let kind = kinds.iter().find(|kind| **kind != "null");
        match kind.and_then(Value::as_str) {
            Some("object") => self.object(schema, depth),
            Some("array") if depth < 12 => json!([self.make(&schema["items"], depth + 1)]),
            Some("array") => json!([]),
            Some("string") => match schema["format"].as_str() {
                Some("date-time") => json!("2026-11-28T05:25:08.000000000Z"),
                Some("ip") => json!("10.0.0.7"),
                _ => json!(HOSTILE),
            },
            Some("boolean") => json!(true),
            Some("integer") => json!(1),
            Some("number") => json!(0.5),
            _ => Value::Null,
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let mut object = Map::new();
        let is_pair = schema["properties"]
            .as_object()
            .is_some_and(|all| all.len() == 2);
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            // Addresses with ports, which are strings in the schema.
            let is_address = name == "service" || (is_pair && matches!(&**name, "src" | "dst"));
            let value = if is_address {
                json!("10.0.0.8:443")
            } else {
                self.make(field, depth + 1)
            };
            object.insert(name.clone(), value);
        }
        if schema["additionalProperties"].is_object() {
            let key = if self.words { "plaintext" } else { HOSTILE };
            object.insert(
                key.into(),
                self.make(&schema["additionalProperties"], depth + 1),
            );
        }
        if object.contains_key("schema") {
            object["schema"] = json!(mtls_core::record::SCHEMA);
        }
        object.into()
    }
}

/// A daemon's answers, by path.
type Answers = BTreeMap<&'static str, Vec<u8>>;

/// The documents; saved ones have no address, so that the name is shown.
fn answers(words: bool) -> Result<Answers> {
    let schema = Schema::new(words)?;
    let flow = schema.of("FlowRecord");
    let text = |value: &Value| serde_json::to_vec(value);
    Ok([
        ("/v1/edges", text(&schema.of("EdgeList"))?),
        ("/v1/flows", text(&schema.of("FlowList"))?),
        ("/v1/status", text(&schema.of("Status"))?),
        ("/v1/tap", [text(&flow)?, b"\n".to_vec()].concat()),
    ]
    .into())
}

/// Answers on a socket until the process ends.
fn serve(socket: &Path, answers: Answers) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Ok(reading) = stream.try_clone() else {
                return;
            };
            let mut lines = BufReader::new(reading).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            let _ = lines.find(String::is_empty);
            let path = first.split(' ').nth(1).unwrap_or_default();
            let body = answers.get(path).cloned().unwrap_or_default();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            // The client may be gone.
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&body));
        }
    });
    Ok(())
}

/// Verbs, with all their formats.
fn questions() -> Result<Vec<Vec<String>>> {
    let mut all = Vec::new();
    for verb in [
        "edges --all",
        "edges --baseline BASELINE",
        "flows",
        "tap --max 1",
        "status",
        "version",
        "inventory --policy modern",
        "inventory --certificates",
        "explain ID",
        "explain 10.0.0.0/8 10.0.0.0/8",
        "diff BASELINE SAVED",
        "check",
        "check --strict-ready",
    ] {
        let name = verb.split(' ').next().unwrap_or_default();
        // An invalid format lists them all.
        let list = mtls([name, "-o", "xml"]).map(|answer| answer.err)?;
        let mut forms = Vec::new();
        for word in list.split([' ', ',', '\n', '[', ']']) {
            forms.push(match word {
                "custom-columns=NAME:PATH" => {
                    "custom-columns=A:.src,B:.dst.name,C:.reason,D:.tls_versions".to_owned()
                }
                "jsonpath=TEMPLATE" => {
                    "jsonpath={$} {.items[*].reason} {.reason} {.node}".to_owned()
                }
                "table" | "wide" | "json" | "jsonl" | "yaml" | "csv" | "name" | "linkerd"
                | "logfmt" | "cyclonedx" | "text" | "junit" | "sarif" | "github" => word.to_owned(),
                _ => continue,
            });
        }
        ensure!(forms.len() >= 5, "{verb}: {list}");
        for form in forms {
            let has_none = verb.contains("baseline") && matches!(&*form, "wide" | "linkerd")
                || verb.contains("certificates") && form == "cyclonedx";
            if !has_none {
                let mut words: Vec<_> = verb.split(' ').map(str::to_owned).collect();
                words.extend(["-o".to_owned(), form]);
                all.push(words);
            }
        }
    }
    Ok(all)
}

fn is_clean(text: &str) -> bool {
    text.chars().all(|c| c == '\n' || !is_hidden(c))
}

fn ask(words: &[String], socket: &Path) -> Result<Answer> {
    // Standard output is not a terminal, so there is no colour.
    let mut command = Command::new(bin::mtls()?);
    command
        .args(words)
        .arg("--socket")
        .arg(socket)
        .env("LC_ALL", "C.UTF-8");
    let output = command.output()?;
    Ok(Answer {
        code: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

#[test]
fn nothing_that_was_put_into_an_answer_is_obeyed_by_a_terminal() -> Result<()> {
    for known_words in [true, false] {
        let dir = tempfile::tempdir()?;
        let socket = dir.path().join("mtls.sock");
        let answers = answers(known_words)?;
        let saved = dir.path().join("saved.json");
        std::fs::write(&saved, &answers["/v1/edges"])?;
        let baseline = dir.path().join("baseline.json");
        let mut empty: Value = serde_json::from_slice(&answers["/v1/edges"])?;
        empty["items"] = json!([]);
        std::fs::write(&baseline, serde_json::to_vec(&empty)?)?;
        let flows: Value = serde_json::from_slice(&answers["/v1/flows"])?;
        let id = flows["items"][0]["connection"].to_string();
        serve(&socket, answers)?;
        for words in questions()? {
            let words: Vec<_> = words
                .iter()
                .map(|word| match word.as_str() {
                    "BASELINE" => baseline.display().to_string(),
                    "SAVED" => saved.display().to_string(),
                    "ID" => id.clone(),
                    word => word.to_owned(),
                })
                .collect();
            let answer = ask(&words, &socket)?;
            let line = words.join(" ");
            assert!(is_clean(&answer.out), "{line}: {:?}", answer.out);
            assert!(is_clean(&answer.err), "{line}: {:?}", answer.err);
            assert!(!answer.out.is_empty(), "{line}: {answer:?}");
            assert!(matches!(answer.code, Some(0 | 1 | 4)), "{line}: {answer:?}");
            // Hidden characters are shown, or kept as escapes for programs.
            let is_shown = ["\\u{1b}", "\\u001b", "\\e", "\\U0000001b"]
                .iter()
                .any(|escaped| answer.out.contains(escaped));
            assert!(is_shown || is_without(&line), "{line}: {:?}", answer.out);
            values(&line, &answer.out)?;
        }
        // The files of a report and the comments of a recording are text that somebody opens.
        let report = dir.path().join("report");
        let words = ["report", report.to_str().context("text")?].map(str::to_owned);
        let answer = ask(&words, &socket)?;
        // According to the answer, some of the nodes did not answer.
        assert_eq!(answer.code, Some(4), "{answer:?}");
        for entry in std::fs::read_dir(&report)? {
            let path = entry?.path();
            let text = std::fs::read_to_string(&path)?;
            assert!(is_clean(&text), "{}: {text:?}", path.display());
        }
    }
    Ok(())
}

/// Answers without text from the wire or from a file.
fn is_without(line: &str) -> bool {
    // Not every column has both ends' offers, and a connection's name is its number.
    line.starts_with("inventory --certificates")
        || line.contains("-o name")
        || line.contains("custom-columns")
}

/// Programs get the original values.
fn values(line: &str, out: &str) -> Result<()> {
    let is_json = ["-o json", "-o sarif", "-o cyclonedx"];
    let read: Vec<Value> = if is_json
        .iter()
        .any(|end| line.ends_with(end) || line.ends_with("-o jsonl"))
    {
        let documents = serde_json::Deserializer::from_str(out).into_iter();
        documents
            .collect::<Result<_, _>>()
            .with_context(|| format!("{line}: {out}"))?
    } else {
        return Ok(());
    };
    let raw = serde_json::to_string(&read)?;
    let hostile = serde_json::to_string(HOSTILE)?;
    let is_whole = raw.contains(hostile.trim_matches('"'));
    // In these formats, sentences for people are escaped before they are put into a document.
    let is_for_people = line.contains("sarif") || line.contains("cyclonedx");
    assert!(is_whole || is_for_people, "{line}: {raw}");
    Ok(())
}
