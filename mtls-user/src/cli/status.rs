//! `mtls status`.

use std::process::ExitCode;

use super::args::{Format, Status as Args};
use super::client;
use crate::output;
use mtls_core::record::Status;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let status: Status = client::block_on(client::get(&args.socket.socket, "/v1/status"))?;
    match args.output {
        Format::Json => super::print_json_one(&status, true)?,
        Format::Jsonl => super::print_json_one(&status, false)?,
        Format::Table | Format::Wide => super::print(&output::status(&status))?,
    }
    Ok(ExitCode::SUCCESS)
}
