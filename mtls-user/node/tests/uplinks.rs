//! A node whose uplink is a veth, like a container's. Needs root.

mod support;

use std::time::Duration;

use mtls_node::kernel::links::{Change, Choice, Links};
use support::{ip, netns, path, within};

/// The names of the links that lead to pods, and of those that lead to the network.
async fn told(links: &mut Links) -> (Vec<String>, Vec<String>) {
    let pods = links.list().await.expect("list");
    let uplinks = links.uplinks().into_iter().map(|uplink| uplink.name);
    (
        pods.into_iter().map(|link| link.name).collect(),
        uplinks.collect(),
    )
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_way_out_is_no_pods_though_it_is_a_veth() {
    let (node, world, pod) = (netns(), netns(), netns());
    within(&node, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            ip(&format!(
                "link add eth0 type veth peer name v netns {}",
                path(&world)
            ));
            ip("addr add 172.18.0.2/16 dev eth0");
            ip("link set eth0 up");
            ip(&format!(
                "link add pod0 type veth peer name eth0 netns {}",
                path(&pod)
            ));
            ip("link set pod0 up");
            let mut links = Links::open(Choice::default()).await.expect("open");
            // Nothing shows yet that one of them is an uplink.
            assert_eq!(
                told(&mut links).await,
                (names(&["eth0", "pod0"]), names(&[]))
            );

            // The default route does, even if it comes late.
            ip("route add default via 172.18.0.1 dev eth0 onlink");
            let news = tokio::time::timeout(Duration::from_secs(5), async {
                while links.next().await.expect("an event") != Change::Resync {}
            });
            news.await.expect("the route was not heard of");
            assert_eq!(told(&mut links).await, (names(&["pod0"]), names(&["eth0"])));

            // A pod through which the node routes traffic has an address that is routed to it.
            ip("route del default");
            ip("route add 10.244.0.5/32 dev pod0");
            ip("route add default via 10.244.0.5 dev pod0 onlink");
            ip("route add 10.244.0.6/32 dev pod0");
            assert_eq!(
                told(&mut links).await,
                (names(&["eth0", "pod0"]), names(&[]))
            );

            // The operator's configuration takes precedence over routes.
            let choice = |watched: &[&str], uplinks: Option<&[&str]>| Choice {
                watched: names(watched),
                uplinks: uplinks.map(names),
            };
            ip("route add default via 172.18.0.1 dev eth0 onlink metric 5");
            for (choice, pods, uplinks) in [
                (choice(&[], None), &["pod0"][..], &["eth0"][..]),
                (choice(&[], Some(&["none"])), &["eth0", "pod0"], &[]),
                (choice(&[], Some(&["pod0"])), &["eth0"], &["pod0"]),
                (choice(&["eth0"], None), &["eth0", "pod0"], &[]),
            ] {
                let mut links = Links::open(choice).await.expect("open");
                assert_eq!(told(&mut links).await, (names(pods), names(uplinks)));
            }
        });
    });
}

#[test]
fn below_a_vlan_or_a_bond_is_the_way_out_as_well_but_not_below_a_bridge() {
    let (node, world) = (netns(), netns());
    within(&node, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            for (name, end) in [("a0", "a"), ("b0", "b")] {
                ip(&format!(
                    "link add {name} type veth peer name {end} netns {}",
                    path(&world)
                ));
                ip(&format!("link set {name} up"));
            }
            ip("link add link a0 name a0.5 type macvlan mode bridge");
            ip("link set a0.5 up");
            ip("addr add 172.18.0.2/16 dev a0.5");
            ip("route add default via 172.18.0.1 dev a0.5");
            let mut links = Links::open(Choice::default()).await.expect("open");
            assert_eq!(told(&mut links).await, (names(&["b0"]), names(&["a0"])));
            ip("link del a0.5");
            // Pods are bridge ports: nothing shows which port is an uplink.
            ip("link add br0 type bridge");
            ip("link set a0 master br0");
            ip("link set b0 master br0");
            ip("link set br0 up");
            ip("addr add 172.18.0.2/16 dev br0");
            ip("route add default via 172.18.0.1 dev br0");
            assert_eq!(told(&mut links).await, (names(&["a0", "b0"]), names(&[])));
        });
    });
}
