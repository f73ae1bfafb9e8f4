//! `mtls report`.

use std::process::ExitCode;

use super::args::ReportTo;
use super::print;
use crate::report::{self, Key, Question};
use crate::source::{Source, block_on};

pub(super) fn run(args: &ReportTo, whom: &Source) -> anyhow::Result<ExitCode> {
    // What is wrong with the paths is said before anybody is asked.
    let key = args.sign.as_ref();
    let key = key.map(|key| Key::read(key, args.password_file.as_deref()));
    let key = key.transpose()?;
    report::check(&args.dir)?;
    let source = args.select.source(whom)?;
    let words: Vec<_> = std::env::args().skip(1).collect();
    let question = Question {
        source: &source,
        filter: &args.select.filter(),
        command: words.join(" "),
    };
    let report = block_on(report::gather(&question))?;
    let files = report::write(&report, &args.dir, key.as_ref())?;
    let dir = args.dir.display();
    print(&format!(
        "{dir}: {}\nopen {dir}/{} in a browser; `sha256sum -c SHA256SUMS` in {dir} checks the files\n",
        files.join(", "),
        files[0]
    ))?;
    Ok(super::answered(report.nodes()))
}
