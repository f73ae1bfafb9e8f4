//! `mtls top`.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::bail;

use super::args::Top;
use crate::output::Screen;
use crate::source::Source;
use crate::top;

pub(super) fn run(args: &Top, whom: &Source) -> anyhow::Result<ExitCode> {
    if !std::io::stdout().is_terminal() {
        bail!("`mtls top` needs a terminal: use `mtls edges` here");
    }
    let source = args.select.source(whom)?;
    let filter = args.select.with(&args.either);
    top::run(&source, &filter, Screen::of_stdout().color)?;
    Ok(ExitCode::SUCCESS)
}
