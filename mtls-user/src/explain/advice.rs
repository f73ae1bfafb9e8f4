//! What would change a verdict, and what to do about it: per cause, per protocol, per mesh.

use mtls_core::record::{Cause, Expectation, FlowRecord, Kind, Peer, Unmet, Verdict, Word};

/// The settings with which a protocol uses mutual TLS: at the client, and at the server.
const PROTOCOLS: [(&str, &str, &str); 11] = [
    (
        "postgresql",
        "sslmode=verify-full with sslcert, sslkey and sslrootcert",
        "ssl = on, and `hostssl … clientcert=verify-full` instead of `host` in pg_hba.conf",
    ),
    (
        "mysql",
        "--ssl-mode=VERIFY_IDENTITY with --ssl-ca, --ssl-cert and --ssl-key",
        "require_secure_transport = ON, and REQUIRE X509 for the account",
    ),
    (
        "redis",
        "rediss:// with a certificate and a key",
        "tls-port instead of port, and tls-auth-clients yes",
    ),
    (
        "mongodb",
        "tls=true with tlsCertificateKeyFile",
        "net.tls.mode: requireTLS with net.tls.CAFile",
    ),
    (
        "kafka",
        "security.protocol=SSL with a keystore",
        "an SSL listener instead of PLAINTEXT, and ssl.client.auth=required",
    ),
    (
        "amqp",
        "amqps:// with a certificate and a key",
        "a TLS listener with verify_peer and fail_if_no_peer_cert",
    ),
    (
        "mqtt",
        "mqtts:// with a certificate and a key",
        "a TLS listener that requires certificates (mosquitto: require_certificate true)",
    ),
    (
        "nats",
        "tls:// with a certificate and a key",
        "tls { verify: true }",
    ),
    (
        "ldap",
        "ldaps://, or StartTLS that is required, with a certificate and a key",
        "olcTLSVerifyClient: demand, and security ssf=128",
    ),
    (
        "cassandra",
        "client encryption with a keystore",
        "client_encryption_options: enabled, optional: false, require_client_auth: true",
    ),
    (
        "http",
        "https:// with a client certificate, or a service mesh's proxy",
        "TLS that requires client certificates, or a service mesh's proxy",
    ),
];

/// The settings of a protocol at the client and at the server.
fn settings(protocol: &str) -> Option<(&'static str, &'static str)> {
    let own = PROTOCOLS
        .iter()
        .find(|(name, ..)| protocol.starts_with(name));
    own.map(|(_, client, server)| (*client, *server))
}

/// What would have to be otherwise for another verdict.
pub(super) fn would_change(flow: &FlowRecord) -> Vec<String> {
    let say = |text: &str| vec![text.to_owned()];
    match (flow.verdict.known(), flow.cause.known()) {
        (Some(Verdict::Mtls), _) if flow.is_complete() => Vec::new(),
        (Some(Verdict::Mtls), _) => {
            say("a connection that is seen from start to end, without a lost sample")
        }
        (Some(Verdict::Tls), Some(Cause::NotRequested)) => {
            say("a server that requests a client certificate, and a client that has one")
        }
        (Some(Verdict::Tls), Some(Cause::NotPresented)) => {
            say("a client that sends a certificate: the server already requests one")
        }
        (Some(Verdict::Tls), _) => say("a handshake in which the client sends a certificate"),
        (_, Some(Cause::StartNotSeen | Cause::HandshakeNotSeen | Cause::ResumptionUnknown)) => {
            say("a new connection: its handshake will be seen from the start")
        }
        (_, Some(Cause::SamplesLost | Cause::PayloadNotSeen | Cause::Fragmented)) => say(
            "a connection without lost samples (mtls status shows where and why samples were lost)",
        ),
        (Some(Verdict::Plaintext), Some(Cause::UpgradeDeclined)) => {
            say("a server that accepts the upgrade to TLS, and a client that insists on it")
        }
        (Some(Verdict::Plaintext), Some(Cause::SecretInClear)) => {
            say("a password that is sent after the handshake, not before it")
        }
        (Some(Verdict::Plaintext), _) => {
            say("TLS from the first byte, or an upgrade to TLS before any other data")
        }
        (Some(Verdict::TlsUnproven), _) => {
            say("a full handshake that shows whether the client sent a certificate")
        }
        (Some(Verdict::Opaque), _) => {
            say("TLS around the protocol, or a protocol that mtls can recognise")
        }
        (Some(Verdict::Failed), _) => {
            say("a handshake that succeeds: until then, no data is exchanged")
        }
        _ => say("a connection that carries data and is observed"),
    }
}

