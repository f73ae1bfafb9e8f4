//! One watch: a list, then changes to it, indefinitely.
//!
//! After a dropped connection, it continues where it was; only if the server no longer has that
//! version (410), everything is listed again. Failures are reported immediately and retried with
//! increasing pauses. (The client below handles 429 with `Retry-After`.)

use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Client, Error};
use tokio::sync::mpsc;

use super::change::{Change, News};
use super::object::{Kind, Slim};
use crate::pods::MAX_ENTRIES;
use crate::pods::entry::clean;

/// Objects per page, if the server does not have them all in memory.
const PAGE: u32 = 500;
/// The server ends a watch after this many seconds; it is then resumed.
const WATCH: u32 = 290;
/// No answer for this long is reported,
const SLOW: Duration = Duration::from_secs(10);
/// and for this long leads to a restart. It covers a server's `Retry-After`.
const TOO_SLOW: Duration = Duration::from_mins(5);
/// A kind that does not exist is requested again after this time.
const ABSENT: Duration = Duration::from_mins(5);
/// First and longest pause after a failure.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// A watch of the objects of kind `T`.
pub(super) struct Watch<T: Kind> {
    client: Client,
    api: Api<Slim<T>>,
    selector: Option<String>,
    /// Read from the database in pages, instead of from the server's memory in one piece.
    paged: bool,
}

/// Why a watch ended.
enum End {
    /// As it does every few minutes.
    Closed,
    /// The server no longer has that version.
    Expired,
    /// The API does not have this kind in this version.
    Absent,
    Failed(String),
    /// No receiver is left.
    Unwanted,
}

/// Where the changes are sent.
struct Outbox<T> {
    news: mpsc::Sender<News>,
    wrap: fn(Change<T>) -> News,
}

impl<T> Outbox<T> {
    async fn send(&self, change: Change<T>) -> Result<(), End> {
        let sent = self.news.send((self.wrap)(change)).await;
        sent.map_err(|_| End::Unwanted)
    }
}

impl<T: Kind> Watch<T> {
    pub(super) fn new(client: Client, selector: Option<String>, paged: bool) -> Self {
        Self {
            api: Api::all_with(client.clone(), &T::VERSIONS[0]),
            client,
            selector,
            paged,
        }
    }

