//! HTTP/3, DTLS, DNS and WireGuard from a pod on one node to pods on the other.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mtls_tests::nodes::{MTLS, Nodes, edge, until};
use mtls_tests::process::Process;
use serde_json::{Value, json};

use super::cluster;
use super::shop::{SHOP, client, container};

/// A server: its name, its port, its program, and how it is reported.
struct Server {
    name: &'static str,
    port: u16,
    script: &'static str,
    protocol: &'static str,
    verdict: &'static str,
}

/// Keys of WireGuard for these tests: the servers' and the clients'.
const KEYS: [[&str; 2]; 2] = [
    [
        "8EEm2Ct+BBPicNXt4erd6rMR664ICnXo5fcmuHuAQUs=",
        "tAipLcMMJ5HjNKJXMwXZe4nB05yC7tlAz2ZF9/8itAo=",
    ],
    [
        "YIyf1OK3tfpfBnJ5XePV/pI1ETwmQfU0SQod7hYHk0U=",
        "F4yE3eICoBPRchCcx44i4a70tb00m5SJVczEr3rC+Fk=",
    ],
];

const SERVERS: [Server; 5] = [
    Server {
        name: "http3",
        port: 4433,
        script: "exec gtlsserver -q --htdocs /www --verify-client 0.0.0.0 4433 /pki/tls.key /pki/tls.crt",
        protocol: "http/3",
        verdict: "mtls",
    },
    Server {
        name: "http3-one-way",
        port: 4433,
        script: "exec gtlsserver -q --htdocs /www 0.0.0.0 4433 /pki/tls.key /pki/tls.crt",
        protocol: "http/3",
        verdict: "tls",
    },
    Server {
        name: "dtls",
        port: 5684,
        // It ends with its input.
        script: "sleep 1000000 | openssl s_server -dtls -mtu 1400 -accept 5684 -cert /pki/tls.crt \
                 -key /pki/tls.key -CAfile /pki/ca.crt -Verify 2",
        protocol: "dtls",
        verdict: "mtls",
    },
    Server {
        name: "names",
        port: 53,
        script: "exec dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts \
                 --user=root --pid-file= --address=/shop.example/10.1.2.3",
        protocol: "dns",
        verdict: "plaintext",
    },
    Server {
        name: "tunnel",
        port: 51_820,
        script: "tunnel 10.99.0.2 server client listen-port 51820; sleep 1000000",
        protocol: "wireguard",
        verdict: "opaque",
    },
];

/// Shell functions: a tunnel from an address, with the keys of both ends and more settings.
fn tunnel() -> String {
    let [[server, server_public], [client, client_public]] = KEYS;
    format!(
        r"
key() {{ case $1 in server) echo {server} ;; client) echo {client} ;; esac; }}
public() {{ case $1 in server) echo {server_public} ;; client) echo {client_public} ;; esac; }}
tunnel() {{
  inner=$1; key $2 > /tmp/key; peer=$(public $3); shift 3
  wireguard-go wg0
  wg set wg0 private-key /tmp/key $1 $2 peer $peer allowed-ips 10.99.0.0/24 $3 $4
  ip addr add $inner/24 dev wg0; ip link set wg0 up
}}
"
    )
}

/// A server's Deployment on node2, and its Service.
fn manifests(server: &Server) -> [Value; 2] {
    let labels = json!({"app": server.name});
    let mut container = container(&json!([
        "sh",
        "-c",
        format!("{}\n{}", tunnel(), server.script)
    ]));
    // It creates an interface.
    container["securityContext"] = json!({"privileged": server.name == "tunnel"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": server.name, "namespace": SHOP},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "nodeSelector": {"kubernetes.io/hostname": "node2"},
                    "containers": [container],
                    "volumes": [{"name": "pki", "secret": {"secretName": "pki"}}],
                },
            },
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": server.name, "namespace": SHOP},
        "spec": {"selector": labels, "ports": [{"port": server.port, "protocol": "UDP"}]},
    });
    [deployment, service]
}

