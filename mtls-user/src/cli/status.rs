//! `mtls status`.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::args::{Format, Status as Args};
use super::client;
use crate::output::{ago, safe, table};
use mtls_node::daemon::status::Status;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let status: Status = client::block_on(client::get(&args.socket.socket, "/v1/status"))?;
    match args.output {
        Format::Json => super::print_json_one(&status, true)?,
        Format::Jsonl => super::print_json_one(&status, false)?,
        Format::Table | Format::Wide => super::print(&text(&status)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(status: &Status) -> anyhow::Result<String> {
    let mut out = String::new();
    writeln!(
        out,
        "mtls {} · process {} · up {} · {}",
        safe(&status.version),
        status.pid,
        ago(0, status.uptime * 1_000_000_000),
        safe(&status.socket)
    )?;
    let flows = &status.flows;
    writeln!(
        out,
        "\nflows: {} seen, {} classified, {} undecided, {} joined across translation, {} evicted, {} tracked now",
        flows.seen, flows.classified, flows.undecided, flows.joined, flows.evicted, flows.tracked
    )?;
    writeln!(
        out,
        "edges: {} over the last {}",
        status.edges.edges,
        ago(0, status.window * 1_000_000_000)
    )?;
    let attach = &status.kernel.attach;
    writeln!(
        out,
        "attached: {} interfaces; {} attachments took {} µs (median), {} µs (p99)\n",
        status.kernel.interfaces.len(),
        attach.count,
        attach.p50_us,
        attach.p99_us
    )?;
    let mut interfaces = table(&["INTERFACE", "INDEX", "BY", "LOST"]);
    for interface in &status.kernel.interfaces {
        interfaces.add_row([
            safe(&interface.name).into_owned(),
            interface.ifindex.to_string(),
            interface.mode.to_string(),
            interface.lost.sum().to_string(),
        ]);
    }
    for (name, reason) in &status.kernel.not_attached {
        interfaces.add_row([
            safe(name).into_owned(),
            "-".into(),
            format!("not attached: {}", safe(reason)),
            "-".into(),
        ]);
    }
    writeln!(out, "{}\n", interfaces.trim_fmt())?;
    let mut programs = table(&["PROGRAM", "RUNS_MEASURED", "TIME", "NS/RUN"]);
    for program in &status.kernel.programs {
        let each = program.run_time_ns.checked_div(program.run_count);
        programs.add_row([
            safe(&program.name).into_owned(),
            program.run_count.to_string(),
            format!("{:.3}s", program.run_time_ns as f64 / 1e9),
            each.map_or("-".into(), |ns| ns.to_string()),
        ]);
    }
    writeln!(out, "{}\n", programs.trim_fmt())?;
    let mut counters = table(&["COUNTER", "SEGMENTS"]);
    if let serde_json::Value::Object(map) = serde_json::to_value(status.kernel.counters)? {
        for (name, value) in map {
            counters.add_row([name, value.to_string()]);
        }
    }
    writeln!(out, "{}\n", counters.trim_fmt())?;
    let mut sources = table(&["NAMES_FROM", "ENTRIES", "STATE"]);
    for source in &status.sources {
        let state = match &source.error {
            None => "ok".into(),
            Some(error) if source.updated == 0 => format!("never: {}", safe(error)),
            Some(error) => format!(
                "stale since {} ago: {}",
                ago(source.updated, mtls_node::clock::now()),
                safe(error)
            ),
        };
        sources.add_row([
            safe(&source.name).into_owned(),
            source.entries.to_string(),
            state,
        ]);
    }
    writeln!(out, "{}", sources.trim_fmt())?;
    Ok(out)
}
