//! The shop: its pods, their servers, and one round of everybody talking to everybody.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use mtls_tests::netns::{Node, Pod};
use mtls_tests::pki::dns_name;
use mtls_tests::process::Process;
use mtls_tests::scene::{Scene, at};

const HTTPS: u16 = 8443;
const HTTP: u16 = 8080;

/// Pods that serve and pods that call.
pub(crate) struct Shop {
    /// Dropped (killed) before their pods.
    _servers: Vec<Process>,
    cart: Pod,
    search: Pod,
    legacy: Pod,
    batch: Pod,
    /// With `web`, a client on rustls, and `db`, a server on OpenSSL.
    scene: Scene,
}

impl Shop {
    /// Makes the pods and starts their servers.
    pub(crate) fn open() -> Result<Self> {
        let scene = Scene::new()?;
        let cart = scene.node.pod("shop", "cart")?;
        let search = scene.node.pod("shop", "search")?;
        let legacy = scene.node.pod("shop", "legacy")?;
        let batch = scene.node.pod("shop", "batch")?;
        let any = |port| at(IpAddr::from([0_u16; 8]), port);
        let servers = vec![
            scene.serve(&cart, any(HTTPS), &["--mode", "mtls", "--tls", "1.3"])?,
            scene.serve(&cart, any(HTTP), &["--mode", "plain-http"])?,
            scene.openssl_serve(&scene.db, HTTPS, true, &["-tls1_2"])?,
            scene.serve(&search, any(HTTPS), &["--mode", "tls", "--tls", "1.3"])?,
            scene.serve(&legacy, any(HTTP), &["--mode", "plain-http"])?,
        ];
        Ok(Self {
            _servers: servers,
            cart,
            search,
            legacy,
            batch,
            scene,
        })
    }

    pub(crate) fn node(&self) -> &Node {
        &self.scene.node
    }

    /// One connection of each kind.
    pub(crate) fn round(&self) -> Result<()> {
        let Scene { web, db, .. } = &self.scene;
        // Mutual TLS 1.3: rustls to rustls, over IPv6, and OpenSSL to rustls.
        self.mutual(web, &self.cart, self.cart.v6())?;
        self.openssl(&self.batch, &self.cart)?;
        // Mutual TLS 1.2: rustls and OpenSSL to OpenSSL.
        self.scene
            .connect(web, at(db.v4(), HTTPS), &["--mode", "mtls"])?;
        self.openssl(&self.batch, db)?;
        // TLS that authenticates only the server.
        let name = dns_name(self.search.workload());
        let args = ["--mode", "tls", "--sni", &name];
        self.scene
            .connect(web, at(self.search.v4(), HTTPS), &args)?;
        // Plaintext: a call, and a kubelet-style probe.
        let name = dns_name(self.legacy.workload());
        let args = ["--mode", "plain-http", "--sni", &name, "--path", "/orders"];
        self.scene.connect(web, at(self.legacy.v4(), HTTP), &args)?;
        self.scene.probe(at(self.cart.v4(), HTTP))?;
        Ok(())
    }

    fn mutual(&self, from: &Pod, to: &Pod, ip: IpAddr) -> Result<()> {
        let name = dns_name(to.workload());
        let args = ["--mode", "mtls", "--requests", "3", "--sni", &name];
        self.scene.connect(from, at(ip, HTTPS), &args)?;
        Ok(())
    }

    fn openssl(&self, from: &Pod, to: &Pod) -> Result<()> {
        let name = dns_name(to.workload());
        let args = ["-servername", &*name];
        let told = self
            .scene
            .openssl_connect(from, at(to.v4(), HTTPS), true, &args)?;
        ensure!(
            told.contains(" 200 "),
            "openssl got no answer from {}:\n{told}",
            to.name()
        );
        Ok(())
    }
}
