//! Attaching to an interface, and leaving it.

use std::io;

use anyhow::{Context, bail};
use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, TcAttachType,
    links::Link,
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError},
};
use nix::net::if_::{if_indextoname, if_nametoindex};
use serde::{Deserialize, Serialize};

use super::{EGRESS, INGRESS, Kernel, Losses, nothing, program};

/// How programs are attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By tcx links (Linux 6.6 and later), which go when the daemon goes, however it goes.
    Tcx,
    /// By filters of a clsact qdisc.
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
    /// How.
    pub mode: Mode,
    /// What was not seen of it.
    #[serde(default)]
    pub lost: Losses,
}

/// The links of one interface, one per direction.
pub(super) struct Pair {
    attached: Attached,
    links: [SchedClassifierLink; 2],
}

impl Kernel {
    /// Attaches to both directions of an interface (a veth's host end). Attaching twice is no
    /// error, and does nothing.
    pub fn attach(&mut self, ifindex: u32) -> anyhow::Result<Attached> {
        if let Some(pair) = self.links.get(&ifindex) {
            return Ok(pair.attached.clone());
        }
        let name = name_of(ifindex)?;
        remove_stale(&name);
        self.interfaces
            .insert(ifindex, nothing()?, 0)
            .with_context(|| format!("make room for the counters of {name}"))?;
        let mut mode = if self.clsact { Mode::Clsact } else { Mode::Tcx };
        let egress = match self.attach_one(&name, EGRESS, mode) {
            Err(error) if mode == Mode::Tcx && is_unsupported(&error) => {
                self.clsact = true;
                mode = Mode::Clsact;
                self.attach_one(&name, EGRESS, mode)
            }
            result => result,
        };
        let egress = egress.with_context(|| format!("attach {EGRESS} to {name}"))?;
        // Whatever fails from here on drops, and so detaches, what stands already.
        let ingress = self
            .attach_one(&name, INGRESS, mode)
            .with_context(|| format!("attach {INGRESS} to {name}"))?;
        // Attaching goes by name, and names can change hands in between.
        if if_nametoindex(name.as_str()).ok() != Some(ifindex) {
            bail!("interface {ifindex} ({name}) vanished while it was being attached");
        }
        let attached = Attached {
            ifindex,
            name,
            mode,
            lost: Losses::default(),
        };
        let pair = Pair {
            attached: attached.clone(),
            links: [egress, ingress],
        };
        self.links.insert(ifindex, pair);
        Ok(attached)
    }

    /// Leaves an interface; whether it was attached. One that vanished is left without error.
    pub fn detach(&mut self, ifindex: u32) -> anyhow::Result<bool> {
        let Some(Pair { attached, links }) = self.links.remove(&ifindex) else {
            return Ok(false);
        };
        // Filters may go before their interface's counters, which are interface 0's from now on.
        let _ = self.interfaces.remove(&ifindex);
        let mut failure = None;
        for link in links {
            if let Err(error) = link.detach() {
                failure = Some(error);
            }
        }
        match failure {
            // Filters go with their interface.
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
        // Ahead of the others, as one of them may end the packet's way through the hook.
        let options = match mode {
            Mode::Tcx => TcAttachOptions::TcxOrder(LinkOrder::first()),
            Mode::Clsact => {
                match tc::qdisc_add_clsact(interface) {
                    Ok(()) | Err(TcError::AlreadyAttached) => {}
                    // Somebody else's is as good; if there is none, attaching says so.
                    Err(error) => tracing::debug!(interface, %error, "add clsact"),
                }
                TcAttachOptions::Netlink(NlOptions::default())
            }
        };
        let id = program.attach_with_options(interface, hook, options)?;
        program.take_link(id)
    }
}

/// What the pod sends comes in at the host end.
fn hook(program: &str) -> TcAttachType {
    if program == EGRESS {
        TcAttachType::Ingress
    } else {
        TcAttachType::Egress
    }
}

fn name_of(ifindex: u32) -> anyhow::Result<String> {
    let name = if_indextoname(ifindex)
        .with_context(|| format!("interface {ifindex} is not there (any more)"))?;
    name.into_string()
        .context("an interface's name that is not UTF-8")
}

/// Removes the filters of a daemon that was killed; tcx links do not outlive it.
fn remove_stale(interface: &str) {
    for name in [EGRESS, INGRESS] {
        // "Not found" and "no clsact" are the normal cases.
        let _ = tc::qdisc_detach_program(interface, hook(name), name);
    }
}

/// The kernel does not know tcx.
fn is_unsupported(error: &ProgramError) -> bool {
    let ProgramError::SyscallError(error) = error else {
        return false;
    };
    let code = error
        .io_error
        .raw_os_error()
        .map(nix::errno::Errno::from_raw);
    matches!(
        code,
        Some(nix::errno::Errno::EINVAL | nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::ENOSYS)
    ) || error.io_error.kind() == io::ErrorKind::Unsupported
}

/// How many of `mtls`'s programs are on an interface by tcx, whoever attached them: what the pod
/// sends, what it gets. More than one per direction would mean a second daemon.
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
