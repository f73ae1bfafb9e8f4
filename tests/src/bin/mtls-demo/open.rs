//! `cargo xtask demo --keep`: the demo stays open, to be queried from another terminal.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use mtls_tests::bin;
use mtls_tests::daemon::Daemon;
use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::shop::Shop;
use crate::{NODE, step};

/// Time between two rounds of connections.
const PAUSE: Duration = Duration::from_secs(5);

/// A directory that is removed with its guard.
struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Runs until Ctrl-C (or SIGTERM).
pub(crate) fn keep() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // From here on, a signal ends the loop below instead of this process: the socket is removed.
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    step(NODE);
    // The node's own files are visible in its mount namespace only.
    let dir = Dir(std::env::temp_dir().join(format!("mtls-demo-{}", std::process::id())));
    let mut builder = DirBuilder::new();
    let made = builder.mode(0o700).create(&dir.0);
    made.with_context(|| format!("create {}", dir.0.display()))?;
    let shop = Shop::open()?;
    step("mtls daemon");
    let socket = dir.0.join("mtls.sock");
    let names = shop.node().netns_dir();
    let names = names.to_str().context("a path that is no text")?;
    let command = Daemon::command(&socket, &["--netns-dir", names])?;
    let daemon = Daemon::start_as(command, socket)?;
    println!("{}", daemon.log());
    shop.round()?;

    let program = bin::mtls()?;
    let programs = program.parent().context("a program without a directory")?;
    step("open until Ctrl-C; the pods connect to each other every 5 seconds");
    println!(
        "In another terminal, as root:\n\n\
         \u{20}   export MTLS_SOCKET={}\n\
         \u{20}   export PATH={}:$PATH\n\
         \u{20}   mtls edges\n\
         \u{20}   mtls explain shop/web shop/search:8443\n\
         \u{20}   mtls top\n\
         \u{20}   mtls ui\n",
        daemon.socket().display(),
        programs.display()
    );
    loop {
        let stopped = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => true,
                _ = terminate.recv() => true,
                () = tokio::time::sleep(PAUSE) => false,
            }
        });
        if stopped {
            break;
        }
        shop.round()?;
    }
    daemon.stop(Signal::SIGTERM)?;
    drop(shop);
    println!("\nnothing is left behind");
    Ok(())
}
