//! Databases and caches.

use std::os::unix::fs::chown;

use anyhow::{Context, Result};
use mtls_tests::bin;
use mtls_tests::servers::{PATIENCE, Watched};
use mtls_tests::skip::{Need, runs_here};

use super::NOBODY;

#[test]
fn redis() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Programs(&["redis-server", "redis-cli"])]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let [cert, key, ca] = watched.tls("db")?;
    let _server = watched.serve(
        6380,
        &format!(
            "redis-server --port 6379 --tls-port 6380 --bind 0.0.0.0 --protected-mode no
             --dir {} --tls-cert-file {cert} --tls-key-file {key} --tls-ca-cert-file {ca}
             --tls-auth-clients optional",
            watched.dir("redis")?
        ),
    )?;
    let cli = format!("redis-cli -h {}", watched.ip());
    watched.client(&format!("{cli} -p 6379 set key value"))?;
    watched.clear(6379, "redis")?;

    let secure = format!("{cli} -p 6380 --tls --cacert {ca}");
    watched.client(&format!("{secure} get key"))?;
    watched.secure(6380, "tls", "1.3", "not-presented")?;
    let [cert, key, _] = watched.tls("web")?;
    watched.client(&format!("{secure} --cert {cert} --key {key} get key"))?;
    watched.secure(6380, "tls", "1.3", "presented")?;
    watched.compare()
}

