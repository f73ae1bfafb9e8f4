//! What an inventory counts, what it finds below a policy, and what it admits not to know.

use mtls_core::record::{
    Aspect, CertificateInfo, ClientCertificate, Exempt, FlowList, FlowRecord, Inventory, Kind,
    Peer, SCHEMA, Side, Time, TlsInfo, Validity, Verdict, Workload,
};
use serde_json::Value;
use smol_str::SmolStr;

use super::{Policy, cyclonedx, of};

const DAY: i64 = 24 * 3_600;
const NOW: i64 = 20_000 * DAY;

fn peer(name: &str, port: u16) -> Peer {
    Peer {
        ip: Some("10.0.0.1".parse().unwrap()),
        port: Some(port),
        workload: Some(Workload {
            name: name.into(),
            namespace: "shop".into(),
            kind: Kind::Deployment.into(),
            pod: Some(format!("{name}-1").into()),
            ..Workload::default()
        }),
    }
}

fn certificate(key: &str, days: i64) -> Box<CertificateInfo> {
    Box::new(CertificateInfo {
        subject: format!("CN={key}").into(),
        issuer: "CN=ca".into(),
        sans: [SmolStr::from("uri:spiffe://shop/web")].into(),
        spiffe_id: Some("spiffe://shop/web".into()),
        not_before: Time::from_seconds(NOW - 30 * DAY),
        not_after: Time::from_seconds(NOW + days * DAY),
        validity: Validity::Valid.into(),
        key: key.into(),
        serial: "0a".into(),
        sha256: format!("{:064x}", days.unsigned_abs()).into(),
    })
}

fn flow(server: &str, verdict: Verdict, tls: Option<TlsInfo>) -> FlowRecord {
    FlowRecord {
        src: peer("web", 40_000),
        dst: peer(server, 8_443),
        verdict: verdict.into(),
        protocol: if tls.is_some() { "tls" } else { "http/1.1" }.into(),
        tls: tls.map(Box::new),
        last_seen: Time::from_seconds(NOW),
        ..FlowRecord::default()
    }
}

/// TLS 1.3 with these groups offered and this one chosen.
fn modern(offered: &[&str], chosen: &str) -> TlsInfo {
    TlsInfo {
        version: Some("1.3".into()),
        version_offered: Some("1.3".into()),
        cipher: Some("TLS_AES_256_GCM_SHA384".into()),
        group: Some(chosen.into()),
        groups_offered: offered.iter().map(|group| SmolStr::from(*group)).collect(),
        client_certificate: ClientCertificate::NotRequested.into(),
        ..TlsInfo::default()
    }
}

/// TLS 1.2, although the client offered 1.3, with certificates that are valid for so long.
fn older(days: i64) -> TlsInfo {
    TlsInfo {
        version: Some("1.2".into()),
        version_offered: Some("1.3".into()),
        cipher: Some("TLS_RSA_WITH_AES_128_CBC_SHA".into()),
        groups_offered: [SmolStr::from("x25519")].into(),
        client_certificate: ClientCertificate::Presented.into(),
        client_identity: Some("spiffe://shop/web".into()),
        client_cert: Some(certificate("ecdsa-p256", 365)),
        server_cert: Some(certificate("rsa-1024", days)),
        ..TlsInfo::default()
    }
}

fn made(items: Vec<FlowRecord>, policy: Option<&str>) -> Inventory {
    let policy: Option<Policy> = policy.map(|name| name.parse().unwrap());
    let list = FlowList {
        schema: SCHEMA,
        node: None,
        generated: Time::from_seconds(NOW),
        window_seconds: 600,
        nodes: None,
        watched: None,
        history: None,
        items,
    };
    of(list, policy.as_ref())
}

