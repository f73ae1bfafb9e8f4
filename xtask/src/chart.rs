//! `cargo xtask chart`: the files derived from the Helm chart: `deploy/mtls.yaml` and the chart's
//! README.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::build::{self, step};
use crate::cluster;

/// Whether to write.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing; fail if a file is not up to date.
    #[arg(long)]
    check: bool,
}

/// Writes both files, or compares them.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let helm = cluster::helm()?;
    step("helm lint");
    build::run(
        Command::new(&helm)
            .args(["lint", "--strict", "--quiet"])
            .arg(dir()),
    )?;
    let values =
        fs::read_to_string(dir().join("values.yaml")).context("read the chart's values")?;
    // A chart contains only what is in its directory.
    for name in ["rules.yml", "dashboard.json"] {
        let text = fs::read_to_string(deploy().join("prometheus").join(name))
            .with_context(|| format!("read deploy/prometheus/{name}"))?;
        current(&dir().join("files").join(name), &text, args.check)?;
    }
    let made = [
        (deploy().join("mtls.yaml"), manifest(&helm)?),
        (dir().join("README.md"), readme(&values)?),
    ];
    for (path, text) in made {
        current(&path, &text, args.check)?;
    }
    Ok(())
}

/// Writes a file, or compares it.
fn current(path: &Path, text: &str, check: bool) -> anyhow::Result<()> {
    if check && fs::read_to_string(path).unwrap_or_default() != text {
        bail!(
            "{} is not what the chart makes: run `cargo xtask chart`",
            path.display()
        );
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

pub(crate) fn dir() -> PathBuf {
    deploy().join("chart")
}

fn deploy() -> PathBuf {
    build::root().join("deploy")
}

/// The chart with its default values, for use without Helm. It creates its namespace.
fn manifest(helm: &Path) -> anyhow::Result<String> {
    let mut command = Command::new(helm);
    command.args(["template", "mtls"]).arg(dir());
    command.args(["--namespace", "mtls", "--set", "namespace.create=true"]);
    let output = command.output().context("start helm")?;
    if !output.status.success() {
        bail!("helm template: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    // It is not managed by Helm.
    let text: String = text
        .lines()
        .filter(|line| {
            !line.starts_with("# Source:")
                && !line.contains("helm.sh/chart:")
                && !line.contains("app.kubernetes.io/managed-by:")
        })
        .fold(String::new(), |text, line| text + line + "\n");
    Ok(format!(
        "# Made of deploy/chart by `cargo xtask chart`, with the chart's own values.\n{text}"
    ))
}

/// A table of the values: each with the comment above it.
fn readme(values: &str) -> anyhow::Result<String> {
    let intro = include_str!("chart.md");
    let mut out = format!("{intro}\n| value | by itself | |\n|---|---|---|\n");
    // The parent keys, each with its indentation.
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut comment = String::new();
    let lines: Vec<&str> = values.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(words) = text.strip_prefix('#') {
            comment = format!("{comment} {}", words.trim());
            continue;
        }
        let Some((key, value)) = text.split_once(':') else {
            comment.clear();
            continue;
        };
        while path.last().is_some_and(|(above, _)| *above >= indent) {
            path.pop();
        }
        path.push((indent, key));
        let name = path
            .iter()
            .map(|(_, key)| *key)
            .collect::<Vec<_>>()
            .join(".");
        let described = !comment.is_empty();
        let below: Vec<&str> = lines[at + 1..]
            .iter()
            .take_while(|next| next.starts_with(&" ".repeat(indent + 1)))
            .copied()
            .collect();
        let documents_itself = below.iter().any(|line| line.trim_start().starts_with('#'));
        if described && !documents_itself {
            let value = match value.trim() {
                "" => below
                    .iter()
                    .map(|line| line.trim())
                    .collect::<Vec<_>>()
                    .join(" "),
                value => value.to_owned(),
            };
            writeln!(out, "| `{name}` | `{value}` | {} |", comment.trim())?;
        }
        comment.clear();
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_of_the_chart_is_current_and_names_every_value() {
        let values = fs::read_to_string(dir().join("values.yaml")).unwrap();
        let text = readme(&values).unwrap();
        assert_eq!(
            fs::read_to_string(dir().join("README.md")).unwrap(),
            text,
            "run `cargo xtask chart`"
        );
        let schema = fs::read_to_string(dir().join("values.schema.json")).unwrap();
        let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
        // The schema and the README must list the same values.
        let mut leaves = Vec::new();
        names(&schema, "", &mut leaves);
        for leaf in &leaves {
            assert!(
                text.contains(&format!("| `{leaf}` |")),
                "{leaf} is not described"
            );
        }
        let (_, table) = text.split_once("## Values").unwrap();
        assert_eq!(table.matches("\n| `").count(), leaves.len());
    }

    #[test]
    fn the_chart_has_the_rules_and_the_dashboard_that_are_shipped() {
        for name in ["rules.yml", "dashboard.json"] {
            let read = |path: PathBuf| fs::read_to_string(path).unwrap();
            assert!(
                read(dir().join("files").join(name))
                    == read(deploy().join("prometheus").join(name)),
                "{name}: run `cargo xtask chart`"
            );
        }
    }

    fn names(schema: &serde_json::Value, path: &str, out: &mut Vec<String>) {
        let below = schema["properties"].as_object();
        match below {
            Some(below) if schema["additionalProperties"] == false => {
                for (key, value) in below {
                    let path = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    names(value, &path, out);
                }
            }
            _ => out.push(path.to_owned()),
        }
    }
}