#[test]
fn memcached() -> Result<()> {
    let programs = Need::Programs(&["memcached", "memccp", "memccat"]);
    if !runs_here(&[Need::Root, Need::Openssl, programs]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let [cert, key, ca] = watched.tls("db")?;
    let _clear = watched.serve(11211, "memcached -u root -l 0.0.0.0 -p 11211")?;
    let options = format!("ssl_chain_cert={cert},ssl_key={key},ssl_ca_cert={ca},ssl_verify_mode=2");
    let _mutual = watched.serve(
        11212,
        &format!("memcached -u root -l 0.0.0.0 -p 11212 -Z -o {options}"),
    )?;
    let servers = format!("--servers={}:11211", watched.ip());
    let item = watched.config("item", "value")?;
    watched.client(&format!("memccp {servers} {item}"))?;
    watched.clear(11211, "memcached")?;
    watched.client(&format!("memccat --binary {servers} item"))?;
    watched.clear(11211, "memcached")?;

    let [cert, key, _] = watched.tls("web")?;
    let own = format!("-quiet -cert {cert} -key {key}");
    let told = watched.openssl(11212, &own, "version\r\nquit\r\n")?;
    assert!(told.contains("VERSION 1."), "{told}");
    watched.secure(11212, "tls", "1.3", "presented")?;
    watched.compare()
}

#[test]
fn postgresql() -> Result<()> {
    const NAME: &str = "postgresql";
    let programs = Need::Programs(&["initdb", "postgres", "psql", "setpriv", "unshare"]);
    if !runs_here(&[Need::Root, programs]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let [cert, key, ca] = watched.tls("db")?;
    let dir = watched.dir("postgresql")?;
    for path in [&dir, &key] {
        chown(path, Some(NOBODY), Some(NOBODY))?;
    }
    // Its shared memory goes with its namespace.
    let run = |program: &str| {
        let program = bin::system(program).unwrap_or_default();
        format!(
            "unshare --ipc setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups
             --pdeathsig=KILL {} -D {dir}/data",
            program.display()
        )
    };
    let initdb = run("initdb");
    watched.client(&format!(
        "{initdb} -U postgres -A trust --no-sync --locale=C"
    ))?;
    let rules = watched.config(
        "pg_hba.conf",
        "hostssl template1 all all trust clientcert=verify-ca\nhost postgres all all trust\n",
    )?;
    let postgres = run("postgres");
    let serve = |port: u16, options: &str| {
        let server = watched.serve(
            port,
            &format!(
                "{postgres} -p {port} -h 0.0.0.0 -k {dir} -c hba_file={rules}
                 -c fsync=off {options}"
            ),
        )?;
        // It listens first.
        let ready = |line: &str| line.contains("ready to accept connections").then_some(());
        server
            .err
            .find(PATIENCE, ready)
            .with_context(|| server.told())?;
        anyhow::Ok(server)
    };
    let ip = watched.ip();
    let [own_cert, own_key, _] = watched.tls("web")?;
    let own = format!("sslcert={own_cert}&sslkey={own_key}");
    let psql = |port: u16, options: &str| {
        format!("psql -c select postgresql://postgres@{ip}:{port}/{options}")
    };

    let server = serve(5431, "")?;
    watched.client(&psql(5431, "postgres?sslmode=disable"))?;
    watched.clear(5431, NAME)?;
    watched.client(&psql(5431, "postgres?sslmode=prefer"))?;
    let flow = watched.expect(5431, ["plaintext", "upgrade", NAME])?;
    let reason = "client asked for TLS; server declined (postgresql)";
    assert_eq!(flow["reason"], reason, "{flow:#}");
    drop(server);

    for (port, version) in [(5432, "1.3"), (5433, "1.2")] {
        let _server = serve(
            port,
            &format!(
                "-c ssl=on -c ssl_cert_file={cert} -c ssl_key_file={key} -c ssl_ca_file={ca}
                 -c ssl_max_protocol_version=TLSv{version}"
            ),
        )?;
        watched.client(&psql(port, "postgres?sslmode=disable"))?;
        watched.clear(port, NAME)?;
        watched.client(&psql(port, "postgres?sslmode=require"))?;
        watched.secure(port, NAME, version, "not-presented")?;
        watched.client(&psql(port, &format!("template1?sslmode=require&{own}")))?;
        watched.secure(port, NAME, version, "presented")?;
        // TLS is not what turns this one away.
        watched.turned_away(&psql(port, "template1?sslmode=require"))?;
        watched.secure(port, NAME, version, "not-presented")?;
    }
    watched.compare()
}

#[test]
fn mariadb() -> Result<()> {
    const NAME: &str = "mysql";
    if !runs_here(&[Need::Root, Need::Programs(&["mariadbd", "mariadb"])]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let [cert, key, ca] = watched.tls("db")?;
    let [own_cert, own_key, _] = watched.tls("web")?;
    let own = format!("--ssl-cert={own_cert} --ssl-key={own_key}");
    let ip = watched.ip();
    let serve = |port: u16, options: &str| {
        let dir = watched.dir(&format!("mariadb-{port}"))?;
        watched.serve(
            port,
            &format!(
                "mariadbd --no-defaults --user=root --datadir={dir} --socket={dir}/socket
                 --port={port} --skip-grant-tables --skip-name-resolve {options}"
            ),
        )
    };
    let client = |port: u16, options: &str| {
        format!("mariadb --no-defaults -h {ip} -P {port} -u root -e select(1) {options}")
    };
    let _clear = serve(3305, "--skip-ssl")?;
    // This client is content without the TLS that the server does not offer.
    watched.client(&client(3305, "--ssl --skip-ssl-verify-server-cert"))?;
    watched.clear(3305, NAME)?;
    for (port, version) in [(3306, "1.3"), (3307, "1.2")] {
        let options =
            format!("--tls-version=TLSv{version} --ssl-cert={cert} --ssl-key={key} --ssl-ca={ca}");
        let _server = serve(port, &options)?;
        watched.client(&client(port, "--skip-ssl"))?;
        watched.clear(port, NAME)?;
        let secure = client(port, "--ssl --skip-ssl-verify-server-cert");
        watched.client(&secure)?;
        watched.secure(port, NAME, version, "not-presented")?;
        watched.client(&format!("{secure} {own}"))?;
        watched.secure(port, NAME, version, "presented")?;
        let openssl = format!("-starttls mysql -cert {own_cert} -key {own_key}");
        watched.openssl(port, &openssl, "")?;
        watched.secure(port, NAME, version, "presented")?;
    }
    watched.compare()
}

#[test]
fn etcd() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Programs(&["etcd", "etcdctl"])]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let [cert, key, ca] = watched.tls("db")?;
    let [own_cert, own_key, _] = watched.tls("web")?;
    let own = format!("--cert {own_cert} --key {own_key} --insecure-skip-tls-verify");
    let serve = |port: u16, scheme: &str, options: &str| {
        let dir = watched.dir(scheme)?;
        let url = format!("{scheme}://0.0.0.0:{port}");
        watched.serve(
            port,
            &format!(
                "etcd --data-dir {dir} --listen-client-urls {url} --advertise-client-urls {url}
                 --listen-peer-urls http://127.0.0.1:{} {options}",
                port + 1
            ),
        )
    };
    let _clear = serve(2379, "http", "")?;
    let options =
        format!("--cert-file {cert} --key-file {key} --trusted-ca-file {ca} --client-cert-auth");
    let _mutual = serve(2389, "https", &options)?;
    let put = "env ETCDCTL_API=3 etcdctl put key value --endpoints";
    let ip = watched.ip();
    watched.client(&format!("{put} http://{ip}:2379"))?;
    let flow = watched.clear(2379, "grpc")?;
    assert_eq!(flow["http"]["path"], "/etcdserverpb.KV/Put", "{flow:#}");
    watched.client(&format!("{put} https://{ip}:2389 {own}"))?;
    watched.secure(2389, "tls", "1.3", "presented")?;
    watched.compare()
}
