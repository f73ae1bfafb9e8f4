//! Boot files of a machine: a distribution's kernel, and an initramfs with `mtls` and a few tools.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::build::{self, run};
use crate::setup;

/// The first process.
const INIT: &str = include_str!("init.sh");
/// Files missing from Debian's kernel image package.
const MODULES: &[&str] = &["veth", "sch_ingress", "cls_bpf"];
/// Programs that `init.sh` runs besides `mtls` and busybox.
const TOOLS: &[&str] = &["/usr/sbin/ip", "/usr/sbin/tc", "/usr/sbin/bpftool"];
/// Provided by busybox, instead of the tools' own packages.
const APPLETS: &[&str] = &[
    "cat", "echo", "grep", "head", "httpd", "insmod", "kill", "mkdir", "mount", "poweroff", "sed",
    "sh", "sleep", "sort", "uname", "uniq", "wget", "xargs",
];

/// Debian never had 5.15; this is Ubuntu 22.04's first, which its archive keeps. With the hash of
/// each package, because apt has no keys for that archive here.
const UBUNTU: &str = "http://archive.ubuntu.com/ubuntu/pool/main/l/linux";
const UBUNTU_5_15: [(&str, &str); 2] = [
    (
        "linux-image-unsigned-5.15.0-25-generic_5.15.0-25.25_amd64.deb",
        "ac69df20790c48217eb1386ef81fd10d3f20a4ede4dab81cc107c65d29549fa0",
    ),
    (
        "linux-modules-5.15.0-25-generic_5.15.0-25.25_amd64.deb",
        "d0ba4087d9e1d497925b3481d3531fba6c2a852855f8019d73b0b1385aa4da1f",
    ),
];

/// A kernel, unpacked.
pub(super) struct Kernel {
    /// The kernel image.
    pub(super) image: PathBuf,
    /// Its package, without leading directories.
    dir: PathBuf,
}

/// The newest kernel of a series, downloaded if the cache has none. It is not installed.
pub(super) fn kernel(cache: &Path, series: &str) -> anyhow::Result<Kernel> {
    let dir = cache.join(series);
    if !dir.is_dir() {
        let download = cache.join("download");
        remove(&download)?;
        fs::create_dir_all(&download)?;
        if series == "5.15" {
            from_ubuntu(&download)?;
        } else {
            from_debian(&download, series)?;
        }
        let unpacked = cache.join("unpacked");
        remove(&unpacked)?;
        for deb in files(&download)? {
            run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&unpacked))?;
        }
        // Only a complete download gets its final name.
        fs::rename(&unpacked, &dir).with_context(|| format!("make {}", dir.display()))?;
        remove(&download)?;
    }
    let image = files(&dir.join("boot"))?
        .into_iter()
        .find(|path| name(path).starts_with("vmlinuz"));
    let image =
        image.with_context(|| format!("no vmlinuz: remove {}, try again", dir.display()))?;
    Ok(Kernel { image, dir })
}

fn from_debian(download: &Path, series: &str) -> anyhow::Result<()> {
    let package = setup::newest_kernel(series)?;
    let mut apt = Command::new("apt-get");
    apt.args(["--quiet=2", "download", &package]);
    // As this user: apt's own user may not access the directory.
    apt.args(["--option", "APT::Sandbox::User=root"]);
    run(apt.current_dir(download))
}

fn from_ubuntu(download: &Path) -> anyhow::Result<()> {
    for (package, hash) in UBUNTU_5_15 {
        let mut apt = Command::new("/usr/lib/apt/apt-helper");
        apt.args(["--option", "APT::Sandbox::User=root"]);
        apt.args(["download-file", &format!("{UBUNTU}/{package}")]);
        apt.arg(download.join(package));
        apt.arg(format!("SHA256:{hash}"));
        run(&mut apt)?;
    }
    Ok(())
}

