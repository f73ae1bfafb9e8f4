//! The layers: the core must not depend on anything that only a node needs.

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

/// Names of all packages that `package` depends on, without dev-dependencies.
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

/// The modules in each crate's root are in order: a module uses only those above it.
#[test]
fn a_room_knows_only_the_rooms_above_it() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../mtls-user");
    for file in ["core/src/lib.rs", "node/src/lib.rs", "src/main.rs"] {
        let file = root.join(file);
        let text = std::fs::read_to_string(&file).expect("the crate's root");
        let rooms: Vec<_> = text
            .lines()
            .filter_map(|line| {
                let line = line.strip_prefix("pub ").unwrap_or(line);
                line.strip_prefix("mod ")?.strip_suffix(';')
            })
            .collect();
        assert!(rooms.len() > 1, "{}: {rooms:?}", file.display());
        let folder = file.parent().expect("a folder");
        for (at, room) in rooms.iter().enumerate() {
            for source in sources(folder, room) {
                let text = std::fs::read_to_string(&source).expect("a source file");
                for below in &rooms[at + 1..] {
                    let uses = text.contains(&format!("crate::{below}::"))
                        || text.contains(&format!("use crate::{below};"));
                    assert!(
                        !uses,
                        "{} uses {below}, which stands below {room}",
                        source.display()
                    );
                }
            }
        }
    }
}

/// The files of a module.
fn sources(folder: &std::path::Path, room: &str) -> Vec<std::path::PathBuf> {
    let mut found = vec![folder.join(format!("{room}.rs"))];
    let mut folders = vec![folder.join(room)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    // A unit test may read a capture to feed a flow table: this is not a dependency of the product.
    found.retain(|path| path.is_file() && !path.ends_with("tests.rs"));
    assert!(!found.is_empty(), "no file of {room}");
    found
}
