//! `cargo xtask image`: the program as a container image from scratch, with its bill of materials.

mod bill;
pub(crate) mod linked;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::json;

use crate::build::{self, step};
use crate::oci::{Content, Files, Image, digest, read};
use crate::setup;

pub(crate) use bill::Bill;

/// Largest image, in compressed bytes.
const MAX: usize = 25_000_000;
/// Its version, which is also the chart's.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What to make.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// For which machines.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) arch: Arch,
    /// How to build the program: `dist` is the shipped build; `dev` is the program that the tests
    /// use, with the libraries of this machine that it needs.
    #[arg(long, default_value = "dist", value_parser = ["dist", "release", "dev"])]
    pub(crate) profile: String,
    /// The image's name.
    #[arg(long, default_value = concat!("localhost/mtls:", env!("CARGO_PKG_VERSION")), value_name = "NAME:TAG")]
    pub(crate) name: String,
    /// Compile this project's crates and create the image a second time; fail unless both images
    /// are the same bytes.
    #[arg(long)]
    pub(crate) twice: bool,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            arch: Arch::Amd64,
            profile: "dist".into(),
            name: format!("localhost/mtls:{VERSION}"),
            twice: false,
        }
    }
}

/// A supported architecture.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub(crate) enum Arch {
    /// 64-bit x86.
    #[default]
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Arch {
    /// Its name in container images.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// This machine's.
    pub(crate) fn native() -> anyhow::Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::Amd64),
            "aarch64" => Ok(Self::Arm64),
            other => bail!("there are no images for {other}"),
        }
    }

    /// Its Rust target.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }
}

/// Builds it, and describes the result.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let made = make(args)?;
    if args.twice {
        let first = digest(&read(&made)?);
        // The crates at the bottom: everything above is compiled again.
        for source in ["mtls-user/core/src/lib.rs", "mtls-ebpf/src/main.rs"] {
            let path = build::root().join(source);
            let file = std::fs::File::open(&path).and_then(|file| {
                file.set_modified(std::time::SystemTime::now())
                    .map(|()| file)
            });
            file.with_context(|| format!("touch {}", path.display()))?;
        }
        make(args)?;
        let second = digest(&read(&made)?);
        if first != second {
            bail!("the second image has other bytes: {first}, {second}");
        }
        eprintln!("the second image is the same: {first}");
    }
    println!("{}", made.display());
    Ok(())
}

/// Builds the image and its bill of materials; returns the archive.
pub(crate) fn make(args: &Args) -> anyhow::Result<PathBuf> {
    setup::run()?;
    let program = program(args.arch, &args.profile)?;
    step("the image");
    let bill = Bill::new(args.arch.target())?;
    let dir = build::root().join("target/image");
    std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let stem = format!("mtls-{VERSION}-linux-{}", args.arch.as_str());
    let archive = dir.join(format!("{stem}.tar"));
    let files = files(&program, &bill, of_the_tests(args.arch, &args.profile)?)?;
    let image = Image {
        name: &args.name,
        architecture: args.arch.as_str(),
        config: json!({
            "Entrypoint": ["/bin/mtls"],
            "Env": ["PATH=/bin"],
            "Labels": labels(),
        }),
        files: &files,
    };
    let size = image.write(&archive)?;
    let sbom = dir.join(format!("{stem}.cdx.json"));
    std::fs::write(&sbom, bill.cyclonedx()?)
        .with_context(|| format!("write {}", sbom.display()))?;
    eprintln!(
        "{}: {:.1} MB compressed, for {}; what it is made of: {}",
        args.name,
        size as f64 / 1e6,
        args.arch.as_str(),
        sbom.display()
    );
    // A test build is not optimised and large.
    if size > MAX && args.profile != "dev" {
        bail!("the image has {size} bytes, and may have {MAX}");
    }
    Ok(archive)
}

