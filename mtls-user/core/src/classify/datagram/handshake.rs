//! The contents of QUIC and DTLS hellos, and which session a resumption continues.

use std::sync::Arc;

use smol_str::{SmolStr, format_smolstr};

use crate::classify::Context;
use crate::classify::call::{Call, Reason};
use crate::classify::hello::Hello;
use crate::classify::sessions::{self, Origin, Session};
use crate::record::{Cause, ClientCertificate, Evidence, TlsInfo, Verdict};
use crate::wire::tls::names::{self, CipherKind};
use crate::wire::tls::{Carrier, Certificate, ClientHello, ServerHello, hello};

/// What the server chose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub(super) version: u16,
    pub(super) cipher: u16,
    pub(super) group: Option<u16>,
    pub(super) psk: bool,
}

impl Chosen {
    pub(super) fn is_13(&self) -> bool {
        hello::is_13(self.version)
    }

    pub(super) fn kind(&self) -> CipherKind {
        names::cipher_kind(self.cipher)
    }

    /// Bytes of the suite's hash, which is the length of a TLS 1.3 Finished.
    pub(super) fn hash(&self) -> u16 {
        if self.cipher == 0x1302 { 48 } else { 32 }
    }
}

/// What a handshake contained.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    /// The latest ClientHello, with the fingerprint of the first.
    pub(super) hello: Option<Arc<Hello>>,
    pub(super) psk_offered: bool,
    pub(super) chosen: Option<Chosen>,
    /// The protocol that the server chose, if that is unencrypted.
    pub(super) alpn: Option<SmolStr>,
    /// The client's and the server's certificate, if they are unencrypted.
    pub(super) certificates: [Option<Arc<Certificate>>; 2],
    /// Whether it was resumed; `None` if that is not known.
    pub(super) resumed: Option<bool>,
    pub(super) origin: Option<Origin>,
    pub(super) alert: Option<u8>,
    /// Its start, in nanoseconds since the Unix epoch.
    pub(super) time: u64,
    pub(super) completed: Option<bool>,
    pub(super) remembered: bool,
}

impl Handshake {
    /// Processes a ClientHello; a second one may follow.
    pub(super) fn offered(
        &mut self,
        hello: &ClientHello<'_>,
        carrier: Carrier,
        context: &mut Context<'_>,
    ) {
        let first = self.hello.take();
        let mut made = context.sessions.hello(hello, context.server.port, carrier);
        if let Some(first) = first {
            Arc::make_mut(&mut made).ja4.clone_from(&first.ja4);
        }
        self.psk_offered = hello.psk.is_some();
        self.hello = Some(made);
    }

    /// The ServerHello.
    pub(super) fn chose(&mut self, hello: &ServerHello<'_>) {
        let chosen = Chosen {
            version: hello.version,
            cipher: hello.cipher,
            group: hello.group,
            psk: hello.psk.is_some() && hello.is_13(),
        };
        if chosen.is_13() {
            self.resumed = Some(chosen.psk && !self.is_external());
        }
        self.alpn = hello.alpn.map(crate::wire::text::clean);
        self.chosen = Some(chosen);
    }

    fn is_external(&self) -> bool {
        self.hello.as_ref().is_some_and(|hello| hello.external_psk)
    }

    /// The name under which these peers' sessions are remembered: TCP sessions are separate.
    fn name(&self, protocol: &str) -> SmolStr {
        let hello = self.hello.as_ref();
        let name = hello.and_then(|hello| hello.server_name.as_deref());
        format_smolstr!("{protocol}:{}", name.unwrap_or_default())
    }

    /// The verdict on a TLS 1.3 handshake in which the server accepted a pre-shared key.
    pub(super) fn by_psk(&mut self, protocol: &str, context: &Context<'_>) -> Call {
        if self.is_external() {
            return unproven((
                Cause::PreSharedKey,
                "authenticated by a pre-shared key, not by certificates",
            ));
        }
        let name = self.name(protocol);
        self.origin
            .get_or_insert_with(|| sessions::of_peers(context, Some(&name), None));
        self.inherited(
            Evidence::Inherited,
            "resumed; inherited from the last full handshake of these peers, which was mutual",
            "resumed; inherited from the last full handshake of these peers, which was not mutual",
        )
    }

