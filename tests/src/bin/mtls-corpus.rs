//! Regenerates the corpus of captured handshakes: `mtls-corpus DIRECTORY [PART-OF-NAME]`.

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let Some(out) = args.next() else {
        anyhow::bail!("usage: mtls-corpus DIRECTORY [PART-OF-NAME]");
    };
    let only = args.next().unwrap_or_default();
    mtls_tests::corpus::make(&std::path::absolute(out)?, &only.to_string_lossy())
}
