//! How much of the node's pods is watched.

use crate::pods::LocalPod;
use mtls_core::record::{KernelStatus, PodCoverage, UnwatchedPod};

/// Most pods that are named one by one.
const NAMED: usize = 100;

/// Holds the pods that have interfaces here against the interfaces that are watched.
pub(super) fn coverage(pods: &[LocalPod], kernel: &KernelStatus, samples_lost: u64) -> PodCoverage {
    let is_watched = |link: &u32| {
        let mut interfaces = kernel.interfaces.iter();
        interfaces.any(|interface| interface.ifindex == *link)
    };
    let (watched, others): (Vec<_>, Vec<_>) = pods
        .iter()
        .partition(|pod| pod.links.iter().any(is_watched));
    let mut unwatched: Vec<_> = others
        .iter()
        .map(|pod| UnwatchedPod {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            reason: why(pod, kernel),
        })
        .collect();
    unwatched.sort_unstable();
    unwatched.truncate(NAMED);
    PodCoverage {
        pods: pods.len() as u64,
        watched: watched.len() as u64,
        unwatched,
        samples_lost,
    }
}

fn why(pod: &LocalPod, kernel: &KernelStatus) -> String {
    let failed = kernel
        .not_attached
        .iter()
        .find(|failed| pod.links.contains(&failed.ifindex));
    match failed {
        Some(failed) => format!("{}: {}", failed.name, failed.reason),
        None if pod.links.is_empty() => {
            "no interface that can be watched is known to lead to it".into()
        }
        None => "its interface is not among those that are watched".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtls_core::record::NotAttached;

    #[test]
    fn pods_without_a_watched_interface_are_named_with_the_reason() {
        let pod = |name: &str, links: &[u32]| LocalPod {
            namespace: "shop".into(),
            name: name.into(),
            links: links.into(),
        };
        let kernel = KernelStatus {
            not_attached: vec![NotAttached {
                name: "veth7".into(),
                ifindex: 7,
                reason: "EMFILE: no file descriptors are left".into(),
                attempts: 3,
            }],
            ..KernelStatus::default()
        };
        let pods = [pod("db", &[7]), pod("web", &[8]), pod("wide", &[])];
        let coverage = coverage(&pods, &kernel, 5);
        assert_eq!(
            (coverage.pods, coverage.watched, coverage.samples_lost),
            (3, 0, 5)
        );
        assert_eq!(
            coverage.unwatched[0].reason,
            "veth7: EMFILE: no file descriptors are left"
        );
        assert!(coverage.unwatched[1].reason.contains("not among those"));
        assert!(coverage.unwatched[2].reason.contains("no interface"));
    }
}
