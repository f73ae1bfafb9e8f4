//! Which addresses are directly behind which interface, according to the node's own tables: its
//! routes to single addresses, its neighbours, and the bridge ports where these were seen.

use std::collections::HashMap;
use std::net::IpAddr;

use futures::TryStreamExt;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::Handle;

use super::routes::{self, Route};

/// Most addresses taken from the node's tables.
const MAX: usize = 65_536;
/// Most addresses that are resolved at a time: more than the pods of a node.
const RESOLVED: usize = 512;

/// The link-layer address of an interface.
type Hardware = Vec<u8>;

/// A host with which the node has exchanged packets.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Neighbour {
    ip: IpAddr,
    hardware: Hardware,
    link: u32,
}

/// For each address that is directly behind an interface of this node, that interface; for a
/// bridge, its port.
pub(crate) async fn behind(handle: &Handle) -> anyhow::Result<HashMap<IpAddr, u32>> {
    let neighbours = list(handle, AddressFamily::Unspec).await?;
    // A kernel without bridges has no bridge ports.
    let ports = list(handle, AddressFamily::Bridge)
        .await
        .unwrap_or_default();
    let neighbours = neighbours.iter().filter_map(neighbour);
    let ports = ports.iter().filter_map(port).collect();
    Ok(by_tables(
        &routes::main(handle).await,
        neighbours.take(MAX),
        &ports,
    ))
}

/// Has the kernel resolve these addresses (ARP, neighbour discovery), as if it had a packet for each.
/// The answers fill the tables of neighbours and of bridge ports, which forget hosts that are
/// silent. Addresses that are behind a router or the node's uplink are left alone.
pub(crate) async fn resolve(handle: &Handle, addresses: &[IpAddr]) -> anyhow::Result<()> {
    let routes = routes::main(handle).await;
    let known: HashMap<_, _> = list(handle, AddressFamily::Unspec)
        .await?
        .iter()
        .filter_map(|message| Some(((ip(message)?, message.header.ifindex), message.header.state)))
        .collect();
    for ip in addresses.iter().take(RESOLVED) {
        let Some(link) = routes::direct(&routes, *ip) else {
            continue;
        };
        let request = handle.neighbours().add(link, *ip);
        let request = request
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use);
        let result = match known.get(&(*ip, link)) {
            // Somebody's configuration, which resolution would change.
            Some(NeighbourState::Permanent | NeighbourState::Noarp) => continue,
            Some(_) => request.replace().execute().await,
            None => request.execute().await,
        };
        if let Err(error) = result {
            tracing::debug!("resolve {ip} on interface {link}: {error}");
        }
    }
    Ok(())
}

async fn list(
    handle: &Handle,
    family: AddressFamily,
) -> Result<Vec<NeighbourMessage>, rtnetlink::Error> {
    let request = handle.neighbours().get().set_address_family(family);
    request.execute().try_collect().await
}

fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    // Nobody answers at these addresses.
    if matches!(
        message.header.state,
        NeighbourState::Incomplete | NeighbourState::Failed
    ) {
        return None;
    }
    Some(Neighbour {
        ip: ip(message)?,
        hardware: hardware(message)?,
        link: message.header.ifindex,
    })
}

fn ip(message: &NeighbourMessage) -> Option<IpAddr> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some((*ip).into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some((*ip).into()),
            _ => None,
        })
}

/// A link-layer address that was seen on a bridge, and its port.
fn port(message: &NeighbourMessage) -> Option<((u32, Hardware), u32)> {
    let bridge = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::Controller(bridge) => Some(*bridge),
            _ => None,
        })?;
    Some(((bridge, hardware(message)?), message.header.ifindex))
}

fn hardware(message: &NeighbourMessage) -> Option<Hardware> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) if bytes.iter().any(|byte| *byte != 0) => {
                Some(bytes.clone())
            }
            _ => None,
        })
}

fn by_tables(
    routes: &[Route],
    neighbours: impl Iterator<Item = Neighbour>,
    ports: &HashMap<(u32, Hardware), u32>,
) -> HashMap<IpAddr, u32> {
    let mut behind: HashMap<IpAddr, u32> = neighbours
        .map(|neighbour| {
            let at = (neighbour.link, neighbour.hardware);
            let port = ports.get(&at).copied();
            (neighbour.ip, port.unwrap_or(at.0))
        })
        .collect();
    // A route is the node's own configuration; a neighbour entry is only a claim.
    behind.extend(routes.iter().take(MAX).filter_map(|route| {
        let ip = route.single()?;
        let direct = route.hops.iter().find(|(_, gateway)| gateway.is_none())?;
        Some((ip, direct.0))
    }));
    behind
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn neighbour(address: &str, hardware: u8, link: u32) -> Neighbour {
        Neighbour {
            ip: ip(address),
            hardware: vec![hardware; 6],
            link,
        }
    }

    #[test]
    fn an_address_is_behind_its_route_or_the_port_of_its_bridge() {
        let route = |to: &str, bits, link, gateway: Option<&str>| Route {
            to: Some((ip(to), bits)),
            hops: vec![(link, gateway.map(ip))],
        };
        let routes = [
            route("10.244.0.2", 32, 7, None),
            route("10.244.9.9", 32, 2, Some("10.55.0.12")),
            route("10.244.1.0", 24, 5, None),
        ];
        let neighbours = [
            // A pod on bridge 5, one that the bridge has not seen, and one that claims another's
            // address.
            neighbour("10.244.1.3", 3, 5),
            neighbour("10.244.1.4", 4, 5),
            neighbour("10.244.0.2", 6, 8),
            // One on a veth of its own.
            neighbour("fd00::3", 7, 9),
        ];
        let ports = HashMap::from([((5, vec![3; 6]), 11), ((6, vec![4; 6]), 12)]);
        let behind = by_tables(&routes, neighbours.into_iter(), &ports);
        let expected = [
            ("10.244.0.2", 7),
            ("10.244.1.3", 11),
            ("10.244.1.4", 5),
            ("fd00::3", 9),
        ];
        assert_eq!(behind, expected.map(|(at, link)| (ip(at), link)).into());
    }
}
