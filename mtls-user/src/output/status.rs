//! The text of `mtls status`.

use std::fmt::Write as _;

use super::{ago, safe, table, took};
use mtls_core::record::Status;

/// Interfaces that are named for segments that were ignored.
const MOST_IGNORED: usize = 10;

/// All that `mtls status` shows.
pub(crate) fn status(status: &Status) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, status);
    out
}

/// By question: what is watched, what is not and why, what was lost, what it costs, and where
/// names come from.
fn write(out: &mut String, status: &Status) -> std::fmt::Result {
    writeln!(
        out,
        "mtls {}, process {}, running for {}, socket {}",
        safe(&status.version),
        status.pid,
        took(status.uptime_seconds),
        safe(&status.socket)
    )?;
    writeln!(out, "\nWHAT IS WATCHED?")?;
    watched(out, status)?;
    writeln!(out, "\nWHAT IS NOT WATCHED, AND WHY?")?;
    not_watched(out, status)?;
    writeln!(out, "\nWHAT WAS LOST?")?;
    lost(out, status)?;
    writeln!(out, "\nWHAT DOES IT COST?")?;
    cost(out, status)?;
    writeln!(out, "\nWHERE DO NAMES COME FROM?")?;
    sources(out, status)?;
    exemptions(out, status)
}

fn watched(out: &mut String, status: &Status) -> std::fmt::Result {
    let coverage = &status.coverage;
    writeln!(
        out,
        "pods: {} of {} watched",
        coverage.watched, coverage.pods
    )?;
    let attach = &status.kernel.attach;
    writeln!(
        out,
        "interfaces: {} attached, {} waiting; attached {} ms after their creation (median; p99 {} ms)",
        status.kernel.interfaces.len(),
        status.kernel.waiting,
        attach.p50_us / 1_000,
        attach.p99_us / 1_000
    )?;
    let flows = &status.flows;
    writeln!(
        out,
        "TCP flows: {} seen, {} classified, {} undecided, {} merged across NAT, {} evicted, {} tracked now",
        flows.seen, flows.classified, flows.undecided, flows.joined, flows.evicted, flows.tracked
    )?;
    let flows = &status.datagrams;
    writeln!(
        out,
        "UDP flows: {} seen, {} classified, {} undecided, {} moved to another address, {} evicted, {} tracked now",
        flows.seen, flows.classified, flows.undecided, flows.joined, flows.evicted, flows.tracked
    )?;
    writeln!(
        out,
        "edges: {} in the last {}",
        status.edges.edges,
        took(status.window_seconds)
    )?;
    let mut interfaces = table(&["INTERFACE", "IFINDEX", "ATTACH", "SAMPLES LOST"]);
    for interface in &status.kernel.interfaces {
        interfaces.add_row([
            safe(&interface.name).into_owned(),
            interface.ifindex.to_string(),
            if interface.behind.is_empty() {
                safe(&interface.mode).into_owned()
            } else {
                let behind = interface.behind.join(", ");
                format!("{}, behind {}", safe(&interface.mode), safe(&behind))
            },
            interface.lost.values().sum::<u64>().to_string(),
        ]);
    }
    writeln!(out, "{}", interfaces.trim_fmt())
}

fn not_watched(out: &mut String, status: &Status) -> std::fmt::Result {
    let coverage = &status.coverage;
    for pod in &coverage.unwatched {
        writeln!(
            out,
            "pod {}/{}: {}",
            safe(&pod.namespace),
            safe(&pod.name),
            safe(&pod.reason)
        )?;
    }
    let all = coverage.pods.saturating_sub(coverage.watched);
    let named = coverage.unwatched.len() as u64;
    if all > named {
        writeln!(out, "and {} more pods", all - named)?;
    }
    skipped(out, status)?;
    let kernel = &status.kernel;
    if kernel.not_attached.is_empty() && kernel.uplinks.is_empty() {
        return Ok(());
    }
    let mut interfaces = table(&["INTERFACE", "IFINDEX", "WHY"]);
    for failed in &kernel.not_attached {
        interfaces.add_row([
            safe(&failed.name).into_owned(),
            failed.ifindex.to_string(),
            format!(
                "not attached after {} attempts: {}",
                failed.attempts,
                safe(&failed.reason)
            ),
        ]);
    }
    for uplink in &kernel.uplinks {
        interfaces.add_row([
            safe(&uplink.name).into_owned(),
            uplink.ifindex.to_string(),
            format!("uplink, not watched: {}", safe(&uplink.reason)),
        ]);
    }
    writeln!(out, "{}", interfaces.trim_fmt())
}

