//! Attaching to an interface, and detaching.

use std::fs::File;

use anyhow::Context;
use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, TcAttachType,
    links::Link,
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError},
};
use nix::errno::Errno;
use nix::net::if_::{if_indextoname, if_nametoindex};
use serde::{Deserialize, Serialize};

use super::{EGRESS, INGRESS, Kernel, Losses, nothing, program};

/// How programs are attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// With tcx links (Linux 6.6 and later), which disappear with the daemon, however it ends.
    Tcx,
    /// With filters of a clsact qdisc.
    Clsact,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        })
    }
}

/// An interface that is watched.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attached {
    /// Its index.
    pub ifindex: u32,
    /// Its name at the time.
    pub name: String,
    /// The attachment method.
    pub mode: Mode,
    /// Attachment time, in the daemon's time ([`crate::clock`]).
    #[serde(default)]
    pub since: u64,
    /// Samples that were lost on it.
    #[serde(default)]
    pub lost: Losses,
}

/// The links of one interface, one per direction.
pub(super) struct Pair {
    attached: Attached,
    links: [SchedClassifierLink; 2],
}

impl Kernel {
    /// Attaches to both directions of an interface (a veth's host end), and removes what a killed
    /// daemon left there. Attaching twice is not an error and does nothing.
    pub fn attach(&mut self, ifindex: u32) -> anyhow::Result<Attached> {
        if let Some(pair) = self.links.get(&ifindex) {
            return Ok(pair.attached.clone());
        }
        let outcome = name_of(ifindex).and_then(|name| {
            remove_stale(&name);
            self.attach_by(ifindex, &name)
        });
        outcome.map_err(for_want_of_descriptors)
    }

    /// Like [`Self::attach`], for one of many new interfaces. For each tcx link, the kernel waits
    /// for an RCU grace period while it holds the lock of all interfaces: some 15 ms, twice per
    /// interface. Filters take a fraction of a millisecond, so they are attached first, and
    /// [`Self::settle`] replaces them.
    pub fn attach_quickly(&mut self, ifindex: u32) -> anyhow::Result<Attached> {
        if let Some(pair) = self.links.get(&ifindex) {
            return Ok(pair.attached.clone());
        }
        let outcome = name_of(ifindex).and_then(|name| {
            match self.attach_as(ifindex, &name, Mode::Clsact) {
                Ok(attached) => Ok(attached),
                // A kernel without such filters has tcx.
                Err(_) if !self.clsact => self.attach_by(ifindex, &name),
                Err(error) => Err(error),
            }
        });
        outcome.map_err(for_want_of_descriptors)
    }

    /// Replaces the filters of [`Self::attach_quickly`] with tcx links, if the kernel supports
    /// them; returns whether there was anything to do.
    pub fn settle(&mut self, ifindex: u32) -> anyhow::Result<bool> {
        let Some(pair) = self.links.get(&ifindex) else {
            return Ok(false);
        };
        if self.clsact || pair.attached.mode == Mode::Tcx {
            return Ok(false);
        }
        let name = pair.attached.name.clone();
        // For a moment, both are attached. The second program run recognises that the packet was
        // already seen.
        let (filters, since) = match self.links.remove(&ifindex) {
            Some(pair) => (pair.links, pair.attached.since),
            None => return Ok(false),
        };
        let outcome = self.attach_by(ifindex, &name);
        match (&outcome, self.links.get_mut(&ifindex)) {
            (Ok(attached), Some(pair)) if attached.mode == Mode::Tcx => {
                pair.attached.since = since;
                for filter in filters {
                    // A filter that remains only means one redundant run.
                    if let Err(error) = filter.detach() {
                        tracing::debug!(interface = name, "remove a filter: {error}");
                    }
                }
                Ok(true)
            }
            // Filters are removed together with the new pair of the same kind.
            (Ok(_), _) => Ok(false),
            (Err(_), _) => {
                self.links.insert(
                    ifindex,
                    Pair {
                        attached: Attached {
                            ifindex,
                            name,
                            mode: Mode::Clsact,
                            since,
                            lost: Losses::default(),
                        },
                        links: filters,
                    },
                );
                outcome.map(|_| false)
            }
        }
    }

