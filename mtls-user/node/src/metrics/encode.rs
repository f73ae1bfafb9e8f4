//! Renders a page of metrics in the format that the client reads.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;
use smol_str::format_smolstr;

use super::catalog as c;
use super::certificates::Expiry;
use super::labels::Sides;
use super::meter::Snapshot;
use super::out::{Out, Points};
use super::process::Usage;
use super::rows::{Edge, Happened, Happenings};
use super::series::seconds;
use mtls_core::record::{Status, Time};

/// The format of the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format 0.0.4, which every tool reads.
    Text,
}

impl Format {
    /// Chosen by the `Accept` header of a request.
    pub fn of(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    /// The page's content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The state of an export queue.
#[derive(Clone, Copy, Debug)]
pub struct Outlet {
    /// The output's name.
    pub name: &'static str,
    /// Records that arrived.
    pub sent: u64,
    /// Records that did not fit, or were missed before they could be queued.
    pub dropped: u64,
    /// Records waiting.
    pub queued: u64,
}

/// Renders the page of the counts and the daemon's state.
pub fn encode(
    snapshot: Snapshot,
    status: Status,
    outlets: Vec<Outlet>,
    format: Format,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    let room = 2_048 + snapshot.edges.len() * 1_024;
    registry.register_collector(Box::new(Page {
        snapshot,
        status,
        outlets,
        usage: Usage::now(),
    }));
    let mut page = String::with_capacity(room);
    match format {
        Format::OpenMetrics => text::encode(&mut page, &registry)?,
        Format::Text => prometheus_text::encode(&mut page, &registry)?,
    }
    Ok(page)
}

/// The same as [`encode`], for other output formats.
pub fn points(snapshot: Snapshot, status: Status, outlets: Vec<Outlet>) -> Vec<Points> {
    let page = Page {
        snapshot,
        status,
        outlets,
        usage: Usage::now(),
    };
    let mut points = Vec::new();
    // It cannot fail, because nothing is written.
    let _ = page.write(&mut Out::Points(&mut points));
    points
}

#[derive(Debug)]
struct Page {
    snapshot: Snapshot,
    status: Status,
    outlets: Vec<Outlet>,
    usage: Usage,
}

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.write(&mut Out::Text(encoder))
    }
}

impl Page {
    fn write(&self, out: &mut Out<'_>) -> fmt::Result {
        self.edges(out)?;
        self.tls(out)?;
        self.flows(out)?;
        self.kernel(out)?;
        self.daemon(out)
    }

    fn edges(&self, out: &mut Out<'_>) -> fmt::Result {
        let snapshot = &self.snapshot;
        out.family(&c::EDGE_CONNECTIONS, |family| {
            snapshot.each_count(|labels, count| match count.connections {
                0 => Ok(()),
                connections => family.add(labels, connections),
            })
        })?;
        out.family(&c::EDGE_LAST_SEEN, |family| {
            snapshot.each_count(|labels, count| match count.last_seen {
                0 => Ok(()),
                last_seen => family.add(labels, seconds(last_seen)),
            })
        })?;
        out.family(&c::EDGE_OPEN, |family| {
            snapshot.each_count(|labels, count| match count.open {
                0 => Ok(()),
                open => family.add(labels, open),
            })
        })?;
        for (counter, last, what) in [
            (
                &c::DOWNGRADES,
                &c::DOWNGRADE_LAST,
                (|edge| &edge.downgrades) as fn(&Edge) -> &Happenings,
            ),
            (&c::MISMATCHES, &c::MISMATCH_LAST, |edge| &edge.mismatches),
            (&c::OLD_TLS, &c::OLD_TLS_LAST, |edge| &edge.old_tls),
        ] {
            out.family(counter, |family| {
                snapshot.each_happening(what, |labels, happened| family.add(labels, happened.count))
            })?;
            out.family(last, |family| {
                let add = |labels: &[&str], happened: Happened| {
                    family.add(labels, seconds(happened.last))
                };
                snapshot.each_happening(what, add)
            })?;
        }
        // The edge that stands for the others does not count.
        out.one(&c::EDGES, snapshot.edges.len() as u64 - 1)?;
        out.one(&c::EDGES_LIMIT, snapshot.limit as u64)?;
        out.one(&c::OVERFLOW, snapshot.totals.overflow)?;
        out.each(
            &c::AGAIN,
            Sides::NAMES.into_iter().zip(snapshot.totals.again),
        )
    }

    fn tls(&self, out: &mut Out<'_>) -> fmt::Result {
        let snapshot = &self.snapshot;
        out.family(&c::HANDSHAKES, |family| {
            for ([version, group, cipher], counts) in &snapshot.handshakes {
                for (side, n) in Sides::NAMES.into_iter().zip(counts) {
                    if *n > 0 {
                        family.add(&[side, version, group, cipher], *n)?;
                    }
                }
            }
            Ok(())
        })?;
        for (metric, what) in [
            (
                &c::CERTIFICATE_EXPIRY,
                (|expiry| expiry.not_after) as fn(&Expiry) -> i64,
            ),
            (&c::CERTIFICATE_LIFETIME, |expiry| expiry.lifetime),
        ] {
            out.family(metric, |family| {
                for (end, side, expiry) in &snapshot.certificates {
                    let labels = [&*end.namespace, &*end.workload, side.as_str()];
                    family.add(&labels, what(expiry) as f64)?;
                }
                Ok(())
            })?;
        }
        out.one(&c::CERTIFICATES_OVERFLOW, snapshot.certificates_overflow)?;
        out.family(&c::UNDECIDED, |family| {
            for ((verdict, cause), n) in &snapshot.undecided {
                family.add(&[verdict.as_str(), cause.as_str()], *n)?;
            }
            Ok(())
        })
    }

