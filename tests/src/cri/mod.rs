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

/// A connection to a runtime, and the pods made by it.
pub(crate) struct Cri {
    service: RuntimeServiceClient<Channel>,
}

/// Configurations of the pods that run: a container's creation repeats its pod's. They outlive
/// the connection, as the pods do.
static PODS: std::sync::Mutex<Vec<(String, PathBuf, PodSandboxConfig)>> =
    std::sync::Mutex::new(Vec::new());

impl Cri {
    pub(crate) async fn connect(socket: &Path) -> Result<Self> {
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost")
            .connect_with_connector(connector)
            .await?;
        let mut service = RuntimeServiceClient::new(channel);
        service.version(VersionRequest::default()).await?;
        Ok(Self { service })
    }
}