    /// The verdict on a resumption of DTLS 1.2 or earlier, by the names that the client offered.
    pub(super) fn by_name(&mut self, names: &[u64], context: &Context<'_>) -> Call {
        if self.origin.is_none() {
            let found = names.iter().find_map(|name| context.sessions.find(*name));
            self.origin = Some(found.cloned().map_or(Origin::Unknown, Origin::Known));
        }
        self.inherited(
            Evidence::Resumption,
            "resumed; the original handshake was mutual",
            "resumed; the original handshake was not mutual",
        )
    }

    /// Remembers a completed full handshake of DTLS 1.2 or earlier by its names, once.
    pub(super) fn remember_as(
        &mut self,
        names: &[u64],
        verdict: Verdict,
        context: &mut Context<'_>,
    ) {
        if !matches!(verdict, Verdict::Mtls | Verdict::Tls) {
            return;
        }
        for name in names {
            let session = Session {
                mutual: verdict == Verdict::Mtls,
                time: self.time,
                certificates: self.certificates.clone(),
            };
            context.sessions.remember(*name, session);
        }
    }

    /// What a resumption inherits from the session that it continues.
    fn inherited(&self, evidence: Evidence, mutual: &'static str, not: &'static str) -> Call {
        let (session, verdict, words) = match &self.origin {
            Some(Origin::Known(session)) if session.mutual => (session, Verdict::Mtls, mutual),
            Some(Origin::Known(session)) => (session, Verdict::Tls, not),
            Some(Origin::Mixed) => {
                return unproven((
                    Cause::ResumptionUnknown,
                    "resumed; earlier full handshakes of these peers differ or are undecided",
                ));
            }
            Some(Origin::Off) => {
                return unproven((
                    Cause::ResumptionUnknown,
                    "resumed; inheriting a verdict is switched off",
                ));
            }
            _ => {
                return unproven((
                    Cause::ResumptionUnknown,
                    "resumed; its full handshake was not seen",
                ));
            }
        };
        let age = self.time.saturating_sub(session.time) / 1_000_000_000;
        let call = Call::new(verdict, evidence, Reason::Age(words, age as u32));
        if session.mutual {
            call.with(ClientCertificate::Presented)
        } else {
            call
        }
    }

    /// Remembers a completed full handshake for its resumptions.
    pub(super) fn remember(&mut self, protocol: &str, verdict: Verdict, context: &mut Context<'_>) {
        if self.resumed == Some(true) || std::mem::replace(&mut self.remembered, true) {
            return;
        }
        let name = self.name(protocol);
        let session = Session {
            mutual: verdict == Verdict::Mtls,
            time: self.time,
            certificates: self.certificates.clone(),
        };
        match verdict {
            Verdict::Mtls | Verdict::Tls => {
                sessions::remember_peers(context, Some(&name), session, sessions::ANY);
            }
            _ => sessions::doubt_peers(context, Some(&name), session),
        }
    }

    /// The same as JSON types, besides the verdict that was derived from it.
    pub(super) fn info(&self, call: Option<&Call>) -> Box<TlsInfo> {
        let mut info = Box::<TlsInfo>::default();
        if let Some(hello) = &self.hello {
            hello.info(&mut info);
        }
        info.resumed = self.resumed;
        info.alpn.clone_from(&self.alpn);
        info.external_psk = false;
        if let Some(chosen) = &self.chosen {
            info.version = Some(names::version(chosen.version));
            info.cipher = Some(names::cipher(chosen.cipher));
            info.group = chosen.group.map(names::group);
            info.external_psk = if chosen.is_13() {
                chosen.psk && self.is_external()
            } else {
                chosen.kind() == CipherKind::Psk && self.resumed != Some(true)
            };
            if let ([only], true) = (&*info.alpn_offered, chosen.is_13()) {
                info.alpn = Some(only.clone());
            }
        }
        info.completed = self.completed;
        if let Some(call) = call {
            info.client_certificate = call.certificate.into();
            if call.verdict == Verdict::Failed {
                info.completed = Some(false);
            }
        }
        info.alert = self
            .alert
            .map(|code| SmolStr::new_static(names::alert(code)));
        let mut certificates = &self.certificates;
        if let Some(Origin::Known(session)) = &self.origin {
            info.session_age = Some(self.time.saturating_sub(session.time) / 1_000_000_000);
            certificates = &session.certificates;
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
}

/// TLS, but it cannot be determined whether the client was authenticated.
pub(super) fn unproven(reason: impl Into<Reason>) -> Call {
    Call::new(
        Verdict::TlsUnproven,
        Evidence::HandshakeShape,
        reason.into(),
    )
}
