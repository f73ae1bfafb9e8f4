//! The client of the Kubernetes API. Whoever answers there is believed in what it says, but cannot
//! have this program wait or take memory without bounds.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use http_body_util::Limited;
use hyper::Response;
use kube::client::{ClientBuilder, DynBody};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::util::MapResponseLayer;

use super::Options;
use crate::usage::wrong;

/// Timeout for an answer of the API server.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer of it, in bytes: a page of 500 pods has some megabytes.
const LONGEST: usize = 64 << 20;
/// Longest kubeconfig, in bytes.
const LONGEST_FILE: u64 = 16 << 20;
/// Most pages of a list: at 500 objects each, more than the largest clusters have.
const PAGES: usize = 1_000;

/// What the API server answers, if it does so in time.
pub(super) async fn in_time<T>(answer: impl Future<Output = kube::Result<T>>) -> anyhow::Result<T> {
    within(PATIENCE, answer).await
}

async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = kube::Result<T>>,
) -> anyhow::Result<T> {
    let Ok(answer) = tokio::time::timeout(patience, answer).await else {
        bail!("no answer within {} s", patience.as_secs_f64());
    };
    Ok(answer?)
}

/// The HTTP status with which the API server refused.
pub(super) fn code(error: &anyhow::Error) -> Option<u16> {
    match error.downcast_ref()? {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Counts the pages of a list, which has an end.
#[derive(Default)]
pub(super) struct Pages(usize);

impl Pages {
    pub(super) fn next(&mut self) -> anyhow::Result<()> {
        self.0 += 1;
        ensure!(self.0 <= PAGES, "the list does not end: {PAGES} pages");
        Ok(())
    }
}

/// A client by the kubeconfig, as kubectl would have, and its context's namespace.
pub(super) async fn new(options: &Options) -> anyhow::Result<(Client, String)> {
    let choice = KubeConfigOptions {
        context: options.context.clone(),
        ..KubeConfigOptions::default()
    };
    let file = kubeconfig(options.kubeconfig.as_deref())?;
    let mut config = Config::from_custom_kubeconfig(file, &choice)
        .await
        .context("use the kubeconfig")?;
    config.connect_timeout = Some(Duration::from_secs(10));
    // A tap is read for as long as it lasts; deadlines are each question's own (`in_time`).
    config.read_timeout = None;
    config.write_timeout = None;
    let namespace = config.default_namespace.clone();
    let client =
        ClientBuilder::try_from(config).context("prepare a client of the Kubernetes API")?;
    let bounded = MapResponseLayer::new(|response: Response<Box<DynBody>>| {
        response.map(|body| Limited::new(body, LONGEST))
    });
    Ok((client.with_layer(&bounded).build(), namespace))
}

/// The kubeconfig that is named, or the one that kubectl would use.
fn kubeconfig(named: Option<&Path>) -> anyhow::Result<Kubeconfig> {
    if let Some(path) = named {
        return read(path).with_context(|| format!("--kubeconfig {}", path.display()));
    }
    let standard = std::env::home_dir().map(|home| home.join(".kube/config"));
    let is_set = std::env::var_os("KUBECONFIG").is_some_and(|paths| !paths.is_empty());
    if !is_set && !standard.is_some_and(|path| path.exists()) {
        return wrong(
            "no kubeconfig, so no cluster can be queried: there is no ~/.kube/config, and neither \
             --kubeconfig nor KUBECONFIG is given. To query this node, leave out -l and the \
             cluster's options",
        );
    }
    Kubeconfig::read().context("read the kubeconfig")
}

/// A kubeconfig of a bounded size. The paths in a file are relative to its directory; a pipe
/// (`<(…)`) has none.
fn read(path: &Path) -> anyhow::Result<Kubeconfig> {
    // The library's own errors name a cause twice.
    let file = File::open(path)?;
    if file.metadata()?.is_file() {
        ensure!(file.metadata()?.len() <= LONGEST_FILE, "it is too long");
        return Ok(Kubeconfig::read_from(path)?);
    }
    Ok(Kubeconfig::from_yaml(&text(file, LONGEST_FILE)?)?)
}

/// What a file says, of at most so many bytes.
pub(super) fn text(file: File, most: u64) -> anyhow::Result<String> {
    let mut text = String::new();
    file.take(most + 1).read_to_string(&mut text)?;
    ensure!(text.len() as u64 <= most, "it has more than {most} bytes");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_not_read_to_it() {
        let told = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(told.contains("more than"), "{told}");
        let mut pages = Pages::default();
        for _ in 0..PAGES {
            pages.next().unwrap();
        }
        let told = pages.next().unwrap_err().to_string();
        assert_eq!(told, "the list does not end: 1000 pages");
    }

    #[tokio::test]
    async fn an_api_server_that_does_not_answer_is_not_waited_for() {
        let never = std::future::pending::<kube::Result<()>>();
        let told = within(Duration::from_millis(500), never).await.unwrap_err();
        assert_eq!(told.to_string(), "no answer within 0.5 s");
    }

    #[tokio::test]
    async fn an_answer_of_the_api_server_that_does_not_end_is_cut_off() {
        use k8s_openapi::api::core::v1::Pod;
        use kube::api::{Api, ListParams};
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The request, which is short.
            let mut request = [0; 4 << 10];
            let n = stream.read(&mut request).await.unwrap();
            assert!(request[..n].ends_with(b"\r\n\r\n"));
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let spaces = vec![b' '; 1 << 20];
            while stream.write_all(&spaces).await.is_ok() {}
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = serde_json::json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{at}")}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]});
        std::fs::write(file.path(), config.to_string()).unwrap();
        let options = Options {
            kubeconfig: Some(file.path().to_owned()),
            ..Options::default()
        };
        let (client, _) = new(&options).await.unwrap();
        let list = Api::<Pod>::all(client);
        let told = in_time(list.list(&ListParams::default())).await;
        let told = format!("{:#}", told.unwrap_err());
        assert!(told.contains("length limit exceeded"), "{told}");
        server.await.unwrap();
    }
}
