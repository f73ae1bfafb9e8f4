//! An inventory as a bill of materials of cryptography: CycloneDX 1.7
//! (<https://cyclonedx.org/docs/1.7/json/>).
//!
//! A workload is an application; the versions of TLS, groups, key types and certificates that were
//! seen are cryptographic assets, which the applications depend on. What was counted, and what could
//! not be seen, are properties.

use std::collections::{BTreeMap, BTreeSet};

use mtls_core::record::{CertificateSeen, Inventory, InventoryItem, Peer, Transport, Word};
use mtls_core::wire::tls::names;
use serde_json::{Map, Value, json};

/// The document.
pub(crate) fn bill(inventory: &Inventory) -> Value {
    let mut bill = Bill::default();
    let mut suites = BTreeMap::<(&'static str, String), BTreeSet<String>>::new();
    for item in &inventory.items {
        let kind = protocol(item);
        for version in item.tls_versions.values.keys() {
            let own = suites.entry((kind, version.to_string())).or_default();
            // An item counts versions and suites apart; a suite is of the version it is for.
            own.extend(
                item.ciphers
                    .values
                    .keys()
                    .filter(|suite| is_of(suite, version))
                    .map(ToString::to_string),
            );
        }
    }
    for ((kind, version), suites) in &suites {
        bill.protocol(kind, version, suites);
    }
    for item in &inventory.items {
        bill.workload(item, inventory);
    }
    for seen in &inventory.certificates {
        bill.certificate(seen);
    }
    let watched = inventory.watched.unwrap_or_default();
    let hidden = inventory.not_visible;
    let counts = [
        ("connections", inventory.connections),
        ("tls-connections", inventory.tls_connections),
        ("exempt", inventory.exempt),
        ("not-visible:certificates", hidden.certificates),
        ("not-visible:groups", hidden.groups),
        ("not-visible:hellos", hidden.hellos),
        ("not-visible:unobserved", hidden.unobserved),
        ("window-seconds", inventory.window_seconds),
    ];
    let mut properties: Vec<_> = counts
        .into_iter()
        .map(|(name, n)| property(name, n))
        .collect();
    if let (Some(pods), Some(own)) = (watched.pods, watched.pods_watched) {
        properties.push(property("pods", pods));
        properties.push(property("pods-watched", own));
    }
    if let Some(node) = &inventory.node {
        properties.push(property("node", node));
    }
    if let Some(policy) = &inventory.policy {
        properties.push(property("policy", policy));
        properties.push(property("policy:below", inventory.below));
    }
    let dependencies = bill
        .depends
        .iter()
        .map(|(name, on)| json!({ "ref": name, "dependsOn": on }));
    let dependencies: Vec<_> = dependencies.collect();
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "version": 1,
        "metadata": {
            "timestamp": inventory.generated,
            "lifecycles": [{ "phase": "operations" }],
            "tools": { "components": [{
                "type": "application",
                "name": "mtls",
                "version": env!("CARGO_PKG_VERSION"),
            }] },
            "properties": properties,
        },
        "components": bill.components.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies,
    })
}

fn property(name: &str, value: impl std::fmt::Display) -> Value {
    json!({ "name": format!("mtls:{name}"), "value": value.to_string() })
}

/// Components by their names, which are theirs alone, and what each depends on.
#[derive(Default)]
struct Bill {
    components: BTreeMap<String, Value>,
    depends: BTreeMap<String, BTreeSet<String>>,
}

impl Bill {
    fn asset(&mut self, reference: &str, name: &str, properties: &Value) {
        self.components.entry(reference.into()).or_insert_with(|| {
            json!({
                "type": "cryptographic-asset",
                "bom-ref": reference,
                "name": name,
                "cryptoProperties": properties,
            })
        });
    }

    fn protocol(&mut self, kind: &str, version: &str, suites: &BTreeSet<String>) {
        let suites = suites.iter().map(|suite| {
            let mut of = Map::from_iter([("name".into(), suite.as_str().into())]);
            if let Some(id) = names::cipher_id(suite) {
                let bytes = id.to_be_bytes().map(|byte| format!("0x{byte:02X}"));
                of.insert("identifiers".into(), json!(bytes));
            }
            Value::Object(of)
        });
        let suites: Vec<_> = suites.collect();
        self.asset(
            &format!("protocol:{kind}-{version}"),
            &format!("{} {version}", kind.to_uppercase()),
            &json!({
                "assetType": "protocol",
                "protocolProperties": { "type": kind, "version": version, "cipherSuites": suites },
            }),
        );
    }

    fn group(&mut self, group: &str) -> String {
        let reference = format!("group:{group}");
        // RFC 8446 §4.2.7 groups agree on a key; ML-KEM (FIPS 203) encapsulates one, and a hybrid is
        // both.
        let (primitive, level) = match (names::is_post_quantum(group), group) {
            (true, "MLKEM512" | "MLKEM768" | "MLKEM1024") => ("kem", quantum_level(group)),
            (true, _) => ("combiner", quantum_level(group)),
            _ => ("key-agree", Some(0)),
        };
        let mut of = json!({
            "primitive": primitive,
            "parameterSetIdentifier": group,
            "cryptoFunctions": ["keygen"],
        });
        if let Some(level) = level {
            of["nistQuantumSecurityLevel"] = level.into();
        }
        self.asset(
            &reference,
            group,
            &json!({ "assetType": "algorithm", "algorithmProperties": of }),
        );
        reference
    }

