//! `cargo xtask dist`: the files of a release, in `target/release-files`, checked as their users
//! would.

mod check;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use flate2::{Compression, write::GzEncoder};

use crate::build::{self, step};
use crate::image::{self, Arch, Bill, VERSION};
use crate::oci::{Content, Files, hex, read, tar_of};
use crate::{chart, cluster};

/// What to release.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// For which machines; may be given several times.
    #[arg(long = "arch", value_enum, default_values_t = [Arch::Amd64])]
    archs: Vec<Arch>,
    /// How to build the program; see `cargo xtask image`.
    #[arg(long, default_value = "dist", value_parser = ["dist", "release", "dev"])]
    profile: String,
    /// Where the archives will be published, for the krew manifest.
    #[arg(
        long,
        default_value = "https://example.org/mtls/releases/download",
        value_name = "URL"
    )]
    url: String,
}

/// Shells with completions, and where a package installs them.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "completions/mtls.bash"),
    ("zsh", "completions/_mtls"),
    ("fish", "completions/mtls.fish"),
];

/// Creates everything, checks it, and says where it is.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // Not `target/dist`: that is where cargo puts what it builds with the profile of that name.
    let dir = build::root().join("target/release-files");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let mut platforms = Vec::new();
    for arch in &args.archs {
        let made = image::make(&image::Args {
            arch: *arch,
            profile: args.profile.clone(),
            ..image::Args::default()
        })?;
        for made in [made.with_extension("cdx.json"), made] {
            let name = made.file_name().context("an image without a name")?;
            fs::copy(&made, dir.join(name)).with_context(|| format!("copy {}", made.display()))?;
        }
        let archive = archive(&dir, *arch, &args.profile)?;
        platforms.push((*arch, hex(&read(&archive)?)));
    }
    step("the chart's archive");
    let mut helm = Command::new(cluster::helm()?);
    helm.arg("package")
        .arg(chart::dir())
        .arg("--destination")
        .arg(&dir);
    build::run(helm.stdout(std::process::Stdio::null()))?;
    fs::copy(
        build::root().join("deploy/mtls.yaml"),
        dir.join("mtls.yaml"),
    )?;
    write(
        &dir.join("krew.yaml"),
        krew(&platforms, &args.url).as_bytes(),
    )?;
    checksums(&dir)?;
    step("checking the files of the release");
    check::all(&dir, &args.archs)?;
    println!("{}", dir.display());
    Ok(())
}

/// The program with its completions, manual and licences.
fn archive(dir: &Path, arch: Arch, profile: &str) -> anyhow::Result<PathBuf> {
    let program = image::program(arch, profile)?;
    let name = format!("mtls-{VERSION}-linux-{}", arch.as_str());
    // The program's help is the same on every architecture, so this machine's build prints it.
    let own = image::program(Arch::native()?, profile)?;
    let mut files = Files::new();
    let mut put = |path: &str, content| files.insert(format!("{name}/{path}"), content);
    put("mtls", Content::Program(read(&program)?));
    // No link to it as `kubectl-mtls`: krew unpacks nothing from an archive with links.
    for (shell, path) in COMPLETIONS {
        let output = Command::new(&own).args(["completion", shell]).output();
        let output = output.context("ask the program for its completions")?;
        if !output.status.success() {
            bail!(
                "mtls completion {shell}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        put(path, Content::Text(output.stdout));
    }
    let man = dir.join("man");
    build::run(Command::new(&own).arg("man").arg(&man))?;
    for page in fs::read_dir(&man)?.flatten() {
        let name = format!("man/man1/{}", page.file_name().to_string_lossy());
        put(&name, Content::Text(read(&page.path())?));
    }
    fs::remove_dir_all(&man).context("remove the manual's pages")?;
    let root = build::root();
    for name in ["LICENSE-MIT", "LICENSE-APACHE", "README.md"] {
        put(name, Content::Text(read(&root.join(name))?));
    }
    let licences = Bill::new(arch.target())?.licences()?;
    put("LICENSES-THIRD-PARTY", Content::Text(licences.into_bytes()));
    let archive = dir.join(format!("{name}.tar.gz"));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&tar_of(&files)?)?;
    write(&archive, &gzip.finish()?)?;
    Ok(archive)
}

/// For krew, kubectl's package manager: `krew.googlecontainertools.github.com/v1alpha2`.
fn krew(platforms: &[(Arch, String)], url: &str) -> String {
    let head = format!(
        "apiVersion: krew.googlecontainertools.github.com/v1alpha2\n\
         kind: Plugin\n\
         metadata:\n  name: mtls\n\
         spec:\n  version: v{VERSION}\n\
         \x20 shortDescription: Is the traffic between these pods really mutual TLS?\n\
         \x20 description: |\n\
         \x20   Asks the daemons of mtls, one per node, what every connection between pods is:\n\
         \x20   mutual TLS, server-only TLS, plaintext, and on which evidence.\n\
         \x20 platforms:\n"
    );
    platforms.iter().fold(head, |text, (arch, sum)| {
        let arch = arch.as_str();
        let name = format!("mtls-{VERSION}-linux-{arch}");
        text + &format!(
            "  - selector: {{matchLabels: {{os: linux, arch: {arch}}}}}\n\
             \x20   uri: {url}/v{VERSION}/{name}.tar.gz\n\
             \x20   sha256: {sum}\n\
             \x20   bin: kubectl-mtls\n\
             \x20   files:\n\
             \x20   - {{from: {name}/mtls, to: kubectl-mtls}}\n\
             \x20   - {{from: {name}/LICENSE-MIT, to: .}}\n\
             \x20   - {{from: {name}/LICENSE-APACHE, to: .}}\n"
        )
    })
}

/// In the format of `sha256sum --check`.
fn checksums(dir: &Path) -> anyhow::Result<()> {
    let mut names: Vec<_> = fs::read_dir(dir)?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let mut text = String::new();
    for name in names {
        let sum = hex(&read(&dir.join(&name))?);
        text.extend([&*sum, "  ", &*name, "\n"]);
    }
    write(&dir.join("SHA256SUMS"), text.as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}
