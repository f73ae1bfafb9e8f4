//! Requirements of a test on the machine. If the machine does not meet them, the test fails, unless
//! `MTLS_ALLOW_SKIP=1`; then the skip is recorded and counted.

use std::io::Write;
use std::path::Path;

use crate::bin;

/// Something that not every machine has.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// User id 0: namespaces, mounts and eBPF.
    Root,
    /// The `openssl` program.
    Openssl,
    /// The `nft` program.
    Nft,
    /// The `tshark` program.
    Tshark,
    /// containerd with its CRI plug-in, runc, the CNI plug-ins, and a static busybox.
    Containerd,
    /// The OpenTelemetry Collector of `tests/collector`.
    Collector,
    /// Debian programs: servers and their clients.
    Programs(&'static [&'static str]),
    /// A device file.
    Device(&'static str),
}

impl Need {
    fn met(self) -> bool {
        match self {
            Self::Root => nix::unistd::Uid::effective().is_root(),
            Self::Openssl => is_there("openssl"),
            Self::Nft => is_there("nft"),
            Self::Tshark => is_there("tshark"),
            Self::Programs(names) => names.iter().all(|name| is_there(name)),
            Self::Device(path) => Path::new(path).exists(),
            Self::Collector => bin::collector().is_ok(),
            Self::Containerd => {
                let programs = ["containerd", "ctr", "runc"]
                    .iter()
                    .all(|name| is_there(name));
                let files = ["/usr/lib/cni/bridge", "/bin/busybox"];
                programs && files.iter().all(|file| Path::new(file).is_file())
            }
        }
    }

    fn remedy(self) -> String {
        let words = match self {
            Self::Root => "needs root: run it with sudo",
            Self::Openssl => "needs the openssl program: `apt-get install openssl`",
            Self::Nft => "needs the nft program: `apt-get install nftables`",
            Self::Tshark => "needs the tshark program: `apt-get install tshark`",
            Self::Containerd => {
                "needs a container runtime: `apt-get install containerd runc containernetworking-plugins busybox-static`"
            }
            Self::Collector => {
                "needs an OpenTelemetry Collector: `cargo xtask test` builds it with Go 1.25 or newer"
            }
            Self::Device(path) => return format!("needs the kernel's device {path}"),
            Self::Programs(names) => {
                let names = names.join(", ");
                return format!("needs the programs {names}: `cargo xtask setup`");
            }
        };
        words.to_owned()
    }
}

fn is_there(program: &str) -> bool {
    bin::system(program).is_some()
}

/// Whether the test can run here. `false` means: return immediately, the skip has been counted.
///
/// # Panics
///
/// If a requirement is not met and skipping was not allowed: a test that cannot run has failed.
pub fn runs_here(needs: &[Need]) -> bool {
    let Some(missing) = needs.iter().find(|need| !need.met()) else {
        return true;
    };
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let allowed = std::env::var("MTLS_ALLOW_SKIP").is_ok_and(|value| value == "1");
    assert!(
        allowed,
        "{test} {}, or run `cargo xtask test --allow-skip`",
        missing.remedy()
    );
    eprintln!("skipped: {test}: {}", missing.remedy());
    if let Some(log) = std::env::var_os("MTLS_SKIP_LOG") {
        let written = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&log)
            .and_then(|mut file| writeln!(file, "{test}: {}", missing.remedy()));
        assert!(written.is_ok(), "cannot count a skip in {}", log.display());
    }
    false
}
