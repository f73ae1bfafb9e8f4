//! How many of the node's pods are watched.

use std::collections::BTreeMap;

use crate::pods::LocalPod;
use mtls_core::record::{KernelStatus, NamespaceCoverage, PodCoverage, UnwatchedPod};

/// Most pods that are listed individually.
const NAMED: usize = 100;
/// Most namespaces that are listed individually.
const NAMESPACES: usize = 1_000;

/// Compares the pods that have interfaces here with the watched interfaces.
pub(super) fn coverage(pods: &[LocalPod], kernel: &KernelStatus, samples_lost: u64) -> PodCoverage {
    // Since when a pod has been watched; with several interfaces, since the first one was.
    let since = |pod: &LocalPod| {
        let interfaces = kernel.interfaces.iter();
        let own = interfaces.filter(|interface| pod.links.contains(&interface.ifindex));
        own.map(|interface| interface.since.unwrap_or_default())
            .min()
    };
    let (watched, others): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| since(pod).is_some());
    let mut namespaces = BTreeMap::<_, NamespaceCoverage>::new();
    for pod in pods {
        if namespaces.len() < NAMESPACES || namespaces.contains_key(&pod.namespace) {
            let own = namespaces.entry(&pod.namespace).or_default();
            own.namespace.clone_from(&pod.namespace);
            own.add(since(pod));
        }
    }
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
        namespaces: namespaces.into_values().collect(),
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
    use mtls_core::record::{Interface, NotAttached, Time};

    #[test]
    fn a_namespace_says_since_when_its_pods_are_watched() {
        let pod = |namespace: &str, links: &[u32]| LocalPod {
            namespace: namespace.into(),
            name: "web".into(),
            links: links.into(),
        };
        let watched = |ifindex, since| Interface {
            ifindex,
            since: Some(Time::from_seconds(since)),
            ..Interface::default()
        };
        let kernel = KernelStatus {
            interfaces: vec![watched(1, 50), watched(2, 20), watched(3, 10)],
            ..KernelStatus::default()
        };
        let pods = [
            pod("shop", &[1]),
            pod("shop", &[2]),
            pod("shop", &[7]),
            pod("data", &[8]),
            pod("ops", &[1, 3]),
        ];
        let coverage = coverage(&pods, &kernel, 0);
        let told: Vec<_> = coverage
            .namespaces
            .iter()
            .map(|one| {
                let seconds = |time: Option<Time>| time.map(Time::as_seconds);
                let (first, last) = (seconds(one.since_first), seconds(one.since_last));
                (one.namespace.as_str(), one.pods, one.watched, first, last)
            })
            .collect();
        let expected = [
            ("data", 1, 0, None, None),
            ("ops", 1, 1, Some(10), Some(10)),
            ("shop", 3, 2, Some(20), Some(50)),
        ];
        assert_eq!(told, expected);
    }

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
