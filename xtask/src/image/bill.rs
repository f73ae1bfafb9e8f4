//! A program's components: its crates and their licences, also as CycloneDX.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::VERSION;
use crate::build;
use crate::oci::hex;

/// The crates in the program or in its kernel object.
pub(crate) struct Bill {
    /// By name and version.
    packages: BTreeMap<(String, String), Package>,
}

struct Package {
    id: String,
    /// The licence as an SPDX expression.
    licence: Option<String>,
    /// The directory of its files.
    dir: String,
    /// Whether it is from the registry; otherwise it is ours.
    foreign: bool,
    checksum: Option<String>,
    /// Ids of its dependencies.
    uses: Vec<String>,
}

/// The program and the object within it.
const ROOTS: [&str; 2] = ["mtls-user", "mtls-ebpf"];

impl Bill {
    /// Asks cargo for the program's components on a target.
    pub(crate) fn new(target: &str) -> anyhow::Result<Self> {
        let mut cargo = build::cargo();
        cargo.args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform",
            target,
        ]);
        let output = cargo.output().context("start cargo")?;
        if !output.status.success() {
            bail!(
                "cargo metadata: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        let checksums = checksums()?;
        let uses: BTreeMap<&str, Vec<&str>> = array(&metadata["resolve"]["nodes"])
            .map(|node| {
                let used = array(&node["deps"]).filter(|dep| {
                    // What only tests or build scripts use is not in the program.
                    array(&dep["dep_kinds"]).any(|kind| kind["kind"].is_null())
                });
                let used = used.filter_map(|dep| dep["pkg"].as_str()).collect();
                (node["id"].as_str().unwrap_or_default(), used)
            })
            .collect();
        let mut wanted: Vec<&str> = array(&metadata["packages"])
            .filter(|package| ROOTS.iter().any(|root| package["name"] == *root))
            .filter_map(|package| package["id"].as_str())
            .collect();
        let mut met = BTreeSet::new();
        while let Some(id) = wanted.pop() {
            if met.insert(id) {
                wanted.extend(uses.get(id).into_iter().flatten());
            }
        }
        let packages = array(&metadata["packages"]).filter_map(|package| {
            let id = package["id"].as_str().filter(|id| met.contains(id))?;
            let text = |key: &str| package[key].as_str().map(str::to_owned);
            let key = (text("name")?, text("version")?);
            let manifest = text("manifest_path")?;
            let package = Package {
                id: id.into(),
                licence: text("license"),
                dir: Path::new(&manifest).parent()?.display().to_string(),
                foreign: !package["source"].is_null(),
                checksum: checksums.get(&key).cloned(),
                uses: uses
                    .get(id)
                    .into_iter()
                    .flatten()
                    .map(|id| (*id).to_owned())
                    .collect(),
            };
            Some((key, package))
        });
        Ok(Self {
            packages: packages.collect(),
        })
    }

    /// The licences of all third-party crates, each text once.
    pub(crate) fn licences(&self) -> anyhow::Result<String> {
        let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ((name, version), package) in self.packages.iter().filter(|(_, p)| p.foreign) {
            let licence = package.licence.as_deref().unwrap_or("see its source");
            let title = format!("{name} {version} ({licence})");
            let mut found = false;
            for path in licence_files(Path::new(&package.dir))? {
                let text = std::fs::read(&path).with_context(|| format!("read {path}"))?;
                let text = String::from_utf8_lossy(&text).trim().to_owned();
                texts.entry(text).or_default().push(title.clone());
                found = true;
            }
            if !found {
                texts.entry(String::new()).or_default().push(title);
            }
        }
        let mut out = String::from(
            "mtls is made of what follows, and of glibc (LGPL-2.1-or-later), which is linked in.\n\
             Its source, from which all of it can be linked anew, is that of this program.\n",
        );
        for (text, mut titles) in texts {
            titles.dedup();
            let line = "=".repeat(78);
            write!(out, "\n{line}\n{}\n{line}\n\n{text}\n", titles.join("\n"))?;
        }
        Ok(out)
    }

    /// As CycloneDX 1.6 in JSON (ECMA-424), without a time, so that the output is reproducible.
    pub(crate) fn cyclonedx(&self) -> anyhow::Result<String> {
        let purl = |(name, version): &(String, String)| format!("pkg:cargo/{name}@{version}");
        let by_id: BTreeMap<&str, String> = self
            .packages
            .iter()
            .map(|(key, package)| (package.id.as_str(), purl(key)))
            .collect();
        let components: Vec<_> = self
            .packages
            .iter()
            .map(|(key, package)| {
                let mut component = json!({
                    "type": "library", "bom-ref": purl(key), "purl": purl(key),
                    "name": key.0, "version": key.1,
                });
                if let Some(licence) = &package.licence {
                    // Older crates write `MIT/Apache-2.0`.
                    let expression = licence.replace('/', " OR ");
                    component["licenses"] = json!([{"expression": expression}]);
                }
                if let Some(checksum) = &package.checksum {
                    component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
                }
                component
            })
            .collect();
        let dependencies: Vec<_> = self
            .packages
            .iter()
            .map(|(key, package)| {
                let mut on: Vec<_> = package
                    .uses
                    .iter()
                    .filter_map(|id| by_id.get(id.as_str()))
                    .collect();
                on.sort();
                json!({"ref": purl(key), "dependsOn": on})
            })
            .collect();
        let listed = serde_json::to_string(&components)?;
        let id = hex(listed.as_bytes());
        let serial = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..32]].join("-");
        let bom = json!({
            "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
            "serialNumber": format!("urn:uuid:{serial}"),
            "metadata": {"component": {
                "type": "application", "bom-ref": "mtls", "name": "mtls", "version": VERSION,
                "licenses": [{"expression": "MIT OR Apache-2.0"}],
            }},
            "components": components,
            "dependencies": dependencies,
        });
        Ok(serde_json::to_string_pretty(&bom)? + "\n")
    }
}

