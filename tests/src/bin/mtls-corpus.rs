//! Makes the corpus of captured handshakes anew: `mtls-corpus DIRECTORY`.

fn main() -> anyhow::Result<()> {
    let Some(out) = std::env::args_os().nth(1) else {
        anyhow::bail!("usage: mtls-corpus DIRECTORY");
    };
    mtls_tests::corpus::make(&std::path::absolute(out)?)
}
