//! Standard input instead of a file: a capture, plain or compressed, and every saved answer are
//! recognised by their content, by every verb that reads one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use mtls_tests::bin;
use mtls_tests::daemon::{Answer, mtls};

/// Verbs that read a capture or a saved answer; the second word says which: `packets` means only a
/// capture, `flows` or `edges` also saved ones.
const VERBS: [(&str, &str); 13] = [
    ("edges --from FILE -o json", "edges"),
    ("edges --all --from FILE", "edges"),
    ("check --from FILE -o json", "edges"),
    ("check --strict-ready --from FILE", "edges"),
    ("explain 10.42.1.1 10.42.1.4:8443 --from FILE", "edges"),
    ("diff FILE EDGES", "edges"),
    ("diff EDGES FILE", "edges"),
    ("edges --from EDGES --baseline FILE", "edges"),
    ("flows --from FILE -o json", "flows"),
    ("inventory --from FILE --policy modern", "flows"),
    ("inventory --certificates --from FILE -o yaml", "flows"),
    ("classify FILE -o jsonl", "packets"),
    ("record --payload --from FILE -w -", "packets"),
];

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo.pcap")
}

/// The output for a file given by name, and on standard input.
fn both(line: &str, file: &Path, edges: &Path) -> Result<[Answer; 2]> {
    let words = |name: &str| -> Vec<String> {
        let words = line.split(' ').map(|word| match word {
            "FILE" => name.to_owned(),
            "EDGES" => edges.display().to_string(),
            word => word.to_owned(),
        });
        words.collect()
    };
    Ok([
        mtls(words(&file.display().to_string()))?,
        piped(&words("-"), file)?,
    ])
}

fn piped(args: &[String], file: &Path) -> Result<Answer> {
    let output = Command::new(bin::mtls()?)
        .args(args)
        .stdin(Stdio::from(File::open(file)?))
        .output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    Ok(Answer {
        code: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    })
}

/// Without the time of creation, which differs, and the name of the file.
fn told(answer: &Answer, name: &str) -> (Option<i32>, String) {
    let lines = answer
        .out
        .lines()
        .filter(|line| !line.contains("generated"));
    let lines: Vec<_> = lines.map(|line| line.replace(name, "-")).collect();
    (answer.code, lines.join("\n"))
}

/// The demo's capture and what is saved from it, each a file of its own: content and path.
fn inputs(dir: &Path) -> Result<Vec<(&'static str, PathBuf)>> {
    let demo = demo();
    let name = demo.to_str().context("a path that is text")?;
    let mut inputs = vec![("packets", demo.clone())];
    let mut add = |kind, file: &str, bytes: &[u8]| -> Result<()> {
        let path = dir.join(file);
        std::fs::write(&path, bytes)?;
        inputs.push((kind, path));
        Ok(())
    };
    // Other compressions are detected in the same place: the core's tests cover them.
    let packed = Command::new("gzip").args(["-c", name]).output()?;
    anyhow::ensure!(packed.status.success(), "{packed:?}");
    add("packets", "packed", &packed.stdout)?;
    for format in ["json", "jsonl"] {
        let of = |verb: &str| -> Result<Vec<u8>> {
            let from: &[&str] = if verb == "classify" { &[] } else { &["--from"] };
            let args = [&[verb][..], from, &[name, "-o", format]].concat();
            Ok(mtls(args)?.out.into_bytes())
        };
        add("edges", &format!("edges.{format}"), &of("edges")?)?;
        add("flows", &format!("flows.{format}"), &of("flows")?)?;
        add("flows", &format!("classified.{format}"), &of("classify")?)?;
    }
    Ok(inputs)
}

#[test]
fn standard_input_is_read_as_the_file_would_be_by_every_verb() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let inputs = inputs(dir.path())?;
    let edges = dir.path().join("edges.json");
    for (line, reads) in VERBS {
        for (kind, file) in &inputs {
            let is_read = match reads {
                "packets" => *kind == "packets",
                "flows" => *kind != "edges",
                _ => true,
            };
            let [named, piped] = both(line, file, &edges)?;
            let what = format!("{line} of {}: {named:?} {piped:?}", file.display());
            let name = file.display().to_string();
            assert_eq!(
                told(&named, &name),
                told(&piped, "standard input"),
                "{what}"
            );
            let is_verdict = line.starts_with("check") && named.code == Some(1);
            assert_eq!(named.code == Some(0) || is_verdict, is_read, "{what}");
            // Output to a pipe begins before the capture has been read.
            let is_begun = line.starts_with("record");
            assert!(named.out.is_empty() != is_read || is_begun, "{what}");
            if !is_read {
                assert!(
                    piped.err.contains("standard input") || piped.err.contains("JSON"),
                    "{what}"
                );
            }
        }
    }
    Ok(())
}

/// A report reads edges, connections and the state of a daemon from the single input.
#[test]
fn a_report_is_made_of_standard_input() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let of = |name: &str, answer: Answer| -> Result<String> {
        assert_eq!(answer.code, Some(0), "{answer:?}");
        Ok(std::fs::read_to_string(
            dir.path().join(name).join("flows.csv"),
        )?)
    };
    let args = |name: &str, from: &str| -> Vec<String> {
        let to = dir.path().join(name).display().to_string();
        ["report", &to, "--from", from].map(str::to_owned).into()
    };
    let demo = demo();
    let named = mtls(args("named", demo.to_str().context("text")?))?;
    let named = of("named", named)?;
    assert_eq!(of("piped", piped(&args("piped", "-"), &demo)?)?, named);
    assert!(named.contains("10.42.1.4"), "{named}");
    Ok(())
}

#[test]
fn what_is_no_input_says_what_is_read() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let text = dir.path().join("notes");
    std::fs::write(&text, "neither the one nor the other\n")?;
    let empty = dir.path().join("empty");
    std::fs::write(&empty, "")?;
    for (line, _) in VERBS {
        for file in [&text, &empty] {
            for mut answer in both(line, file, &demo())? {
                if line.starts_with("record") {
                    // Output to a pipe begins before the capture has been read.
                    answer.out.clear();
                }
                assert_eq!(
                    (answer.code, &*answer.out),
                    (Some(1), ""),
                    "{line}: {answer:?}"
                );
                let is_clear = answer.err.contains("pcap") || answer.err.contains("empty");
                assert!(is_clear, "{line}: {answer:?}");
            }
        }
    }
    // One input cannot be compared with itself.
    for line in ["diff - -", "edges --from - --baseline -"] {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let answer = piped(&words, &demo())?;
        assert_eq!((answer.code, &*answer.out), (Some(2), ""), "{answer:?}");
    }
    Ok(())
}
