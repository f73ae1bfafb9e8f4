//! `cargo xtask setup`: installs missing requirements for building the kernel program and running
//! the tests. Running it again does nothing.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::build;

mod packages;

use packages::{apt, available, checked, output, packages, say, step, tools};

/// Debian's compiler with `core` prebuilt for BPF.
const COMPILER: &[&str] = &["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];
/// Libraries that bpf-linker needs, besides LLVM itself.
const LIBRARIES: &[&str] = &["zlib1g-dev", "libzstd-dev", "libxml2-dev"];
/// Programs that the demo and the tests run.
const TOOLS: &[(&str, &str)] = &[
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/bin/openssl", "openssl"),
    ("/usr/bin/tshark", "tshark"),
    ("/usr/bin/containerd", "containerd"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("/bin/busybox", "busybox-static"),
    ("/usr/bin/faketime", "faketime"),
    ("/usr/bin/chromium", "chromium"),
    ("/usr/bin/minisign", "minisign"),
];
/// The servers of the tests, with their clients: programs and their packages.
const SERVERS: &[(&str, &str)] = &[
    ("/usr/bin/curl", "curl"),
    ("/usr/bin/dig", "bind9-dnsutils"),
    ("/usr/sbin/dnsmasq", "dnsmasq-base"),
    ("/usr/sbin/dovecot", "dovecot-core"),
    ("/usr/lib/dovecot/imap", "dovecot-imapd"),
    ("/usr/lib/dovecot/lmtp", "dovecot-lmtpd"),
    ("/usr/lib/dovecot/managesieve", "dovecot-managesieved"),
    ("/usr/lib/dovecot/pop3", "dovecot-pop3d"),
    ("/usr/lib/dovecot/submission", "dovecot-submissiond"),
    ("/usr/bin/etcd", "etcd-server"),
    ("/usr/bin/etcdctl", "etcd-client"),
    ("/usr/bin/gtlsclient", "ngtcp2-client"),
    ("/usr/sbin/gtlsserver", "ngtcp2-server"),
    ("/usr/sbin/haproxy", "haproxy"),
    ("/usr/bin/ldapwhoami", "ldap-utils"),
    ("/usr/bin/mariadb", "mariadb-client-core"),
    ("/usr/sbin/mariadbd", "mariadb-server-core"),
    ("/usr/bin/memccat", "libmemcached-tools"),
    ("/usr/bin/memcached", "memcached"),
    ("/usr/bin/microsocks", "microsocks"),
    ("/usr/sbin/mosquitto", "mosquitto"),
    ("/usr/bin/mosquitto_pub", "mosquitto-clients"),
    ("/usr/sbin/nats-server", "nats-server"),
    ("/usr/sbin/nginx", "nginx"),
    ("/usr/lib/postgresql/*/bin/postgres", "postgresql"),
    ("/usr/bin/prometheus", "prometheus"),
    ("/usr/bin/promtool", "prometheus"),
    (
        "/usr/bin/prometheus-alertmanager",
        "prometheus-alertmanager",
    ),
    ("/usr/bin/prosody", "prosody"),
    ("/usr/bin/redis-server", "redis-server"),
    ("/usr/sbin/slapd", "slapd"),
    ("/usr/bin/ssh", "openssh-client"),
    ("/usr/sbin/sshd", "openssh-server"),
    ("/usr/bin/tinyproxy", "tinyproxy-bin"),
    ("/usr/sbin/vsftpd", "vsftpd"),
    ("/usr/bin/wireguard-go", "wireguard-go"),
    ("/usr/bin/wg", "wireguard-tools"),
];
/// What `cargo xtask vm` runs and packs.
const MACHINES: &[(&str, &str)] = &[
    ("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    ("/usr/bin/cpio", "cpio"),
    ("/usr/bin/strip", "binutils"),
    ("/usr/bin/xz", "xz-utils"),
    ("/bin/busybox", "busybox-static"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/sbin/bpftool", "bpftool"),
];
/// What `cargo xtask apiserver` runs beside the kube-apiserver.
const CLUSTER: &[(&str, &str)] = &[
    ("/usr/bin/etcd", "etcd-server"),
    ("/usr/bin/curl", "curl"),
    ("/usr/bin/openssl", "openssl"),
];
/// What the nodes of `cargo xtask cluster` are made of, beside Kubernetes itself.
const NODES: &[(&str, &str)] = &[
    ("/usr/sbin/dnsmasq", "dnsmasq-base"),
    ("/usr/bin/gtlsclient", "ngtcp2-client"),
    ("/usr/sbin/gtlsserver", "ngtcp2-server"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/bin/wg", "wireguard-tools"),
    ("/usr/bin/wireguard-go", "wireguard-go"),
    ("/usr/bin/pip", "python3-pip"),
    ("/usr/bin/unzip", "unzip"),
    ("/usr/bin/prometheus", "prometheus"),
    (
        "/usr/bin/prometheus-alertmanager",
        "prometheus-alertmanager",
    ),
];
/// The cross compiler for `cargo xtask image --arch arm64`.
const ARM64: &[(&str, &str)] = &[
    ("/usr/bin/aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    ("/usr/aarch64-linux-gnu/lib/libc.a", "libc6-dev-arm64-cross"),
];
/// The TLS stacks of `cargo xtask corpus`, besides rustls.
const STACKS: &[(&str, &str)] = &[
    ("/usr/bin/openssl", "openssl"),
    ("/usr/bin/gnutls-cli", "gnutls-bin"),
    ("/usr/bin/certutil", "libnss3-tools"),
    ("/usr/bin/javac", "default-jdk-headless"),
    ("/usr/bin/go", "golang-go"),
    ("/usr/bin/dumpcap", "wireshark-common"),
    ("/usr/bin/gtlsclient", "ngtcp2-client"),
    ("/usr/sbin/gtlsserver", "ngtcp2-server"),
    ("/usr/bin/python3", "python3-venv"),
    ("/usr/include/wolfssl/ssl.h", "libwolfssl-dev"),
    ("/usr/bin/erl", "erlang-ssl"),
    ("/usr/share/java/bctls.jar", "libbctls-java"),
];
/// Tools for `cargo xtask bench classify`: those that it compares with, and one that pins to a
/// core.
const RIVALS: &[(&str, &str)] = &[
    ("/usr/bin/ndpiReader", "libndpi-bin"),
    ("/usr/bin/tshark", "tshark"),
    ("/usr/bin/taskset", "util-linux"),
];
/// The version that the object files are tested with.
const BPF_LINKER: &str = "0.13.0";

/// Installs what is missing.
pub(crate) fn run() -> anyhow::Result<()> {
    let debian = Path::new("/etc/debian_version").exists() && works("apt-get", &["--version"]);
    if debian {
        tools("tools for the demo and the tests", TOOLS)?;
    }
    if nightly_has_source() {
        say("a nightly with rust-src is there");
        return bpf_linker(None);
    }
    if debian && (is_prebuilt() || available(COMPILER)) {
        packages("the compiler for the kernel program", COMPILER)?;
        let llvm = llvm_version("/usr/bin/rustc")?;
        let (llvm_dev, polly_dev) = (format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev"));
        let mut libraries = vec![&*llvm_dev, &*polly_dev];
        libraries.extend(LIBRARIES);
        packages("the libraries that bpf-linker is built with", &libraries)?;
        return bpf_linker(Some(llvm));
    }
    if !works("rustup", &["--version"]) {
        bail!("install rustup (https://rustup.rs) and run `cargo xtask setup` again");
    }
    step("a nightly with rust-src");
    let toolchain = [
        "toolchain",
        "install",
        "nightly",
        "--profile",
        "minimal",
        "-c",
        "rust-src",
    ];
    checked(Command::new("rustup").args(toolchain))?;
    bpf_linker(None)
}

/// Installs the tests' requirements, in addition to those of `run`.
pub(crate) fn tests() -> anyhow::Result<()> {
    run()?;
    if !Path::new("/etc/debian_version").exists() {
        say("the servers that the tests talk to have to be on the path");
        return Ok(());
    }
    servers("servers that the tests talk to", SERVERS)?;
    collector()
}

/// Debian starts a server when it is installed; the tests need only its program.
fn servers(what: &str, servers: &[(&str, &str)]) -> anyhow::Result<()> {
    let before = enabled_units();
    tools(what, servers)?;
    let started: Vec<_> = enabled_units().difference(&before).cloned().collect();
    if !started.is_empty() {
        step(&format!("stopping {}", started.join(" ")));
        checked(
            Command::new("systemctl")
                .args(["disable", "--now", "--quiet"])
                .args(started),
        )?;
    }
    Ok(())
}

/// Builds the tests' OpenTelemetry Collector, if there is Go; without it, the tests report that.
fn collector() -> anyhow::Result<()> {
    let source = build::root().join("tests/collector");
    let program = build::root().join("target/collector/collector");
    if program.exists() {
        say("a Collector for the tests: there");
        return Ok(());
    }
    if !works("go", &["version"]) {
        say("no Go: the tests with an OpenTelemetry Collector need it (https://go.dev/dl)");
        return Ok(());
    }
    step("a Collector for the tests: building it, which takes some minutes");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(program).arg(".");
    checked(go.current_dir(source))
}

/// The units that systemd starts at boot, if it is running (sd_booted(3)): in a container, only its
/// programs may be installed.
fn enabled_units() -> BTreeSet<String> {
    if !Path::new("/run/systemd/system").exists() {
        return BTreeSet::new();
    }
    let args = ["list-unit-files", "--state=enabled", "--no-legend"];
    let units = output("systemctl", &args).unwrap_or_default();
    let names = units
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// Installs requirements for virtual machines, in addition to those of `run`.
pub(crate) fn virtual_machines() -> anyhow::Result<()> {
    run()?;
    if !Path::new("/etc/debian_version").exists() {
        bail!("the virtual machines boot Debian's kernels with Debian's tools: run this on Debian");
    }
    tools("tools for virtual machines", MACHINES)
}

/// Installs requirements for a Kubernetes API, in addition to those of `run`.
pub(crate) fn cluster() -> anyhow::Result<()> {
    run()?;
    if !Path::new("/etc/debian_version").exists() {
        say("etcd, curl and openssl have to be on the path");
        return Ok(());
    }
    tools("tools for a Kubernetes API", CLUSTER)
}

/// Installs requirements for a cluster's nodes, in addition to those of `run`.
pub(crate) fn nodes() -> anyhow::Result<()> {
    cluster()?;
    if !Path::new("/etc/debian_version").exists() {
        say("iptables, pip, unzip, Prometheus and Alertmanager have to be on the path");
        return Ok(());
    }
    servers("tools for a cluster", NODES)
}

/// Installs the 64-bit ARM compiler, in addition to what `run` does, and enables its packages in
/// apt.
pub(crate) fn arm64() -> anyhow::Result<()> {
    run()?;
    if !Path::new("/etc/debian_version").exists() {
        bail!("the cross build takes Debian's packages: run this on Debian");
    }
    tools("a compiler for arm64", ARM64)?;
    let known = output("dpkg", &["--print-foreign-architectures"]).unwrap_or_default();
    if !known.lines().any(|line| line == "arm64") {
        step("letting apt know of arm64");
        checked(Command::new("dpkg").args(["--add-architecture", "arm64"]))?;
        apt(&["update"])?;
    }
    Ok(())
}

/// Installs the TLS stacks of the corpus, in addition to what `run` does.
pub(crate) fn stacks() -> anyhow::Result<()> {
    run()?;
    if !Path::new("/etc/debian_version").exists() {
        say("openssl, gnutls-bin, libnss3-tools, a JDK, Go and dumpcap have to be on the path");
        return Ok(());
    }
    tools("TLS stacks for the corpus", STACKS)
}

/// Installs the tools that `cargo xtask bench classify` compares with, in addition to what `run`
/// does.
pub(crate) fn rivals() -> anyhow::Result<()> {
    run()?;
    if !Path::new("/etc/debian_version").exists() {
        say("ndpiReader, tshark and taskset have to be on the path");
        return Ok(());
    }
    tools("tools to compare with", RIVALS)
}

/// The package of the newest cloud kernel of a series, such as 6.1.
pub(crate) fn newest_kernel(series: &str) -> anyhow::Result<String> {
    let pattern = format!(
        "^linux-image-{}\\.[0-9].*-cloud-amd64$",
        series.replace('.', "\\.")
    );
    let search = || {
        let found = output("apt-cache", &["search", "--names-only", &pattern]).unwrap_or_default();
        found
            .lines()
            .filter_map(|line| line.split(' ').next())
            // The numbers in the name, in order.
            .max_by_key(|name| {
                name.split(|c: char| !c.is_ascii_digit())
                    .filter_map(|number| number.parse::<u32>().ok())
                    .collect::<Vec<_>>()
            })
            .map(str::to_owned)
    };
    search()
        .or_else(|| {
            // A fresh machine has no package lists yet.
            apt(&["update"]).ok()?;
            search()
        })
        .with_context(|| {
            format!(
                "apt knows no linux-image-{series}.*-cloud-amd64: add the Debian suite that has it \
                 (bookworm: 6.1, bookworm-security: 6.12) to /etc/apt/sources.list, then \
                 run `apt-get update` and this again"
            )
        })
}

/// Builds bpf-linker into the user's cache, unless this version exists there. `llvm`: the major
/// version to link with, if the system's is used.
fn bpf_linker(llvm: Option<u32>) -> anyhow::Result<()> {
    let root = cache()?.join("mtls-bpf-linker");
    let receipt = fs::read_to_string(root.join(".crates2.json")).unwrap_or_default();
    let feature = llvm.map(|llvm| format!("llvm-{llvm}"));
    let is_same = receipt.contains(&format!("\"bpf-linker {BPF_LINKER} "))
        && feature
            .as_ref()
            .is_none_or(|feature| receipt.contains(&format!("\"{feature}\"")));
    if is_same && root.join("bin/bpf-linker").exists() {
        say(&format!("bpf-linker {BPF_LINKER}: there"));
        return Ok(());
    }
    step(&format!(
        "bpf-linker {BPF_LINKER}: building it, which takes a minute or two"
    ));
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "install",
        "bpf-linker",
        "--locked",
        "--force",
        "--version",
        BPF_LINKER,
        "--root",
    ]);
    cargo.arg(&root);
    if let (Some(llvm), Some(feature)) = (llvm, &feature) {
        cargo.args(["--no-default-features", "--features", feature]);
        cargo.env("LLVM_PREFIX", format!("/usr/lib/llvm-{llvm}"));
    }
    checked(&mut cargo)?;
    say(&format!("bpf-linker {BPF_LINKER}: in {}", root.display()));
    Ok(())
}

/// The user's cache directory.
fn cache() -> anyhow::Result<PathBuf> {
    let home = env::var_os("HOME").context("HOME is not set: set it to your home directory")?;
    Ok(Path::new(&home).join(".cache"))
}

fn nightly_has_source() -> bool {
    let sysroot = output("rustup", &["run", "nightly", "rustc", "--print", "sysroot"]);
    sysroot.is_some_and(|sysroot| {
        Path::new(&sysroot)
            .join("lib/rustlib/src/rust/library/core/Cargo.toml")
            .exists()
    })
}

fn is_prebuilt() -> bool {
    Path::new("/usr/lib/rustlib/bpfel-unknown-none/lib").exists()
}

/// The major version of a compiler's LLVM.
fn llvm_version(rustc: &str) -> anyhow::Result<u32> {
    let about = output(rustc, &["-vV"]).with_context(|| format!("{rustc} does not run"))?;
    about
        .lines()
        .find_map(|line| {
            line.strip_prefix("LLVM version: ")?
                .split('.')
                .next()?
                .parse()
                .ok()
        })
        .with_context(|| format!("`{rustc} -vV` names no LLVM version"))
}

fn works(program: &str, args: &[&str]) -> bool {
    output(program, args).is_some()
}
