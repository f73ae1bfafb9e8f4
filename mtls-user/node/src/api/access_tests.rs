//! Tests with an API server that is a function.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// The API server's answer: the review with its status, or none.
type Server = dyn Fn(&Value) -> Option<Value> + Send + Sync;

fn access(server: Arc<Server>) -> (Access, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let service = tower::service_fn(move |request: axum::http::Request<Body>| {
        let (server, count) = (server.clone(), count.clone());
        async move {
            count.fetch_add(1, Ordering::Relaxed);
            let body = request.into_body().collect().await?.to_bytes();
            let mut review: Value = serde_json::from_slice(&body)?;
            let answer = server(&review);
            let text = match answer {
                Some(status) => {
                    review["status"] = status;
                    review
                }
                None => return Err("connection refused".into()),
            };
            let response = axum::http::Response::builder().status(201);
            let response = response.body(Body::from(serde_json::to_vec(&text)?))?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(response)
        }
    });
    let client = Client::new(service, "default");
    (Access::of(client), asked)
}

/// Knows `admin`, who may read everything, and `tenant`, who may read `mine`.
fn honest(review: &Value) -> Value {
    let spec = &review["spec"];
    if review["kind"] == "TokenReview" {
        assert_eq!(spec["audiences"], json!(["mtls"]));
        let token = spec["token"].as_str().unwrap();
        let known = ["admin", "tenant"].contains(&token);
        return json!({"authenticated": known, "audiences": ["mtls"],
            "user": {"username": token, "groups": ["g"]}});
    }
    let wanted = &spec["resourceAttributes"];
    assert_eq!(wanted["group"], "mtls.internal");
    assert_eq!(wanted["verb"], "get");
    assert_eq!(spec["groups"], json!(["g"]));
    let may = match spec["user"].as_str().unwrap() {
        "admin" => true,
        "tenant" => wanted["namespace"] == "mine" && wanted["resource"] != "status",
        _ => false,
    };
    json!({"allowed": may})
}

#[tokio::test]
async fn everybody_sees_what_their_role_says() {
    let (access, _) = access(Arc::new(|review: &Value| Some(honest(review))));
    let scope = |token, namespace| access.scope(token, Resource::Edges, namespace);
    assert_eq!(scope("admin", None).await, Ok(Scope::Cluster));
    assert_eq!(scope("admin", Some("mine")).await, Ok(Scope::Cluster));
    let mine = Ok(Scope::Namespace("mine".into()));
    assert_eq!(scope("tenant", Some("mine")).await, mine);
    assert_eq!(scope("tenant", None).await, Err(Refused::Forbidden));
    let foreign = [
        "theirs",
        "",
        "mine,theirs",
        "MINE",
        "mine ",
        "mine/x",
        "*",
        "-",
        "mine.",
    ];
    for namespace in foreign {
        let refused = scope("tenant", Some(namespace)).await;
        assert_eq!(refused, Err(Refused::Forbidden), "{namespace:?}");
    }
    let status = access.scope("tenant", Resource::Status, Some("mine"));
    assert_eq!(status.await, Err(Refused::Forbidden));
    for nobody in ["", "stranger", &"x".repeat(MAX_TOKEN + 1)] {
        assert_eq!(scope(nobody, None).await, Err(Refused::Unauthenticated));
    }
}

#[tokio::test]
async fn a_token_for_something_else_is_nobodys() {
    for audiences in [
        json!(null),
        json!([]),
        json!(["https://kubernetes.default.svc"]),
    ] {
        let answer = json!({"authenticated": true, "audiences": audiences,
            "user": {"username": "admin"}});
        let (access, _) = access(Arc::new(move |_: &Value| Some(answer.clone())));
        let refused = access.authenticate("admin").await;
        assert_eq!(refused, Err(Refused::Unauthenticated));
    }
    let nameless = json!({"authenticated": true, "audiences": ["mtls"]});
    let (access, _) = access(Arc::new(move |_: &Value| Some(nameless.clone())));
    let refused = access.authenticate("admin").await;
    assert_eq!(refused, Err(Refused::Unauthenticated));
}

#[tokio::test]
async fn an_answer_counts_briefly_and_nobody_is_let_in_without_one() {
    let up = Arc::new(AtomicU32::new(1));
    let is_up = up.clone();
    let server = move |review: &Value| {
        let up = is_up.load(Ordering::Relaxed) == 1;
        up.then(|| honest(review))
    };
    let (mut access, asked) = access(Arc::new(server));
    access.fresh = Duration::from_millis(500);
    let ask = || access.scope("tenant", Resource::Edges, Some("mine"));
    let mine = Ok(Scope::Namespace("mine".into()));
    for _ in 0..50 {
        assert_eq!(ask().await, mine);
    }
    // Requests: who it is, permission for everything, permission for the namespace.
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    up.store(0, Ordering::Relaxed);
    assert_eq!(ask().await, mine);
    tokio::time::sleep(access.fresh).await;
    assert_eq!(ask().await, Err(Refused::Unknown));
    up.store(1, Ordering::Relaxed);
    assert_eq!(ask().await, mine);
}

#[tokio::test]
async fn made_up_tokens_cost_the_api_server_little() {
    let (access, asked) = access(Arc::new(|review: &Value| Some(honest(review))));
    let began = Instant::now();
    let mut busy = 0;
    for n in 0..10_000 {
        match access.authenticate(&format!("made-up-{n}")).await {
            Err(Refused::Busy) => busy += 1,
            refused => assert_eq!(refused, Err(Refused::Unauthenticated)),
        }
    }
    let most = RATE.1 + RATE.0 * began.elapsed().as_secs_f64();
    assert!(f64::from(asked.load(Ordering::Relaxed)) <= most);
    assert!(busy > 0);
    assert!(access.answers.lock().unwrap().len() <= MAX_ANSWERS);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(access.authenticate("admin").await, Ok(()));
}
