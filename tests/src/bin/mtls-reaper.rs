//! `mtls-reaper PROGRAM ARGS`: runs a program that leaves daemons behind (such as a container
//! runtime with its shims), and kills all of its descendants when the program or its parent ends.

use std::process::Command;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1);
    let program = args.next().context("usage: mtls-reaper PROGRAM ARGS")?;
    // Orphaned descendants become children of this process instead of init.
    prctl::set_child_subreaper(true).context("become a subreaper")?;
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD]
        .into_iter()
        .collect();
    signals.thread_block().context("block signals")?;
    // Not SIGKILL, although the parent may have requested that: there is still work to do.
    prctl::set_pdeathsig(Signal::SIGTERM).context("ask for the parent's end")?;
    let child = Command::new(&program)
        .args(args)
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    let child = Pid::from_raw(child.id().cast_signed());
    while signals.wait().context("wait for a signal")? == Signal::SIGCHLD && !ended(child) {}
    end_descendants()
}

/// Reaps ended children; returns whether `child` was among them.
fn ended(child: Pid) -> bool {
    let mut found = false;
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        match status {
            WaitStatus::StillAlive => break,
            other => found |= other.pid() == Some(child),
        }
    }
    found
}

/// Kills children until there are none: the children of a killed process become ours.
fn end_descendants() -> Result<()> {
    loop {
        for child in children()? {
            // It may have ended by itself.
            let _ = kill(child, Signal::SIGKILL);
        }
        match waitpid(None, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => return Ok(()),
            Err(error) => return Err(error).context("wait for a descendant"),
        }
    }
}

fn children() -> Result<Vec<Pid>> {
    let own = getpid().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("list processes")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // After the name in parentheses, which may contain anything: state, parent.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1));
        if parent == Some(&own) {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}
