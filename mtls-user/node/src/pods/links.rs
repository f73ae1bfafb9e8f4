//! Which interfaces of this namespace lead into another one.
//!
//! The kernel knows every other namespace by an id, which it names with the host's end of each
//! veth, and which it tells for an open namespace when asked (`RTM_GETNSID`).

use std::fs::File;
use std::os::fd::AsRawFd;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt};
use hashbrown::{HashMap, HashSet};
use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use rtnetlink::Handle;
use tokio::task::JoinHandle;

/// For each of `namespaces`, the interfaces here whose other end is in it.
pub(super) async fn into(namespaces: &[Option<File>]) -> anyhow::Result<Vec<Vec<u32>>> {
    let connection = Connection::open()?;
    ask(&connection.handle, namespaces).await
}

/// The interfaces here whose other end is in any other namespace.
pub(super) async fn elsewhere() -> anyhow::Result<HashSet<u32>> {
    let connection = Connection::open()?;
    let by_id = by_id(&connection.handle)
        .await
        .context("list the interfaces")?;
    Ok(by_id.into_values().flatten().collect())
}

/// A netlink socket, and the task that reads it; that ends with its guard.
struct Connection {
    handle: Handle,
    task: JoinHandle<()>,
}

impl Connection {
    fn open() -> anyhow::Result<Self> {
        let (connection, handle, _) =
            rtnetlink::new_connection().context("open a netlink socket")?;
        Ok(Self {
            handle,
            task: tokio::spawn(connection),
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
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

/// The interfaces whose other end is elsewhere, by the id of where that is.
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

/// The id by which this namespace knows `namespace`, if it knows it at all.
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
