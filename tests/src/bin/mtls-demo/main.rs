//! `cargo xtask demo`: a shop of pods on a node made of network namespaces, and what `mtls` reports
//! about them. Everything ends with this program, also on Ctrl-C: the namespaces are its own, and
//! the processes in them are killed.

mod dashboard;
mod open;
mod shop;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use mtls_tests::bin;
use mtls_tests::capture::Capture;
use mtls_tests::daemon::Daemon;
use mtls_tests::netns::ip;
use mtls_tests::process::Process;
use nix::sys::signal::Signal;
use shop::Shop;

/// The demo.
#[derive(Parser)]
#[command(name = "mtls-demo")]
struct Args {
    /// Instead of running the daemon, write the demo's traffic to this pcap file.
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// Keep the pods talking and the daemon running until Ctrl-C, and print how to query it.
    #[arg(long, conflicts_with = "capture")]
    keep: bool,
    /// Write the Grafana dashboard's panels, with the demo's traffic in them, to this SVG file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["capture", "keep"])]
    dashboard: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(path) = &args.dashboard {
        return dashboard::paint(path);
    }
    match args.capture {
        Some(path) => record(&path),
        None if args.keep => open::keep(),
        None => show(),
    }
}

const NODE: &str = "a node of network namespaces, with pods of namespace `shop` on a bridge";

/// Opens the shop, has it watched, and prints the daemon's answers.
fn show() -> Result<()> {
    let began = Instant::now();
    step(NODE);
    let shop = Shop::open()?;
    step("mtls daemon");
    let daemon = Daemon::start(shop.node())?;
    println!("{}", daemon.log());

    step("mtls tap");
    let mut tap = Command::new(bin::mtls()?);
    tap.args(["tap", "--socket"]).arg(daemon.socket());
    let mut tap = Process::shown(tap)?;
    // The tap shows only what happens after it has connected.
    std::thread::sleep(Duration::from_millis(300));
    for _ in 0..2 {
        shop.round()?;
    }
    std::thread::sleep(Duration::from_millis(500));
    tap.signal(Signal::SIGINT)?;
    tap.wait(Duration::from_secs(5)).context("stop the tap")?;

    for args in [&["edges"][..], &["edges", "-o", "wide"]] {
        step(&format!("mtls {}", args.join(" ")));
        let answer = daemon.ask(args)?;
        print!("{}{}", answer.out, answer.err);
        println!();
    }
    step("the same of one edge for programs: mtls edges -o jsonl");
    let answer = daemon.ask(&["edges", "-o", "jsonl"])?;
    println!("{}", answer.out.lines().next().unwrap_or("no edges"));
    daemon.stop(Signal::SIGTERM)?;
    drop(shop);
    println!(
        "\ndone in {:.1} s; nothing is left behind\n\
         to try the other commands yourself: cargo xtask demo --keep",
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Writes one round of the shop's traffic to a file.
fn record(path: &std::path::Path) -> Result<()> {
    let shop = Shop::open()?;
    // A bridge shows forwarded packets only to promiscuous listeners.
    ip("link set cni0 promisc on\n")?;
    let capture = Capture::start("cni0", path)?;
    shop.round()?;
    std::thread::sleep(Duration::from_millis(200));
    capture.stop()?;
    println!("wrote {}", path.display());
    Ok(())
}

fn step(what: &str) {
    println!("\n==> {what}");
}
