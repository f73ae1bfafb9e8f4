//! `cargo xtask accuracy`: how accurate the verdicts on the corpus are.

use anyhow::{Context, bail};

use crate::build::{self, step};

/// The page with the results.
const PAGE: &str = "docs/accuracy.md";

/// Prints the page, and writes it. Fails if a verdict is wrong.
pub(crate) fn run() -> anyhow::Result<()> {
    step("reading the corpus");
    let mut command = build::cargo();
    command.args([
        "run",
        "--quiet",
        "--package",
        "mtls-core",
        "--example",
        "accuracy",
    ]);
    let output = command.output().context("run the example `accuracy`")?;
    let page = String::from_utf8(output.stdout).context("the page is no text")?;
    if page.is_empty() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    print!("{page}");
    let path = build::root().join(PAGE);
    std::fs::write(&path, page).with_context(|| format!("write {}", path.display()))?;
    if !output.status.success() {
        bail!("a verdict is wrong");
    }
    Ok(())
}
