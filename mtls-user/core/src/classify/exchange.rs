//! The first exchange of plaintext HTTP: request and response.

use super::protocols::{http1, http2};
use crate::record::HttpInfo;

/// The parsing state of the exchange.
#[derive(Debug)]
pub(super) struct Exchange {
    http2: bool,
    /// Whether the request's header was read, and the response's.
    read: [bool; 2],
    /// The protocol that the request wants to upgrade to.
    upgrade: Option<&'static str>,
    /// What the flow turned out to be, if it is more than HTTP.
    protocol: Option<&'static str>,
}

impl Exchange {
    pub(super) fn new(protocol: &str) -> Self {
        Self {
            http2: protocol == "http/2",
            read: [false; 2],
            upgrade: None,
            protocol: None,
        }
    }

    /// Whether nothing is left to read.
    pub(super) fn is_over(&self) -> bool {
        self.read == [true; 2]
    }

    /// The protocol that the exchange upgraded to, or that it carries.
    pub(super) fn protocol(&self) -> Option<&'static str> {
        self.protocol
    }

    /// Reads what is available of both sides; a side that is `full` will not grow any more.
    pub(super) fn read(&mut self, sides: [&[u8]; 2], full: [bool; 2], info: &mut HttpInfo) {
        let [client, server] = sides;
        if !self.read[0] {
            self.read[0] = self.request(client, info) || full[0];
        }
        if !self.read[1] && !server.is_empty() {
            let read = if self.http2 {
                http2::read_response(server, info)
            } else {
                http1::read_response(server, info)
            };
            self.read[1] = read || full[1];
            if info.status == Some(101) {
                self.protocol = self.upgrade;
            }
        }
    }

    fn request(&mut self, bytes: &[u8], info: &mut HttpInfo) -> bool {
        if self.http2 {
            let mut grpc = false;
            let read = http2::read_request(bytes, info, &mut grpc);
            self.protocol = grpc.then_some("grpc");
            return read;
        }
        http1::read_request(bytes, info, &mut self.upgrade)
    }
}

/// The reason for a plaintext request whose client calls itself the kubelet. Anybody can do that;
/// only its address shows whether it is the kubelet.
pub const CLAIMED_PROBE: &str = "unencrypted http/1.1; the client calls itself a kubelet's probe";

/// The client of a plaintext request, by a known product's user agent.
pub(super) fn by_nature(info: &HttpInfo) -> Option<&'static str> {
    let agent = info.user_agent.as_deref()?;
    if agent.starts_with("kube-probe/") {
        Some(CLAIMED_PROBE)
    } else if agent.starts_with("Prometheus/") {
        Some("unencrypted http/1.1; the client calls itself Prometheus")
    } else {
        None
    }
}
