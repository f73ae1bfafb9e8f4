//! The node's one netlink socket. Needs root.

mod support;

use mtls_node::netlink::Netlink;
use support::{ip, netns, path, within};

/// More than fit into one answer of the kernel.
const VETHS: usize = 60;

/// While the kernel sends a list, it refuses to send another one over the same socket.
#[test]
fn lists_that_are_requested_at_once_are_all_complete() {
    let (node, pods) = (netns(), netns());
    within(&node, || {
        for n in 0..VETHS {
            let pods = path(&pods);
            ip(&format!(
                "link add v{n} type veth peer name p{n} netns {pods}"
            ));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (netlink, _events) = Netlink::open(&[]).expect("open");
            for _ in 0..20 {
                let (one, other, third) =
                    futures::join!(netlink.elsewhere(), netlink.behind(), netlink.elsewhere());
                assert_eq!(one.expect("the interfaces").len(), VETHS);
                other.expect("the neighbours");
                assert_eq!(third.expect("the interfaces").len(), VETHS);
            }
        });
    });
}
