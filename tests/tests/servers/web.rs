//! HTTP, with and without a proxy before it.

use anyhow::Result;
use mtls_tests::pki::dns_name;
use mtls_tests::servers::{Watched, has_note};
use mtls_tests::skip::{Need, runs_here};
use serde_json::Value;

use super::VERSIONS;

#[test]
fn nginx_behind_haproxy_or_not() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Programs(&["nginx", "haproxy", "curl"])]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let [cert, key, ca] = watched.tls("db")?;
    let dir = watched.dir("nginx")?;
    let config = watched.config(
        "nginx.conf",
        &format!(
            "daemon off; master_process off; user root; pid {dir}/pid; error_log stderr;
             events {{}}
             http {{
                 access_log off;
                 ssl_protocols TLSv1.2 TLSv1.3;
                 ssl_certificate {cert}; ssl_certificate_key {key};
                 server {{ listen 80; location / {{ return 200 hello; }} }}
                 server {{ listen 81 http2; location / {{ return 404; }} }}
                 server {{ listen 443 ssl; location / {{ return 200 hello; }} }}
                 server {{
                     listen 444 ssl http2; listen 445 ssl proxy_protocol;
                     ssl_client_certificate {ca}; ssl_verify_client optional;
                     location / {{ return 200 hello; }}
                 }}
             }}"
        ),
    )?;
    let _server = watched.serve(445, &format!("nginx -e stderr -p {dir} -c {config}"))?;
    let name = dns_name("db");
    let [own_cert, own_key, _] = watched.tls("web")?;
    let own = format!("--cert {own_cert} --key {own_key}");
    let curl = |ip: &str, port: u16, args: &str| {
        watched.client(&format!(
            "curl --silent --show-error --cacert {ca} --resolve {name}:{port}:{ip} {args}"
        ))
    };
    let ip = watched.ip();

    curl(&ip, 80, &format!("http://{name}/cart?user=7"))?;
    let flow = watched.clear(80, "http/1.1")?;
    asked(&flow, &name, "/cart", 200);
    let prior = format!("--http2-prior-knowledge http://{name}:81/orders");
    curl(&ip, 81, &prior)?;
    let flow = watched.clear(81, "http/2")?;
    asked(&flow, &format!("{name}:81"), "/orders", 404);
    // Plaintext to a port for TLS: nginx says so, in plaintext.
    curl(&ip, 443, &format!("http://{name}:443/"))?;
    let flow = watched.clear(443, "http/1.1")?;
    asked(&flow, &format!("{name}:443"), "/", 400);

    for version in VERSIONS {
        let args = |port| format!("--tlsv{version} --tls-max {version} https://{name}:{port}/");
        curl(&ip, 443, &format!("{own} {}", args(443)))?;
        watched.secure(443, "tls", version, "not-requested")?;
        curl(&ip, 444, &args(444))?;
        watched.secure(444, "tls", version, "not-presented")?;
        curl(&ip, 444, &format!("{own} {}", args(444)))?;
        let flow = watched.secure(444, "tls", version, "presented")?;
        assert_eq!(flow["tls"]["sni"], name, "{flow:#}");
    }

    let config = watched.config(
        "haproxy.cfg",
        &format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n\
             listen v1\n bind 127.0.0.1:1\n server nginx {ip}:445 send-proxy\n\
             listen v2\n bind 127.0.0.1:2\n server nginx {ip}:445 send-proxy-v2\n"
        ),
    )?;
    let _proxy = watched.serve_in(&watched.scene.web, 2, &format!("haproxy -db -f {config}"))?;
    for (port, note) in [(1, "PROXY protocol v1"), (2, "PROXY protocol v2")] {
        for (args, certificate) in [("", "not-presented"), (&own, "presented")] {
            curl("127.0.0.1", port, &format!("{args} https://{name}:{port}/"))?;
            let flow = watched.secure(445, "tls", "1.3", certificate)?;
            assert!(has_note(&flow, &format!("through: {note}")), "{flow:#}");
        }
    }
    watched.compare()
}

fn asked(flow: &Value, authority: &str, path: &str, status: u16) {
    let http = &flow["http"];
    assert_eq!(http["method"], "GET", "{flow:#}");
    assert_eq!(http["authority"], authority, "{flow:#}");
    assert_eq!(http["path"], path, "{flow:#}");
    assert_eq!(http["status"], status, "{flow:#}");
    let agent = http["user_agent"].as_str().unwrap_or_default();
    assert!(agent.starts_with("curl/"), "{flow:#}");
}

#[test]
fn tunnels_through_tinyproxy_and_microsocks() -> Result<()> {
    let programs = Need::Programs(&["tinyproxy", "microsocks", "curl"]);
    if !runs_here(&[Need::Root, Need::Openssl, programs]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let [own_cert, own_key, _] = watched.tls("web")?;
    let own = format!("--cert {own_cert} --key {own_key}");
    let config = watched.config("tinyproxy.conf", "Port 8888\nListen 0.0.0.0\n")?;
    let _proxy = watched.serve(8888, &format!("tinyproxy -d -c {config}"))?;
    let _socks = watched.serve(1080, "microsocks -i 0.0.0.0 -p 1080")?;
    let scene = &watched.scene;
    let _tls = scene.openssl_serve(&scene.db, 443, false, &[])?;
    let _mutual = scene.openssl_serve(&scene.db, 444, true, &[])?;
    let ip = watched.ip();
    for (port, through, note) in [
        (8888, format!("--proxy http://{ip}:8888"), "HTTP CONNECT"),
        (1080, format!("--socks5 {ip}:1080"), "SOCKS5"),
    ] {
        for (target, certificate) in [(443, "not-requested"), (444, "presented")] {
            watched.client(&format!(
                "curl --silent --show-error --insecure {own} {through} https://{ip}:{target}/"
            ))?;
            let flow = watched.secure(port, "tls", "1.3", certificate)?;
            assert!(has_note(&flow, &format!("through: {note}")), "{flow:#}");
        }
    }
    watched.compare()
}
