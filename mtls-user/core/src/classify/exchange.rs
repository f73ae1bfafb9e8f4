//! The first exchange of plaintext HTTP: what was asked, what was answered.

use super::protocols::{http1, http2};
use crate::record::HttpInfo;

/// What is still to be read of it.
#[derive(Debug)]
pub(super) struct Exchange {
    http2: bool,
    /// The request's head was read, the response's was.
    read: [bool; 2],
    /// What the request wants to change to.
    upgrade: Option<&'static str>,
    /// What the flow turned out to be, when that is more than HTTP.
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

    /// Nothing is left to read.
    pub(super) fn is_over(&self) -> bool {
        self.read == [true; 2]
    }

    /// The protocol that the exchange changed to, or that it carries.
    pub(super) fn protocol(&self) -> Option<&'static str> {
        self.protocol
    }

    /// Reads what is there of both sides; a side that is `full` will not get longer.
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

/// The reason of what a client asks in plaintext that calls itself the kubelet. Anybody can; whether it
/// is the kubelet, only its address says.
pub const CLAIMED_PROBE: &str = "unencrypted http/1.1; the client calls itself a kubelet's probe";

/// Who asks in plaintext, by what a known product calls itself.
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
