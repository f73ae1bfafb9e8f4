//! Checks the files of a release with the tools that their users have: tar, sha256sum, shells, krew,
//! helm.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::COMPLETIONS;
use crate::image::{Arch, VERSION};
use crate::oci::read;
use crate::{build, chart, cluster};

/// Checks everything; an error names the first fault.
pub(super) fn all(dir: &Path, archs: &[Arch]) -> anyhow::Result<()> {
    let scratch = build::root().join("target/release-check");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch).with_context(|| format!("make {}", scratch.display()))?;
    let native = Arch::native()?;
    for arch in archs {
        let stem = stem(*arch);
        archive(dir, &scratch, *arch).with_context(|| format!("{stem}.tar.gz"))?;
        bill(&dir.join(format!("{stem}.cdx.json"))).with_context(|| format!("{stem}.cdx.json"))?;
        image(&dir.join(format!("{stem}.tar")), *arch).with_context(|| format!("{stem}.tar"))?;
        krew(dir, &scratch, *arch).with_context(|| format!("krew.yaml, {}", arch.as_str()))?;
        if *arch == native {
            let archive = scratch.join(&stem);
            runs(&archive.join("mtls"))?;
        }
    }
    helm(dir).context("the chart's archive")?;
    sums(dir).context("SHA256SUMS")?;
    fs::remove_dir_all(&scratch).with_context(|| format!("remove {}", scratch.display()))
}

fn stem(arch: Arch) -> String {
    format!("mtls-{VERSION}-linux-{}", arch.as_str())
}

/// The output of a command that succeeds.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("start {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The program says its version.
fn runs(program: &Path) -> anyhow::Result<()> {
    let said = output(Command::new(program).arg("--version"))?;
    ensure!(
        said.split_whitespace().any(|word| word == VERSION),
        "{} --version: {said:?} and not {VERSION}",
        program.display()
    );
    Ok(())
}

/// Unpacks the archive. Its program is for this architecture; completions, manual and licences are
/// there and are what they claim to be.
fn archive(dir: &Path, scratch: &Path, arch: Arch) -> anyhow::Result<()> {
    let stem = stem(arch);
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(dir.join(format!("{stem}.tar.gz")));
    output(tar.arg("-C").arg(scratch))?;
    let at = |path: &str| scratch.join(&stem).join(path);
    machine(&read(&at("mtls"))?, arch)?;
    for (shell, path) in COMPLETIONS {
        let text = text(&at(path))?;
        ensure!(
            text.contains("mtls") && text.contains("edges"),
            "{path} completes nothing"
        );
        // Those that are on this machine read it, without carrying it out.
        match Command::new(shell).arg("-n").arg(at(path)).output() {
            Ok(read) if !read.status.success() => {
                bail!(
                    "{shell} -n {path}: {}",
                    String::from_utf8_lossy(&read.stderr)
                )
            }
            _ => {}
        }
    }
    let pages = fs::read_dir(at("man/man1")).context("there is no manual")?;
    let pages: Vec<PathBuf> = pages.flatten().map(|entry| entry.path()).collect();
    ensure!(
        pages.contains(&at("man/man1/mtls.1")) && pages.contains(&at("man/man1/mtls-edges.1")),
        "the manual has no page of mtls or of mtls edges"
    );
    for page in &pages {
        let text = text(page)?;
        ensure!(
            text.contains("\n.TH ") && text.contains("\n.SH NAME"),
            "{} is no page of a manual",
            page.display()
        );
    }
    for name in ["LICENSE-MIT", "LICENSE-APACHE", "LICENSES-THIRD-PARTY"] {
        let text = text(&at(name))?;
        ensure!(text.len() > 500, "{name} is no licence");
    }
    ensure!(
        text(&at("README.md"))?.starts_with('#'),
        "README.md is none"
    );
    Ok(())
}

fn text(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(read(path)?).with_context(|| format!("read {}", path.display()))
}

/// The program is a 64-bit little-endian ELF file for the architecture (elf(5), `e_machine`).
fn machine(program: &[u8], arch: Arch) -> anyhow::Result<()> {
    let wanted: u8 = match arch {
        Arch::Amd64 => 62,
        Arch::Arm64 => 183,
    };
    let is_elf = program.starts_with(b"\x7fELF\x02\x01");
    ensure!(
        is_elf && program.get(18..20) == Some(&[wanted, 0]),
        "mtls is no program for {}",
        arch.as_str()
    );
    Ok(())
}

/// The bill names the program's version and, with checksums, what it is made of.
fn bill(path: &Path) -> anyhow::Result<()> {
    let bom: Value = serde_json::from_slice(&read(path)?)?;
    ensure!(
        bom["bomFormat"] == "CycloneDX" && bom["specVersion"] == "1.6",
        "no CycloneDX 1.6"
    );
    let subject = &bom["metadata"]["component"];
    ensure!(
        subject["name"] == "mtls" && subject["version"] == VERSION,
        "of another program: {subject}"
    );
    let components = bom["components"].as_array().context("no components")?;
    let names: BTreeSet<&str> = components
        .iter()
        .filter(|one| one["hashes"][0]["content"].is_string())
        .filter_map(|one| one["name"].as_str())
        .collect();
    for part in ["aya", "rustls", "tokio"] {
        ensure!(names.contains(part), "{part} is missing, or its checksum");
    }
    Ok(())
}

