//! The facts in the words of the JSON schema.

use crate::classify::call::Call;
use crate::classify::mesh::{self, Mesh};
use crate::classify::sessions::Origin;
use crate::verdict::{TlsInfo, Verdict};
use crate::wire::text;
use crate::wire::tls::hello::protocols;
use crate::wire::tls::names;

use super::Facts;
use super::facts::{FirstItem, Hello};

impl Facts {
    /// What the handshake showed, beside the verdict that was made of it.
    pub(in crate::classify) fn info(&self, call: Option<&Call>) -> TlsInfo {
        let mut info = TlsInfo::default();
        if let Some(hello) = &self.hello {
            hello.info(&mut info);
        }
        if let Some(chosen) = &self.chosen {
            info.version = Some(names::version(chosen.version).into_owned());
            info.cipher = Some(names::cipher(chosen.cipher).into_owned());
            info.group = chosen.group.map(|g| names::group(g).into_owned());
            let resumed = if chosen.is_13() {
                Some(chosen.psk && !info.external_psk)
            } else {
                self.first.map(|first| first == FirstItem::ChangeCipherSpec)
            };
            info.resumed = resumed;
            if chosen.is_13() {
                info.external_psk &= chosen.psk;
                if let [only] = &*info.alpn_offered {
                    info.alpn = Some(only.clone());
                }
            } else {
                info.alpn = chosen.alpn.as_deref().map(str::to_owned);
                info.external_psk = chosen.kind == names::CipherKind::Psk && resumed != Some(true);
            }
        } else {
            info.external_psk = false;
        }
        if let Some(call) = call {
            info.client_certificate = call.certificate;
            if call.verdict == Verdict::Failed {
                info.completed = Some(false);
            }
        }
        info.completed = info.completed.or(self.completed);
        info.alert = self.alert.map(|alert| names::alert(alert.code).to_owned());
        let mut certificates = self.certificates.clone();
        if let Some(Origin::Known(session)) = self.origin.as_deref() {
            info.session_age = Some(self.time.saturating_sub(session.time) / 1_000_000_000);
            certificates.clone_from(&session.certificates);
        }
        if let Some(mesh) = self.mesh() {
            info.mesh = Some(mesh.name.to_owned());
            info.server_identity = mesh.server_identity.map(str::to_owned);
        }
        let [client, server] = certificates;
        if let Some(certificate) = client {
            info.client_identity = Some(certificate.identity());
            info.client_cert = Some(certificate.info(self.time));
        }
        if let Some(certificate) = server {
            info.server_identity = Some(certificate.identity());
            info.server_cert = Some(certificate.info(self.time));
        }
        info
    }

    /// The mesh whose fingerprint the ClientHello bears.
    pub(in crate::classify) fn mesh(&self) -> Option<Mesh<'_>> {
        let hello = self.hello.as_ref()?;
        mesh::of(hello.server_name.as_deref(), &hello.alpn, self.port)
    }

    /// Things worth knowing that do not change the verdict.
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
                    "post-handshake-authentication: the client offers it, and nothing on the wire would show it"
                        .to_owned(),
                );
            }
            if hello.framed_as_v2 {
                let version = names::version(hello.version);
                notes.push(format!(
                    "sslv2-framed: the ClientHello (offering {version}) is framed as SSL 2.0's"
                ));
            }
        }
        if self.renegotiated {
            notes.push("renegotiation: a second handshake took place under encryption".to_owned());
        }
        notes
    }
}

impl Hello {
    fn info(&self, info: &mut TlsInfo) {
        info.sni = self.server_name.as_deref().map(str::to_owned);
        info.alpn_offered = protocols(&self.alpn)
            .map(|name| text::clean(name).into_string())
            .collect();
        info.ja4 = self.ja4.map(|ja4| ja4.to_string());
        info.ech = self.ech;
        info.early_data = self.early_data;
        info.post_handshake_auth = self.post_handshake_auth;
        info.external_psk = self.external_psk;
    }
}
