use super::*;
use crate::pods::inbound::Inbound;
use crate::pods::kubernetes::change::{Change, News};
use crate::pods::mesh::Scope;
use serde_json::json;

fn object(name: &str, spec: &Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop", "labels": {"app": name}}, "spec": spec})
}

fn read<T: Kind>(name: &str, spec: &Value) -> (String, T) {
    let read = T::read(object(name, spec)).unwrap_or_else(|| panic!("{name}: {spec}"));
    (format!("shop/{name}"), read)
}

fn server(name: &str, port: &Value, access: &Value) -> (String, Server) {
    let spec = json!({"podSelector": {"matchLabels": {"app": "web"}}, "port": port,
        "accessPolicy": access});
    read(name, &spec)
}

fn inbound(all: &Policies, app: &str, annotation: Option<&str>) -> Inbound {
    let labels = BTreeMap::from([("app".to_owned(), app.to_owned())]);
    let annotations =
        Vec::from_iter(annotation.map(|word| (DEFAULT_POLICY.to_owned(), word.to_owned())));
    let scope = Scope {
        annotations: BTreeMap::from([(DEFAULT_POLICY.into(), "all-authenticated".into())]),
        ..Scope::default()
    };
    let pod = Subject {
        namespace: "shop",
        labels: &labels,
        annotations: &annotations.into_iter().collect(),
        scope: Some(&scope),
        ports: &[("http".into(), 8080), ("admin".into(), 9990)],
    };
    layers(all, &pod).into_iter().collect()
}

fn policies(servers: Vec<(String, Server)>) -> Policies {
    let mut all = Policies::default();
    assert!(all.take(News::Servers(Change::All(servers))));
    all
}

#[test]
fn without_a_server_the_default_of_the_pod_or_of_its_namespace_holds() {
    let all = Policies::default();
    let level = |annotation| {
        inbound(&all, "web", annotation)
            .at(80)
            .map(|rule| rule.level)
    };
    assert_eq!(level(None), Some(Level::Mtls));
    assert_eq!(level(Some("all-unauthenticated")), Some(Level::Any));
    assert_eq!(level(Some("audit")), Some(Level::Any));
    assert_eq!(level(Some("deny")), Some(Level::Mtls));
    assert_eq!(level(Some("of a later version")), None);
    assert_eq!(
        inbound(&all, "web", None).at(80).unwrap().words,
        "config.linkerd.io/default-inbound-policy: all-authenticated lets in only who is \
         authenticated by mutual TLS"
    );
}

#[test]
fn a_server_is_of_its_port_and_lets_in_nobody_by_itself() {
    let servers = vec![
        server("web-http", &json!("http"), &Value::Null),
        server("web-admin", &json!(9990), &json!("all-unauthenticated")),
    ];
    let all = policies(servers);
    let web = inbound(&all, "web", Some("all-unauthenticated"));
    assert_eq!(web.at(8080).unwrap().level, Level::Mtls, "nobody is let in");
    assert_eq!(web.at(9990).unwrap().level, Level::Any);
    assert_eq!(web.at(1).unwrap().level, Level::Any, "the default");
    let db = inbound(&all, "db", Some("all-unauthenticated"));
    assert_eq!(db.at(8080).unwrap().level, Level::Any, "not selected");
}

#[test]
fn the_weakest_authorization_counts() {
    let mut all = policies(vec![server("web-http", &json!("http"), &json!("deny"))]);
    let level = |all: &Policies| inbound(all, "web", None).at(8080).unwrap().level;
    let refs = |kind: &str| {
        json!({"targetRef": {"group": GROUP, "kind": "Server", "name": "web-http"},
            "requiredAuthenticationRefs": [
                {"kind": "NetworkAuthentication", "name": "lan"}, {"kind": kind, "name": "x"}]})
    };
    let strict = read("strict", &refs("MeshTLSAuthentication"));
    all.take(News::AuthorizationPolicies(Change::All(vec![strict])));
    assert_eq!(level(&all), Level::Mtls);
    let by_selector = json!({"server": {"selector": {"matchLabels": {"app": "web-http"}}},
        "client": {"meshTLS": {"unauthenticatedTLS": true}}});
    let tls = read("tls", &by_selector);
    all.take(News::ServerAuthorizations(Change::All(vec![tls])));
    assert_eq!(level(&all), Level::Tls);
    let of_others = json!({"server": {"name": "another"}, "client": {"unauthenticated": true}});
    let (key, others) = read("others", &of_others);
    all.take(News::ServerAuthorizations(Change::Apply(key, others)));
    assert_eq!(level(&all), Level::Tls);
    let (key, open) = read("open", &refs("NetworkAuthentication"));
    all.take(News::AuthorizationPolicies(Change::Apply(key, open)));
    assert_eq!(level(&all), Level::Any);
}

#[test]
fn a_namespaces_policy_is_of_all_its_servers() {
    let mut all = policies(vec![server("web-http", &json!("http"), &Value::Null)]);
    let spec = json!({"targetRef": {"kind": "Namespace", "name": "shop"},
        "requiredAuthenticationRefs": [{"kind": "NetworkAuthentication", "name": "lan"}]});
    all.take(News::AuthorizationPolicies(Change::All(vec![read(
        "all", &spec,
    )])));
    let rule = inbound(&all, "web", None);
    assert_eq!(rule.at(8080).unwrap().level, Level::Any);
    assert_eq!(
        rule.at(8080).unwrap().words,
        "Server shop/web-http lets in who is not authenticated"
    );
}

#[test]
fn what_is_malformed_is_passed_over() {
    for spec in [
        json!({"port": 70_000}),
        json!({"port": {}}),
        json!(7),
        Value::Null,
    ] {
        assert!(Server::read(object("a", &spec)).is_none(), "{spec}");
    }
    assert!(ServerAuthorization::read(object("a", &json!({"client": {}}))).is_none());
    assert!(AuthorizationPolicy::read(object("a", &json!({}))).is_none());
    let nobody: (_, ServerAuthorization) = read(
        "a",
        &json!({"server": {"name": "web-http"}, "client": {"networks": []}}),
    );
    assert_eq!(nobody.1.level, None);
}
