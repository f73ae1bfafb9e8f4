//! Programs that set up the thread's network namespace.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::Process;

/// Runs `ip` commands (iproute2), one per line, in the thread's network namespace.
pub fn ip(commands: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]);
    Process::with_input(command, commands.as_bytes())?
        .succeed(Duration::from_secs(20))
        .with_context(|| format!("ip -batch:\n{commands}"))?;
    Ok(())
}

/// Loads `nft` rules (nftables) in the thread's network namespace.
pub fn nft(rules: &str) -> Result<()> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]);
    Process::with_input(command, rules.as_bytes())?
        .succeed(Duration::from_secs(20))
        .with_context(|| format!("nft:\n{rules}"))?;
    Ok(())
}