fn lost(out: &mut String, status: &Status) -> std::fmt::Result {
    writeln!(
        out,
        "{} samples in the last {}; {} kernel events could not be decoded",
        status.coverage.samples_lost,
        took(status.window_seconds),
        status.engine.malformed
    )?;
    let mut ignored: Vec<_> = status.kernel.interfaces.iter().collect();
    ignored.retain(|interface| interface.ignored > 0);
    ignored.sort_by_key(|interface| std::cmp::Reverse(interface.ignored));
    for interface in ignored.iter().take(MOST_IGNORED) {
        writeln!(
            out,
            "{}: {} SYN, FIN or RST segments of its pod ignored, because no receiver accepts them: forged, or late",
            safe(&interface.name),
            interface.ignored
        )?;
    }
    if let Some(more) = ignored.len().checked_sub(MOST_IGNORED + 1) {
        writeln!(out, "and of {} more interfaces", more + 1)?;
    }
    Ok(())
}

fn cost(out: &mut String, status: &Status) -> std::fmt::Result {
    let mut programs = table(&["PROGRAM", "RUNS", "TIME", "TIME/RUN"]);
    for program in &status.kernel.programs {
        let each = program.run_time_ns.checked_div(program.run_count);
        programs.add_row([
            safe(&program.name).into_owned(),
            program.run_count.to_string(),
            format!("{:.3}s", program.run_time_ns as f64 / 1e9),
            each.map_or("-".into(), |ns| format!("{ns} ns")),
        ]);
    }
    writeln!(out, "{}", programs.trim_fmt())?;
    let process = status.process;
    let uptime = status.uptime_seconds.max(1) as f64;
    writeln!(
        out,
        "daemon: {:.1} s of CPU time ({:.1} % of one CPU on average), {} MiB of memory",
        process.cpu_seconds,
        process.cpu_seconds / uptime * 100.0,
        process.resident_bytes >> 20
    )?;
    writeln!(
        out,
        "longest pause in reading samples: {} ms",
        status.engine.longest_pause_us / 1_000
    )?;
    let counters = status.kernel.counters.iter();
    let counters = counters.filter(|(_, value)| **value > 0);
    let counters: Vec<_> = counters
        .map(|(name, value)| format!("{} {value}", safe(name)))
        .collect();
    if !counters.is_empty() {
        writeln!(out, "kernel counters: {}", counters.join(", "))?;
    }
    Ok(())
}

fn sources(out: &mut String, status: &Status) -> std::fmt::Result {
    let mut sources = table(&["NAME SOURCE", "NAMES", "STATE"]);
    for source in &status.sources {
        let state = match &source.error {
            None => "ok".into(),
            Some(error) => match source.updated {
                None => format!("no answer yet: {}", safe(error)),
                Some(updated) => {
                    let ago = ago(updated, status.generated.as_nanos());
                    format!("stale since {ago} ago: {}", safe(error))
                }
            },
        };
        sources.add_row([
            safe(&source.name).into_owned(),
            source.entries.to_string(),
            state,
        ]);
    }
    writeln!(out, "{}", sources.trim_fmt())
}

/// The packets that were not examined, in one line.
fn skipped(out: &mut String, status: &Status) -> std::fmt::Result {
    const KINDS: [(&str, &str); 13] = [
        ("fragments", "IP fragments"),
        ("malformed", "malformed packets"),
        ("too_many_headers", "packets with too many headers"),
        ("ip_in_ip", "IP in IP"),
        ("gre", "GRE"),
        ("vxlan", "VXLAN"),
        ("geneve", "Geneve"),
        ("mpls", "MPLS"),
        ("esp", "ESP"),
        ("other_link", "frames that are not IP"),
        ("other_ip", "other IP protocols"),
        ("udp", "pairs of addresses with other UDP"),
        ("sctp", "pairs of addresses with SCTP"),
    ];
    let kinds = KINDS.iter().filter_map(|(counter, name)| {
        let n = *status.kernel.counters.get(*counter)?;
        (n > 0).then(|| format!("{n} {name}"))
    });
    let kinds: Vec<_> = kinds.collect();
    if kinds.is_empty() {
        writeln!(out, "packets not examined: only ARP and ICMP")
    } else {
        writeln!(
            out,
            "packets not examined: {}; ARP and ICMP",
            kinds.join(", ")
        )
    }
}

/// The declared exemptions; expired ones are marked.
fn exemptions(out: &mut String, status: &Status) -> std::fmt::Result {
    if status.exemptions.is_empty() {
        return Ok(());
    }
    let mut table = table(&["EXEMPTION", "PORT", "UNTIL", "REASON"]);
    for declared in &status.exemptions {
        let any = |name: Option<&str>| {
            name.map_or_else(|| "*".to_owned(), |name| safe(name).into_owned())
        };
        let until = declared.until.map(|until| until.to_string());
        let until = until.map_or_else(|| "-".to_owned(), |until| until[..10].to_owned());
        table.add_row([
            format!(
                "{}/{}",
                any(declared.namespace.as_deref()),
                any(declared.workload.as_deref())
            ),
            declared
                .port
                .map_or_else(|| "*".to_owned(), |port| port.to_string()),
            if declared.expired {
                format!("{until} EXPIRED")
            } else {
                until
            },
            safe(&declared.reason).into_owned(),
        ]);
    }
    writeln!(out, "\n{}", table.trim_fmt())
}
