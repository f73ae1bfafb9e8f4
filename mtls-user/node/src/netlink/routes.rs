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