    /// With tcx if the kernel supports it.
    fn attach_by(&mut self, ifindex: u32, name: &str) -> anyhow::Result<Attached> {
        if !self.clsact {
            match self.attach_as(ifindex, name, Mode::Tcx) {
                Err(error) if is_unsupported(&error) => self.clsact = true,
                result => return result,
            }
        }
        self.attach_as(ifindex, name, Mode::Clsact)
    }

    fn attach_as(&mut self, ifindex: u32, name: &str, mode: Mode) -> anyhow::Result<Attached> {
        // Counts from other programs of ours still apply.
        if self.interfaces.get(&ifindex, 0).is_err() {
            self.interfaces
                .insert(ifindex, nothing()?, 0)
                .with_context(|| format!("make room for the counters of {name}"))?;
        }
        let mut attach = |program| {
            self.attach_one(name, program, mode)
                .with_context(|| format!("attach {program} to {name}"))
                // Immediately: releasing a link again frees the descriptor for the query.
                .map_err(for_want_of_descriptors)
        };
        // If anything fails after the first, dropping it detaches what was already attached.
        let links = [attach(EGRESS)?, attach(INGRESS)?];
        // Attaching uses the name, and names may be reassigned in the meantime.
        let now = if_nametoindex(name);
        if now != Ok(ifindex) {
            // Without a descriptor it cannot be queried, which does not mean that it is gone.
            let why = now.err().unwrap_or(Errno::ENODEV);
            let why = anyhow::Error::new(why).context(format!(
                "interface {ifindex} ({name}) is not there any more, or cannot be asked for"
            ));
            return Err(for_want_of_descriptors(why));
        }
        let attached = Attached {
            ifindex,
            name: name.to_owned(),
            mode,
            since: crate::clock::now(),
            lost: Losses::default(),
        };
        let pair = Pair {
            attached: attached.clone(),
            links,
        };
        self.links.insert(ifindex, pair);
        Ok(attached)
    }

    /// Whether an interface is watched.
    pub fn is_attached(&self, ifindex: u32) -> bool {
        self.links.contains_key(&ifindex)
    }

    /// The name of an interface that is watched.
    pub fn name(&self, ifindex: u32) -> Option<&str> {
        let pair = self.links.get(&ifindex)?;
        Some(&pair.attached.name)
    }

    /// The indexes of the interfaces that are watched.
    pub fn indexes(&self) -> Vec<u32> {
        self.links.keys().copied().collect()
    }

    /// Detaches from an interface; returns whether it was attached. A vanished interface is not an
    /// error.
    pub fn detach(&mut self, ifindex: u32) -> anyhow::Result<bool> {
        let Some(Pair { attached, links }) = self.links.remove(&ifindex) else {
            return Ok(false);
        };
        // Filters may be removed before their interface's counters; from then on, these are those
        // of interface 0.
        let _ = self.interfaces.remove(&ifindex);
        let mut failure = None;
        for link in links {
            if let Err(error) = link.detach() {
                failure = Some(error);
            }
        }
        match failure {
            // Filters disappear with their interface.
            Some(error) if name_of(ifindex).is_ok_and(|name| name == attached.name) => {
                Err(error).with_context(|| format!("detach from {}", attached.name))
            }
            _ => Ok(true),
        }
    }

    /// The interfaces that are watched, by index.
    pub fn attached(&self) -> Vec<Attached> {
        let mut all: Vec<_> = self
            .links
            .values()
            .map(|pair| Attached {
                lost: Losses::read(&self.interfaces, pair.attached.ifindex),
                ..pair.attached.clone()
            })
            .collect();
        all.sort_by_key(|attached| attached.ifindex);
        all
    }

