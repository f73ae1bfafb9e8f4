//! What a token lets its owner see, as the Kubernetes API says.

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

/// How long an answer of the API server counts.
const FRESH: Duration = Duration::from_secs(10);
/// How long it may take to give one.
const PATIENCE: Duration = Duration::from_secs(5);
/// Answers remembered.
const MAX_ANSWERS: usize = 1_024;
/// Questions to the API server at a time.
const AT_A_TIME: usize = 4;
/// Questions per second that strangers can have asked, and how many at once: whoever sends made-up
/// tokens gets no more of the API server than this.
const RATE: (f64, f64) = (20.0, 40.0);
/// Longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 8 << 10;

/// What may be got.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Resource {
    /// Edges.
    Edges,
    /// The connections that are remembered.
    Flows,
    /// Flows as they are classified.
    Taps,
    /// How the daemon is.
    Status,
}

impl Resource {
    /// As roles name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edges => "edges",
            Self::Flows => "flows",
            Self::Taps => "taps",
            Self::Status => "status",
        }
    }
}

/// How much of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// All of it.
    Cluster,
    /// What has an end in this namespace.
    Namespace(SmolStr),
}

/// Why nothing is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// There is no token, or it is nobody's, or not for us.
    Unauthenticated,
    /// Its owner may not see this.
    Forbidden,
    /// The API server cannot be asked now.
    Unknown,
    /// Too many ask.
    Busy,
}

/// A token's digest: tokens themselves are not kept.
type Key = [u8; 32];
/// What was asked: who it is, or whether they may get something (everywhere, or in a namespace).
type Question = Option<(Resource, Option<SmolStr>)>;

#[derive(Clone)]
enum Answer {
    Is(Box<UserInfo>),
    Nobody,
    May(bool),
}

/// Asks the Kubernetes API, and remembers its answers for a moment.
pub struct Access {
    client: Client,
    /// How long an answer counts.
    fresh: Duration,
    answers: Mutex<HashMap<(Key, Question), (Instant, Answer)>>,
    turn: Semaphore,
    /// Questions left, and when that was counted.
    left: Mutex<(f64, Instant)>,
}

impl Access {
    /// By the API that a kubeconfig leads to; without one, that of the pod's own service account.
    pub async fn new(kubeconfig: Option<&Path>) -> anyhow::Result<Self> {
        Ok(Self::of(crate::pods::kubernetes::client(kubeconfig).await?))
    }

    /// By this client.
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

    /// How much of `resource` the token's owner may see: all of it, else what is in `namespace`.
    pub async fn scope(
        &self,
        token: &str,
        resource: Resource,
        namespace: Option<&str>,
    ) -> Result<Scope, Refused> {
        let (key, user) = self.user(token).await?;
        // An empty namespace would ask for all of them.
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

    /// What was answered a moment ago, else what is answered now.
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
        // Strangers come and go; those who are known are not forgotten for them.
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

/// Whose token it is, if it is for us. An API server that does not know of audiences names none: to it
/// the token was its own.
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

/// A name as namespaces have (RFC 1123 label).
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
