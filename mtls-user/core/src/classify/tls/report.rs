//! The facts as JSON types.

use smol_str::SmolStr;

use crate::classify::call::{Call, Reason};
use crate::classify::hello::Hello;
use crate::classify::sessions::Origin;
use crate::mesh::Mesh;
use crate::record::{TlsInfo, Verdict};
use crate::wire::tls::names;

use super::Facts;
use super::facts::FirstItem;

impl Facts {
    /// What the handshake contained, besides the verdict that was derived from it.
    pub(in crate::classify) fn info(&self, call: Option<&Call>) -> Box<TlsInfo> {
        let mut info = Box::<TlsInfo>::default();
        if let Some(hello) = &self.hello {
            hello.info(&mut info);
        }
        if let Some(chosen) = &self.chosen {
            info.version = Some(names::version(chosen.version));
            info.cipher = Some(names::cipher(chosen.cipher));
            info.group = chosen.group.map(names::group);
            let resumed = if chosen.is_13() {
                Some(chosen.psk.is_some() && !info.external_psk)
            } else {
                self.first.map(|first| first == FirstItem::ChangeCipherSpec)
            };
            info.resumed = resumed;
            if chosen.is_13() {
                info.external_psk &= chosen.psk.is_some();
                if let [only] = &*info.alpn_offered {
                    info.alpn = Some(only.clone());
                }
            } else {
                info.alpn = self.rest.as_ref().and_then(|rest| rest.alpn.clone());
                info.external_psk = chosen.kind == names::CipherKind::Psk && resumed != Some(true);
            }
        } else {
            info.external_psk = false;
        }
        if let Some(call) = call {
            info.client_certificate = call.certificate.into();
            if call.verdict == Verdict::Failed {
                info.completed = Some(false);
            }
        }
        info.completed = info.completed.or(self.completed);
        info.alert = self
            .alert
            .map(|alert| SmolStr::new_static(names::alert(alert.code)));
        let mut certificates = self.certificates();
        if let Some(Origin::Known(session)) = self.origin() {
            info.session_age = Some(self.time.saturating_sub(session.time) / 1_000_000_000);
            certificates.clone_from(&session.certificates);
        }
        if let Some(mesh) = self.mesh() {
            info.mesh = Some(SmolStr::new_static(mesh.name));
            let name = self
                .hello
                .as_ref()
                .and_then(|hello| hello.server_name.as_ref());
            info.server_identity = mesh.server_identity(name);
        }
        let [client, server] = certificates;
        if let Some(certificate) = client {
            info.client_identity = Some(certificate.identity());
            info.client_cert = Some(certificate.info(self.time).into());
        }
        if let Some(certificate) = server {
            info.server_identity = Some(certificate.identity());
            info.server_cert = Some(certificate.info(self.time).into());
        }
        info
    }

    /// The mesh whose fingerprint the ClientHello has.
    pub(in crate::classify) fn mesh(&self) -> Option<&'static Mesh> {
        self.hello.as_ref()?.mesh
    }

    /// Observations that do not change the verdict.
    pub(in crate::classify) fn notes(&self, call: Option<&Call>) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(mesh) = self.mesh()
            && call.is_some_and(|c| c.verdict == Verdict::Tls)
        {
            let name = mesh.name;
            notes.push(format!(
                "mesh-disagrees: the hello bears {name}'s fingerprint, which claims mutual TLS, but the handshake is not mutual"
            ));
        }
        if let Some(hello) = &self.hello {
            if hello.post_handshake_auth && call.is_some_and(|c| c.verdict == Verdict::Tls) {
                notes.push(
                    "post-handshake-authentication: the client offers it; it would not be visible on the wire"
                        .to_owned(),
                );
            }
            if let Some(kind) = hello.duplicate {
                let name = names::extension(kind);
                notes.push(format!(
                    "duplicate-extension: the ClientHello has {name} twice, which RFC 8446 §4.2 forbids; the first one is shown"
                ));
            }
            if hello.framed_as_v2 {
                let version = names::version(hello.version);
                notes.push(format!(
                    "sslv2-framed: the ClientHello (offering {version}) is framed as SSL 2.0's"
                ));
            }
        }
        if self.renegotiated && call.is_none_or(|call| call.reason != Reason::Again) {
            notes.push("renegotiation: a second handshake took place under encryption".to_owned());
        }
        notes
    }
}

impl Hello {
    pub(in crate::classify) fn info(&self, info: &mut TlsInfo) {
        info.sni.clone_from(&self.server_name);
        info.alpn_offered = self.alpn.clone();
        info.version_offered = Some(names::version(self.version));
        info.groups_offered = self.groups.iter().copied().map(names::group).collect();
        info.ja4.clone_from(&self.ja4);
        info.ech = self.ech;
        info.early_data = self.early_data;
        info.post_handshake_auth = self.post_handshake_auth;
        info.external_psk = self.external_psk;
    }
}
