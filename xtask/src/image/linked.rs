//! Packs programs together with the machine's libraries that they need.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::oci::{Content, Files, read};

/// Adds `program` as `name`, and every library that the dynamic linker would load for it.
pub(crate) fn add(files: &mut Files, name: &str, program: &Path) -> anyhow::Result<()> {
    files.insert(name.into(), Content::Program(read(program)?));
    let listed = Command::new("ldd").arg(program).output();
    let listed = listed.context("start ldd")?.stdout;
    for word in String::from_utf8_lossy(&listed).split_whitespace() {
        // Each line has the library's path, once: the rest are names and addresses.
        if let Some(library) = word.strip_prefix('/') {
            files.insert(library.into(), Content::Program(read(Path::new(word))?));
        }
    }
    Ok(())
}