/// The image is for the architecture, and starts the program.
fn image(path: &Path, arch: Arch) -> anyhow::Result<()> {
    let blob = |name: &str| -> anyhow::Result<Value> {
        let mut tar = Command::new("tar");
        let text = output(tar.arg("-xOf").arg(path).arg(name))?;
        serde_json::from_str(&text).with_context(|| name.to_owned())
    };
    let docker = blob("manifest.json")?;
    let config = docker[0]["Config"].as_str().context("no configuration")?;
    let config = blob(config)?;
    ensure!(
        config["architecture"] == arch.as_str() && config["os"] == "linux",
        "the image is for {}",
        config["architecture"]
    );
    ensure!(
        config["config"]["Entrypoint"] == serde_json::json!(["/bin/mtls"]),
        "the image starts something else"
    );
    let labels = &config["config"]["Labels"];
    ensure!(
        labels["org.opencontainers.image.version"] == VERSION,
        "the image's version: {labels}"
    );
    Ok(())
}

/// krew installs the plug-in from the archive, and holds it against the manifest's checksum.
fn krew(dir: &Path, scratch: &Path, arch: Arch) -> anyhow::Result<()> {
    let root = scratch.join(format!("krew-{}", arch.as_str()));
    let mut krew = Command::new(cluster::GoTool::Krew.build()?);
    krew.env("KREW_ROOT", &root)
        .env("KREW_NO_UPGRADE_CHECK", "1");
    krew.env("KREW_OS", "linux").env("KREW_ARCH", arch.as_str());
    krew.arg("install")
        .arg("--manifest")
        .arg(dir.join("krew.yaml"));
    let archive = dir.join(format!("{}.tar.gz", stem(arch)));
    output(krew.arg("--archive").arg(archive))?;
    let program = root.join("bin/kubectl-mtls");
    machine(&read(&program)?, arch)?;
    if arch == Arch::native()? {
        runs(&program)?;
    }
    Ok(())
}

/// helm takes the archive, and renders the same from it as from the chart.
fn helm(dir: &Path) -> anyhow::Result<()> {
    let helm = cluster::helm()?;
    let archive = dir.join(format!("mtls-{VERSION}.tgz"));
    output(Command::new(&helm).args(["lint", "--strict"]).arg(&archive))?;
    let shown = output(Command::new(&helm).args(["show", "chart"]).arg(&archive))?;
    for line in ["name: mtls", &format!("version: {VERSION}")] {
        ensure!(shown.lines().any(|one| one == line), "no {line:?}: {shown}");
    }
    let rendered = |chart: &Path| output(Command::new(&helm).args(["template", "mtls"]).arg(chart));
    ensure!(
        rendered(&archive)? == rendered(&chart::dir())?,
        "it renders something else than the chart"
    );
    ensure!(
        read(&dir.join("mtls.yaml"))? == read(&build::root().join("deploy/mtls.yaml"))?,
        "mtls.yaml is not deploy/mtls.yaml"
    );
    Ok(())
}

/// Every file is listed, and is what was summed.
fn sums(dir: &Path) -> anyhow::Result<()> {
    let mut sums = Command::new("sha256sum");
    sums.args(["--check", "--strict", "--quiet", "SHA256SUMS"]);
    output(sums.current_dir(dir))?;
    let listed = text(&dir.join("SHA256SUMS"))?;
    let listed: BTreeSet<_> = listed.lines().filter_map(|line| line.get(66..)).collect();
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        ensure!(
            name == "SHA256SUMS" || listed.contains(&*name),
            "{name} is not listed"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_changed_or_not_listed_is_found() {
        let dir = std::env::temp_dir().join(format!("sums-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("one"), "text").unwrap();
        super::super::checksums(&dir).unwrap();
        sums(&dir).unwrap();
        fs::write(dir.join("two"), "text").unwrap();
        let told = sums(&dir).unwrap_err().to_string();
        assert_eq!(told, "two is not listed");
        fs::remove_file(dir.join("two")).unwrap();
        fs::write(dir.join("one"), "Text").unwrap();
        assert!(sums(&dir).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_program_for_another_machine_is_found() {
        let mut elf = b"\x7fELF\x02\x01".to_vec();
        elf.resize(64, 0);
        elf[18] = 62;
        machine(&elf, Arch::Amd64).unwrap();
        assert!(machine(&elf, Arch::Arm64).is_err());
        elf[18] = 183;
        machine(&elf, Arch::Arm64).unwrap();
        assert!(machine(b"#!/bin/sh", Arch::Amd64).is_err());
    }

    #[test]
    fn a_bill_of_something_else_is_found() {
        let dir = std::env::temp_dir().join(format!("bill-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("bill");
        fs::write(
            &path,
            crate::image::Bill::new(Arch::Amd64.target())
                .unwrap()
                .cyclonedx()
                .unwrap(),
        )
        .unwrap();
        bill(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"rustls\"", "\"other\"")).unwrap();
        let told = bill(&path).unwrap_err().to_string();
        assert!(told.contains("rustls"), "{told}");
        fs::remove_dir_all(&dir).unwrap();
    }
}
