//! The node's socket: one daemon at a time, accessible only to its owner.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use tokio::net::UnixListener;

/// How long to wait for a lock whose holder seems to answer, and for one that does not: the kernel
/// takes some 30 ms for each interface that a killed daemon watched.
const DYING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(20));

/// The socket's path, protected by a lock file next to it: the holder of the lock may replace a
/// stale socket.
#[derive(Debug)]
pub(super) struct Bound {
    path: PathBuf,
    listening: std::cell::Cell<bool>,
    /// The directory that was created for it.
    made: Option<PathBuf>,
    lock_path: PathBuf,
    _lock: Flock<File>,
}

impl Bound {
    pub(super) fn new(path: &Path) -> anyhow::Result<Self> {
        // Before anything is created: a wrong path leaves nothing behind.
        check(path)?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        let made = parent.filter(|parent| !parent.exists()).map(Into::into);
        if let Some(parent) = parent {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(parent)
                .with_context(|| format!("make the socket's directory {}", parent.display()))?;
        }
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock_path = PathBuf::from(lock_path);
        let lock = lock(&lock_path, path)?;
        Ok(Self {
            path: path.into(),
            listening: false.into(),
            made,
            lock_path,
            _lock: lock,
        })
    }

    /// Listens, replacing a socket that a killed daemon left.
    pub(super) fn listener(&self) -> anyhow::Result<UnixListener> {
        let path = &self.path;
        check(path)?;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error)
                    .with_context(|| format!("remove the stale socket {}", path.display()));
            }
            _ => {}
        }
        // Bound in a directory that only the owner can enter, and moved once its mode is right.
        let mut private = path.as_os_str().to_owned();
        private.push(".new");
        let private = PathBuf::from(private);
        let _ = std::fs::remove_dir_all(&private);
        DirBuilder::new()
            .mode(0o700)
            .create(&private)
            .with_context(|| format!("make {}", private.display()))?;
        let made = private.join("s");
        let moved = UnixListener::bind(&made).and_then(|listener| {
            std::fs::set_permissions(&made, Permissions::from_mode(0o600))?;
            std::fs::rename(&made, path)?;
            Ok(listener)
        });
        let _ = std::fs::remove_dir_all(&private);
        let listener = moved.with_context(|| format!("listen on {}", path.display()))?;
        self.listening.set(true);
        Ok(listener)
    }
}

/// Opens the lock file and takes the lock. A predecessor removes its file when it ends: a lock on a
/// file that is no longer at the path protects nothing, so it is taken again.
fn lock(lock_path: &Path, socket: &Path) -> anyhow::Result<Flock<File>> {
    let shown = lock_path.display();
    loop {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(lock_path)
            .with_context(|| format!("open {shown}"))?;
        let lock = acquire(file, socket).with_context(|| format!("lock {shown}"))?;
        let held = lock
            .metadata()
            .with_context(|| format!("look at {shown}"))?;
        let there = std::fs::metadata(lock_path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino())) {
            return Ok(lock);
        }
    }
}

/// Takes the lock; if a daemon was just killed, as soon as the kernel has released its resources.
fn acquire(mut file: File, path: &Path) -> anyhow::Result<Flock<File>> {
    let begun = Instant::now();
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((file, nix::Error::EWOULDBLOCK)) => file,
            Err((_, error)) => return Err(error.into()),
        };
        // A dying process may still seem to listen for a moment.
        let answers = std::os::unix::net::UnixStream::connect(path).is_ok();
        let patience = if answers { DYING.0 } else { DYING.1 };
        if begun.elapsed() > patience {
            bail!(
                "another mtls daemon answers on {}: stop it, or choose another socket with --socket",
                path.display()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// There is a socket at the path, or nothing.
fn check(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let what = match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => return Ok(()),
        Ok(meta) if meta.is_dir() => "is a directory",
        Ok(meta) if meta.is_file() => "is a file",
        Ok(_) => "exists and is no socket",
        Err(_) => return Ok(()),
    };
    bail!(
        "--socket {} {what}: name a path where there is a socket of mtls, or nothing",
        path.display()
    )
}

impl Drop for Bound {
    fn drop(&mut self) {
        if self.listening.get() {
            let _ = std::fs::remove_file(&self.path);
        }
        // While the lock is still held: a waiting process then finds that the file is gone.
        let _ = std::fs::remove_file(&self.lock_path);
        if let Some(made) = &self.made {
            // Unless somebody else has put something into it.
            let _ = std::fs::remove_dir(made);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_start_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("made/mtls.sock");
        drop(Bound::new(&socket).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        // The lock excludes a second daemon for as long as the first one exists.
        let first = Bound::new(&socket).unwrap();
        let file = OpenOptions::new()
            .write(true)
            .open(&first.lock_path)
            .unwrap();
        assert!(Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err());
        drop(first);
        drop(Bound::new(&socket).unwrap());
        assert!(!dir.path().join("made").exists());
    }
}
