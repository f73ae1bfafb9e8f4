//! A scripted Kubernetes API: it lists and watches the objects that it is given, and can be made to
//! fail in the ways in which a real one does.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// The next behaviour.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// This many of the next requests are answered with `429` and `Retry-After: 1`.
    pub too_many: u32,
    /// The next watch of this resource is told within the stream that its version has expired.
    pub expired: Option<&'static str>,
    /// The next watch of this resource is immediately answered with `410`.
    pub gone: Option<&'static str>,
    /// Each list takes this long.
    pub slow: Duration,
    /// Every connection is closed without an answer.
    pub down: bool,
}

/// Request counts and sizes.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Lists, by resource.
    pub lists: BTreeMap<String, u32>,
    /// Watches, by resource.
    pub watches: BTreeMap<String, u32>,
    /// Bytes of all answers.
    pub bytes: u64,
    /// The last query of each resource.
    pub queries: BTreeMap<String, String>,
}

/// The server; it ends with its guard.
pub struct ApiServer {
    state: Arc<State>,
    addr: SocketAddr,
}

#[derive(Default)]
struct State {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    /// By resource (`pods`) and key, as JSON including its version.
    objects: BTreeMap<String, BTreeMap<String, Value>>,
    /// Events for watchers: version, resource, event.
    events: Vec<(u64, String, String)>,
    version: u64,
    faults: Faults,
    asked: Asked,
    /// Incremented to end all watches.
    era: u64,
    ended: bool,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ApiServer {
    /// Listens on the loopback of the thread's network namespace.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen as an API server")?;
        let addr = listener.local_addr()?;
        let state = Arc::new(State::default());
        // A real one has a history, too.
        state.lock().version = 1;
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.lock().ended {
                    return;
                }
                let state = shared.clone();
                // A client that disconnects during an answer does not matter.
                std::thread::spawn(move || answer(&state, stream).is_ok());
            }
        });
        Ok(Self { state, addr })
    }

    /// Writes a kubeconfig for this server.
    pub fn kubeconfig(&self, dir: &Path) -> Result<PathBuf> {
        let path = dir.join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.addr)}}],
            "users": [{"name": "u", "user": {"token": "test"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&path, config.to_string())
            .with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Adds or replaces an object, and notifies watchers.
    pub fn apply(&self, resource: &str, object: Value) {
        self.change(resource, object, "MODIFIED");
    }

    /// Deletes an object, and notifies watchers.
    pub fn delete(&self, resource: &str, object: Value) {
        self.change(resource, object, "DELETED");
    }

    fn change(&self, resource: &str, mut object: Value, event: &str) {
        let mut inner = self.state.lock();
        inner.version += 1;
        let version = inner.version;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        let key = format!(
            "{}/{}",
            object["metadata"]["namespace"], object["metadata"]["name"]
        );
        let line = json!({"type": event, "object": object}).to_string();
        let objects = inner.objects.entry(resource.into()).or_default();
        if event == "DELETED" {
            objects.remove(&key);
        } else {
            objects.insert(key, object);
        }
        inner.events.push((version, resource.into(), line));
        drop(inner);
        self.state.changed.notify_all();
    }

    /// Changes the fault.
    pub fn fail(&self, change: impl FnOnce(&mut Faults)) {
        let mut inner = self.state.lock();
        change(&mut inner.faults);
        // Clients experience a fault when they ask again.
        inner.era += 1;
        drop(inner);
        self.state.changed.notify_all();
    }

    /// Ends all watches, as a restarted load balancer does.
    pub fn drop_watches(&self) {
        self.fail(|_| {});
    }

    /// Counts so far.
    pub fn asked(&self) -> Asked {
        self.state.lock().asked.clone()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        let mut inner = self.state.lock();
        inner.ended = true;
        inner.era += 1;
        drop(inner);
        self.state.changed.notify_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.addr);
    }
}

