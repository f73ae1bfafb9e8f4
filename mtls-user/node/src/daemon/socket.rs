//! The node's socket: one daemon at a time, for its owner alone.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use tokio::net::UnixListener;

/// The socket's path, held by a lock beside it: whoever has the lock may replace a stale socket.
#[derive(Debug)]
pub(super) struct Bound {
    path: PathBuf,
    listening: std::cell::Cell<bool>,
    _lock: Flock<File>,
}

impl Bound {
    pub(super) fn new(path: &Path) -> anyhow::Result<Self> {
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(parent)
                .with_context(|| format!("make the socket's directory {}", parent.display()))?;
        }
        let mut lock = path.as_os_str().to_owned();
        lock.push(".lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock)
            .with_context(|| format!("open {}", lock.display()))?;
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, nix::Error::EWOULDBLOCK)) => bail!(
                "another mtls daemon answers on {}: stop it, or choose another socket with --socket",
                path.display()
            ),
            Err((_, error)) => {
                return Err(error).with_context(|| format!("lock {}", lock.display()));
            }
        };
        Ok(Self {
            path: path.into(),
            listening: false.into(),
            _lock: lock,
        })
    }

    /// Listens, in place of a socket that a killed daemon left.
    pub(super) fn listener(&self) -> anyhow::Result<UnixListener> {
        use std::os::unix::fs::FileTypeExt;
        let path = &self.path;
        match std::fs::symlink_metadata(path) {
            Ok(meta) if meta.file_type().is_socket() => {
                std::fs::remove_file(path)
                    .with_context(|| format!("remove the stale socket {}", path.display()))?;
            }
            Ok(_) => bail!(
                "{} exists and is no socket: choose another path with --socket",
                path.display()
            ),
            Err(_) => {}
        }
        // Bound under a name that only the owner can reach, and moved when its mode is right.
        let mut private = path.as_os_str().to_owned();
        private.push(".new");
        let private = PathBuf::from(private);
        let _ = std::fs::remove_file(&private);
        let old = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(&private);
        nix::sys::stat::umask(old);
        let listener = listener.with_context(|| format!("listen on {}", path.display()))?;
        std::fs::set_permissions(&private, Permissions::from_mode(0o600))
            .and_then(|()| std::fs::rename(&private, path))
            .with_context(|| format!("put the socket at {}", path.display()))?;
        self.listening.set(true);
        Ok(listener)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if self.listening.get() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