/// What to do next.
pub(super) fn next(flow: &FlowRecord) -> Vec<String> {
    if flow.verdict == Verdict::Mtls && flow.is_complete() {
        return Vec::new();
    }
    let mut steps = Vec::new();
    let unmet = flow.expectation.as_ref();
    if let Some(step) = unmet.and_then(|unmet| mesh(unmet, flow)) {
        steps.push(step);
    }
    let protocol = match flow.protocol.as_str() {
        "tls" => spoken_on(flow.dst.port).unwrap_or("tls"),
        protocol => protocol,
    };
    let insecure = matches!(
        flow.verdict.known(),
        Some(Verdict::Plaintext | Verdict::Tls | Verdict::Opaque)
    );
    if insecure && let Some((client, server)) = settings(protocol) {
        // Inside TLS, the protocol is known by its port alone.
        let guess = if flow.protocol == "tls" {
            format!(
                "if port {} is {protocol}, ",
                flow.dst.port.unwrap_or_default()
            )
        } else {
            String::new()
        };
        steps.push(format!("{guess}at the client: {client}"));
        steps.push(format!("{guess}at the server: {server}"));
    }
    if matches!(
        flow.cause.known(),
        Some(Cause::StartNotSeen | Cause::HandshakeNotSeen)
    ) {
        steps.push(match rollout(&flow.src) {
            Some(restart) => format!("make the client reconnect: {restart}"),
            None => "make the client reconnect".to_owned(),
        });
    }
    if flow.cause == Cause::Alert || flow.verdict == Verdict::Failed {
        steps.push(
            "look at the logs of client and server: most handshakes fail because of an expired \
             certificate, an unknown issuer or a wrong name"
                .to_owned(),
        );
    }
    if steps.is_empty() {
        steps.push("watch its connections with mtls flows and mtls tap".to_owned());
    }
    steps
}

/// The protocol that servers of a port usually speak inside TLS, for advice alone.
fn spoken_on(port: Option<u16>) -> Option<&'static str> {
    Some(match port? {
        5432 => "postgresql",
        3306 | 33060 => "mysql",
        6379 | 6380 => "redis",
        27017 => "mongodb",
        9092 | 9093 => "kafka",
        5671 | 5672 => "amqp",
        1883 | 8883 => "mqtt",
        4222 => "nats",
        389 | 636 => "ldap",
        9042 => "cassandra",
        443 | 8443 => "http",
        _ => return None,
    })
}

/// What a mesh would need.
fn mesh(unmet: &Expectation, flow: &FlowRecord) -> Option<String> {
    Some(match unmet.cause.as_ref().and_then(Word::known)? {
        Unmet::StartedBeforeInjection => {
            let restart = rollout(&flow.src).or_else(|| rollout(&flow.dst));
            let restart = restart.unwrap_or_else(|| "the older pods".to_owned());
            format!("a pod was created before the mesh's proxy injection was turned on; restart it: {restart}")
        }
        Unmet::PeerNotInMesh => "client or server is in no mesh: annotate its namespace (linkerd.io/inject=enabled) or label it (istio-injection=enabled), and restart its pods".into(),
        Unmet::PortSkipped => "an annotation excludes the port from the mesh (config.linkerd.io/skip-inbound-ports or skip-outbound-ports, traffic.sidecar.istio.io/excludeInboundPorts or excludeOutboundPorts): remove it, and restart the pods".into(),
        Unmet::OpaquePort => "the port is opaque, and the mesh did not carry it: set config.linkerd.io/opaque-ports on both the server's Service and its pods, and restart them".into(),
        Unmet::HostNetwork => "client or server uses the host network, which a mesh does not cover: use TLS in the application".into(),
        Unmet::DifferentMeshes => "client and server are in different meshes: connect the meshes by a gateway, or use one mesh".into(),
        Unmet::Unexplained => "client and server are in the mesh: require mutual TLS (Istio: PeerAuthentication with mode STRICT; Linkerd: policy all-authenticated) once `mtls check --strict-ready` passes".into(),
        Unmet::KubeletProbe | Unmet::MeshAdminPort | Unmet::Scrape | Unmet::Annotated | Unmet::Policy => return None,
    })
}

/// `kubectl -n shop rollout restart deployment/web`, of what can be restarted so.
fn rollout(peer: &Peer) -> Option<String> {
    let kind = peer.kind()?;
    let restarts = matches!(kind, Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet);
    let (namespace, name) = (peer.namespace()?, peer.name());
    restarts.then(|| format!("kubectl -n {namespace} rollout restart {kind}/{name}"))
}
