//! Asks the source on threads of their own, where its futures may be of any kind.

use mtls_core::record::TapLine;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::source::{Source, block_on};

/// Lines of the tap that wait for a slow page.
const WAITING: usize = 256;

/// What `what` comes to.
pub(super) async fn ask<T: Send + 'static>(
    source: &Source,
    what: impl FnOnce(&Source) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let source = source.clone();
    tokio::task::spawn_blocking(move || what(&source)).await?
}

/// The lines of the tap, and the error that ends them. It ends with the receiver.
pub(super) fn tap(source: &Source) -> Receiver<anyhow::Result<TapLine>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let source = source.clone();
    std::thread::spawn(move || {
        if let Err(error) = block_on(follow(&source, &sender)) {
            // Nobody is there to be told.
            let _ = sender.blocking_send(Err(error));
        }
    });
    receiver
}

async fn follow(source: &Source, sender: &Sender<anyhow::Result<TapLine>>) -> anyhow::Result<()> {
    let mut lines = source.tap().await?;
    loop {
        let line = tokio::select! {
            line = lines.next() => line?,
            () = sender.closed() => return Ok(()),
        };
        if sender.send(Ok(line)).await.is_err() {
            return Ok(());
        }
    }
}
