//! Combines the results of all watches for the directory.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Options;
use super::change::{Change, News};
use super::object::NamespaceInfo;
use super::objects::Objects;
use super::pod::Pod;
use super::policy::Policies;
use super::service::{Service, Slice};
use crate::clock::now;
use crate::pods::mesh::Scope;
use crate::pods::{Directory, Entry, Source};
use mtls_core::record::Workload;

/// Changes are combined for this long, because they come in bursts,
const BURST: Duration = Duration::from_millis(50);
/// and for this much longer per entry, because everything is published again.
const PER_ENTRY: Duration = Duration::from_micros(50);

/// Meshes whose policies are needed: those that some pod is in, or should be.
#[derive(Clone)]
pub(super) struct Meshes(Vec<(&'static str, watch::Sender<bool>)>);

impl Meshes {
    pub(super) fn new(names: &[&'static str]) -> Self {
        let sender = |name: &&'static str| (*name, watch::Sender::new(false));
        Self(names.iter().map(sender).collect())
    }

    fn met(&self, name: &str) {
        for (_, met) in self.0.iter().filter(|(of, _)| *of == name) {
            met.send_if_modified(|met| !std::mem::replace(met, true));
        }
    }

    /// Waits until a pod of this mesh has been seen.
    pub(super) async fn seen(&self, name: &str) {
        let one = self.0.iter().find(|(of, _)| *of == name);
        let Some((_, met)) = one else {
            return std::future::pending().await;
        };
        // The sender exists here, so there is no error.
        let _ = met.subscribe().wait_for(|met| *met).await;
    }
}

/// The state, and which parts of it the directory has not seen yet.
pub(super) struct Cluster {
    directory: Arc<Directory>,
    own_node: Option<String>,
    /// The Service whose endpoints are nodes.
    nodes_service: Option<String>,
    pods: Objects<Pod>,
    namespaces: Objects<NamespaceInfo>,
    services: Objects<Service>,
    slices: Objects<Slice>,
    policies: Policies,
    meshes: Meshes,
    unseen: HashSet<Source>,
}

impl Cluster {
    pub(super) fn new(directory: Arc<Directory>, options: &Options, meshes: Meshes) -> Self {
        Self {
            directory,
            own_node: options.node.clone(),
            nodes_service: options.nodes_service.clone(),
            pods: Objects::default(),
            namespaces: Objects::default(),
            services: Objects::default(),
            slices: Objects::default(),
            policies: Policies::default(),
            meshes,
            unseen: HashSet::new(),
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<News>) {
        let mut due = None;
        loop {
            let deadline = due.unwrap_or_else(|| Instant::now() + Duration::from_hours(1));
            tokio::select! {
                news = inbox.recv() => {
                    let Some(news) = news else { return };
                    self.take(news);
                    if !self.unseen.is_empty() && due.is_none() {
                        let entries = self.pods.all.len() + self.slices.all.len();
                        due = Some(Instant::now() + BURST + PER_ENTRY * entries as u32);
                    }
                }
                () = tokio::time::sleep_until(deadline), if due.is_some() => {
                    due = None;
                    for source in std::mem::take(&mut self.unseen) {
                        self.publish(source);
                    }
                }
            }
        }
    }

    fn take(&mut self, news: News) {
        let (source, changed) = match news {
            News::Pods(mut change) => {
                match &mut change {
                    Change::All(all) => all.iter_mut().for_each(|(_, pod)| self.join(pod)),
                    Change::Apply(_, pod) => self.join(pod),
                    _ => {}
                }
                (Source::Kubernetes, self.pods.take(change))
            }
            News::Namespaces(change) => {
                let changed = self.namespaces.take(change);
                if changed && self.join_again() {
                    self.unseen.insert(Source::Kubernetes);
                }
                (Source::Namespaces, changed)
            }
            News::Services(change) => (Source::Services, self.services.take(change)),
            News::Slices(change) => (Source::Services, self.slices.take(change)),
            policy => {
                let changed = self.policies.take(policy);
                if changed && self.join_again() {
                    self.unseen.insert(Source::Kubernetes);
                }
                (Source::Policies, changed)
            }
        };
        if changed {
            self.unseen.insert(source);
        } else {
            self.tell(source);
        }
    }

    fn join(&self, pod: &mut Pod) {
        pod.join(scope(&self.namespaces, pod.namespace()), &self.policies);
        pod.mesh().inspect(|mesh| self.meshes.met(mesh.name));
    }

    /// Recomputes every pod's mesh and expectations; returns whether anything changed.
    fn join_again(&mut self) -> bool {
        let mut changed = false;
        for pod in self.pods.all.values_mut() {
            let scope = scope(&self.namespaces, pod.namespace());
            changed |= pod.join(scope, &self.policies);
            pod.mesh().inspect(|mesh| self.meshes.met(mesh.name));
        }
        changed
    }

    /// Reports the state of a source, without new data from it.
    fn tell(&self, source: Source) {
        if let Some(error) = self.error(source) {
            self.directory.fail(source, error.clone());
        } else if self.listed(source) && !self.unseen.contains(&source) {
            self.directory.confirm(source, now());
        }
    }

    fn publish(&self, source: Source) {
        if !self.listed(source) {
            return;
        }
        match source {
            Source::Kubernetes => {
                let entries = self.pods.all.values().flat_map(Pod::entries);
                self.directory.publish(source, entries, now());
            }
            Source::Namespaces => {
                let namespaces = self.namespaces.all.values();
                let entries = namespaces.map(|one| named("namespace", &one.name));
                self.directory.publish(source, entries, now());
            }
            Source::Policies => {
                let entries = self.policies.names().map(|name| named("policy", &name));
                self.directory.publish(source, entries, now());
            }
            _ => {
                let services = self.services.all.values().flat_map(|service| &service.0);
                let slices = self.slices.all.values();
                let served = slices.clone().filter_map(|slice| slice.served.as_ref());
                let nodes = slices
                    .filter(|slice| Some(&slice.service) == self.nodes_service.as_ref())
                    .flat_map(|slice| slice.nodes(self.own_node.as_deref()));
                let entries = services.chain(served).cloned().chain(nodes);
                self.directory.publish(source, entries, now());
            }
        }
        // Another watch of the same source may not have answered yet.
        if let Some(error) = self.error(source) {
            self.directory.fail(source, error.clone());
        }
    }

    fn error(&self, source: Source) -> Option<&String> {
        match source {
            Source::Kubernetes => self.pods.error.as_ref(),
            Source::Namespaces => self.namespaces.error.as_ref(),
            Source::Policies => self.policies.error(),
            _ => self.services.error.as_ref().or(self.slices.error.as_ref()),
        }
    }

    fn listed(&self, source: Source) -> bool {
        match source {
            Source::Kubernetes => self.pods.listed,
            Source::Namespaces => self.namespaces.listed,
            Source::Policies => self.policies.listed(),
            _ => self.services.listed || self.slices.listed,
        }
    }
}

fn scope<'a>(namespaces: &'a Objects<NamespaceInfo>, name: &str) -> Option<&'a Scope> {
    // Namespaces themselves are not in a mesh.
    let namespace = namespaces.all.get(&format!("/{name}"))?;
    Some(&namespace.scope)
}

/// Objects without addresses are listed so that `mtls status` can count them.
fn named(kind: &str, name: &str) -> Entry {
    Entry {
        workload: Workload {
            name: crate::pods::entry::clean(name),
            kind: kind.into(),
            ..Workload::default()
        },
        ..Entry::default()
    }
}
