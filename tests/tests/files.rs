//! Files that the verbs read and write: captures of each format, recordings, answers that were edited.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mtls_tests::daemon::{Answer, mtls};
use serde_json::Value;

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo.pcap")
}

fn ask(verb: &[&str], files: &[&Path]) -> Result<Answer> {
    let mut args: Vec<_> = verb.iter().map(Into::into).collect();
    args.extend(files.iter().map(|file| file.as_os_str().to_owned()));
    mtls(args)
}

/// The edges of the demo's capture, changed by `change`, in a file.
fn edited(dir: &Path, name: &str, change: impl Fn(&mut Value)) -> Result<PathBuf> {
    let answer = ask(&["edges", "-o", "json", "--from"], &[&demo()])?;
    let mut list: Value = serde_json::from_str(&answer.out)?;
    let items = list["items"].as_array_mut().context("a list")?;
    items.retain(|edge| edge["mark"] == "mutual");
    items.iter_mut().for_each(change);
    let path = dir.join(name);
    std::fs::write(&path, serde_json::to_vec(&list)?)?;
    Ok(path)
}

#[test]
fn a_recording_is_a_capture_for_every_verb() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let recording = dir.path().join("demo.pcapng");
    let made = ask(&["record", "--payload", "-w"], &[&recording])?;
    assert_ne!(made.code, Some(0), "no daemon and no file: {made:?}");
    let capture = demo();
    let made = ask(
        &["record", "--payload", "--from"],
        &[&capture, Path::new("-w"), &recording],
    )?;
    assert_eq!(made.code, Some(0), "{made:?}");
    let of = |file: &Path| -> Result<String> {
        let columns = "custom-columns=TO:.dst.ip,PORT:.dst.port,VERDICT:.verdict";
        let answer = ask(
            &["edges", "--sort-by", ".src.ip", "-o", columns, "--from"],
            &[file],
        )?;
        assert_eq!(answer.code, Some(0), "{answer:?}");
        Ok(answer.out)
    };
    assert_eq!(of(&recording)?, of(&capture)?);
    Ok(())
}

/// Whoever could read the old file cannot read the recording.
#[test]
fn a_recording_is_its_owners_alone_and_takes_nothing_else_down() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out.pcapng");
    std::fs::write(&out, "open to all")?;
    std::fs::set_permissions(&out, std::fs::Permissions::from_mode(0o644))?;
    let write = Path::new("-w");
    for missing in [dir.path().join("missing"), dir.path().join("answer")] {
        std::fs::write(dir.path().join("answer"), "{\"schema\":2,\"items\":[]}")?;
        let answer = ask(&["record", "--from"], &[&missing, write, &out])?;
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert_eq!(std::fs::read(&out)?, b"open to all", "{answer:?}");
        let left = std::fs::read_dir(dir.path())?.count();
        assert!(left <= 2, "{left} files");
    }
    let own = dir.path().join("own.pcap");
    std::fs::copy(demo(), &own)?;
    let link = dir.path().join("link.pcap");
    std::fs::hard_link(&own, &link)?;
    for same in [&own, &link] {
        let answer = ask(&["record", "--from"], &[&own, write, same])?;
        assert_eq!(answer.code, Some(2), "{answer:?}");
        assert!(
            answer.err.contains("is the capture that is read"),
            "{answer:?}"
        );
        assert_eq!(std::fs::read(&own)?, std::fs::read(demo())?);
    }
    let answer = ask(&["record", "--from"], &[&own, write, &out])?;
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert_eq!(std::fs::metadata(&out)?.permissions().mode() & 0o777, 0o600);
    Ok(())
}

#[test]
fn no_good_is_believed_of_an_answer_that_its_counts_do_not_bear_out() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let good = edited(dir.path(), "good.json", |_| {})?;
    let later = edited(dir.path(), "later.json", |edge| {
        edge["mark"] = "newmark".into();
    })?;
    let clear = edited(dir.path(), "clear.json", |edge| {
        edge["verdict_counts"] = serde_json::json!({"plaintext": 1});
    })?;
    for (file, words) in [(&later, "4 unknown"), (&clear, "4 plaintext")] {
        let answer = ask(&["diff", "--fail-on-worse"], &[&good, file])?;
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert!(answer.out.contains("4 worse"), "{answer:?}");
        let answer = ask(&["edges", "--from"], &[file])?;
        assert!(answer.out.contains(words), "{answer:?}");
        let report = dir.path().join(words);
        let answer = ask(&["report"], &[&report, Path::new("--from"), file])?;
        assert_eq!(answer.code, Some(0), "{answer:?}");
        let page = std::fs::read_to_string(report.join("report.html"))?;
        assert!(page.contains("4 of 4 edges are not"), "{words}");
    }
    Ok(())
}

#[test]
fn counts_that_no_node_has_counted_are_an_error() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let huge = edited(dir.path(), "huge.json", |edge| {
        edge["verdict_counts"]["mtls"] = u64::MAX.into();
    })?;
    for verb in [
        &["edges", "--from"][..],
        &["check", "--require", "mtls", "--from"],
    ] {
        let answer = ask(verb, &[&huge])?;
        assert!(
            answer.err.contains("more connections than a number"),
            "{answer:?}"
        );
        assert!(!matches!(answer.code, Some(0 | 101)), "{answer:?}");
    }
    Ok(())
}

#[test]
fn an_address_of_ipv6_is_printed_as_explain_takes_it() -> Result<()> {
    let answer = ask(&["edges", "-o", "name", "--from"], &[&demo()])?;
    let line = answer
        .out
        .lines()
        .find(|line| line.contains("fd00"))
        .context("IPv6")?;
    let (from, to) = line.split_once(' ').context("two ends")?;
    assert!(to.starts_with("[fd00"), "{line}");
    let explained = ask(&["explain", from, to, "--from"], &[&demo()])?;
    assert_eq!(explained.code, Some(0), "{explained:?}");
    assert!(
        explained.out.starts_with(&format!("{from} to {to}: ")),
        "{explained:?}"
    );
    Ok(())
}

#[test]
fn labels_are_no_question_to_a_file() -> Result<()> {
    let answer = ask(&["edges", "-l", "app=web", "--from"], &[&demo()])?;
    assert_eq!(
        (answer.code, answer.out.as_str()),
        (Some(2), ""),
        "{answer:?}"
    );
    assert!(answer.err.contains("cannot be used"), "{answer:?}");
    Ok(())
}
