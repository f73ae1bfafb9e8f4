//! The task that follows changes of interfaces and forwards them.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use anyhow::Context;
use tokio::sync::oneshot;

use super::attacher::Command;
use crate::kernel::{Change, Links};
use crate::pods::Directory;

pub(super) struct Follower {
    links: Links,
    attacher: Sender<Command>,
    directory: Arc<Directory>,
}

impl Follower {
    pub(super) fn new(links: Links, attacher: Sender<Command>, directory: Arc<Directory>) -> Self {
        Self {
            links,
            attacher,
            directory,
        }
    }

    /// Has all existing interfaces attached; returns how many are watched then.
    pub(super) async fn list(&mut self) -> anyhow::Result<usize> {
        let links = self.links.list().await.context("list interfaces")?;
        for link in &links {
            self.directory
                .name_interface(link.ifindex, Some(&link.name));
        }
        let (reply, answer) = oneshot::channel();
        self.attacher
            .send(Command::Listed(links, self.links.uplinks(), reply))
            .context("the attacher has ended")?;
        answer.await.context("the attacher has ended")?
    }

    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        loop {
            match self.links.next().await? {
                Change::Resync => {
                    // An interface that was requested may be gone by now, which is no reason to
                    // end.
                    if let Err(error) = self.list().await {
                        tracing::warn!("interfaces: {error:#}");
                    }
                }
                change => {
                    self.name(&change);
                    self.attacher
                        .send(Command::Change(change))
                        .context("the attacher has ended")?;
                }
            }
        }
    }

    /// Notes about interfaces get their names from here.
    fn name(&self, change: &Change) {
        match change {
            Change::Added(link) => self
                .directory
                .name_interface(link.ifindex, Some(&link.name)),
            Change::Removed(ifindex) => self.directory.name_interface(*ifindex, None),
            Change::Resync => {}
        }
    }
}
