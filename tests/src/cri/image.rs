//! The only image that sandboxes need: a program that does nothing, in the format of `docker save`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::process::Process;

/// The image's name.
pub(super) const NAME: &str = "localhost/pause:1";

/// Creates the image; returns the archive.
pub(super) fn pause(dir: &Path) -> Result<PathBuf> {
    let root = dir.join("pause");
    std::fs::create_dir(&root)?;
    // Its file system contains nothing else, so it needs no libraries: Debian's busybox-static.
    std::fs::copy("/bin/busybox", root.join("busybox")).context("copy /bin/busybox")?;
    let layer = dir.join("layer.tar");
    tar(&layer, &root, &["busybox"])?;
    let config = json!({
        "architecture": std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64"),
        "os": "linux",
        "config": { "Entrypoint": ["/busybox", "sleep", "2147483647"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer)?)] },
    });
    std::fs::write(dir.join("config.json"), config.to_string())?;
    let manifest =
        json!([{ "Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"] }]);
    std::fs::write(dir.join("manifest.json"), manifest.to_string())?;
    let archive = dir.join("image.tar");
    tar(
        &archive,
        dir,
        &["manifest.json", "config.json", "layer.tar"],
    )?;
    Ok(archive)
}

fn tar(archive: &Path, dir: &Path, files: &[&str]) -> Result<()> {
    let mut command = Command::new("tar");
    command
        .arg("-cf")
        .arg(archive)
        .arg("-C")
        .arg(dir)
        .args(files);
    Process::start(command)?.succeed(Duration::from_secs(10))?;
    Ok(())
}

fn digest(file: &Path) -> Result<String> {
    let mut command = Command::new("sha256sum");
    command.arg(file);
    let told = Process::start(command)?.succeed(Duration::from_secs(10))?;
    let digest = told.split_whitespace().next();
    Ok(digest.context("sha256sum said nothing")?.to_owned())
}
