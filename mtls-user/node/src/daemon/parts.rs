//! The long-running parts of the daemon, and which one ends first.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, anyhow};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError};

/// All parts that must keep running.
pub(super) struct Parts {
    /// Each part reports here that it has ended, and why.
    ends: (
        mpsc::UnboundedSender<anyhow::Error>,
        mpsc::UnboundedReceiver<anyhow::Error>,
    ),
    tasks: Vec<AbortHandle>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            ends: mpsc::unbounded_channel(),
            tasks: Vec::new(),
        }
    }
}

impl Parts {
    /// Runs a part on a thread of its own.
    pub(super) fn thread(
        &mut self,
        name: &str,
        what: &'static str,
        work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let end = self.ends.0.clone();
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                // The panic message has already been printed.
                let outcome = catch_unwind(AssertUnwindSafe(work))
                    .unwrap_or_else(|_| Err(anyhow!("it panicked")));
                let _ = end.send(ended(what, outcome));
            })
            .with_context(|| format!("start the thread for {what}"))?;
        Ok(())
    }

    /// Runs a part as a task.
    pub(super) fn task(
        &mut self,
        what: &'static str,
        work: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let end = self.ends.0.clone();
        let task = tokio::spawn(work);
        self.tasks.push(task.abort_handle());
        tokio::spawn(async move {
            let outcome = task
                .await
                .unwrap_or_else(|error: JoinError| Err(error.into()));
            let _ = end.send(ended(what, outcome));
        });
    }

    /// Waits until one of them ends, which should not happen.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        match self.ends.1.recv().await {
            Some(error) => error,
            // The sender exists here.
            None => std::future::pending().await,
        }
    }

    /// Aborts the tasks. Threads end when they are told to.
    pub(super) fn stop(self) {
        for task in self.tasks {
            task.abort();
        }
    }
}

fn ended(what: &str, outcome: anyhow::Result<()>) -> anyhow::Error {
    match outcome {
        Ok(()) => anyhow!("{what} ended without a reason"),
        Err(error) => error.context(format!("{what} ended")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_any_part_is_heard_of_with_its_reason() {
        let mut parts = Parts::default();
        parts.task("sleeping", std::future::pending());
        parts.task("failing", async { Err(anyhow!("no more paper")) });
        let text = format!("{:#}", parts.ended().await);
        assert_eq!(text, "failing ended: no more paper");
        parts.task("leaving", async { Ok(()) });
        let text = format!("{:#}", parts.ended().await);
        assert_eq!(text, "leaving ended without a reason");
        parts
            .thread("t", "panicking", || panic!("on purpose"))
            .unwrap();
        let text = format!("{:#}", parts.ended().await);
        assert_eq!(text, "panicking ended: it panicked");
        parts.task("panicking, as a task", async { panic!("on purpose") });
        let text = format!("{:#}", parts.ended().await);
        assert!(text.contains("panicked"), "{text}");
        parts.stop();
    }
}