    pub(super) async fn run(mut self, news: mpsc::Sender<News>, wrap: fn(Change<T>) -> News) {
        let out = Outbox { news, wrap };
        let mut version = None;
        // The API version that has this kind.
        let mut dialect = 0;
        let mut pause = PAUSE.0;
        loop {
            let began = Instant::now();
            let end = match version.take() {
                None => self.list(&out).await.map(|listed| version = Some(listed)),
                Some(mut at) => {
                    let end = self.watch(&out, &mut at).await;
                    version = Some(at);
                    Err(end)
                }
            };
            let reason = match end {
                Ok(()) => continue,
                Err(End::Unwanted) => return,
                Err(End::Closed) => None,
                Err(End::Expired) => {
                    version = None;
                    None
                }
                Err(End::Absent) => {
                    version = None;
                    dialect = (dialect + 1) % T::VERSIONS.len();
                    self.api = Api::all_with(self.client.clone(), &T::VERSIONS[dialect]);
                    if dialect == 0 {
                        if out.send(Change::All(Vec::new())).await.is_err() {
                            return;
                        }
                        tokio::time::sleep(jittered(ABSENT)).await;
                    }
                    continue;
                }
                Err(End::Failed(reason)) => Some(reason),
            };
            // A watch that lasted for a while was successful, however it ended.
            if began.elapsed() > PAUSE.1 {
                pause = PAUSE.0;
            }
            if let Some(reason) = reason {
                tracing::debug!("watch {}: {reason}", T::PLURAL);
                if out.send(Change::Failed(told::<T>(&reason))).await.is_err() {
                    return;
                }
            } else if began.elapsed() > SLOW {
                continue;
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Lists everything; returns the version from which to continue.
    async fn list(&self, out: &Outbox<T>) -> Result<String, End> {
        let mut params = ListParams::default().limit(PAGE);
        params.field_selector.clone_from(&self.selector);
        if !self.paged {
            params = params.match_any();
        }
        let mut all = Vec::new();
        loop {
            let page = self.patiently(out, self.api.list(&params)).await?;
            let readable = page.items.into_iter().filter_map(|object| {
                let key = object.key();
                if object.body.is_none() {
                    tracing::warn!("passed over {} {}: malformed", T::KIND, clean(&key));
                }
                Some((key, object.body?))
            });
            all.extend(readable);
            all.truncate(MAX_ENTRIES);
            let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) else {
                let version = page.metadata.resource_version.unwrap_or_default();
                if version.is_empty() {
                    return Err(End::Failed("the list has no resource version".into()));
                }
                out.send(Change::All(all)).await?;
                return Ok(version);
            };
            params = params.continue_token(&token);
            // The token also represents the version.
            params.resource_version = None;
            params.version_match = None;
        }
    }

    /// Follows changes from `version` on, which is kept up to date.
    async fn watch(&self, out: &Outbox<T>, version: &mut String) -> End {
        match self.try_watch(out, version).await {
            Ok(end) | Err(end) => end,
        }
    }

    async fn try_watch(&self, out: &Outbox<T>, version: &mut String) -> Result<End, End> {
        let mut params = WatchParams::default().timeout(WATCH);
        params.field_selector.clone_from(&self.selector);
        let stream = self
            .patiently(out, self.api.watch(&params, version))
            .await?;
        let mut stream = std::pin::pin!(stream);
        out.send(Change::Alive).await?;
        let silence = Duration::from_secs(u64::from(WATCH)) + SLOW;
        // A silently dead connection ends through this timeout.
        while let Ok(Some(event)) = tokio::time::timeout(silence, stream.next()).await {
            match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    follow(version, &object);
                    let key = object.key();
                    let change = match object.body {
                        Some(body) => Change::Apply(key, body),
                        // It differs from what was known, in an unknown way.
                        None => Change::Delete(key),
                    };
                    out.send(change).await?;
                }
                Ok(WatchEvent::Deleted(object)) => {
                    follow(version, &object);
                    out.send(Change::Delete(object.key())).await?;
                }
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    *version = bookmark.metadata.resource_version;
                    out.send(Change::Alive).await?;
                }
                Ok(WatchEvent::Error(status)) if status.code == 410 => return Ok(End::Expired),
                Ok(WatchEvent::Error(status)) => {
                    return Ok(End::Failed(format!("{}: {}", status.code, status.message)));
                }
                // It is not known what it was about: only a list can show that.
                Err(Error::SerdeError(_)) => return Ok(End::Expired),
                Err(error) => return Err(end::<T>(&error)),
            }
        }
        Ok(End::Closed)
    }

    /// Waits for an answer, and reports if that takes long.
    async fn patiently<A>(
        &self,
        out: &Outbox<T>,
        question: impl Future<Output = Result<A, Error>>,
    ) -> Result<A, End> {
        let mut question = std::pin::pin!(question);
        let answer = if let Ok(answer) = tokio::time::timeout(SLOW, &mut question).await {
            answer
        } else {
            let slow = format!("no answer for {} s, still waiting", SLOW.as_secs());
            out.send(Change::Failed(told::<T>(&slow))).await?;
            tokio::time::timeout(TOO_SLOW, question)
                .await
                .map_err(|_| End::Failed("no answer for minutes".into()))?
        };
        answer.map_err(|error| end::<T>(&error))
    }
}

fn follow<T: Kind>(version: &mut String, object: &Slim<T>) {
    if let Some(new) = object.version() {
        new.clone_into(version);
    }
}

fn end<T: Kind>(error: &Error) -> End {
    match error {
        Error::Api(status) if status.code == 404 && T::IS_CUSTOM => End::Absent,
        Error::Api(status) if status.code == 410 => End::Expired,
        Error::Api(status) if matches!(status.code, 401 | 403) => End::Failed(format!(
            "{}: grant the daemon's service account list and watch on it",
            status.message
        )),
        Error::Api(status) => End::Failed(format!("{}: {}", status.code, status.message)),
        error => End::Failed(root(error)),
    }
}

/// The outermost and the innermost error: `ServiceError: … Connection refused`.
fn root(error: &Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn told<T: Kind>(reason: &str) -> String {
    clean(&format!("{}: {reason}", T::PLURAL)).into()
}

/// Up to half as long again, so that not all nodes retry at once.
fn jittered(pause: Duration) -> Duration {
    let random = foldhash::fast::RandomState::default();
    let dice = std::hash::BuildHasher::hash_one(&random, pause) % 512;
    pause + pause * dice as u32 / 1_024
}
