//! The veths of this network namespace whose other end is in another one: the host ends of pods
//! and, on a node that is itself a container, the uplink.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{AfSpecInet6, AfSpecUnspec, InfoKind, LinkAttribute, LinkInfo, LinkMessage},
};
use rtnetlink::MulticastGroup;

use crate::netlink::{Events, Netlink};

use super::uplinks;
use mtls_core::record::Uplink;

/// A veth whose peer is in another network namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// The peer's namespace, by its id in this namespace.
    pub peer_netnsid: Option<i32>,
    /// The peer's index there.
    pub peer_ifindex: Option<u32>,
    /// When it was created, or last changed before we learned about it: hundredths of a second
    /// since boot, as counted by the kernel.
    pub created: Option<u32>,
}

/// A change of the links.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A link exists (again).
    Added(Link),
    /// The link with that index is gone.
    Removed(u32),
    /// Events were lost: list the links anew.
    Resync,
}

/// Follows links through netlink.
pub struct Links {
    netlink: Netlink,
    events: Events,
    /// Every veth by index, including those whose peer is (still) here.
    known: HashMap<u32, Link>,
    choice: Choice,
    /// The interfaces of outgoing routes, of any kind.
    ways_out: HashSet<u32>,
    /// A change that is being examined: a caller may cancel that, and ask again.
    unfinished: Option<Heard>,
}

/// The operator's configuration of interfaces.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Watch only these, whatever they lead to; if empty, all that lead to a pod.
    pub watched: Vec<String>,
    /// These lead to the network and not to a pod; `None`: determined from the routes.
    pub uplinks: Option<Vec<String>>,
}

/// An event that requires a query.
#[derive(Clone, Copy, Debug)]
enum Heard {
    Left(u32),
    Routes,
}

