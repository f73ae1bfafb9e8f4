//! The part of CRI (`runtime.v1`) that a kubelet needs to create and remove a pod's sandbox.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use prost::Message;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_prost::ProstCodec;

/// Timeout for a sandbox.
const PATIENCE: Duration = Duration::from_mins(1);

/// A kubelet's end of the socket.
#[derive(Clone)]
pub(super) struct Client {
    runtime: Rc<Runtime>,
    channel: Channel,
}

/// What is known of a sandbox.
pub(super) struct Status {
    pub(super) pid: u32,
    pub(super) netns: PathBuf,
    pub(super) ips: Vec<IpAddr>,
}

impl Client {
    /// A client of `socket`, connected when it is first used.
    pub(super) fn new(socket: &'static str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let connect =
            move |_: Uri| async move { UnixStream::connect(socket).await.map(TokioIo::new) };
        let channel = {
            let _within = runtime.enter();
            // The address is ignored: every connection goes to the socket.
            Endpoint::from_static("http://localhost")
                .connect_with_connector_lazy(tower::service_fn(connect))
        };
        Ok(Self {
            runtime: Rc::new(runtime),
            channel,
        })
    }

    pub(super) fn version(&self) -> Result<()> {
        let _: VersionResponse = self.call("Version", VersionRequest {})?;
        Ok(())
    }

    /// Makes a sandbox; its id.
    pub(super) fn run(&self, config: PodSandboxConfig) -> Result<String> {
        let request = RunPodSandboxRequest {
            config: Some(config),
        };
        let made: SandboxId = self.call("RunPodSandbox", request)?;
        Ok(made.id)
    }

    /// Starts a container in a sandbox.
    pub(super) fn start(
        &self,
        id: &str,
        config: PodSandboxConfig,
        name: &str,
        image: &str,
        command: &[&str],
    ) -> Result<()> {
        let request = CreateContainerRequest {
            id: id.into(),
            container: Some(ContainerConfig {
                metadata: Some(ContainerMetadata { name: name.into() }),
                image: Some(ImageSpec {
                    image: image.into(),
                }),
                command: command.iter().map(ToString::to_string).collect(),
            }),
            sandbox: Some(config),
        };
        let made: ContainerId = self.call("CreateContainer", request)?;
        let _: Empty = self.call("StartContainer", made)?;
        Ok(())
    }

    pub(super) fn status(&self, id: &str) -> Result<Status> {
        let request = PodSandboxStatusRequest {
            id: id.into(),
            verbose: true,
        };
        let response: PodSandboxStatusResponse = self.call("PodSandboxStatus", request)?;
        let network = response.status.and_then(|status| status.network);
        let network = network.context("a sandbox without a network")?;
        let more = network.additional_ips.into_iter().map(|ip| ip.ip);
        let ips: Result<Vec<IpAddr>, _> = std::iter::once(network.ip)
            .chain(more)
            .map(|ip| ip.parse())
            .collect();
        let info = response
            .info
            .get("info")
            .context("a sandbox without its details")?;
        let info: Value = serde_json::from_str(info)?;
        let netns = info["runtimeSpec"]["linux"]["namespaces"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|namespace| namespace["type"] == "network")
            .and_then(|namespace| namespace["path"].as_str());
        Ok(Status {
            pid: info["pid"]
                .as_u64()
                .context("a sandbox without a process")? as u32,
            netns: netns
                .context("a sandbox without a network namespace")?
                .into(),
            ips: ips.context("a sandbox's address")?,
        })
    }

    /// Stops and removes a sandbox.
    pub(super) fn remove(&self, id: &str) -> Result<()> {
        let id = SandboxId { id: id.into() };
        let _: Empty = self.call("StopPodSandbox", id.clone())?;
        let _: Empty = self.call("RemovePodSandbox", id)?;
        Ok(())
    }

    fn call<Q, A>(&self, method: &str, request: Q) -> Result<A>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let path: PathAndQuery = format!("/runtime.v1.RuntimeService/{method}").parse()?;
        let answer = async {
            let mut grpc = Grpc::new(self.channel.clone());
            grpc.ready().await.context("connect to the runtime")?;
            let codec = ProstCodec::<Q, A>::default();
            let answer = grpc.unary(tonic::Request::new(request), path, codec).await;
            anyhow::Ok(
                answer
                    .with_context(|| format!("ask for {method}"))?
                    .into_inner(),
            )
        };
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, answer).await })
            .with_context(|| format!("no answer to {method} in {PATIENCE:?}"))?
    }
}

// The fields of api.proto's messages that are used here.

#[derive(Clone, PartialEq, Message)]
struct Empty {}

#[derive(Clone, PartialEq, Message)]
struct VersionRequest {}

#[derive(Clone, PartialEq, Message)]
struct VersionResponse {
    #[prost(string, tag = "2")]
    runtime_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxId {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodSandboxConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<PodSandboxMetadata>,
    #[prost(string, tag = "2")]
    hostname: String,
    #[prost(map = "string, string", tag = "6")]
    labels: HashMap<String, String>,
    #[prost(map = "string, string", tag = "7")]
    annotations: HashMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<Linux>,
}

impl PodSandboxConfig {
    /// A pod as a kubelet describes it, within one of the machine's control groups.
    pub(super) fn new(
        (namespace, name): (&str, &str),
        uid: &str,
        cgroup: &str,
        labels: &[(&str, &str)],
        annotations: &[(&str, &str)],
    ) -> Self {
        let standard = [
            ("io.kubernetes.pod.name", name),
            ("io.kubernetes.pod.namespace", namespace),
            ("io.kubernetes.pod.uid", uid),
        ];
        let map = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect()
        };
        Self {
            metadata: Some(PodSandboxMetadata {
                name: name.into(),
                uid: uid.into(),
                namespace: namespace.into(),
            }),
            hostname: name.into(),
            labels: map(&[labels, &standard].concat()),
            annotations: map(annotations),
            linux: Some(Linux {
                cgroup_parent: format!("/{cgroup}"),
            }),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct CreateContainerRequest {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, optional, tag = "2")]
    container: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    sandbox: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "2")]
    image: Option<ImageSpec>,
    #[prost(string, repeated, tag = "3")]
    command: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerId {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct Linux {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxStatusRequest {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(bool, tag = "2")]
    verbose: bool,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<PodSandboxStatus>,
    #[prost(map = "string, string", tag = "2")]
    info: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxStatus {
    #[prost(message, optional, tag = "5")]
    network: Option<PodSandboxNetworkStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxNetworkStatus {
    #[prost(string, tag = "1")]
    ip: String,
    #[prost(message, repeated, tag = "2")]
    additional_ips: Vec<PodIp>,
}

#[derive(Clone, PartialEq, Message)]
struct PodIp {
    #[prost(string, tag = "1")]
    ip: String,
}
