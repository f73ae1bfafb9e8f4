//! Checks that committed generated code is what the generator produces.

use std::path::Path;

use anyhow::{Context, Result};

/// The container runtime's interface: `runtime_v1.rs` from `runtime.v1.proto`.
#[test]
fn the_container_runtime_interface_is_as_generated() -> Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mtls-user/node/src/pods/cri");
    let out = tempfile::tempdir()?;
    let files = protox::compile([dir.join("runtime.v1.proto")], [&dir])?;
    tonic_prost_build::configure()
        .server_mod_attribute("runtime.v1", "#[cfg(test)]")
        .disable_comments(["."])
        .out_dir(out.path())
        .compile_fds(files)?;
    let made = std::fs::read_to_string(out.path().join("runtime.v1.rs"))?;
    let committed = dir.join("runtime_v1.rs");
    if std::env::var_os("MTLS_GENERATE").is_some_and(|value| value == "write") {
        std::fs::write(&committed, &made).context("write the generated code")?;
    }
    let committed = std::fs::read_to_string(committed)?;
    assert!(
        made == committed,
        "runtime_v1.rs is not what its generator makes of runtime.v1.proto: run \
         `MTLS_GENERATE=write cargo test -p mtls-tests --test generated`"
    );
    Ok(())
}