/// A new initramfs for that kernel, with the `mtls` that was just built.
pub(super) fn initramfs(cache: &Path, kernel: &Kernel) -> anyhow::Result<PathBuf> {
    let root = cache.join("root");
    remove(&root)?;
    for dir in ["bin", "dev", "modules", "proc", "run", "sys", "tmp", "var"] {
        fs::create_dir_all(root.join(dir))?;
    }
    symlink("/run", root.join("var/run"))?;
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    modules(kernel, &root.join("modules"))?;

    copy(&program("busybox")?, &root, "/bin/busybox")?;
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    let mtls = build::program("mtls")?;
    let mut libraries = libraries(&mtls)?;
    // Debug information is nine tenths of it, and an emulated CPU has to copy it.
    let bare = root.join("bin/mtls");
    run(Command::new("strip").arg("-o").arg(&bare).arg(&mtls))?;
    for tool in TOOLS {
        copy(Path::new(tool), &root, tool)?;
        libraries.extend(self::libraries(Path::new(tool))?);
    }
    for library in libraries {
        copy(Path::new(&library), &root, &library)?;
    }
    pack(&root, &cache.join("initramfs"))
}

/// Copies the modules, decompressing them if necessary.
fn modules(kernel: &Kernel, to: &Path) -> anyhow::Result<()> {
    let mut found = Vec::new();
    for dir in ["lib/modules", "usr/lib/modules"] {
        let dir = kernel.dir.join(dir);
        if dir.is_dir() {
            walk(&dir, &mut found)?;
        }
    }
    for module in MODULES {
        let plain = format!("{module}.ko");
        let from = found
            .iter()
            .find(|path| name(path).strip_suffix(".xz").unwrap_or(name(path)) == plain)
            .with_context(|| format!("{} has no module {module}", kernel.dir.display()))?;
        if name(from) == plain {
            fs::copy(from, to.join(plain))?;
        } else {
            let mut xz = Command::new("xz");
            xz.args(["--decompress", "--stdout"]).arg(from);
            run(xz.stdout(File::create(to.join(plain))?))?;
        }
    }
    Ok(())
}

/// The shared libraries of a program, including the loader.
fn libraries(program: &Path) -> anyhow::Result<BTreeSet<String>> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("start ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("not found") {
        bail!(
            "the libraries of {} are not there:\n{text}",
            program.display()
        );
    }
    // `libc.so.6 => /lib/libc.so.6 (0x7f…)`, and `/lib64/ld-linux-x86-64.so.2 (0x7f…)`.
    Ok(text
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(str::to_owned)
        .collect())
}

/// Packs a directory in the format that the kernel expects.
fn pack(root: &Path, to: &Path) -> anyhow::Result<PathBuf> {
    let mut found = Vec::new();
    walk(root, &mut found)?;
    let mut list = String::new();
    for path in found {
        let path = path.strip_prefix(root)?;
        list.push_str(path.to_str().context("a name that is not UTF-8")?);
        list.push('\n');
    }
    let names = to.with_extension("names");
    fs::write(&names, list)?;
    let mut cpio = Command::new("cpio");
    cpio.args(["--create", "--format=newc", "--owner=0:0", "--quiet"]);
    cpio.current_dir(root)
        .stdin(File::open(&names)?)
        .stdout(File::create(to)?)
        .stderr(Stdio::inherit());
    run(&mut cpio)?;
    Ok(to.to_owned())
}

/// Everything below a directory, each directory before its contents.
fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for path in files(dir)? {
        let is_dir = fs::symlink_metadata(&path)?.is_dir();
        found.push(path.clone());
        if is_dir {
            walk(&path, found)?;
        }
    }
    Ok(())
}

fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("")
}

/// Copies to an absolute path below `root`.
fn copy(from: &Path, root: &Path, to: &str) -> anyhow::Result<()> {
    let to = root.join(to.trim_start_matches('/'));
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::copy(from, &to).with_context(|| format!("copy {}", from.display()))?;
    Ok(())
}

/// A program on the path.
fn program(program: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
        .with_context(|| format!("{program} is not there: run `cargo xtask setup`"))
}

fn remove(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