/// Its licence files.
fn licence_files(dir: &Path) -> anyhow::Result<Vec<String>> {
    let listed = std::fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?;
    let mut found: Vec<_> = listed
        .flatten()
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().to_uppercase();
            let known = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"];
            known.iter().any(|start| name.starts_with(start)) && entry.path().is_file()
        })
        .map(|entry| entry.path().display().to_string())
        .collect();
    found.sort();
    Ok(found)
}

/// Each crate's SHA-256 from the lock file.
fn checksums() -> anyhow::Result<BTreeMap<(String, String), String>> {
    let lock =
        std::fs::read_to_string(build::root().join("Cargo.lock")).context("read Cargo.lock")?;
    let value = |block: &str, key: &str| {
        let line = block
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
        Some(line.trim_matches('"').to_owned())
    };
    Ok(lock
        .split("[[package]]")
        .filter_map(|block| {
            let key = (value(block, "name")?, value(block, "version")?);
            Some((key, value(block, "checksum")?))
        })
        .collect())
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bill_names_what_is_in_the_program_and_nothing_else() {
        let bill = Bill::new("x86_64-unknown-linux-gnu").unwrap();
        let has = |name: &str| bill.packages.keys().any(|(package, _)| package == name);
        for part in [
            "mtls-user",
            "mtls-core",
            "mtls-node",
            "mtls-ebpf",
            "aya",
            "aya-ebpf",
            "rustls",
        ] {
            assert!(has(part), "{part} is missing");
        }
        for other in ["xtask", "mtls-tests", "proptest", "tempfile", "windows-sys"] {
            assert!(!has(other), "{other} is not in the program");
        }
        let text = bill.cyclonedx().unwrap();
        assert_eq!(
            text,
            Bill::new("x86_64-unknown-linux-gnu")
                .unwrap()
                .cyclonedx()
                .unwrap()
        );
        let bom: Value = serde_json::from_str(&text).unwrap();
        // Every reference is valid, and every crate from the registry has its checksum.
        let refs: BTreeSet<_> = array(&bom["components"])
            .map(|c| c["bom-ref"].clone().to_string())
            .collect();
        for dependency in array(&bom["dependencies"]) {
            for on in array(&dependency["dependsOn"]) {
                assert!(refs.contains(&on.to_string()), "{on}");
            }
        }
        for (key, package) in &bill.packages {
            assert_eq!(package.foreign, package.checksum.is_some(), "{key:?}");
            assert!(package.licence.is_some(), "{key:?}");
        }
        let licences = bill.licences().unwrap();
        assert!(licences.contains("Permission is hereby granted, free of charge"));
        assert!(licences.contains("rustls 0."));
    }
}
