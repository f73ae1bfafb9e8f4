//! Saved answers: what `-o json` and `-o jsonl` wrote, and captures.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use mtls_core::capture::Capture;
use mtls_core::flow::Limits;
use mtls_core::record::{
    EdgeList, EdgeRecord, Event, FlowList, FlowRecord, List, SCHEMA, Status, Time,
};
use mtls_node::edges::EdgeTable;
use mtls_node::pods::{self, Directory};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::capture;

/// Largest saved answer read, in bytes.
const MAX: u64 = 1 << 30;
/// Most connections read from a capture or a file of lines.
const MAX_FLOWS: usize = 1_000_000;
/// Longer than any file goes back: nothing of it is past its window.
const ALL: Duration = Duration::from_hours(24 * 366 * 500);

/// What a file holds.
#[derive(Clone, Debug)]
pub(super) enum Saved {
    Edges(EdgeList),
    Flows(FlowList),
    Status(Box<Status>),
}

/// A file as messages name it.
pub(super) fn shown(path: &Path) -> String {
    match path.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => path.display().to_string(),
    }
}

/// What was on standard input, which can be read once and asked several times.
static STDIN: Mutex<Option<Saved>> = Mutex::new(None);

/// Reads a file of any of the kinds, known by its content; `-` is standard input.
pub(super) fn read(path: &Path) -> anyhow::Result<Saved> {
    if path != Path::new("-") {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (about, file) = opened.with_context(|| format!("read {}", path.display()))?;
        let size = about.is_file().then_some(about.len());
        return of_any(file, size, &shown(path));
    }
    // Nobody panics with the lock.
    let mut known = STDIN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(saved) = &*known {
        return Ok(saved.clone());
    }
    let saved = of_any(io::stdin(), None, &shown(path))?;
    Ok(known.insert(saved).clone())
}

fn of_any(mut input: impl Read + 'static, size: Option<u64>, shown: &str) -> anyhow::Result<Saved> {
    let mut text = Vec::new();
    let read = || format!("read {shown}");
    (&mut input)
        .take(4)
        .read_to_end(&mut text)
        .with_context(read)?;
    ensure!(!text.is_empty(), "{shown} is empty");
    if !is_json(&text) {
        let whole = io::Cursor::new(text).chain(input);
        let capture = Capture::new(whole, size).with_context(read)?;
        return of_capture(capture, shown);
    }
    input.take(MAX).read_to_end(&mut text).with_context(read)?;
    ensure!(
        text.len() as u64 <= MAX,
        "{shown}: a saved answer has at most 1 GiB"
    );
    of_json(&text).with_context(|| {
        format!("{shown} is no answer of `mtls edges`, `flows`, `tap`, `classify` or `status`")
    })
}

/// Whether a file that begins so is no capture. White space may come before JSON, but pcapng's magic
/// number is nothing else.
fn is_json(first: &[u8]) -> bool {
    !first.starts_with(b"\n\r\r\n")
        && first
            .first()
            .is_some_and(|byte| matches!(byte, b'{' | b'[') || byte.is_ascii_whitespace())
}

/// What tells the kinds apart.
#[derive(Deserialize)]
struct Head<'a> {
    schema: Option<u32>,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
    kernel: Option<&'a RawValue>,
    event: Option<&'a RawValue>,
    verdict_counts: Option<&'a RawValue>,
    protocol: Option<&'a RawValue>,
}

pub(super) fn of_json(text: &[u8]) -> anyhow::Result<Saved> {
    let text = std::str::from_utf8(text)?;
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let first = documents.next().context("it is empty")??.get();
    let head: Head<'_> = serde_json::from_str(first)?;
    let schema = head.schema.context("it has no `schema`")?;
    ensure!(
        schema == SCHEMA,
        "it has schema {schema}, and this program reads schema {SCHEMA}"
    );
    if head.kernel.is_some() {
        return Ok(Saved::Status(Box::new(serde_json::from_str(first)?)));
    }
    if let Some(items) = head.items {
        return list(first, items.first().map(|item| item.get()));
    }
    // A record a line.
    let rest = documents.map(|one| Ok(one?.get()));
    let all = std::iter::once(anyhow::Ok(first)).chain(rest);
    if head.verdict_counts.is_some() {
        let items = all.map(|one| Ok(serde_json::from_str(one?)?));
        let items: Vec<EdgeRecord> = items.collect::<anyhow::Result<_>>()?;
        let node = items.first().and_then(|edge| edge.node.clone());
        let latest = items.iter().map(|edge| edge.last_seen).max();
        return Ok(Saved::Edges(EdgeList {
            node,
            ..edge_list(latest.unwrap_or_default(), items)
        }));
    }
    if head.protocol.is_some() || head.event.is_some() {
        return Ok(Saved::Flows(lines(all)?));
    }
    bail!("it has neither `items` nor a record a line")
}

/// A document with `items`; an empty one of edges is distinguished from one of flows by what else it says.
fn list(text: &str, first: Option<&str>) -> anyhow::Result<Saved> {
    let whole: Value = match first {
        // Of a large document only what decides is looked at.
        Some(first) => serde_json::from_str(first)?,
        None => serde_json::from_str(text)?,
    };
    let has = |name: &str| whole.get(name).is_some();
    if has("verdict_counts") || (first.is_none() && has("watched") && !has("history")) {
        return Ok(Saved::Edges(serde_json::from_str(text)?));
    }
    if has("protocol") || (first.is_none() && (has("history") || !has("watched"))) {
        return Ok(Saved::Flows(serde_json::from_str(text)?));
    }
    bail!("its items are neither edges nor flows")
}

