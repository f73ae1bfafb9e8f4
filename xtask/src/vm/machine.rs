//! One virtual machine, from boot to shutdown.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// The prefix of `init.sh`'s result line.
const PASSED: &str = "vm: passed: ";
const FAILED: &str = "vm: failed: ";

/// Boots a kernel and waits for shutdown; returns its result if it passes. The console goes to
/// `log`.
pub(super) fn boot(
    kernel: &Path,
    initramfs: &Path,
    mode: &str,
    log: &Path,
    timeout: Duration,
) -> anyhow::Result<String> {
    let console = File::create(log).with_context(|| format!("create {}", log.display()))?;
    let mut qemu = Command::new("qemu-system-x86_64");
    // Emulated, so that it works the same with and without /dev/kvm, and in nested machines, whose
    // /dev/kvm may open and yet boot nothing.
    qemu.args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1024"]);
    qemu.args(["-nodefaults", "-no-reboot", "-display", "none"]);
    qemu.args(["-serial", "stdio"]);
    qemu.arg("-kernel").arg(kernel);
    qemu.arg("-initrd").arg(initramfs);
    // No single step may take more than half of the time.
    let wait = timeout.as_secs() / 2;
    qemu.arg("-append").arg(format!(
        "console=ttyS0 panic=-1 quiet MTLS_MODE={mode} MTLS_WAIT={wait}"
    ));
    qemu.stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console);
    let mut qemu = qemu.spawn().context("start qemu-system-x86_64")?;
    let deadline = Instant::now() + timeout;
    let status = loop {
        if let Some(status) = qemu.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            qemu.kill()?;
            qemu.wait()?;
            bail!(
                "not done after {} s: see where it hangs above, or allow more with --timeout",
                timeout.as_secs()
            );
        }
        thread::sleep(Duration::from_millis(100));
    };
    let text = self::console(log);
    let said = |prefix| text.lines().find_map(|line| line.strip_prefix(prefix));
    if let Some(reason) = said(FAILED) {
        bail!("{reason}");
    }
    match said(PASSED) {
        Some(passed) => Ok(passed.to_owned()),
        None => bail!("the machine ended without a result (qemu: {status}): see above"),
    }
}

/// The console's log so far, without terminal control sequences.
pub(super) fn console(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).replace('\r', "");
    text.chars()
        .filter(|c| *c == '\n' || !c.is_control())
        .collect()
}
