//! Who is answered: a request to this machine by its own name, with the token in its path, that reads.
//!
//! The token keeps other users and other pages out. The name keeps out a page whose own name was made
//! to lead to this machine (DNS rebinding), were it to guess the token.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::anyhow;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Of the token.
const BYTES: usize = 24;

/// What every answer says: nothing from elsewhere, to nobody else, and none of it kept.
const HEADERS: [(HeaderName, &str); 8] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    ),
];

/// What is asked of a request.
pub(super) struct Guard {
    token: String,
    /// The names that this page goes by.
    hosts: [String; 2],
}

impl Guard {
    pub(super) fn new(port: u16) -> anyhow::Result<Self> {
        let mut bytes = [0; BYTES];
        rustls::crypto::ring::default_provider()
            .secure_random
            .fill(&mut bytes)
            .map_err(|_| anyhow!("the system has no random numbers"))?;
        let mut token = String::new();
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(token, "{byte:02x}");
        }
        Ok(Self {
            token,
            hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}")],
        })
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    fn refusal(&self, request: &Request) -> Option<StatusCode> {
        // RFC 9112 §3.2.
        if request.headers().get_all(header::HOST).iter().count() != 1 {
            return Some(StatusCode::BAD_REQUEST);
        }
        if !self.is_own(request.headers()) {
            return Some(StatusCode::MISDIRECTED_REQUEST);
        }
        let path = request.uri().path().trim_start_matches('/');
        let token = path.split('/').next().unwrap_or_default();
        if !same(token.as_bytes(), self.token.as_bytes()) {
            return Some(StatusCode::FORBIDDEN);
        }
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        (!reads).then_some(StatusCode::METHOD_NOT_ALLOWED)
    }

    /// Whether it was this machine that was meant, and no other page that asks.
    fn is_own(&self, headers: &HeaderMap) -> bool {
        let is_own = |value: &HeaderValue| self.hosts.iter().any(|own| *value == **own);
        let origin = headers.get(header::ORIGIN).is_none_or(|origin| {
            let host = origin
                .to_str()
                .ok()
                .and_then(|text| text.strip_prefix("http://"));
            host.is_some_and(|host| self.hosts.iter().any(|own| own == host))
        });
        let site = headers.get("sec-fetch-site").is_none_or(|site| {
            // Typed or clicked in a terminal, or asked by the page itself.
            *site == "none" || *site == "same-origin"
        });
        headers.get(header::HOST).is_some_and(is_own) && origin && site
    }
}

/// Compares in a time that does not depend on where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differ = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differ) == 0
}

pub(super) async fn guard(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match guard.refusal(&request) {
        Some(status) => status.into_response(),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
