//! The kubelet's part towards a container runtime, as far as the tests need it.

#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
mod runtime_v1;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use runtime_v1::runtime_service_client::RuntimeServiceClient;
use runtime_v1::{
    ContainerConfig, ContainerMetadata, CreateContainerRequest, ImageSpec, LinuxPodSandboxConfig,
    LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption, PodSandboxConfig,
    PodSandboxMetadata, PodSandboxStatusRequest, RemovePodSandboxRequest, RunPodSandboxRequest,
    StartContainerRequest, StopPodSandboxRequest, VersionRequest,
};

/// A pod to be.
pub(crate) struct PodSpec {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) labels: HashMap<String, String>,
    pub(crate) annotations: HashMap<String, String>,
    pub(crate) logs: PathBuf,
}

/// A pod that runs.
pub(crate) struct Made {
    pub(crate) id: String,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) netns: PathBuf,
}

/// A connection to a runtime, which finds its way back by itself, and the pods made by it.
pub(crate) struct Cri {
    service: RuntimeServiceClient<Channel>,
    /// By their ids; a container's creation repeats its pod's configuration.
    pods: HashMap<String, PodSandboxConfig>,
}

impl Cri {
    pub(crate) fn new(socket: &Path) -> Self {
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let channel =
            Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
        Self {
            service: RuntimeServiceClient::new(channel),
            pods: HashMap::new(),
        }
    }

    /// Whether it answers.
    pub(crate) async fn answers(&mut self) -> bool {
        let version = self.service.version(VersionRequest::default());
        version.await.is_ok()
    }

    pub(crate) async fn run(&mut self, spec: PodSpec) -> Result<Made> {
        let uid = format!("uid-{}-{}", spec.name, self.pods.len());
        let standard = [
            ("io.kubernetes.pod.name", &spec.name),
            ("io.kubernetes.pod.namespace", &spec.namespace),
            ("io.kubernetes.pod.uid", &uid),
        ];
        let mut labels = spec.labels;
        labels.extend(standard.map(|(key, value)| (key.to_owned(), value.clone())));
        let network = NamespaceOption {
            network: NamespaceMode::Pod.into(),
            pid: NamespaceMode::Container.into(),
            ipc: NamespaceMode::Pod.into(),
        };
        let config = PodSandboxConfig {
            hostname: spec.name.clone(),
            log_directory: spec.logs.display().to_string(),
            metadata: Some(PodSandboxMetadata {
                name: spec.name,
                uid,
                namespace: spec.namespace,
                attempt: 0,
            }),
            labels,
            annotations: spec.annotations,
            linux: Some(LinuxPodSandboxConfig {
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(network),
                }),
                ..LinuxPodSandboxConfig::default()
            }),
        };
        let request = RunPodSandboxRequest {
            config: Some(config.clone()),
            ..RunPodSandboxRequest::default()
        };
        let id = self.service.run_pod_sandbox(request).await?;
        let id = id.into_inner().pod_sandbox_id;
        self.pods.insert(id.clone(), config);
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: id.clone(),
            verbose: true,
        };
        let answer = self.service.pod_sandbox_status(request).await?.into_inner();
        let network = answer.status.and_then(|status| status.network);
        let network = network.context("the pod has no network")?;
        let others = network.additional_ips.iter().map(|other| &other.ip);
        let addresses = std::iter::once(&network.ip).chain(others);
        Ok(Made {
            id,
            addresses: addresses
                .map(|ip| ip.parse().with_context(|| format!("`{ip}` is no address")))
                .collect::<Result<_>>()?,
            netns: netns(answer.info.get("info").context("no verbose status")?)?,
        })
    }

    pub(crate) async fn container(
        &mut self,
        pod: &str,
        name: &str,
        image: &str,
        command: &[&str],
    ) -> Result<()> {
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata {
                name: name.into(),
                attempt: 0,
            }),
            image: Some(ImageSpec {
                image: image.into(),
            }),
            command: command.iter().map(ToString::to_string).collect(),
            log_path: format!("{pod}-{name}.log"),
            ..ContainerConfig::default()
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.into(),
            config: Some(config),
            sandbox_config: Some(self.pods.get(pod).context("no such pod")?.clone()),
        };
        let made = self.service.create_container(request).await?.into_inner();
        let request = StartContainerRequest {
            container_id: made.container_id,
        };
        self.service.start_container(request).await?;
        Ok(())
    }

    pub(crate) async fn delete(&mut self, pod: &str) -> Result<()> {
        let request = StopPodSandboxRequest {
            pod_sandbox_id: pod.into(),
        };
        self.service.stop_pod_sandbox(request).await?;
        let request = RemovePodSandboxRequest {
            pod_sandbox_id: pod.into(),
        };
        self.service.remove_pod_sandbox(request).await?;
        self.pods.remove(pod);
        Ok(())
    }

    pub(crate) async fn delete_all(&mut self) -> Result<()> {
        let pods: Vec<_> = self.pods.keys().cloned().collect();
        for pod in pods {
            self.delete(&pod).await?;
        }
        Ok(())
    }
}

/// The path of the network namespace, from the verbose part of a status.
fn netns(info: &str) -> Result<PathBuf> {
    let info: serde_json::Value = serde_json::from_str(info).context("read a verbose status")?;
    let namespaces = info["runtimeSpec"]["linux"]["namespaces"].as_array();
    namespaces
        .into_iter()
        .flatten()
        .find(|namespace| namespace["type"] == "network")
        .and_then(|namespace| namespace["path"].as_str())
        .map(PathBuf::from)
        .context("the pod's network namespace has no path")
}