    pub(super) fn attach_one(
        &mut self,
        interface: &str,
        name: &str,
        mode: Mode,
    ) -> Result<SchedClassifierLink, ProgramError> {
        let program = program(&mut self.ebpf, name).map_err(|_| ProgramError::NotLoaded)?;
        let hook = hook(name);
        // Before the others, because one of them may end the packet's path through the hook.
        let options = match mode {
            Mode::Tcx => TcAttachOptions::TcxOrder(LinkOrder::first()),
            Mode::Clsact => {
                match tc::qdisc_add_clsact(interface) {
                    Ok(()) | Err(TcError::AlreadyAttached) => {}
                    // An existing one is fine; if there is none, attaching reports an error.
                    Err(error) => tracing::debug!(interface, %error, "add clsact"),
                }
                TcAttachOptions::Netlink(NlOptions::default())
            }
        };
        let id = program.attach_with_options(interface, hook, options)?;
        program.take_link(id)
    }
}

/// What the pod sends is ingress of the host end.
fn hook(program: &str) -> TcAttachType {
    if program == EGRESS {
        TcAttachType::Ingress
    } else {
        TcAttachType::Egress
    }
}

/// The C library queries interfaces through a socket. If it cannot create one, it reports that
/// there is no such file (ENOENT) or no such interface, so the real reason is determined here.
fn for_want_of_descriptors(error: anyhow::Error) -> anyhow::Error {
    match super::errno(error.as_ref()) {
        None | Some(Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) => {}
        Some(_) => return error,
    }
    match File::open("/proc/self/stat") {
        Err(why) if why.raw_os_error() == Some(Errno::EMFILE as i32) => {
            anyhow::Error::new(why).context(format!("{error:#}"))
        }
        _ => error,
    }
}

fn name_of(ifindex: u32) -> anyhow::Result<String> {
    let name = if_indextoname(ifindex)
        .with_context(|| format!("interface {ifindex} is not there (any more)"))?;
    name.into_string()
        .context("an interface's name that is not UTF-8")
}

/// Removes the filters of a killed daemon; tcx links do not outlive it.
pub fn remove_stale(interface: &str) {
    for name in [EGRESS, INGRESS] {
        // "Not found" and "no clsact" are the normal cases.
        let _ = tc::qdisc_detach_program(interface, hook(name), name);
    }
}

/// The kernel does not support tcx.
fn is_unsupported(error: &anyhow::Error) -> bool {
    matches!(
        super::errno(error.as_ref()),
        Some(Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOSYS)
    )
}

/// The other programs that run before ours on an interface's tcx hooks, by name: one of them may
/// drop or redirect a packet before we see it.
pub fn programs_ahead(interface: &str) -> anyhow::Result<Vec<String>> {
    let mut ahead = Vec::new();
    for name in [EGRESS, INGRESS] {
        let (_, programs) = SchedClassifier::query_tcx(interface, hook(name))
            .with_context(|| format!("ask for the tcx programs of {interface}"))?;
        let own = programs
            .iter()
            .position(|program| program.name_as_str() == Some(name));
        for other in &programs[..own.unwrap_or(0)] {
            let other = other.name_as_str().filter(|name| !name.is_empty());
            ahead.push(other.unwrap_or("without a name").to_owned());
        }
    }
    ahead.sort_unstable();
    ahead.dedup();
    Ok(ahead)
}

/// How many of `mtls`'s programs are attached to an interface with tcx, by any process: for what
/// the pod sends, and for what it receives. More than one per direction would mean a second daemon.
pub fn programs_on(interface: &str) -> anyhow::Result<[usize; 2]> {
    let mut found = [0; 2];
    for (count, name) in found.iter_mut().zip([EGRESS, INGRESS]) {
        let (_, programs) = SchedClassifier::query_tcx(interface, hook(name))
            .with_context(|| format!("ask for the tcx programs of {interface}"))?;
        *count = programs
            .iter()
            .filter(|program| program.name_as_str() == Some(name))
            .count();
    }
    Ok(found)
}