/// What the client does: every line of it ends with `answered`.
const ASKS: &str = r#"
own="--cert /pki/tls.crt --key /pki/tls.key"
gtlsclient -q --exit-on-all-streams-close $own http3 4433 https://http3/index.html && echo answered
gtlsclient -q --exit-on-all-streams-close http3-one-way 4433 https://http3-one-way/index.html && echo answered
(sleep 2; echo ping; sleep 2) | openssl s_client -dtls -mtu 1400 -connect dtls:5684 -cert /pki/tls.crt \
  -key /pki/tls.key | grep -q "Verify return code" && echo answered
nslookup shop.example names | grep -q 10.1.2.3 && echo answered
server=$(nslookup tunnel.shop.svc.cluster.local | grep Address | tail -n 1 | sed 's/.* //')
tunnel 10.99.0.1 client server listen-port 51821 endpoint $server:51820
ping -c 3 -w 20 10.99.0.2 && echo answered
"#;

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn datagrams_between_pods_have_names_and_verdicts() -> Result<()> {
    let nodes = cluster()?;
    let all: Vec<Value> = SERVERS.iter().flat_map(manifests).collect();
    nodes.apply(&json!({"apiVersion": "v1", "kind": "List", "items": all}).to_string())?;
    for server in &SERVERS {
        nodes.rolled_out(SHOP, &format!("deployment/{}", server.name))?;
    }
    let mut taps = Vec::new();
    for node in ["node1", "node2"] {
        let pod = nodes.daemon(node)?;
        let mut tap = nodes.command("node1", "kubectl")?;
        tap.args(["exec", "-n", MTLS, &pod, "--", "mtls", "tap", "-o", "jsonl"]);
        // A flow has ended after 30 seconds without datagrams.
        tap.args(["--for", "75s"]);
        taps.push((node, Process::start(tap)?));
    }
    ask(nodes)?;
    for (node, mut tap) in taps {
        let told = tap.succeed(Duration::from_mins(2))?;
        for server in &SERVERS {
            in_the_tap(&told, server).with_context(|| format!("{}, {node}", server.name))?;
            let what = format!("{} among the edges of {node}", server.name);
            until(&what, || {
                in_the_edges(&nodes.edges(node)?, server).map(Some)
            })?;
        }
    }
    Ok(())
}

/// Has a client on node1 ask every server.
fn ask(nodes: &Nodes) -> Result<()> {
    let mut pod = client("datagrams", &format!("{}\n{}", tunnel(), ASKS.trim_end()));
    pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    nodes.apply(&pod.to_string())?;
    let log = until("the client to be done", || {
        let log = nodes.kubectl(&["logs", "-n", SHOP, "datagrams"])?;
        Ok(log.lines().any(|line| line == "done").then_some(log))
    })?;
    let answered = log.lines().filter(|line| *line == "answered").count();
    ensure!(answered == SERVERS.len(), "{answered} answers:\n{log}");
    Ok(())
}

fn in_the_tap(told: &str, server: &Server) -> Result<()> {
    let lines: Vec<Value> = told
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let ours: Vec<_> = lines
        .iter()
        .filter(|line| line["src"]["name"] == "datagrams" && line["dst"]["name"] == server.name)
        .collect();
    ensure!(!ours.is_empty(), "nothing in the tap");
    for line in &ours {
        assert_eq!(line["transport"], "udp", "{line:#}");
        assert_eq!(line["dst"]["namespace"], SHOP, "{line:#}");
    }
    let decided = ours.iter().find(|line| {
        line["protocol"] == server.protocol
            && line["verdict"] == server.verdict
            && line["dst"]["port"] == server.port
    });
    decided.with_context(|| format!("not as expected: {ours:#?}"))?;
    Ok(())
}

fn in_the_edges(edges: &[Value], server: &Server) -> Result<()> {
    let edge = edge(edges, "datagrams", server.name).context("no edge")?;
    ensure!(edge["transport"] == "udp", "{edge:#}");
    ensure!(edge["dst"]["port"] == server.port, "{edge:#}");
    // DNS is exempt, but counted.
    let (counts, class) = match server.protocol {
        "dns" => (&edge["exempt_counts"], "dns"),
        _ => (&edge["verdict_counts"], server.verdict),
    };
    let counts = counts.as_object().context("no counts")?;
    ensure!(counts.contains_key(class) && counts.len() == 1, "{edge:#}");
    Ok(())
}
