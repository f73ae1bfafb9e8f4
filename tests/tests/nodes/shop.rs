//! The tests' servers and clients, as manifests.

use anyhow::Result;
use mtls_tests::nodes::Nodes;
use serde_json::{Value, json};

/// Their namespace.
pub(super) const SHOP: &str = "shop";
/// The image of all pods: busybox, curl, openssl.
const IMAGE: &str = "localhost/busybox:1";

/// A mail server that offers STARTTLS and refuses it, whatever the client does then.
const MAIL: &str = r#"
say() { printf "$1\r\n"; }
say "220 mail ESMTP"
while read -r line; do
  case "$line" in
    EHLO*) printf "250-mail\r\n250 STARTTLS\r\n" ;;
    STARTTLS*) say "454 4.7.0 TLS not available" ;;
    DATA*) say "354 go on"; while read -r body; do case "$body" in .?) break ;; esac; done; say "250 kept" ;;
    QUIT*) say "221 bye"; exit ;;
    *) say "250 ok" ;;
  esac
done
"#;

/// A server: its program, port and node.
struct Server {
    name: &'static str,
    node: &'static str,
    port: u16,
    command: Vec<&'static str>,
}

fn servers() -> Vec<Server> {
    let tls = |verify: &[&'static str]| {
        let base = ["openssl", "s_server", "-accept", "8443", "-www", "-quiet"];
        let keys = [
            "-cert",
            "/pki/tls.crt",
            "-key",
            "/pki/tls.key",
            "-CAfile",
            "/pki/ca.crt",
        ];
        [&base, &keys, verify].concat()
    };
    let httpd = || vec!["httpd", "-f", "-p", "8080", "-h", "/www"];
    let server = |name, node, port, command| Server {
        name,
        node,
        port,
        command,
    };
    vec![
        server("mutual", "node2", 8443, tls(&["-Verify", "1"])),
        server("near", "node1", 8443, tls(&["-Verify", "1"])),
        server("single", "node2", 8443, tls(&[])),
        server("plain", "node2", 8080, httpd()),
        server("ported", "node2", 8080, httpd()),
        server(
            "mail",
            "node2",
            2525,
            vec!["nc", "-ll", "-p", "2525", "-e", "sh", "-c", MAIL],
        ),
    ]
}

/// Creates the namespace, its certificates and the servers, and waits for them.
pub(super) fn open(nodes: &Nodes) -> Result<()> {
    namespace(nodes, SHOP)?;
    let mut all = Vec::new();
    for server in servers() {
        all.push(deployment(&server));
        all.push(service(&server, server.name, json!({})));
        let headless = format!("{}-headless", server.name);
        all.push(service(&server, &headless, json!({"clusterIP": "None"})));
        let six = format!("{}-ipv6", server.name);
        all.push(service(&server, &six, json!({"ipFamilies": ["IPv6"]})));
    }
    let ported = servers().into_iter().find(|server| server.name == "ported");
    let mut node_port = service(
        &ported.expect("the server"),
        "ported",
        json!({"type": "NodePort"}),
    );
    node_port["spec"]["ports"][0]["nodePort"] = 30_080.into();
    all.push(node_port);
    nodes.apply(&json!({"apiVersion": "v1", "kind": "List", "items": all}).to_string())?;
    for server in servers() {
        nodes.rolled_out(SHOP, &format!("deployment/{}", server.name))?;
    }
    Ok(())
}

/// Creates a namespace with certificates in it.
pub(super) fn namespace(nodes: &Nodes, name: &str) -> Result<()> {
    nodes.kubectl(&["create", "namespace", name])?;
    let pki = nodes.file("pki");
    let file = |key: &str, name: &str| format!("--from-file={key}={}", pki.join(name).display());
    nodes.kubectl(&[
        "create",
        "secret",
        "generic",
        "pki",
        "-n",
        name,
        &file("tls.crt", "apiserver.crt"),
        &file("tls.key", "apiserver.key"),
        &file("ca.crt", "ca.crt"),
    ])?;
    Ok(())
}

fn deployment(server: &Server) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": server.name, "namespace": SHOP},
        "spec": {
            "selector": {"matchLabels": {"app": server.name}},
            "template": {
                "metadata": {"labels": {"app": server.name}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "nodeSelector": {"kubernetes.io/hostname": server.node},
                    "containers": [container(&json!(server.command))],
                    "volumes": [{"name": "pki", "secret": {"secretName": "pki"}}],
                },
            },
        },
    })
}

pub(super) fn container(command: &Value) -> Value {
    json!({"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": command,
        "volumeMounts": [{"name": "pki", "mountPath": "/pki"}]})
}

fn service(server: &Server, name: &str, more: Value) -> Value {
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": SHOP},
        "spec": {"selector": {"app": server.name}, "ports": [{"port": server.port}]},
    });
    if let (Some(spec), Value::Object(more)) = (service["spec"].as_object_mut(), more) {
        spec.extend(more);
    }
    service
}

/// A pod on node1 that runs a script and then stays, with a client certificate.
pub(super) fn client(name: &str, script: &str) -> Value {
    // The measured part begins when all observers know the pod.
    let script = format!("sleep 3; {script}; echo done; sleep 100000");
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": SHOP, "labels": {"app": name}},
        "spec": {
            "nodeName": "node1", "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
            "containers": [container(&json!(["sh", "-c", script]))],
            "volumes": [{"name": "pki", "secret": {"secretName": "pki"}}],
        },
    })
}

/// Shell functions for scripts: each makes one connection, and reports when it was answered.
pub(super) const CALLS: &str = r#"
keys="--cert /pki/tls.crt --key /pki/tls.key"
call() { curl -s -o /dev/null -m 10 "$@" && echo answered; }
mtls13() { call -k --tlsv1.3 $keys https://$1:8443/; }
mtls12() { call -k --tls-max 1.2 $keys https://$1:8443/; }
tls() { call -k https://$1:8443/; }
http() { call http://$1:8080/index.html; }
mail() { echo hello | call --ssl --mail-from a@b.example --mail-rcpt c@d.example -T - smtp://$1:2525/; }
"#;
