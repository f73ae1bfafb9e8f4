//! Brokers and chats.

use anyhow::Result;
use mtls_tests::pki::dns_name;
use mtls_tests::servers::Watched;
use mtls_tests::skip::{Need, runs_here};

use super::VERSIONS;

#[test]
fn mosquitto() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Programs(&["mosquitto", "mosquitto_pub"])]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let [cert, key, ca] = watched.tls("db")?;
    let files = format!("cafile {ca}\ncertfile {cert}\nkeyfile {key}\n");
    let config = watched.config(
        "mosquitto.conf",
        &format!(
            "user root\nallow_anonymous true\nlistener 1883\nlistener 8883\n{files}\
             require_certificate true\nlistener 8884\n{files}require_certificate false\n"
        ),
    )?;
    let _server = watched.serve(8884, &format!("mosquitto -c {config}"))?;
    let publish = format!("mosquitto_pub -h {} -t topic -m hello", watched.ip());
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        watched.client(&format!("{publish} -p 1883 -V {version}"))?;
        watched.clear(1883, "mqtt")?;
    }
    let [own_cert, own_key, _] = watched.tls("web")?;
    let secure = format!("{publish} --cafile {ca} --insecure");
    for version in VERSIONS {
        // Mosquitto's own option sets the lowest version only.
        let config = format!(
            "openssl_conf = conf\n[conf]\nssl_conf = ssl\n[ssl]\nsystem_default = at_most\n\
             [at_most]\nMaxProtocol = TLSv{version}\n"
        );
        let config = watched.config("openssl.cnf", &config)?;
        let secure = format!("env OPENSSL_CONF={config} {secure}");
        let own = format!("--cert {own_cert} --key {own_key}");
        watched.client(&format!("{secure} -p 8884 {own}"))?;
        watched.secure(8884, "tls", version, "not-requested")?;
        watched.client(&format!("{secure} -p 8883 {own}"))?;
        watched.secure(8883, "tls", version, "presented")?;
        watched.turned_away(&format!("{secure} -p 8883"))?;
        watched.secure(8883, "tls", version, "refused")?;
    }
    watched.compare()
}

/// A second server is the client: as a leaf of the first.
#[test]
fn nats() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Programs(&["nats-server"])]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let [cert, key, ca] = watched.tls("db")?;
    let [own_cert, own_key, _] = watched.tls("web")?;
    let files = format!("cert_file: {cert}, key_file: {key}, ca_file: {ca}");
    let own = format!("tls {{ insecure: true, cert_file: {own_cert}, key_file: {own_key} }}");
    for (port, tls, certificate) in [
        (7422, String::new(), None),
        (7423, format!("tls {{ {files} }}"), Some("not-requested")),
        (
            7424,
            format!("tls {{ {files}, verify: true }}"),
            Some("presented"),
        ),
    ] {
        let config = format!("port: -1, leafnodes {{ port: {port}, {tls} }}");
        let config = watched.config("nats.conf", &config)?;
        let _server = watched.serve(port, &format!("nats-server -c {config}"))?;
        let own = if tls.is_empty() { "" } else { &own };
        let remote = format!("{{ url: \"nats-leaf://{}:{port}\", {own} }}", watched.ip());
        let config = format!("port: 4222, leafnodes {{ remotes: [ {remote} ] }}");
        let config = watched.config("leaf.conf", &config)?;
        let leaf = format!("nats-server -c {config}");
        let leaf = watched.serve_in(&watched.scene.web, 4222, &leaf)?;
        watched.await_verdict(port)?;
        drop(leaf);
        match certificate {
            None => watched.clear(port, "nats")?,
            Some(certificate) => watched.secure(port, "nats", "1.3", certificate)?,
        };
    }
    watched.compare()
}

#[test]
fn prosody() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl, Need::Programs(&["prosody"])]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let [cert, key, ca] = watched.tls("db")?;
    let [own_cert, own_key, _] = watched.tls("web")?;
    let name = dns_name("db");
    let config = watched.config(
        "prosody.cfg.lua",
        &format!(
            "run_as_root = true\ndata_path = \"{}\"\nlog = \"*console\"\n\
             interfaces = {{ \"0.0.0.0\" }}\nmodules_enabled = {{ \"tls\", \"saslauth\" }}\n\
             ssl = {{ certificate = \"{cert}\", key = \"{key}\", cafile = \"{ca}\",\n\
             verify = {{ \"peer\", \"client_once\" }}, protocol = \"tlsv1_2+\" }}\n\
             VirtualHost \"{name}\"\n",
            watched.dir("prosody")?
        ),
    )?;
    let _server = watched.serve(5222, &format!("prosody --config {config} -F"))?;
    for version in VERSIONS {
        let args = format!(
            "-starttls xmpp -xmpphost {name} -tls{}",
            version.replace('.', "_")
        );
        watched.openssl(5222, &args, "")?;
        watched.secure(5222, "xmpp", version, "not-presented")?;
        watched.openssl(5222, &format!("{args} -cert {own_cert} -key {own_key}"), "")?;
        watched.secure(5222, "xmpp", version, "presented")?;
    }
    watched.compare()
}
