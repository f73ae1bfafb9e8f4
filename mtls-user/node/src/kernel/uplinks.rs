//! Which veths lead to the network.
//!
//! On a node that is itself a container (kind; nested nodes), the uplink is a veth whose other end
//! is in another namespace, just like a pod's. It carries the traffic of all pods and of the node
//! itself with the rest of the world, and belongs to no pod. Two things distinguish it from a pod's
//! veth: the node's default route uses it, and no single address is routed to it, as plug-ins do
//! for each pod.

use std::collections::HashSet;
use std::net::IpAddr;

use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::route::RouteMessage;
use rtnetlink::Handle;

use crate::netlink::routes::{self, Route};

/// The interfaces through which the node reaches the network, and those below them: a VLAN's, a
/// bond's.
pub(super) async fn find(handle: &Handle, links: &[LinkMessage]) -> HashSet<u32> {
    let mut found = by_routes(&routes::main(handle).await);
    // A bond of VLANs of a bond is the deepest nesting.
    for _ in 0..4 {
        let below: Vec<_> = links
            .iter()
            .filter(|link| carries(link, &found, links))
            .collect();
        found.extend(below.iter().map(|link| link.header.index));
    }
    found
}

/// The default routes may have changed.
pub(super) fn concerns(message: &RouteMessage) -> bool {
    message.header.destination_prefix_length == 0 && routes::is_main(message)
}

/// The interfaces of default routes, except those with a single address behind them.
fn by_routes(routes: &[Route]) -> HashSet<u32> {
    let gateways: HashSet<(u32, IpAddr)> = routes
        .iter()
        .flat_map(|route| &route.hops)
        .filter_map(|(ifindex, gateway)| Some((*ifindex, (*gateway)?)))
        .collect();
    let of_pods: HashSet<u32> = routes
        .iter()
        .filter_map(|route| Some((route.single()?, &route.hops)))
        .flat_map(|(ip, hops)| hops.iter().map(move |hop| (ip, *hop)))
        // Some networks give a router an address outside the node's networks, and therefore a route
        // of its own.
        .filter(|(ip, (ifindex, gateway))| {
            gateway.is_none() && !is_link_local(*ip) && !gateways.contains(&(*ifindex, *ip))
        })
        .map(|(_, (ifindex, _))| ifindex)
        .collect();
    routes
        .iter()
        .filter(|route| route.to.is_none())
        .flat_map(|route| &route.hops)
        .map(|(ifindex, _)| *ifindex)
        .filter(|ifindex| !of_pods.contains(ifindex))
        .collect()
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Whether one of `uppers` is on top of `link`. A bridge does not count: its ports include pods.
fn carries(link: &LinkMessage, uppers: &HashSet<u32>, all: &[LinkMessage]) -> bool {
    let is = |kinds: &[InfoKind], upper: &LinkMessage| {
        upper.attributes.iter().any(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => infos
                .iter()
                .any(|info| matches!(info, LinkInfo::Kind(kind) if kinds.contains(kind))),
            _ => false,
        })
    };
    let bonds = [InfoKind::Bond, InfoKind::Other("team".into())];
    let on_top = [InfoKind::Vlan, InfoKind::MacVlan, InfoKind::IpVlan];
    let master = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Controller(index) => Some(*index),
            _ => None,
        });
    all.iter()
        .filter(|upper| uppers.contains(&upper.header.index))
        .any(|upper| {
            let lower = upper.attributes.iter().any(
                |attribute| matches!(attribute, LinkAttribute::Link(index) if *index == link.header.index),
            );
            is(&on_top, upper) && lower || is(&bonds, upper) && master == Some(upper.header.index)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(to: Option<(&str, u8)>, ifindex: u32, gateway: Option<&str>) -> Route {
        Route {
            to: to.map(|(ip, bits)| (ip.parse().unwrap(), bits)),
            hops: vec![(ifindex, gateway.map(|ip| ip.parse().unwrap()))],
        }
    }

    #[test]
    fn the_default_route_leaves_by_the_uplink() {
        // kind: eth0 is a veth, and the other node's pods are behind it, too.
        let kind = [
            route(None, 2, Some("172.18.0.1")),
            route(Some(("172.18.0.0", 16)), 2, None),
            route(Some(("10.244.1.0", 24)), 2, Some("172.18.0.3")),
            route(Some(("10.244.0.2", 32)), 7, None),
            route(Some(("10.244.0.3", 32)), 8, None),
        ];
        assert_eq!(by_routes(&kind), HashSet::from([2]));
        // Google's network: the router has a route of its own.
        let google = [
            route(None, 2, Some("10.128.0.1")),
            route(Some(("10.128.0.1", 32)), 2, None),
            route(Some(("169.254.169.254", 32)), 2, None),
        ];
        assert_eq!(by_routes(&google), HashSet::from([2]));
    }

    #[test]
    fn a_pod_that_the_node_goes_out_through_is_a_pod() {
        let vpn = [
            route(None, 9, Some("10.244.0.5")),
            route(Some(("10.244.0.5", 32)), 9, None),
            route(Some(("10.244.0.6", 32)), 9, None),
        ];
        assert!(by_routes(&vpn).is_empty());
        let vpn6 = [
            route(None, 9, Some("fe80::1")),
            route(Some(("fd00::5", 128)), 9, None),
        ];
        assert!(by_routes(&vpn6).is_empty());
        // Without a default route, no interface is known to lead out.
        assert!(by_routes(&[route(Some(("10.0.0.0", 8)), 3, None)]).is_empty());
    }
}