impl Links {
    /// Subscribes to the events of this thread's network namespace. Call [`Self::list`] afterwards,
    /// so that nothing is missed in between. Must be called within a tokio runtime.
    #[expect(
        clippy::unused_async,
        reason = "must run within the runtime that it spawns into"
    )]
    pub async fn open(choice: Choice) -> anyhow::Result<Self> {
        let (netlink, events) = Netlink::open(&[
            MulticastGroup::Link,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ])?;
        Ok(Self {
            netlink,
            events,
            known: HashMap::new(),
            choice,
            ways_out: HashSet::new(),
            unfinished: None,
        })
    }

    /// The socket, for other queries.
    pub fn netlink(&self) -> Netlink {
        self.netlink.clone()
    }

    /// The links that lead to pods now.
    pub async fn list(&mut self) -> anyhow::Result<Vec<Link>> {
        let messages: Vec<_> = self
            .netlink
            .handle()
            .await
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .context("list the interfaces")?;
        self.ways_out = uplinks::find(&*self.netlink.handle().await, &messages).await;
        let before = std::mem::take(&mut self.known);
        for mut link in messages.iter().filter_map(veth) {
            if let Some(before) = before.get(&link.ifindex) {
                link.created = before.created;
            }
            self.known.insert(link.ifindex, link);
        }
        let mut links: Vec<_> = self
            .known
            .values()
            .filter(|link| self.is_pod(link))
            .cloned()
            .collect();
        links.sort_by_key(|link| link.ifindex);
        Ok(links)
    }

    /// The veths that lead to the network, as of the last [`Self::list`].
    pub fn uplinks(&self) -> Vec<Uplink> {
        let reason = if self.choice.uplinks.is_some() {
            "named by --uplink"
        } else {
            "the default route leaves by it"
        };
        let mut uplinks: Vec<_> = self
            .known
            .values()
            .filter(|link| leads_elsewhere(link) && self.is_uplink(link))
            .map(|link| Uplink {
                ifindex: link.ifindex,
                name: link.name.clone(),
                reason: reason.into(),
            })
            .collect();
        uplinks.sort_by_key(|uplink| uplink.ifindex);
        uplinks
    }

    fn is_pod(&self, link: &Link) -> bool {
        leads_elsewhere(link) && !self.is_uplink(link)
    }

    fn is_uplink(&self, link: &Link) -> bool {
        if self.choice.watched.contains(&link.name) {
            return false;
        }
        match &self.choice.uplinks {
            Some(names) => names.contains(&link.name),
            None => self.ways_out.contains(&link.ifindex),
        }
    }

    /// The next change. A caller may stop waiting without losing one.
    pub async fn next(&mut self) -> anyhow::Result<Change> {
        loop {
            if let Some(heard) = self.unfinished {
                let change = match heard {
                    Heard::Left(ifindex) => self.left(ifindex).await,
                    Heard::Routes => self.ways_out_changed().await.then_some(Change::Resync),
                };
                self.unfinished = None;
                if let Some(change) = change {
                    return Ok(change);
                }
            }
            let (message, _) = self
                .events
                .next()
                .await
                .context("the netlink socket closed: start the daemon again")?;
            match message.payload {
                NetlinkPayload::Overrun(_) => return Ok(Change::Resync),
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => {
                    if let Some(change) = veth(&message).and_then(|link| self.met(link)) {
                        return Ok(change);
                    }
                }
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(message)) => {
                    self.unfinished = Some(Heard::Left(message.header.index));
                }
                NetlinkPayload::InnerMessage(
                    RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
                ) if uplinks::concerns(&route) => self.unfinished = Some(Heard::Routes),
                _ => {}
            }
        }
    }

    /// Routers announce themselves every few seconds, which changes nothing.
    async fn ways_out_changed(&self) -> bool {
        let links: Result<Vec<_>, _> = self
            .netlink
            .handle()
            .await
            .link()
            .get()
            .execute()
            .try_collect()
            .await;
        match links {
            Ok(links) => {
                uplinks::find(&*self.netlink.handle().await, &links).await != self.ways_out
            }
            // The caller that lists again gets the same error, and reports it.
            Err(_) => true,
        }
    }

    /// A veth appeared or changed.
    fn met(&mut self, mut link: Link) -> Option<Change> {
        // Each change has a new stamp, and the first stamp is the one that counts.
        if let Some(known) = self.known.get(&link.ifindex) {
            link.created = known.created;
        }
        let before = self.known.insert(link.ifindex, link.clone());
        let was = before.as_ref().is_some_and(|link| self.is_pod(link));
        match (was, self.is_pod(&link)) {
            (false, true) => Some(Change::Added(link)),
            (true, false) => Some(Change::Removed(link.ifindex)),
            // The index may belong to another veth, if the end of the first was missed.
            (true, true) if before.is_some_and(|before| before != link) => {
                Some(Change::Added(link))
            }
            _ => None,
        }
    }

    /// An interface left this namespace, by deletion or into a pod. The kernel does not report that
    /// the remaining end's peer has moved, so that is queried.
    async fn left(&mut self, ifindex: u32) -> Option<Change> {
        if let Some(link) = self.known.remove(&ifindex)
            && self.is_pod(&link)
        {
            return Some(Change::Removed(ifindex));
        }
        let peer = self
            .known
            .values()
            .find(|link| !leads_elsewhere(link) && link.peer_ifindex == Some(ifindex))?
            .ifindex;
        let message = self
            .netlink
            .handle()
            .await
            .link()
            .get()
            .match_index(peer)
            .execute()
            .try_next()
            .await;
        // An error also means that it is gone, which has its own event.
        let link = veth(&message.ok()??)?;
        self.met(link)
    }
}

/// The other end is in another namespace.
fn leads_elsewhere(link: &Link) -> bool {
    link.peer_netnsid.is_some()
}

/// Parses a link; `None` if it is not a veth.
fn veth(message: &LinkMessage) -> Option<Link> {
    let mut link = Link {
        ifindex: message.header.index,
        name: String::new(),
        peer_netnsid: None,
        peer_ifindex: None,
        created: None,
    };
    let mut is_veth = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Link(index) if *index != 0 => link.peer_ifindex = Some(*index),
            LinkAttribute::LinkNetNsId(id) => link.peer_netnsid = Some(*id),
            LinkAttribute::AfSpecUnspec(families) => link.created = stamp(families),
            LinkAttribute::LinkInfo(infos) => {
                is_veth = infos
                    .iter()
                    .any(|info| matches!(info, LinkInfo::Kind(InfoKind::Veth | InfoKind::Netkit)));
            }
            _ => {}
        }
    }
    is_veth.then_some(link)
}

/// When the IPv6 part of a link was created, which is when the link was created.
fn stamp(families: &[AfSpecUnspec]) -> Option<u32> {
    let of_family = |family: &AfSpecUnspec| match family {
        AfSpecUnspec::Inet6(attributes) => {
            attributes.iter().find_map(|attribute| match attribute {
                AfSpecInet6::CacheInfo(info) => Some(info.tstamp as u32),
                _ => None,
            })
        }
        _ => None,
    };
    families.iter().find_map(of_family)
}