/// What `mtls tap -o jsonl` and `mtls classify -o jsonl` wrote: the last that was said of each
/// connection.
fn lines<'a>(all: impl Iterator<Item = anyhow::Result<&'a str>>) -> anyhow::Result<FlowList> {
    let mut items = Vec::<FlowRecord>::new();
    let mut known = std::collections::HashMap::new();
    let mut missed = 0;
    for line in all {
        let value: Value = serde_json::from_str(line?)?;
        if let Some(n) = value.get("missed").and_then(Value::as_u64) {
            missed += n;
            continue;
        }
        let flow: FlowRecord = serde_json::from_value(value)?;
        let at = match flow.connection {
            Some(number) => *known
                .entry((flow.node.clone(), number))
                .or_insert(items.len()),
            None => items.len(),
        };
        match items.get_mut(at) {
            Some(place) => *place = flow,
            None if at < MAX_FLOWS => items.push(flow),
            None => bail!("it has more than {MAX_FLOWS} connections"),
        }
    }
    if missed > 0 {
        eprintln!("mtls: {missed} events were missed when this was recorded");
    }
    Ok(flow_list(items))
}

fn of_capture(capture: Capture, shown: &str) -> anyhow::Result<Saved> {
    let mut items = Vec::new();
    let mut dropped = 0_u64;
    let mut unread = capture::Unread::default();
    let inherit = Limits::default().inherit;
    let whole = capture::read(
        capture,
        shown,
        inherit,
        &mut unread,
        |_| {},
        |flow| {
            if items.len() < MAX_FLOWS {
                items.push(flow);
            } else {
                dropped += 1;
            }
        },
    )?;
    unread.say();
    ensure!(
        dropped == 0,
        "{shown} has more than {MAX_FLOWS} connections"
    );
    // Who asks a question of a part of a capture must know that it is one: an answer from it could
    // be taken for one about all of it.
    ensure!(whole, "{shown} breaks off");
    let directory = Directory::new();
    for flow in &mut items {
        pods::name_flow(&directory, flow);
        flow.event = Some(Event::Closed.into());
    }
    Ok(Saved::Flows(flow_list(items)))
}

fn flow_list(items: Vec<FlowRecord>) -> FlowList {
    let node = items.first().and_then(|flow| flow.node.clone());
    let latest = items.iter().map(|flow| flow.last_seen).max();
    FlowList {
        schema: SCHEMA,
        node,
        // Nothing was seen, as of now.
        generated: latest.unwrap_or_else(|| Time::from_nanos(mtls_node::clock::now())),
        window_seconds: 0,
        nodes: None,
        watched: None,
        history: None,
        items,
    }
}

fn edge_list(generated: Time, items: Vec<EdgeRecord>) -> EdgeList {
    let list = List::new(None, generated, items);
    EdgeList {
        schema: list.schema,
        node: list.node,
        generated,
        window_seconds: 0,
        nodes: None,
        watched: mtls_core::record::Watched::default(),
        items: list.items,
    }
}

impl Saved {
    fn kind(&self) -> &'static str {
        match self {
            Self::Edges(_) => "edges",
            Self::Flows(_) => "flows",
            Self::Status(_) => "a status",
        }
    }

    /// Its edges; of flows, what they add up to.
    pub(super) fn edges(self, path: &Path) -> anyhow::Result<EdgeList> {
        match self {
            Self::Edges(list) => {
                let mut counts = list.items.iter().map(EdgeRecord::counts);
                let all = counts.try_fold(0_u64, |sum, n| sum.checked_add(n?));
                ensure!(
                    all.is_some(),
                    "{} counts more connections than a number can hold: it is no answer of mtls",
                    shown(path)
                );
                Ok(list)
            }
            Self::Flows(list) => Ok(added_up(list)),
            Self::Status(_) => bail!("{} holds {}, and no edges", shown(path), self.kind()),
        }
    }

    pub(super) fn flows(self, path: &Path) -> anyhow::Result<FlowList> {
        match self {
            Self::Flows(mut list) => {
                list.items.sort_by_key(|flow| flow.last_seen);
                Ok(list)
            }
            _ => bail!(
                "{} holds {}, which do not tell one connection from another: save `mtls flows -o json`",
                shown(path),
                self.kind()
            ),
        }
    }

    pub(super) fn status(self, path: &Path) -> anyhow::Result<Status> {
        match self {
            Self::Status(status) => Ok(*status),
            _ => bail!("{} holds {}, and no status", shown(path), self.kind()),
        }
    }
}

fn added_up(list: FlowList) -> EdgeList {
    let mut table = EdgeTable::new(ALL, list.node.clone());
    let mut flows = list.items;
    flows.sort_by_key(|flow| flow.last_seen);
    let directory = Directory::new();
    for mut flow in flows {
        if flow.src.workload.is_none() || flow.dst.workload.is_none() {
            pods::name_flow(&directory, &mut flow);
        }
        table.observe(&flow);
    }
    EdgeList {
        node: list.node,
        window_seconds: list.window_seconds,
        nodes: None,
        watched: list.watched.unwrap_or_default(),
        ..edge_list(list.generated, table.records(list.generated.as_nanos()))
    }
}