fn all() -> Vec<FlowRecord> {
    let pq = "X25519MLKEM768";
    let mut probe = flow("probed", Verdict::Plaintext, None);
    probe.exempt = Some(Exempt::KubeletProbe.into());
    let mut unseen = flow("late", Verdict::TlsUnproven, None);
    unseen.protocol = "tls".into();
    vec![
        flow("cart", Verdict::Tls, Some(modern(&[pq, "x25519"], pq))),
        flow(
            "cart",
            Verdict::Tls,
            Some(modern(&[pq, "x25519"], "x25519")),
        ),
        flow("cart", Verdict::Tls, Some(modern(&["x25519"], "x25519"))),
        flow("db", Verdict::Mtls, Some(older(-1))),
        flow("legacy", Verdict::Plaintext, None),
        flow("gone", Verdict::Unobserved, None),
        unseen,
        probe,
    ]
}

fn item<'a>(made: &'a Inventory, name: &str, role: Side) -> &'a mtls_core::record::InventoryItem {
    made.items
        .iter()
        .find(|item| item.workload.name() == name && item.role == role)
        .unwrap_or_else(|| panic!("{name} is no {role}"))
}

#[test]
fn every_connection_is_counted_once_and_nothing_that_was_not_seen_counts_as_good() {
    let made = made(all(), None);
    assert_eq!(
        (made.connections, made.tls_connections, made.exempt),
        (7, 5, 1)
    );
    let hidden = made.not_visible;
    let hidden = (
        hidden.certificates,
        hidden.groups,
        hidden.hellos,
        hidden.unobserved,
    );
    assert_eq!(hidden, (3, 1, 1, 1));
    let sums = made.post_quantum;
    assert_eq!(
        (
            sums.used,
            sums.held_back_by_client,
            sums.held_back_by_server
        ),
        (1, 2, 1)
    );
    assert_eq!(sums.unknown, 1);
    let web = item(&made, "web", Side::Client);
    assert_eq!((web.connections, web.tls_connections), (7, 5));
    assert_eq!(web.spiffe_ids.values["spiffe://shop/web"], 1);
    // What is of one pod or connection is not of the workload.
    assert_eq!(
        (web.port, web.workload.ip, web.workload.port),
        (None, None, None)
    );
    let cart = item(&made, "cart", Side::Server);
    assert_eq!(cart.port, Some(8_443));
    assert_eq!((cart.certificates_hidden, cart.days_left), (3, None));
    assert_eq!(item(&made, "db", Side::Server).days_left, Some(-1));
    let days: Vec<_> = made
        .certificates
        .iter()
        .map(|seen| seen.days_left)
        .collect();
    assert_eq!(days, [-1, 365]);
}

#[test]
fn what_is_below_a_policy_says_which_side_holds_it_back() {
    let made = made(all(), Some("modern"));
    let found = |name: &str, role| {
        let item = item(&made, name, role);
        let below = item.below.iter().map(|below| {
            let by = below
                .held_back_by
                .as_ref()
                .map_or("-", |side| side.as_str());
            format!(
                "{} {} {by} {}",
                below.aspect, below.value, below.connections
            )
        });
        below.collect::<Vec<_>>()
    };
    assert!(found("cart", Side::Server).is_empty());
    assert_eq!(
        found("db", Side::Server),
        [
            "tls-version 1.2 server 1",
            "cipher TLS_RSA_WITH_AES_128_CBC_SHA - 1",
            "key rsa-1024 server 1",
            "validity expired server 1",
        ]
    );
    assert_eq!(
        found("legacy", Side::Server),
        ["encryption plaintext http/1.1 - 1"]
    );
    // What is not known is not below, and not met either.
    assert!(found("gone", Side::Server).is_empty() && found("late", Side::Server).is_empty());
    assert_eq!(
        item(&made, "gone", Side::Server).not_judged[&Aspect::Encryption.into()],
        1
    );
    assert_eq!(
        item(&made, "late", Side::Server).not_judged[&Aspect::Version.into()],
        1
    );
    assert_eq!(
        item(&made, "cart", Side::Server).not_judged[&Aspect::Key.into()],
        3
    );
    // Below: the database's and the one in clear; nothing of TLS 1.3 can be judged in full.
    assert_eq!((made.below, made.not_judged), (2, 5));
}

