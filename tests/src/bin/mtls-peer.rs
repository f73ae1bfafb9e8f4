//! One end of a connection: see `mtls_tests::peer`.

use clap::Parser;

fn main() -> anyhow::Result<()> {
    mtls_tests::peer::Peer::parse().run()
}