/// Answers one request; the connection ends with it.
fn answer(state: &State, mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let target = line.split(' ').nth(1).context("no request")?.to_owned();
    // The headers do not matter here.
    loop {
        let mut header = String::new();
        if reader.by_ref().take(65_536).read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let resource = path.rsplit('/').next().unwrap_or_default().to_owned();
    let option = |name: &str| {
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key == name).then(|| value.to_owned())
        })
    };
    let watch = matches!(option("watch").as_deref(), Some("true" | "1"));
    let (faults, is_expired, is_gone) = {
        let mut inner = state.lock();
        if inner.faults.down || inner.ended {
            return Ok(());
        }
        let asked = &mut inner.asked;
        let count = if watch {
            &mut asked.watches
        } else {
            &mut asked.lists
        };
        *count.entry(resource.clone()).or_default() += 1;
        asked.queries.insert(resource.clone(), query.to_owned());
        let faults = inner.faults.clone();
        inner.faults.too_many = faults.too_many.saturating_sub(1);
        let of_this = |fault: &mut Option<&'static str>| {
            watch && fault.take_if(|of| *of == resource).is_some()
        };
        let expired = of_this(&mut inner.faults.expired);
        let gone = of_this(&mut inner.faults.gone);
        (faults, expired, gone)
    };
    if faults.too_many > 0 {
        let body = status(429, "TooManyRequests").to_string();
        return respond(
            state,
            &mut stream,
            "429 Too Many Requests",
            "Retry-After: 1\r\n",
            &body,
        );
    }
    if !watch {
        std::thread::sleep(faults.slow);
        let start: usize = option("continue").and_then(|c| c.parse().ok()).unwrap_or(0);
        let limit = option("limit").and_then(|limit| limit.parse().ok());
        // Like a real one, it ignores the limit of a list that may come from its cache.
        let cached = option("resourceVersion").as_deref() == Some("0");
        let limit = limit.filter(|_| !cached).unwrap_or(usize::MAX);
        let body = list(state, &resource, selector(query).as_deref(), start, limit).to_string();
        return respond(state, &mut stream, "200 OK", "", &body);
    }
    let expired = status(410, "Expired");
    if is_gone {
        return respond(state, &mut stream, "410 Gone", "", &expired.to_string());
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
    )?;
    if is_expired {
        writeln!(stream, "{}", json!({"type": "ERROR", "object": expired}))?;
        return Ok(());
    }
    let since = option("resourceVersion")
        .and_then(|v| v.parse().ok())
        .unwrap_or(0);
    follow(
        state,
        &mut stream,
        &resource,
        selector(query).as_deref(),
        since,
    )
}

/// The node whose pods the query selects.
fn selector(query: &str) -> Option<String> {
    let (_, rest) = query.split_once("spec.nodeName")?;
    let value = rest.trim_start_matches("%3D").trim_start_matches('=');
    Some(value.split('&').next().unwrap_or_default().to_owned())
}

fn selected(object: &Value, node: Option<&str>) -> bool {
    node.is_none_or(|node| object["spec"]["nodeName"] == node)
}

fn list(state: &State, resource: &str, node: Option<&str>, start: usize, limit: usize) -> Value {
    let inner = state.lock();
    let all: Vec<&Value> = inner
        .objects
        .get(resource)
        .into_iter()
        .flat_map(BTreeMap::values)
        .filter(|object| selected(object, node))
        .collect();
    let end = start.saturating_add(limit).min(all.len());
    let mut metadata = json!({"resourceVersion": inner.version.to_string()});
    if end < all.len() {
        metadata["continue"] = end.to_string().into();
    }
    json!({
        "apiVersion": "v1", "kind": "List", "metadata": metadata,
        "items": all[start.min(end)..end],
    })
}

/// Reports events after `since`, until the era ends.
fn follow(
    state: &State,
    stream: &mut TcpStream,
    resource: &str,
    node: Option<&str>,
    mut since: u64,
) -> Result<()> {
    let mut inner = state.lock();
    let era = inner.era;
    while inner.era == era {
        let news: Vec<_> = inner
            .events
            .iter()
            .filter(|(version, of, _)| *version > since && of == resource)
            .map(|(_, _, line)| line.clone())
            .collect();
        since = inner.version;
        inner.asked.bytes += news.iter().map(|line| line.len() as u64).sum::<u64>();
        drop(inner);
        for line in news {
            let event: Value = serde_json::from_str(&line)?;
            if selected(&event["object"], node) {
                writeln!(stream, "{line}")?;
            }
        }
        stream.flush()?;
        inner = state.lock();
        if inner.era == era && inner.version == since {
            inner = state
                .changed
                .wait_timeout(inner, Duration::from_secs(1))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
    Ok(())
}

fn status(code: u16, reason: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": format!("scripted: {reason}"), "reason": reason, "code": code,
    })
}

fn respond(
    state: &State,
    stream: &mut TcpStream,
    status: &str,
    headers: &str,
    body: &str,
) -> Result<()> {
    state.lock().asked.bytes += body.len() as u64;
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\
         connection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}

/// A pod in the API as created by a Deployment's controller and a kubelet.
pub fn pod(namespace: &str, deployment: &str, node: &str, ip: &str) -> Value {
    let hash = "7d9c5b";
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{deployment}-{hash}-x2x4z"), "namespace": namespace,
            "uid": format!("uid-{deployment}"), "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": deployment, "pod-template-hash": hash},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": true, "uid": "r",
                "name": format!("{deployment}-{hash}"),
            }],
        },
        "spec": {
            "nodeName": node, "serviceAccountName": format!("{deployment}-sa"),
            "containers": [{"name": deployment, "image": "x"}],
        },
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]},
    })
}
