//! Reloads the file of exemptions when it changes.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::pods::{Declarations, Directory};

/// How often the file is checked.
const PERIOD: Duration = Duration::from_secs(2);

/// The file as it was last read.
pub(super) struct Exemptions {
    path: PathBuf,
    seen: Option<Stamp>,
}

/// What distinguishes two versions of a file: a Kubernetes volume swaps a symbolic link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    modified: Option<SystemTime>,
    inode: u64,
    size: u64,
}

impl Exemptions {
    /// Reads it for the first time; an error is fatal.
    pub(super) fn read(path: PathBuf) -> anyhow::Result<(Self, Declarations)> {
        let seen = stamp(&path);
        let declared = Declarations::read(&path)?;
        Ok((Self { path, seen }, declared))
    }

    /// Its new contents, if it has changed.
    fn news(&mut self) -> Option<anyhow::Result<Declarations>> {
        let now = stamp(&self.path);
        if now == self.seen {
            return None;
        }
        self.seen = now;
        Some(Declarations::read(&self.path))
    }

    /// Runs indefinitely. If the file cannot be read, the old exemptions stay in force, and the
    /// error is logged.
    pub(super) async fn follow(mut self, directory: Arc<Directory>) -> anyhow::Result<()> {
        loop {
            tokio::time::sleep(PERIOD).await;
            match self.news() {
                None => {}
                Some(Ok(declared)) => {
                    directory.declare(declared);
                    tracing::info!(file = %self.path.display(), "exemptions read again");
                }
                Some(Err(error)) => tracing::warn!("exemptions stay as they were: {error:#}"),
            }
        }
    }
}

fn stamp(path: &std::path::Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some(Stamp {
        modified: meta.modified().ok(),
        inode: meta.ino(),
        size: meta.size(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_once_and_an_error_is_no_change() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let (path, next) = (dir.path().join("exemptions"), dir.path().join("next"));
        let write = |text: &str| -> anyhow::Result<()> {
            // As an editor or a Kubernetes volume does.
            std::fs::write(&next, text)?;
            Ok(std::fs::rename(&next, &path)?)
        };
        write("exemptions: []")?;
        let (mut file, declared) = Exemptions::read(path.clone())?;
        assert_eq!(declared, Declarations::default());
        assert!(file.news().is_none());
        write("exemptions: [{port: 53, reason: dns}]")?;
        let now = file.news().expect("it changed")?;
        assert_ne!(now, declared);
        assert!(file.news().is_none());
        write("exemptions: [{port: many}]")?;
        assert!(file.news().expect("it changed").is_err());
        assert!(file.news().is_none(), "said once");
        std::fs::remove_file(&path)?;
        assert!(file.news().expect("it is gone").is_err());
        Ok(())
    }
}
