//! Checks that the documentation shows what the program prints.
//!
//! An indented line `$ mtls …` begins a block of output. Commands that name a file of `tests/data`
//! are run; answers of a daemon come from the demo. With `MTLS_DOCS=write` (`cargo xtask docs`),
//! the blocks are rewritten instead of compared.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mtls_tests::daemon::run;
use mtls_tests::docs::{Block, blocks, rewritten, shapes};
use mtls_tests::process::Process;
use mtls_tests::skip::{Need, runs_here};

const PROMPT: &str = "    $ mtls ";

#[test]
fn the_pages_show_what_the_program_prints() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl]) {
        return Ok(());
    }
    let write = std::env::var_os("MTLS_DOCS").is_some_and(|value| value == "write");
    let demo = Process::start(Command::new(env!("CARGO_BIN_EXE_mtls-demo")))?
        .succeed(Duration::from_mins(1))?;
    let mut checked = BTreeSet::new();
    for page in pages()? {
        let mut text = std::fs::read_to_string(&page)?;
        let blocks = blocks(&text, PROMPT);
        for block in blocks.iter().rev() {
            let printed = printed(&block.command, &demo)
                .with_context(|| format!("{}: `mtls {}`", page.display(), block.command))?;
            if write {
                text = rewritten(&text, block, &printed);
            } else {
                same(&page, block, &printed);
            }
            checked.insert(block.command.clone());
        }
        if write {
            std::fs::write(&page, text)?;
        }
    }
    for command in ["edges", "tap", "classify tests/data/demo.pcap"] {
        ensure!(checked.contains(command), "no page shows `mtls {command}`");
    }
    Ok(())
}

/// The README and every page of `docs`.
fn pages() -> Result<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = vec![root.join("README.md")];
    for entry in std::fs::read_dir(root.join("docs"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    Ok(pages)
}

/// The command's output: run here, or taken from the demo's output.
fn printed(command: &str, demo: &str) -> Result<Vec<String>> {
    // Commands with a file are run; `mtls check` exits with 1 or 4.
    let out = if command.contains("tests/data/") {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec \"$0\" {command}")]);
        shell.arg(mtls_tests::bin::mtls()?).current_dir(root);
        shell.env("LC_ALL", "C.UTF-8");
        let answer = run(shell)?;
        ensure!(matches!(answer.code, Some(0 | 1 | 4)), "{answer:?}");
        answer.out
    } else {
        let title = format!("\n==> mtls {command}\n");
        let (_, rest) = demo
            .split_once(&title)
            .with_context(|| format!("the demo does not show it:\n{demo}"))?;
        rest.split("\n\n").next().unwrap_or_default().to_owned()
    };
    let mut lines: Vec<_> = out.lines().map(|line| line.trim_end().to_owned()).collect();
    if command == "tap" {
        // One line of each kind is enough to read.
        let mut kinds = BTreeSet::new();
        lines.retain(|line| kinds.insert(kind(line)));
    }
    Ok(lines)
}

/// What distinguishes kinds of tap lines: everything except time and ends.
fn kind(line: &str) -> String {
    let columns = line.split("  ").filter(|column| !column.trim().is_empty());
    columns.skip(3).take(3).map(str::trim).collect()
}

/// Compares everything except what differs from run to run.
fn same(page: &Path, block: &Block, printed: &[String]) {
    assert_eq!(
        shapes(&block.lines),
        shapes(printed),
        "{}: `mtls {}` prints something else now: run `cargo xtask docs`",
        page.display(),
        block.command
    );
}
