//! The node's one netlink socket: requests and answers, and the kernel's notifications.
//!
//! The kernel identifies every other namespace by an id. It reports the id with the host's end of
//! each veth, and for an open namespace on request (`RTM_GETNSID`).

mod neighbours;
pub(crate) mod routes;

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use anyhow::Context;
use futures::channel::mpsc::UnboundedReceiver;
use futures::{StreamExt, TryStreamExt};
use hashbrown::{HashMap, HashSet};
use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use rtnetlink::sys::{AsyncSocket, SocketAddr};
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

/// Bytes of events that may be queued for the daemon: some 10,000 interfaces that appear or
/// disappear at once. Beyond this, the kernel reports that events were lost, and everything is
/// listed again.
const BACKLOG: usize = 16 << 20;

/// The kernel's notifications, with the socket that they come from.
pub type Events = UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

/// The socket, shared by all clones of this; closed with the last one.
#[derive(Clone)]
pub struct Netlink {
    /// Locked for each request: while the kernel lists anything for a socket, it answers a request
    /// for another list with EBUSY.
    handle: Arc<Mutex<Handle>>,
    _reader: Arc<Reader>,
}

/// The task that reads the socket.
struct Reader(JoinHandle<()>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Netlink {
    /// Opens a socket in this thread's network namespace that listens to `groups`. Must be called
    /// within a tokio runtime.
    pub fn open(groups: &[MulticastGroup]) -> anyhow::Result<(Self, Events)> {
        let (mut connection, handle, events) =
            rtnetlink::new_multicast_connection(groups).context("open a netlink socket")?;
        let socket = connection.socket_mut().socket_mut();
        // Without CAP_NET_ADMIN, the default size has to do.
        if let Err(error) = socket.set_rx_buf_sz(BACKLOG as i32) {
            tracing::debug!("the netlink socket's buffer stays small: {error}");
        }
        let reader = Arc::new(Reader(tokio::spawn(connection)));
        let netlink = Self {
            handle: Arc::new(Mutex::new(handle)),
            _reader: reader,
        };
        Ok((netlink, events))
    }

    /// For requests of any kind; others wait while this is held.
    pub async fn handle(&self) -> MutexGuard<'_, Handle> {
        self.handle.lock().await
    }

    /// For each of `namespaces`, the interfaces here whose other end is in it.
    pub async fn into_namespaces(
        &self,
        namespaces: &[Option<File>],
    ) -> anyhow::Result<Vec<Vec<u32>>> {
        ask(&*self.handle().await, namespaces).await
    }

    /// For each address that is directly behind an interface here, that interface.
    pub async fn behind(&self) -> anyhow::Result<std::collections::HashMap<IpAddr, u32>> {
        neighbours::behind(&*self.handle().await).await
    }

    /// Has the kernel find out behind which interface these addresses are; [`Self::behind`] has the
    /// result some seconds later.
    pub async fn resolve(&self, addresses: &[IpAddr]) -> anyhow::Result<()> {
        neighbours::resolve(&*self.handle().await, addresses).await
    }

    /// The interfaces here whose other end is in any other namespace.
    pub async fn elsewhere(&self) -> anyhow::Result<HashSet<u32>> {
        let by_id = by_id(&*self.handle().await).await;
        let by_id = by_id.context("list the interfaces")?;
        Ok(by_id.into_values().flatten().collect())
    }
}

async fn ask(handle: &Handle, namespaces: &[Option<File>]) -> anyhow::Result<Vec<Vec<u32>>> {
    let by_id = by_id(handle).await.context("list the interfaces")?;
    let mut found = Vec::with_capacity(namespaces.len());
    for namespace in namespaces {
        let id = match namespace {
            Some(file) => id(handle.clone(), file).await,
            None => None,
        };
        found.push(
            id.and_then(|id| by_id.get(&id).cloned())
                .unwrap_or_default(),
        );
    }
    Ok(found)
}

/// The interfaces whose other end is in another namespace, by the id of that namespace.
async fn by_id(handle: &Handle) -> Result<HashMap<i32, Vec<u32>>, rtnetlink::Error> {
    let mut by_id: HashMap<i32, Vec<u32>> = HashMap::new();
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await? {
        for attribute in &link.attributes {
            if let LinkAttribute::LinkNetNsId(id) = attribute {
                by_id.entry(*id).or_default().push(link.header.index);
            }
        }
    }
    Ok(by_id)
}

/// The id of `namespace` in this namespace, if it has one.
async fn id(mut handle: Handle, namespace: &File) -> Option<i32> {
    let mut message = NsidMessage::default();
    message.attributes = vec![NsidAttribute::Fd(
        u32::try_from(namespace.as_raw_fd()).ok()?,
    )];
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(message));
    request.header.flags = NLM_F_REQUEST;
    let mut answers = handle.request(request).ok()?;
    let answer = answers.next().await?;
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(message)) = answer.payload else {
        return None;
    };
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NsidAttribute::Id(id) if *id >= 0 => Some(*id),
            _ => None,
        })
}