    fn flows(&self, out: &mut Out<'_>) -> fmt::Result {
        let flows = &self.status.flows;
        for (metric, n) in [
            (&c::FLOWS_SEEN, flows.seen),
            (&c::FLOWS_CLASSIFIED, flows.classified),
            (&c::FLOWS_UNDECIDED, flows.undecided),
            (&c::FLOWS_JOINED, flows.joined),
            (&c::FLOWS_EVICTED, flows.evicted),
            (&c::FLOWS_REOPENED, flows.reopened),
            (&c::FLOWS_TRACKED, flows.tracked as u64),
        ] {
            out.one(metric, n)?;
        }
        let ignored = [
            ("reset", flows.resets_ignored),
            ("spoofed", flows.spoofed),
            ("damaged", flows.damaged),
            ("stray", flows.stray),
        ];
        out.each(&c::SEGMENTS_IGNORED, ignored)?;
        out.one(&c::EDGE_TABLE, self.status.edges.edges as u64)?;
        out.one(&c::EDGE_TABLE_EVICTED, self.status.edges.evicted)
    }

    fn kernel(&self, out: &mut Out<'_>) -> fmt::Result {
        let kernel = &self.status.kernel;
        let named = |name: &str| format_smolstr!("{}", name.replace('_', "-"));
        let lost = kernel.counters.iter().filter_map(|(name, n)| {
            let reason = name.strip_prefix("lost_")?;
            Some((named(reason), *n))
        });
        out.each(&c::SAMPLES_LOST, lost)?;
        let others = kernel.counters.iter().filter_map(|(name, n)| {
            let other = !name.starts_with("lost_");
            other.then(|| (named(name), *n))
        });
        out.each(&c::KERNEL_EVENTS, others)?;
        let interfaces = [
            ("attached", kernel.interfaces.len() as u64),
            ("failed", kernel.not_attached.len() as u64),
            ("waiting", kernel.waiting),
            ("uplink", kernel.uplinks.len() as u64),
        ];
        out.each(&c::INTERFACES, interfaces)?;
        let coverage = &self.status.coverage;
        let unwatched = coverage.pods.saturating_sub(coverage.watched);
        out.each(&c::PODS, [("true", coverage.watched), ("false", unwatched)])?;
        let attach = &kernel.attach;
        out.each(
            &c::ATTACH_LATENCY,
            [
                ("50", attach.p50_us as f64 / 1e6),
                ("99", attach.p99_us as f64 / 1e6),
                ("100", attach.max_us as f64 / 1e6),
            ],
        )
    }

    fn daemon(&self, out: &mut Out<'_>) -> fmt::Result {
        let status = &self.status;
        let sources = || status.sources.iter();
        out.each(
            &c::SOURCE_ENTRIES,
            sources().map(|source| (&source.name, source.entries as u64)),
        )?;
        out.each(
            &c::SOURCE_UP,
            sources().map(|source| (&source.name, u64::from(source.error.is_none()))),
        )?;
        let stamp = |time: Time| time.as_nanos() as f64 / 1e9;
        out.each(
            &c::SOURCE_UPDATED,
            sources().filter_map(|source| Some((&source.name, stamp(source.updated?)))),
        )?;
        let expired = status.exemptions.iter().filter(|one| one.expired).count() as u64;
        let valid = status.exemptions.len() as u64 - expired;
        out.each(&c::EXEMPTIONS, [("false", valid), ("true", expired)])?;
        let pause = status.engine.longest_pause_us as f64 / 1e6;
        out.one(&c::ENGINE_PAUSE, pause)?;
        out.one(&c::ENGINE_MALFORMED, status.engine.malformed)?;
        let ring = &status.engine.ring;
        let waiting = [("now", ring.waiting), ("most", ring.peak)];
        out.one(&c::RING_SIZE, ring.bytes)?;
        out.each(&c::RING_WAITING, waiting)?;
        let programs = || status.kernel.programs.iter();
        out.each(
            &c::PROGRAM_RUNS,
            programs().map(|program| (&program.name, program.run_count)),
        )?;
        let spent = programs().map(|program| (&program.name, program.run_time_ns as f64 / 1e9));
        out.each(&c::PROGRAM_SECONDS, spent)?;
        out.family(&c::RECORDS, |family| {
            for outlet in &self.outlets {
                family.add(&[outlet.name, "sent"], outlet.sent)?;
                family.add(&[outlet.name, "dropped"], outlet.dropped)?;
            }
            Ok(())
        })?;
        let queued = self
            .outlets
            .iter()
            .map(|outlet| (outlet.name, outlet.queued));
        out.each(&c::RECORDS_QUEUED, queued)?;
        out.each(&c::BUILD, [(&status.version, 1_u64)])?;
        let usage = &self.usage;
        out.one(&c::CPU, usage.cpu_seconds)?;
        out.one(&c::RESIDENT, usage.resident_bytes)?;
        out.one(&c::VIRTUAL, usage.virtual_bytes)?;
        out.one(&c::START, usage.start_seconds)?;
        out.one(&c::OPEN_FDS, usage.open_fds)?;
        out.one(&c::MAX_FDS, usage.max_fds)?;
        out.one(&c::THREADS, usage.threads)
    }
}
