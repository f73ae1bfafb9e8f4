//! What is made of the command line's own description: completions and the manual.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::args::command;

/// Prints the completions of a shell.
pub(super) fn completion(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut command(), "mtls", &mut out);
    super::print(&String::from_utf8_lossy(&out))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for the program and one for each verb, `mtls.1` and `mtls-edges.1`.
pub(super) fn man(dir: &Path) -> anyhow::Result<ExitCode> {
    let written = || {
        std::fs::create_dir_all(dir)?;
        clap_mangen::generate_to(command(), dir)
    };
    written().with_context(|| format!("write the manual into {}", dir.display()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_and_every_verb_has_a_page() {
        use clap::ValueEnum;
        for shell in clap_complete::Shell::value_variants() {
            let mut out = Vec::new();
            clap_complete::generate(*shell, &mut command(), "mtls", &mut out);
            let text = String::from_utf8(out).unwrap();
            assert!(text.contains("classify"), "{shell} knows no verbs");
            assert!(text.contains("edges"), "{shell} knows no verbs");
        }
        let dir = tempfile::tempdir().unwrap();
        man(dir.path()).unwrap();
        for page in ["mtls.1", "mtls-edges.1", "mtls-completion.1"] {
            let text = std::fs::read_to_string(dir.path().join(page)).unwrap();
            assert!(text.contains(".SH"), "{page}");
        }
        assert!(!dir.path().join("mtls-man.1").exists());
    }
}
