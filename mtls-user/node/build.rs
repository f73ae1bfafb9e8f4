//! Builds the kernel program (`mtls-ebpf`) with whatever toolchain there is for it:
//!
//! 1. a nightly with `rust-src`, which builds `core` for the BPF target itself;
//! 2. a distribution's `rustc` with `core` prebuilt for it (Debian: `libstd-rust-web-dev-bpf`);
//! 3. none: an empty object, so that `cargo check`, clippy and rustdoc work on any machine. The
//!    daemon refuses to start with it. `MTLS_REQUIRE_BPF=1` makes this case an error.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// Names and values of an inner cargo's environment, and its arguments.
struct Toolchain {
    program: OsString,
    args: Vec<OsString>,
    rustc: Option<PathBuf>,
    build_std: bool,
    bootstrap: bool,
}

fn main() {
    for name in ["MTLS_REQUIRE_BPF", "MTLS_BPF_LINKER", "PATH"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(mtls_stub)");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for path in [
        "mtls-ebpf/src",
        "mtls-ebpf/Cargo.toml",
        "mtls-ebpf-common/src",
        "Cargo.lock",
    ] {
        println!("cargo:rerun-if-changed={}", root.join(path).display());
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let object = out.join("mtls-ebpf.o");
    match build(&root, &out) {
        Ok(built) => {
            fs::copy(&built, &object).expect("copy the kernel program into OUT_DIR");
        }
        Err(reason) => {
            let help = "run `cargo xtask setup` and build again";
            assert!(
                env::var_os("MTLS_REQUIRE_BPF").is_none_or(|value| value != "1"),
                "the kernel program cannot be built: {reason}; {help}"
            );
            println!(
                "cargo:warning=this build has no kernel program, so `mtls daemon` will not start: {reason}; {help}"
            );
            // A path that is not there makes cargo ask again at the next build.
            println!(
                "cargo:rerun-if-changed={}",
                out.join("no-toolchain").display()
            );
            println!("cargo:rustc-cfg=mtls_stub");
            fs::write(&object, []).expect("write the stub object");
        }
    }
}

fn build(root: &Path, out: &Path) -> Result<PathBuf, String> {
    let toolchain = nightly().or_else(prebuilt).ok_or(
        "there is neither a nightly toolchain with rust-src nor a prebuilt `core` for bpfel-unknown-none",
    )?;
    let linker = linker(root).ok_or("bpf-linker was not found")?;
    let endian = env::var("CARGO_CFG_TARGET_ENDIAN").unwrap_or_default();
    let target = if endian == "big" {
        "bpfeb-unknown-none"
    } else {
        "bpfel-unknown-none"
    };
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let flags = [
        format!("-Clinker={}", linker.display()),
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
        // 32-bit registers and jumps (Linux 5.1), which the atomic instructions (5.12) name.
        "-Ctarget-cpu=v3".into(),
        // Loads from packets, whose headers lie anywhere, as single instructions. A linker that does
        // not know this makes single bytes of them.
        "-Ctarget-feature=+alu32,+allows-misaligned-mem-access".into(),
        format!("--cfg=bpf_target_arch=\"{arch}\""),
    ];
    let target_dir = out.join("bpf");

    let mut cargo = Command::new(&toolchain.program);
    cargo.args(&toolchain.args);
    // The outer cargo's settings are for the host.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let keep = matches!(
            &*text,
            "CARGO_HOME" | "CARGO_NET_OFFLINE" | "CARGO_TERM_COLOR"
        ) || text.starts_with("CARGO_HTTP")
            || text.starts_with("CARGO_REGISTR");
        if !keep
            && ["RUST", "CARGO", "CLIPPY"]
                .iter()
                .any(|prefix| text.starts_with(prefix))
            && text != "RUSTUP_HOME"
        {
            cargo.env_remove(&name);
        }
    }
    if let Some(rustc) = &toolchain.rustc {
        cargo.env("RUSTC", rustc);
    }
    if toolchain.bootstrap {
        cargo.env("RUSTC_BOOTSTRAP", "1");
    }
    if toolchain.build_std {
        cargo.args(["-Z", "build-std=core"]);
    }
    cargo
        .args([
            "build",
            "--release",
            "--package",
            "mtls-ebpf",
            "--target",
            target,
            "--target-dir",
        ])
        .arg(&target_dir)
        .args(env::var_os("CARGO_FEATURE_BENCH").map(|_| "--features=bench"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("CARGO_PROFILE_RELEASE_LTO", "true")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .current_dir(root);
    let output = cargo
        .output()
        .map_err(|error| format!("{} did not start: {error}", toolchain.program.display()))?;
    // The toolchain is there, so this would be a fault of the program: never a stub.
    assert!(
        output.status.success(),
        "mtls-ebpf does not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(target_dir.join(target).join("release/mtls-ebpf"))
}

/// A nightly with `rust-src`, by rustup.
fn nightly() -> Option<Toolchain> {
    let sysroot =
        output(Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]))?;
    let core = Path::new(&sysroot).join("lib/rustlib/src/rust/library/core/Cargo.toml");
    core.exists().then(|| Toolchain {
        program: "rustup".into(),
        args: ["run", "nightly", "cargo"].map(OsString::from).into(),
        rustc: None,
        build_std: true,
        bootstrap: false,
    })
}

/// A distribution's compiler with `core` prebuilt.
fn prebuilt() -> Option<Toolchain> {
    let (rustc, cargo) = (PathBuf::from("/usr/bin/rustc"), "/usr/bin/cargo");
    let sysroot = output(Command::new(&rustc).args(["--print", "sysroot"]))?;
    let core = Path::new(&sysroot).join("lib/rustlib/bpfel-unknown-none/lib");
    (core.exists() && Path::new(cargo).exists()).then(|| Toolchain {
        program: cargo.into(),
        args: Vec::new(),
        rustc: Some(rustc),
        build_std: false,
        bootstrap: true,
    })
}

/// Where `cargo xtask setup` or the user has put bpf-linker.
fn linker(root: &Path) -> Option<PathBuf> {
    if let Some(path) = env::var_os("MTLS_BPF_LINKER") {
        return Some(path.into());
    }
    let home = env::var_os("HOME").map(PathBuf::from);
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(home.as_ref()?.join(".cargo")));
    let places = [
        Some(root.join("target/bpf-linker/bin")),
        home.map(|home| home.join(".cache/mtls-bpf-linker/bin")),
        cargo_home.map(|home| home.join("bin")),
    ];
    let path = env::var_os("PATH").unwrap_or_default();
    places
        .into_iter()
        .flatten()
        .chain(env::split_paths(&path))
        .map(|place| place.join("bpf-linker"))
        .find(|linker| linker.is_file())
}

fn output(command: &mut Command) -> Option<String> {
    let output = match command.env_remove("RUSTUP_TOOLCHAIN").output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            println!(
                "cargo:warning={} did not start: {error}",
                command.get_program().display()
            );
            return None;
        }
    };
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
