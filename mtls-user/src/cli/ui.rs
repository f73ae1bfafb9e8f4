//! `mtls ui`.

use std::io::IsTerminal;
use std::process::{Command, ExitCode, Stdio};

use super::args::Ui;
use super::print;
use crate::source::{Source, block_on};
use crate::ui::Page;

pub(super) fn run(args: &Ui, whom: &Source) -> anyhow::Result<ExitCode> {
    let source = args.select.source(whom)?;
    let filter = args.select.filter();
    block_on(async {
        let page = Page::listen(source, filter, args.listen).await?;
        print(&format!(
            "{}\nanyone on this machine who has this address can open the page; Ctrl-C stops it\n",
            page.address()
        ))?;
        if !args.no_open && std::io::stdout().is_terminal() {
            open(page.address());
        }
        tokio::select! {
            served = page.serve() => served,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Shows it, where this machine has a browser; the address is printed in any case.
fn open(address: &str) {
    let quiet = Stdio::null;
    let mut command = Command::new("xdg-open");
    command
        .arg(address)
        .stdin(quiet())
        .stdout(quiet())
        .stderr(quiet());
    // It may take as long as the browser is open.
    std::thread::spawn(move || command.status());
}
