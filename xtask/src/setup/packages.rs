//! Debian packages, and the programs that set-up runs.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

/// Installs the packages of missing programs. It checks for programs and not for packages, because
/// others (such as Docker's) provide some of them too.
pub(super) fn tools(what: &str, tools: &[(&str, &str)]) -> anyhow::Result<()> {
    let missing: Vec<_> = tools
        .iter()
        .filter(|(program, _)| !is_there(program))
        .map(|(_, package)| *package)
        .collect();
    packages(what, &missing)
}

/// Whether the program is in Debian's location, possibly in a directory per version (`*`), or on
/// the path if that is where it belongs: a CNI's `bridge` is not iproute2's.
fn is_there(program: &str) -> bool {
    if let Some((dir, rest)) = program.split_once("/*/") {
        let mut versions = fs::read_dir(dir).into_iter().flatten().flatten();
        return versions.any(|version| version.path().join(rest).exists());
    }
    let program = Path::new(program);
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = |dir: &Path| dir.ends_with("bin") || dir.ends_with("sbin");
    program.exists()
        || program.parent().is_some_and(on_path)
            && program
                .file_name()
                .is_some_and(|name| env::split_paths(&path).any(|dir| dir.join(name).exists()))
}

/// Installs those of `names` that are missing.
pub(super) fn packages(what: &str, names: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<_> = names.iter().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        say(&format!("{what}: there"));
        return Ok(());
    }
    let list = missing
        .iter()
        .map(|name| **name)
        .collect::<Vec<_>>()
        .join(" ");
    if !is_root() {
        bail!(
            "{what} are missing, and installing them needs root. Run\n\n    \
             sudo apt-get update && sudo apt-get install --yes {list}\n\nand then this again"
        );
    }
    step(&format!("{what}: installing {list}"));
    apt(&["update"])?;
    // If packages conflict, the installed ones are kept.
    let mut args = vec!["install", "--yes", "--no-install-recommends", "--no-remove"];
    args.extend(missing);
    apt(&args)
}

pub(super) fn apt(args: &[&str]) -> anyhow::Result<()> {
    let mut apt = Command::new("apt-get");
    // Its long output is shown only if it fails.
    apt.arg("--quiet=2")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive");
    apt.stdin(Stdio::null()).stdout(Stdio::null());
    checked(&mut apt)
}

pub(super) fn is_installed(package: &str) -> bool {
    let state = output(
        "dpkg-query",
        &["--show", "--showformat=${db:Status-Status}", package],
    );
    state.as_deref() == Some("installed")
}

/// Whether the distribution has the packages; without them there is rustup.
pub(super) fn available(packages: &[&str]) -> bool {
    let candidates = |package: &str| {
        let policy = output("apt-cache", &["policy", package]).unwrap_or_default();
        policy.contains("Candidate:") && !policy.contains("Candidate: (none)")
    };
    if !packages.iter().all(|package| candidates(package)) && is_root() {
        // A fresh machine has no package lists yet.
        let _ = apt(&["update"]);
    }
    packages.iter().all(|package| candidates(package))
}

pub(super) fn is_root() -> bool {
    output("id", &["-u"]).as_deref() == Some("0")
}

/// A program's output; `None` if it does not exist or fails.
pub(super) fn output(program: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command
        .args(args)
        .env("LC_ALL", "C")
        .env_remove("RUSTUP_TOOLCHAIN");
    let output = command.stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

pub(super) fn checked(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("start {name}"))?;
    if !status.success() {
        let args: Vec<_> = command
            .get_args()
            .map(|arg| arg.to_string_lossy())
            .collect();
        bail!("`{name} {}` failed ({status}): see above", args.join(" "));
    }
    Ok(())
}

pub(super) fn step(what: &str) {
    eprintln!("setup: {what} …");
}

pub(super) fn say(what: &str) {
    eprintln!("setup: {what}");
}