    fn key(&mut self, key: &str) -> String {
        let reference = format!("key:{key}");
        let level = match key {
            "ml-dsa-44" => 2,
            "ml-dsa-65" => 3,
            "ml-dsa-87" => 5,
            _ => 0,
        };
        self.asset(
            &reference,
            key,
            &json!({
                "assetType": "algorithm",
                "algorithmProperties": {
                    "primitive": "signature",
                    "parameterSetIdentifier": key,
                    "cryptoFunctions": ["sign", "verify"],
                    "nistQuantumSecurityLevel": level,
                },
            }),
        );
        reference
    }

    fn workload(&mut self, item: &InventoryItem, inventory: &Inventory) {
        let reference = workload(&item.workload);
        let kind = protocol(item);
        let mut on: BTreeSet<_> = item
            .tls_versions
            .values
            .keys()
            .map(|version| format!("protocol:{kind}-{version}"))
            .collect();
        on.extend(item.groups.values.keys().map(|group| self.group(group)));
        let shown = inventory.certificates.iter().filter(|seen| {
            let own = |shown: &mtls_core::record::Shown| workload(&shown.workload) == reference;
            seen.shown_by.iter().any(own)
        });
        on.extend(shown.map(certificate));
        self.depends
            .entry(reference.clone())
            .or_default()
            .extend(on);
        let component = self.components.entry(reference.clone()).or_insert_with(|| {
            let mut component = json!({
                "type": "application",
                "bom-ref": reference,
                "name": item.workload.name(),
                "properties": [],
            });
            if let Some(namespace) = item.workload.namespace() {
                component["group"] = namespace.into();
            }
            component
        });
        let at = item.port.map_or_else(
            || item.role.to_string(),
            |port| format!("{}:{port}", item.role),
        );
        let mut properties = vec![
            property(&format!("{at}:connections"), item.connections),
            property(&format!("{at}:tls-connections"), item.tls_connections),
        ];
        properties.extend(item.below.iter().map(|below| {
            let name = format!("{at}:below:{}", below.aspect);
            property(
                &name,
                format!("{} ({} connections)", below.value, below.connections),
            )
        }));
        if let Some(own) = component["properties"].as_array_mut() {
            own.extend(properties);
        }
    }

    fn certificate(&mut self, seen: &CertificateSeen) {
        let reference = certificate(seen);
        let of = &seen.certificate;
        let key = self.key(&of.key);
        let mut properties = json!({
            "subjectName": of.subject,
            "issuerName": of.issuer,
            "notValidBefore": of.not_before,
            "notValidAfter": of.not_after,
            "certificateFormat": "X.509",
            "relatedCryptographicAssets": [{ "type": "algorithm", "ref": key }],
        });
        // A saved answer of an earlier version has neither.
        if !of.sha256.is_empty() {
            properties["serialNumber"] = of.serial.as_str().into();
            properties["fingerprint"] = json!({ "alg": "SHA-256", "content": of.sha256 });
        }
        let name = of
            .spiffe_id
            .as_ref()
            .or_else(|| of.sans.first())
            .unwrap_or(&of.subject);
        let name = if name.is_empty() {
            "certificate"
        } else {
            name.as_str()
        };
        self.asset(
            &reference,
            name,
            &json!({ "assetType": "certificate", "certificateProperties": properties }),
        );
        self.depends.entry(reference).or_default().insert(key);
    }
}

/// NIST's category of a post-quantum group (FIPS 203 §8); `None`: of a draft that has none.
fn quantum_level(group: &str) -> Option<u8> {
    [("MLKEM512", 1), ("MLKEM768", 3), ("MLKEM1024", 5)]
        .iter()
        .find(|(name, _)| group.ends_with(name))
        .map(|(_, level)| *level)
}

/// How CycloneDX calls the protocol.
fn protocol(item: &InventoryItem) -> &'static str {
    let spoken = |name| item.protocols.values.contains_key(name);
    match item.transport {
        Word::Known(Transport::Udp) if spoken("quic") => "quic",
        Word::Known(Transport::Udp) => "dtls",
        _ => "tls",
    }
}

/// TLS 1.3's suites name no key exchange (RFC 8446 §B.4), and those before it all do.
fn is_of(suite: &str, version: &str) -> bool {
    suite.contains("_WITH_") != version.starts_with("1.3")
}

fn workload(peer: &Peer) -> String {
    let kind = peer.workload.as_ref().map_or("", |who| who.kind.as_str());
    format!(
        "workload:{}/{kind}/{}",
        peer.namespace().unwrap_or_default(),
        peer.name()
    )
}

fn certificate(seen: &CertificateSeen) -> String {
    let of = &seen.certificate;
    if of.sha256.is_empty() {
        format!("certificate:{}:{}", of.subject, of.not_after)
    } else {
        format!("certificate:{}", of.sha256)
    }
}
