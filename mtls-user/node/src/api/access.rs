//! What a token's owner may see, according to the Kubernetes API.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use k8s_openapi::api::authentication::v1::{
    TokenReview, TokenReviewSpec, TokenReviewStatus, UserInfo,
};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};
use sha2::{Digest, Sha256};
use smol_str::SmolStr;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::{AUDIENCE, GROUP};

/// How long an answer of the API server is cached.
const FRESH: Duration = Duration::from_secs(10);
/// Timeout for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Answers cached.
const MAX_ANSWERS: usize = 1_024;
/// Concurrent requests to the API server.
const AT_A_TIME: usize = 4;
/// Requests to the API server per second for unknown tokens, and the burst limit: a client that
/// sends made-up tokens cannot use more of the API server than this.
const RATE: (f64, f64) = (20.0, 40.0);
/// Longest token that is processed, in bytes.
const MAX_TOKEN: usize = 8 << 10;

/// A resource that can be read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Resource {
    /// Edges.
    Edges,
    /// The remembered connections.
    Flows,
    /// Flows as they are classified.
    Taps,
    /// The state of the daemon.
    Status,
}

impl Resource {
    /// Its name in RBAC roles.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edges => "edges",
            Self::Flows => "flows",
            Self::Taps => "taps",
            Self::Status => "status",
        }
    }
}

/// The permitted scope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Everything.
    Cluster,
    /// What has an end in this namespace.
    Namespace(SmolStr),
}

/// Why access is denied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// There is no token, or it is invalid, or for another audience.
    Unauthenticated,
    /// Its owner may not see this.
    Forbidden,
    /// The API server cannot be reached at the moment.
    Unknown,
    /// Too many requests.
    Busy,
}

/// A token's digest: tokens themselves are not stored.
type Key = [u8; 32];
/// What was asked: the token's owner, or whether they may read something (everywhere, or in a
/// namespace).
type Question = Option<(Resource, Option<SmolStr>)>;

#[derive(Clone)]
enum Answer {
    Is(Box<UserInfo>),
    Nobody,
    May(bool),
}

/// Queries the Kubernetes API, and caches its answers for a short time.
pub struct Access {
    client: Client,
    /// How long an answer is cached.
    fresh: Duration,
    answers: Mutex<HashMap<(Key, Question), (Instant, Answer)>>,
    turn: Semaphore,
    /// Remaining requests, and when that was computed.
    left: Mutex<(f64, Instant)>,
}

impl Access {
    /// Uses the API of a kubeconfig; without one, that of the pod's own service account.
    pub async fn new(kubeconfig: Option<&Path>) -> anyhow::Result<Self> {
        Ok(Self::of(crate::pods::kubernetes::client(kubeconfig).await?))
    }

    /// Uses this client.
    pub fn of(client: Client) -> Self {
        Self {
            client,
            fresh: FRESH,
            answers: Mutex::default(),
            turn: Semaphore::new(AT_A_TIME),
            left: Mutex::new((RATE.1, Instant::now())),
        }
    }

    /// Whether anybody has this token.
    pub async fn authenticate(&self, token: &str) -> Result<(), Refused> {
        self.user(token).await.map(drop)
    }

    /// How much of `resource` the token's owner may see: all of it, or else what is in `namespace`.
    pub async fn scope(
        &self,
        token: &str,
        resource: Resource,
        namespace: Option<&str>,
    ) -> Result<Scope, Refused> {
        let (key, user) = self.user(token).await?;
        // An empty namespace would mean all of them.
        if namespace.is_some_and(|name| !is_label(name)) {
            return Err(Refused::Forbidden);
        }
        if self.may(key, &user, resource, None).await? {
            return Ok(Scope::Cluster);
        }
        let Some(namespace) = namespace.map(SmolStr::new) else {
            return Err(Refused::Forbidden);
        };
        let own = Some(namespace.clone());
        if self.may(key, &user, resource, own).await? {
            Ok(Scope::Namespace(namespace))
        } else {
            Err(Refused::Forbidden)
        }
    }

