//! The layers: the core must stay free of what only a node needs.

use std::process::Command;

/// What must never be under `mtls-core`: kernel, runtime, command line, cluster.
const FOREIGN: [&str; 9] = [
    "aya",
    "tokio",
    "clap",
    "kube",
    "axum",
    "hyper",
    "nix",
    "mtls-node",
    "mtls-user",
];

/// Names of all packages that `package` is built from, dev-dependencies left out.
fn dependencies(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal,build"])
        .args(["--prefix", "none", "--format", "{p}", "--package", package])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("run cargo tree");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {error}");
    let text = String::from_utf8(output.stdout).expect("names of packages");
    println!("{text}");
    text.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_core_depends_on_no_node() {
    let core = dependencies("mtls-core");
    assert!(core.iter().any(|name| name == "tls-parser"), "not a tree");
    let foreign: Vec<_> = core
        .iter()
        .filter(|name| FOREIGN.contains(&name.as_str()))
        .collect();
    assert!(foreign.is_empty(), "mtls-core depends on {foreign:?}");
}

#[test]
fn the_node_depends_on_no_command_line() {
    let node = dependencies("mtls-node");
    assert!(node.iter().any(|name| name == "mtls-core"), "not a tree");
    for name in ["clap", "ratatui", "comfy-table", "mtls-user"] {
        assert!(
            !node.iter().any(|other| other == name),
            "mtls-node depends on {name}"
        );
    }
}
