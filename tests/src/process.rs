//! Child processes that end with the test: killed when their guard is dropped, and by the kernel
//! when the thread that started them ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// The lines that a process has written so far.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Written>, Condvar)>);

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn follow(pipe: impl Read + Send + 'static, echo: bool) -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n') {
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line).into_owned();
                if echo {
                    println!("{line}");
                }
                writer.lock().lines.push(line);
                writer.0.1.notify_all();
            }
            writer.lock().ended = true;
            writer.0.1.notify_all();
        });
        lines
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything so far.
    pub fn all(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// Everything so far, as text.
    pub fn text(&self) -> String {
        self.lock().lines.join("\n")
    }

    /// The first line for which `wanted` returns a value; `None` if the time is over or the stream
    /// has ended without one.
    pub fn find<T>(
        &self,
        patience: Duration,
        mut wanted: impl FnMut(&str) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut looked_at = 0;
        let mut written = self.lock();
        loop {
            if let Some(found) = written.lines[looked_at..]
                .iter()
                .find_map(|line| wanted(line))
            {
                return Some(found);
            }
            looked_at = written.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if written.ended || left.is_zero() {
                return None;
            }
            written = self
                .0
                .1
                .wait_timeout(written, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits for the end of the stream.
    fn drain(&self, patience: Duration) {
        self.find(patience, |_| None::<()>);
    }
}

/// A running child and its output.
pub struct Process {
    name: String,
    child: Child,
    status: Option<ExitStatus>,
    /// Its standard output.
    pub out: Lines,
    /// Its standard error.
    pub err: Lines,
}

impl Process {
    /// Starts `command` in the namespaces of this thread.
    pub fn start(command: Command) -> Result<Self> {
        Self::with(command, b"", false)
    }

    /// Starts `command` with `input` as all of its standard input.
    pub fn with_input(command: Command, input: &[u8]) -> Result<Self> {
        Self::with(command, input, false)
    }

    /// Starts `command` and copies its standard output to ours.
    pub fn shown(command: Command) -> Result<Self> {
        Self::with(command, b"", true)
    }

    fn with(mut command: Command, input: &[u8], echo: bool) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command
            .stdin(if input.is_empty() {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own children are reached through the process group, if it ends before them.
            .process_group(0);
        die_with_parent(&mut command);
        let mut child = command.spawn().with_context(|| format!("start {name}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin
                .write_all(input)
                .with_context(|| format!("write to {name}"))?;
        }
        let out = child.stdout.take().context("no standard output")?;
        let err = child.stderr.take().context("no standard error")?;
        Ok(Self {
            name,
            child,
            status: None,
            out: Lines::follow(out, echo),
            err: Lines::follow(err, false),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is still running.
    pub fn running(&mut self) -> Result<bool> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status.is_none())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // Once it has been waited for, its id may belong to another process.
        if self.status.is_none() {
            signal::kill(Pid::from_raw(self.child.id().cast_signed()), signal)
                .with_context(|| format!("send {signal} to {}", self.name))?;
        }
        Ok(())
    }

    /// Waits for its end and the end of its output.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        while self.running()? {
            if Instant::now() > deadline {
                bail!(
                    "{} still runs after {patience:?}\n{}",
                    self.name,
                    self.told()
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.out.drain(Duration::from_secs(2));
        self.err.drain(Duration::from_secs(2));
        self.status.context("ended without a status")
    }

    /// Waits for a successful end; returns the output.
    pub fn succeed(&mut self, patience: Duration) -> Result<String> {
        let status = self.wait(patience)?;
        if !status.success() {
            bail!("{} failed: {status}\n{}", self.name, self.told());
        }
        Ok(self.out.text())
    }

    /// Its output, for an error message.
    pub fn told(&self) -> String {
        format!("stdout:\n{}\nstderr:\n{}", self.out.text(), self.err.text())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_none() {
            let group = Pid::from_raw(self.child.id().cast_signed());
            let _ = signal::killpg(group, Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// Makes the kernel kill the child when the thread that starts it ends.
fn die_with_parent(command: &mut Command) {
    let parent = nix::unistd::getpid();
    let ask = move || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have ended before this took effect.
        if nix::unistd::getppid() != parent {
            return Err(std::io::Error::other("the parent is gone"));
        }
        Ok(())
    };
    // SAFETY: between fork and exec, `ask` makes two system calls and allocates nothing on success.
    unsafe {
        command.pre_exec(ask);
    }
}
