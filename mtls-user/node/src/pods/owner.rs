//! Determines a pod's workload without a request: controllers derive the names of their objects
//! from their own, and put the added part into a label or at the end.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use mtls_core::record::{Kind, Word};

/// A workload: `deployment`, `web`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Owner {
    pub(super) kind: Word<Kind>,
    pub(super) name: SmolStr,
}

impl Owner {
    fn new(kind: &str, name: &str) -> Option<Self> {
        (!name.is_empty()).then(|| Self {
            kind: kind.into(),
            name: super::entry::clean(name),
        })
    }
}

/// The owner of a pod of which only the name and labels are known (the container runtime's view).
/// `created` is in seconds since the Unix epoch.
pub(super) fn from_labels(
    pod: &str,
    labels: &BTreeMap<String, String>,
    created: Option<u64>,
) -> Option<Owner> {
    let label = |key: &str| labels.get(key).map(String::as_str);
    let without_suffix = || pod.rsplit_once('-').map(|(name, _)| name);
    if let Some(job) = label("batch.kubernetes.io/job-name").or_else(|| label("job-name")) {
        return of_job(job, created);
    }
    for (key, kind) in [
        ("pod-template-hash", "deployment"),
        ("rollouts-pod-template-hash", "rollout"),
    ] {
        if let Some(hash) = label(key)
            && let Some(name) = without_suffix().and_then(|set| without_hash(set, hash))
        {
            return Owner::new(kind, name);
        }
    }
    if label("statefulset.kubernetes.io/pod-name").is_some()
        || label("apps.kubernetes.io/pod-index").is_some()
    {
        return Owner::new("statefulset", without_suffix()?);
    }
    if label("pod-template-generation").is_some() && label("controller-revision-hash").is_some() {
        return Owner::new("daemonset", without_suffix()?);
    }
    None
}

/// The owner of a pod whose controller is known from its `ownerReferences`. Deployments and
/// CronJobs own their pods through a ReplicaSet or a Job that is named after them.
pub(super) fn from_reference(
    kind: &str,
    name: &str,
    labels: &BTreeMap<String, String>,
    created: Option<u64>,
) -> Option<Owner> {
    match kind {
        "ReplicaSet" => {
            let through = |key: &str, kind| {
                let name = without_hash(name, labels.get(key)?)?;
                Owner::new(kind, name)
            };
            through("pod-template-hash", "deployment")
                .or_else(|| through("rollouts-pod-template-hash", "rollout"))
                .or_else(|| Owner::new("replicaset", name))
        }
        "Job" => of_job(name, created),
        // A static pod, whose mirror pod the node owns, is its own workload.
        "Node" => None,
        _ => Owner::new(&super::entry::clean(kind).to_lowercase(), name),
    }
}

/// `NAME-HASH` without the hash.
fn without_hash<'a>(name: &'a str, hash: &str) -> Option<&'a str> {
    name.strip_suffix(hash)?.strip_suffix('-')
}

/// A CronJob names its Job after itself and the minute for which it was scheduled, counted from the
/// Unix epoch. A Job whose name merely ends in digits is distinguished by its age: the digits must
/// match its creation time, except for a schedule that was delayed.
fn of_job(job: &str, created: Option<u64>) -> Option<Owner> {
    const LATE: u64 = 7 * 24 * 60;
    const EARLY: u64 = 60;
    if let Some((name, digits)) = job.rsplit_once('-')
        && digits.len() == 8
        && let Ok(scheduled) = digits.parse::<u64>()
        && let Some(minute) = created.map(|seconds| seconds / 60)
        && scheduled <= minute + EARLY
        && scheduled + LATE >= minute
    {
        return Owner::new("cronjob", name);
    }
    Owner::new("job", job)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    fn owner(kind: &str, name: &str) -> Option<Owner> {
        Owner::new(kind, name)
    }

    #[test]
    fn by_labels_alone() {
        let cases: [(&str, &[(&str, &str)], _); 7] = [
            (
                "web-7d9c-x2x4z",
                &[("pod-template-hash", "7d9c")],
                owner("deployment", "web"),
            ),
            (
                "canary-55f-abcde",
                &[("rollouts-pod-template-hash", "55f")],
                owner("rollout", "canary"),
            ),
            (
                "db-0",
                &[("apps.kubernetes.io/pod-index", "0")],
                owner("statefulset", "db"),
            ),
            (
                "proxy-q8r2k",
                &[
                    ("controller-revision-hash", "1"),
                    ("pod-template-generation", "1"),
                ],
                owner("daemonset", "proxy"),
            ),
            (
                "load-1-abc",
                &[("job-name", "load-1")],
                owner("job", "load-1"),
            ),
            ("lone", &[("app", "lone")], None),
            ("odd", &[("pod-template-hash", "7d9c")], None),
        ];
        for (pod, pairs, expected) in cases {
            assert_eq!(from_labels(pod, &labels(pairs), None), expected, "{pod}");
        }
    }

    #[test]
    fn by_reference() {
        let hash = labels(&[("pod-template-hash", "7d9c")]);
        assert_eq!(
            from_reference("ReplicaSet", "web-7d9c", &hash, None),
            owner("deployment", "web")
        );
        assert_eq!(
            from_reference("ReplicaSet", "web", &labels(&[]), None),
            owner("replicaset", "web")
        );
        assert_eq!(
            from_reference("StatefulSet", "db", &labels(&[]), None),
            owner("statefulset", "db")
        );
        assert_eq!(from_reference("Node", "n1", &labels(&[]), None), None);
    }

    #[test]
    fn a_job_is_a_cron_jobs_only_when_its_digits_are_its_time() {
        let at = |minutes: u64| Some(minutes * 60 + 3);
        let none = labels(&[]);
        let of = |job, created| from_reference("Job", job, &none, created);
        assert_eq!(
            of("backup-29401230", at(29_401_230)),
            owner("cronjob", "backup")
        );
        assert_eq!(
            of("backup-29401230", at(29_401_500)),
            owner("cronjob", "backup")
        );
        assert_eq!(
            of("import-20250101", at(29_401_230)),
            owner("job", "import-20250101")
        );
        assert_eq!(
            of("backup-29401230", None),
            owner("job", "backup-29401230"),
            "nothing is guessed"
        );
    }
}