    async fn user(&self, token: &str) -> Result<(Key, UserInfo), Refused> {
        if token.is_empty() || token.len() > MAX_TOKEN {
            return Err(Refused::Unauthenticated);
        }
        let key: Key = Sha256::digest(token.as_bytes()).into();
        let answer = self.ask(key, None, async {
            let review = TokenReview {
                spec: TokenReviewSpec {
                    audiences: Some(vec![AUDIENCE.into()]),
                    token: token.into(),
                },
                ..TokenReview::default()
            };
            let reviews = Api::<TokenReview>::all(self.client.clone());
            let answer = reviews.create(&PostParams::default(), &review).await?;
            Ok(match answer.status.and_then(owner) {
                Some(user) => Answer::Is(user.into()),
                None => Answer::Nobody,
            })
        });
        match answer.await? {
            Answer::Is(user) => Ok((key, *user)),
            _ => Err(Refused::Unauthenticated),
        }
    }

    async fn may(
        &self,
        key: Key,
        user: &UserInfo,
        resource: Resource,
        namespace: Option<SmolStr>,
    ) -> Result<bool, Refused> {
        let question = Some((resource, namespace.clone()));
        let answer = self.ask(key, question, async {
            let review = SubjectAccessReview {
                spec: SubjectAccessReviewSpec {
                    user: user.username.clone(),
                    uid: user.uid.clone(),
                    groups: user.groups.clone(),
                    extra: user.extra.clone(),
                    resource_attributes: Some(ResourceAttributes {
                        group: Some(GROUP.into()),
                        resource: Some(resource.as_str().into()),
                        verb: Some("get".into()),
                        namespace: namespace.map(String::from),
                        ..ResourceAttributes::default()
                    }),
                    ..SubjectAccessReviewSpec::default()
                },
                ..SubjectAccessReview::default()
            };
            let reviews = Api::<SubjectAccessReview>::all(self.client.clone());
            let answer = reviews.create(&PostParams::default(), &review).await?;
            Ok(Answer::May(answer.status.is_some_and(|status| {
                status.allowed && status.denied != Some(true)
            })))
        });
        Ok(matches!(answer.await?, Answer::May(true)))
    }

    /// The cached answer, or else a new one.
    async fn ask(
        &self,
        key: Key,
        question: Question,
        now: impl Future<Output = kube::Result<Answer>>,
    ) -> Result<Answer, Refused> {
        let at = (key, question);
        if let Some(answer) = self.known(&at) {
            return Ok(answer);
        }
        if !self.take() {
            return Err(Refused::Busy);
        }
        let asked = timeout(PATIENCE, async {
            let _turn = self.turn.acquire().await;
            now.await
        });
        match asked.await {
            Ok(Ok(answer)) => {
                self.remember(at, answer.clone());
                Ok(answer)
            }
            Ok(Err(error)) => {
                tracing::warn!("asking the Kubernetes API about a caller: {error}");
                Err(Refused::Unknown)
            }
            Err(_) => Err(Refused::Unknown),
        }
    }

    fn known(&self, at: &(Key, Question)) -> Option<Answer> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, answer) = answers.get(at)?;
        (since.elapsed() < self.fresh).then(|| answer.clone())
    }

    fn remember(&self, at: (Key, Question), answer: Answer) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MAX_ANSWERS {
            answers.retain(|_, (since, _)| since.elapsed() < self.fresh);
        }
        // Entries of unknown tokens do not displace those of known ones.
        if answers.len() < MAX_ANSWERS {
            answers.insert(at, (Instant::now(), answer));
        }
    }

    fn take(&self) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let gained = now.duration_since(left.1).as_secs_f64() * RATE.0;
        *left = ((left.0 + gained).min(RATE.1), now);
        let enough = left.0 >= 1.0;
        if enough {
            left.0 -= 1.0;
        }
        enough
    }
}

/// The owner of the token, if it is meant for us. An API server without support for audiences
/// returns none: it treats the token as its own.
fn owner(status: TokenReviewStatus) -> Option<UserInfo> {
    let ours = status
        .audiences
        .is_some_and(|all| all.iter().any(|one| one == AUDIENCE));
    let user = status.user.filter(|user| {
        user.username
            .as_deref()
            .is_some_and(|name| !name.is_empty())
    });
    (status.authenticated == Some(true) && ours)
        .then_some(user)
        .flatten()
}

/// Whether a string is a valid namespace name (RFC 1123 label).
fn is_label(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    matches!(name.len(), 1..=63)
        && name.bytes().all(|b| is_plain(b) || b == b'-')
        && name.bytes().next().is_some_and(is_plain)
        && name.bytes().last().is_some_and(is_plain)
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