/// All that is in the image.
fn files(program: &Path, bill: &Bill, needs_libraries: bool) -> anyhow::Result<Files> {
    let mut files = Files::new();
    if needs_libraries {
        linked::add(&mut files, "bin/mtls", &stripped(program)?)?;
    } else {
        files.insert("bin/mtls".into(), Content::Program(read(program)?));
    }
    files.extend([
        ("licences/MIT".into(), licence("LICENSE-MIT")?),
        ("licences/Apache-2.0".into(), licence("LICENSE-APACHE")?),
        (
            "licences/third-party".into(),
            Content::Text(bill.licences()?.into_bytes()),
        ),
    ]);
    Ok(files)
}

/// A copy without debug information, which is most of the file.
fn stripped(program: &Path) -> anyhow::Result<PathBuf> {
    let to = build::root().join("target/image/mtls");
    build::run(Command::new("strip").arg("-o").arg(&to).arg(program))?;
    Ok(to)
}

fn licence(name: &str) -> anyhow::Result<Content> {
    Ok(Content::Text(read(&build::root().join(name))?))
}

fn labels() -> serde_json::Value {
    json!({
        "org.opencontainers.image.title": "mtls",
        "org.opencontainers.image.description": "Is the traffic between these pods really mutual TLS?",
        "org.opencontainers.image.version": VERSION,
        "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
    })
}

/// Builds the program so that it needs no other files: glibc is linked statically, with the two
/// resolver methods that it has contained since 2.34 (files and DNS). The test build (`dev`) is the
/// one that the tests use, to avoid building twice.
pub(crate) fn program(arch: Arch, profile: &str) -> anyhow::Result<PathBuf> {
    step(&format!(
        "building mtls for {}, profile {profile}",
        arch.as_str()
    ));
    if of_the_tests(arch, profile)? {
        build::build(&["--package", "mtls-user"], true)?;
        return Ok(build::root().join("target/debug/mtls"));
    }
    let target = arch.target();
    let mut command = match arch {
        Arch::Arm64 if Arch::native()? != Arch::Arm64 => crate::arm64::cargo()?,
        _ => build::cargo(),
    };
    command.args(["build", "--package", "mtls-user", "--profile", profile]);
    command
        .args(["--target", target])
        .env("MTLS_REQUIRE_BPF", "1");
    // Shipped builds contain no local paths and no debug information.
    let mut flags = command
        .get_envs()
        .find(|(name, _)| *name == "RUSTFLAGS")
        .and_then(|(_, value)| Some(value?.to_string_lossy().into_owned() + " "))
        .unwrap_or_default();
    flags += "-Ctarget-feature=+crt-static -Cstrip=symbols";
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")));
    for (from, to) in [
        (home.ok(), "cargo"),
        (Some(build::root().display().to_string()), "mtls"),
    ] {
        if let Some(from) = from {
            flags.extend([" --remap-path-prefix=", &*from, "=/", to]);
        }
    }
    build::run(command.env("RUSTFLAGS", flags))?;
    let dir = if profile == "dev" { "debug" } else { profile };
    let program = build::root()
        .join("target")
        .join(target)
        .join(dir)
        .join("mtls");
    is_static(&program)?;
    Ok(program)
}

/// The program is the one that the tests use, which is linked dynamically.
fn of_the_tests(arch: Arch, profile: &str) -> anyhow::Result<bool> {
    Ok(profile == "dev" && arch == Arch::native()?)
}

/// A program that names an interpreter needs libraries, which the image does not have.
fn is_static(program: &Path) -> anyhow::Result<()> {
    const INTERPRETER: usize = 3;
    let elf = read(program)?;
    let word = |at: usize, len: usize| {
        let bytes = elf.get(at..at + len)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |word, byte| word << 8 | usize::from(*byte)),
        )
    };
    // The program headers of a 64-bit ELF file: position, size of each, number (elf(5)).
    let headers = || Some((word(32, 8)?, word(54, 2)?, word(56, 2)?));
    let (at, size, count) = headers().context("read the program's ELF header")?;
    if (0..count).any(|i| word(at + i * size, 4) == Some(INTERPRETER)) {
        bail!("{} is not static", program.display());
    }
    Ok(())
}
