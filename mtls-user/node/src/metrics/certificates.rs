//! The expiry dates of the certificates that workloads were seen to present.

use std::collections::HashMap;

use super::labels::End;
use mtls_core::record::{FlowRecord, Side};

/// Most workloads.
const MAX: usize = 4_096;
/// Most certificates per workload at a time: those of its replicas, and one that is replacing
/// another.
const EACH: usize = 8;
/// A certificate that was last presented this long before another has been replaced by it, in
/// nanoseconds.
const REPLACED: u64 = 3_600_000_000_000;
/// A certificate is forgotten after this long in any case.
const FORGOTTEN: u64 = 7 * 24 * 3_600_000_000_000;

/// The validity of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Expiry {
    /// Seconds since the Unix epoch.
    pub(super) not_after: i64,
    /// Seconds from the start of its validity to its end.
    pub(super) lifetime: i64,
}

#[derive(Clone, Copy, Debug)]
struct Presented {
    expiry: Expiry,
    /// The daemon's time.
    seen: u64,
}

/// Certificates by workload and presenting side.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    known: HashMap<(End, Side), Vec<Presented>>,
    /// Workloads for which there was no room.
    pub(super) overflow: u64,
}

impl Certificates {
    pub(super) fn observe(&mut self, flow: &FlowRecord) {
        let Some(tls) = flow.tls.as_deref() else {
            return;
        };
        let presented = [
            (Side::Client, &flow.src, &tls.client_cert),
            (Side::Server, &flow.dst, &tls.server_cert),
        ];
        for (side, peer, certificate) in presented {
            let (end, Some(certificate)) = (End::of(peer), certificate) else {
                continue;
            };
            if !end.is_named {
                continue;
            }
            let full = self.known.len() >= MAX;
            let key = (end, side);
            if full && !self.known.contains_key(&key) {
                self.overflow += 1;
                continue;
            }
            let not_after = certificate.not_after.as_seconds();
            let expiry = Expiry {
                not_after,
                lifetime: not_after - certificate.not_before.as_seconds(),
            };
            let seen = flow.last_seen.as_nanos();
            let known = self.known.entry(key).or_default();
            if let Some(same) = known.iter_mut().find(|one| one.expiry == expiry) {
                same.seen = same.seen.max(seen);
            } else {
                if known.len() >= EACH {
                    // The one that was not seen for longest has most likely been replaced.
                    known.sort_unstable_by_key(|one| std::cmp::Reverse(one.seen));
                    known.truncate(EACH - 1);
                }
                known.push(Presented { expiry, seen });
            }
        }
    }

    pub(super) fn expire(&mut self, now: u64) {
        self.known.retain(|_, known| {
            let latest = known.iter().map(|one| one.seen).max().unwrap_or_default();
            known.retain(|one| {
                now < one.seen.saturating_add(FORGOTTEN)
                    && latest <= one.seen.saturating_add(REPLACED)
            });
            !known.is_empty()
        });
    }

    /// The earliest expiry of each.
    pub(super) fn nearest(&self) -> Vec<(End, Side, Expiry)> {
        let nearest = |known: &[Presented]| known.iter().map(|one| one.expiry).min();
        self.known
            .iter()
            .filter_map(|((end, side), known)| Some((end.clone(), *side, nearest(known)?)))
            .collect()
    }
}
