//! The veths of this network namespace whose other end is in another one: the pods' host ends, and
//! in a node that is a container itself, the way out.

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
    /// The peer's namespace, by the id that this namespace knows it by.
    pub peer_netnsid: Option<i32>,
    /// The peer's index there.
    pub peer_ifindex: Option<u32>,
    /// When it was made, or changed last before this was heard: hundredths of a second since boot,
    /// as the kernel counts them.
    pub created: Option<u32>,
}

/// What happened to the links.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A link is there (again).
    Added(Link),
    /// The link of that index is gone.
    Removed(u32),
    /// Events were lost: list the links anew.
    Resync,
}

/// Follows links by netlink.
pub struct Links {
    netlink: Netlink,
    events: Events,
    /// Every veth by index, also those whose peer is (still) here.
    known: HashMap<u32, Link>,
    choice: Choice,
    /// The interfaces that routes lead out by, whatever they are.
    ways_out: HashSet<u32>,
    /// What was heard of and is being looked into: a caller may give up on that, and ask again.
    unfinished: Option<Heard>,
}

/// What an operator says of interfaces.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Watch these alone, whatever they lead to; empty: all that lead to a pod.
    pub watched: Vec<String>,
    /// These lead to the network and not to a pod; `None`: the routes tell.
    pub uplinks: Option<Vec<String>>,
}

/// An event that takes asking.
#[derive(Clone, Copy, Debug)]
enum Heard {
    Left(u32),
    Routes,
}

impl Links {
    /// Subscribes to the events of this thread's network namespace. Call [`Self::list`] after, so
    /// that nothing falls in between. Must be called within a tokio runtime.
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

    /// The socket, for others to ask by.
    pub fn netlink(&self) -> Netlink {
        self.netlink.clone()
    }

    /// The links that lead to pods now.
    pub async fn list(&mut self) -> anyhow::Result<Vec<Link>> {
        let messages: Vec<_> = self
            .netlink
            .handle()
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .context("list the interfaces")?;
        self.ways_out = uplinks::find(self.netlink.handle(), &messages).await;
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

    /// The next change. A caller may stop waiting for it and lose none.
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
            .link()
            .get()
            .execute()
            .try_collect()
            .await;
        match links {
            Ok(links) => uplinks::find(self.netlink.handle(), &links).await != self.ways_out,
            // Whoever lists anew will meet the same error, and say so.
            Err(_) => true,
        }
    }

    /// A veth showed up or changed.
    fn met(&mut self, mut link: Link) -> Option<Change> {
        // Each change is stamped anew, and the first stamp is the one that counts.
        if let Some(known) = self.known.get(&link.ifindex) {
            link.created = known.created;
        }
        let before = self.known.insert(link.ifindex, link.clone());
        let was = before.as_ref().is_some_and(|link| self.is_pod(link));
        match (was, self.is_pod(&link)) {
            (false, true) => Some(Change::Added(link)),
            (true, false) => Some(Change::Removed(link.ifindex)),
            // The index may have passed to another veth, if its end was missed.
            (true, true) if before.is_some_and(|before| before != link) => {
                Some(Change::Added(link))
            }
            _ => None,
        }
    }

    /// An interface left this namespace, by deletion or into a pod. The kernel does not report the
    /// end that stays behind when its peer moves, so that is asked for.
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
            .link()
            .get()
            .match_index(peer)
            .execute()
            .try_next()
            .await;
        // An error means that it is gone as well, which its own event will say.
        let link = veth(&message.ok()??)?;
        self.met(link)
    }
}

/// The other end is in another namespace.
fn leads_elsewhere(link: &Link) -> bool {
    link.peer_netnsid.is_some()
}

/// Reads a link; `None` when it is no veth.
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

/// When the IPv6 half of a link was made, which is when the link was.
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