#[test]
fn groups_are_below_by_whoever_did_not_offer_or_choose_them() {
    let made = made(all(), Some("cnsa-2.0"));
    let cart = item(&made, "cart", Side::Server);
    let groups = cart
        .below
        .iter()
        .filter(|below| below.aspect == Aspect::Group);
    let groups: Vec<_> = groups
        .map(|below| {
            (
                below.value.as_str(),
                below.held_back_by.clone(),
                below.connections,
            )
        })
        .collect();
    let client = Some(Side::Client.into());
    assert_eq!(
        groups,
        [("X25519MLKEM768", client.clone(), 1), ("x25519", client, 2)]
    );
}

#[test]
fn a_key_that_was_shared_before_is_no_key_exchange() {
    let resumed = TlsInfo {
        group: None,
        ..modern(&["X25519MLKEM768"], "")
    };
    let made = made(
        vec![flow("cart", Verdict::TlsUnproven, Some(resumed))],
        Some("modern"),
    );
    assert_eq!(made.post_quantum.unknown, 1);
    let cart = item(&made, "cart", Side::Server);
    assert_eq!(cart.below[0].value, "none, a pre-shared key alone");
}

#[test]
fn of_hostile_peers_only_so_much_is_kept() {
    let flows = (0..1_000).map(|n| {
        let mut tls = modern(&["x25519"], "x25519");
        tls.cipher = Some(format!("0x{n:04x}").into());
        flow("cart", Verdict::Tls, Some(tls))
    });
    let made = made(flows.collect(), None);
    let cart = item(&made, "cart", Side::Server);
    assert_eq!(cart.ciphers.values.len(), mtls_core::record::Tally::MAX);
    assert_eq!(cart.ciphers.other, 1_000 - 16);
}

/// A file of what CycloneDX publishes for its version 1.7, from its own library.
fn published(name: &str) -> Value {
    let path = format!("{}/schemas/cyclonedx/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What a schema refers to is in the files beside it.
struct Beside;

impl jsonschema::Retrieve for Beside {
    fn retrieve(
        &self,
        uri: &jsonschema::Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let name = uri.as_str().rsplit('/').next().unwrap_or_default();
        Ok(published(name))
    }
}

fn schema() -> jsonschema::Validator {
    jsonschema::draft7::options()
        .should_validate_formats(true)
        .with_retriever(Beside)
        .build(&published("bom-1.7.SNAPSHOT.schema.json"))
        .unwrap()
}

#[test]
fn the_bill_of_materials_is_of_the_official_schema() {
    let schema = schema();
    for policy in [None, Some("fips-140-3")] {
        let bill = cyclonedx::bill(&made(all(), policy));
        let wrong: Vec<_> = schema
            .iter_errors(&bill)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let components = bill["components"].as_array().unwrap();
        let of = |kind: &str| {
            let assets = components
                .iter()
                .filter(|one| one["cryptoProperties"]["assetType"] == kind);
            assets.count()
        };
        assert_eq!((of("protocol"), of("certificate")), (2, 2));
        // Two groups and two kinds of keys.
        assert_eq!(of("algorithm"), 4);
        // A reference leads somewhere.
        let names: Vec<_> = components
            .iter()
            .map(|one| one["bom-ref"].as_str().unwrap())
            .collect();
        for dependency in bill["dependencies"].as_array().unwrap() {
            assert!(
                names.contains(&dependency["ref"].as_str().unwrap()),
                "{dependency}"
            );
            for on in dependency["dependsOn"].as_array().unwrap() {
                assert!(names.contains(&on.as_str().unwrap()), "{on}");
            }
        }
        // The test can fail.
        let mut wrong = bill.clone();
        wrong["components"][0]["type"] = "workload".into();
        assert!(!schema.is_valid(&wrong));
    }
    let empty = cyclonedx::bill(&made(Vec::new(), None));
    assert!(schema.is_valid(&empty));
}
