//! The node's routes.

use std::net::IpAddr;

use futures::{TryStreamExt, stream::BoxStream};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage};
use rtnetlink::Handle;

/// A route, as far as it is needed here.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The destination and its prefix length; `None` for all addresses.
    pub(crate) to: Option<(IpAddr, u8)>,
    /// Next hops: the interface, and the router behind it, unless the destination is directly
    /// behind it.
    pub(crate) hops: Vec<(u32, Option<IpAddr>)>,
}

impl Route {
    /// The address, if the route leads to a single one.
    pub(crate) fn single(&self) -> Option<IpAddr> {
        let (ip, bits) = self.to?;
        (bits == if ip.is_ipv4() { 32 } else { 128 }).then_some(ip)
    }

    /// Whether the destination is or contains the address.
    fn contains(&self, address: IpAddr) -> bool {
        match (self.to, address) {
            (None, _) => true,
            (Some((IpAddr::V4(to), bits)), IpAddr::V4(ip)) => {
                let rest = 32_u32.saturating_sub(bits.into());
                (to.to_bits() ^ ip.to_bits()).checked_shr(rest).unwrap_or(0) == 0
            }
            (Some((IpAddr::V6(to), bits)), IpAddr::V6(ip)) => {
                let rest = 128_u32.saturating_sub(bits.into());
                (to.to_bits() ^ ip.to_bits()).checked_shr(rest).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// The routes of the main table. Other tables apply only to some of the traffic: that of a VPN, or
/// of an egress gateway, which is a pod.
pub(crate) async fn main(handle: &Handle) -> Vec<Route> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        // A kernel without IPv6 has no IPv6 routes.
        routes.extend(of_family(handle, family).await.unwrap_or_default());
    }
    routes
}

async fn of_family(handle: &Handle, family: AddressFamily) -> Result<Vec<Route>, rtnetlink::Error> {
    let mut request = RouteMessage::default();
    request.header.address_family = family;
    let answers: BoxStream<'_, _> = Box::pin(handle.route().get(request).execute());
    answers
        .try_filter_map(|message| std::future::ready(Ok(read(&message))))
        .try_collect()
        .await
}

/// The interface that an address is directly behind, without a router, according to the most
/// specific route. `None` for an interface that a default route leaves by: the node's uplink.
pub(crate) fn direct(routes: &[Route], ip: IpAddr) -> Option<u32> {
    let matching = routes.iter().filter(|route| route.contains(ip));
    let best = matching.max_by_key(|route| route.to.map(|(_, bits)| bits))?;
    let (link, _) = best.hops.iter().find(|(_, router)| router.is_none())?;
    let mut defaults = routes.iter().filter(|route| route.to.is_none());
    let is_uplink = defaults.any(|route| route.hops.iter().any(|(other, _)| other == link));
    (!is_uplink).then_some(*link)
}

/// Whether the route is in the main table.
pub(crate) fn is_main(message: &RouteMessage) -> bool {
    let table = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
    table.unwrap_or(message.header.table.into()) == u32::from(RouteHeader::RT_TABLE_MAIN)
}

fn read(message: &RouteMessage) -> Option<Route> {
    if !is_main(message) {
        return None;
    }
    let (mut to, mut gateway, mut hops) = (None, None, Vec::new());
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(ip) => {
                to = Some((address(ip)?, message.header.destination_prefix_length));
            }
            RouteAttribute::Gateway(ip) => gateway = address(ip),
            RouteAttribute::Oif(ifindex) => hops.push((*ifindex, None)),
            RouteAttribute::MultiPath(all) => hops.extend(all.iter().map(|hop| {
                let gateway = hop.attributes.iter().find_map(|attribute| match attribute {
                    RouteAttribute::Gateway(ip) => address(ip),
                    _ => None,
                });
                (hop.interface_index, gateway)
            })),
            _ => {}
        }
    }
    for hop in &mut hops {
        hop.1 = hop.1.or(gateway);
    }
    Some(Route { to, hops })
}

fn address(ip: &RouteAddress) -> Option<IpAddr> {
    match ip {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn route(to: Option<(&str, u8)>, link: u32, router: Option<&str>) -> Route {
        Route {
            to: to.map(|(to, bits)| (ip(to), bits)),
            hops: vec![(link, router.map(ip))],
        }
    }

    #[test]
    fn an_address_on_a_bridge_is_direct_and_one_behind_a_router_or_the_uplink_is_not() {
        let routes = [
            route(None, 2, Some("10.55.0.1")),
            route(Some(("10.55.0.0", 24)), 2, None),
            route(Some(("10.244.0.0", 16)), 2, Some("10.55.0.12")),
            route(Some(("10.244.0.0", 24)), 5, None),
            route(Some(("10.244.0.9", 32)), 7, None),
            route(Some(("fd00:244::", 64)), 5, None),
        ];
        let expected = [
            ("10.244.0.3", Some(5)),
            ("10.244.0.9", Some(7)),
            ("10.244.1.3", None),
            ("10.55.0.12", None),
            ("192.0.2.1", None),
            ("fd00:244::3", Some(5)),
            ("fd00:245::3", None),
        ];
        for (address, link) in expected {
            assert_eq!(direct(&routes, ip(address)), link, "{address}");
        }
        assert_eq!(direct(&[], ip("10.0.0.1")), None);
        // On the uplink itself, a default route without a router leads to everything.
        assert_eq!(direct(&[route(None, 2, None)], ip("10.0.0.1")), None);
    }
}
