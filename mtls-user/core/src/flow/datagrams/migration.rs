//! QUIC connections whose client moves to another address.

use super::{DatagramTable, ID, MOVES};
use crate::flow::peers::Peers;
use crate::flow::slots::{Hash, Hashed};
use crate::wire::Datagram;
use crate::wire::quic::ConnectionId;

impl DatagramTable {
    /// Makes a flow findable by its connection ID as well. If several flows have one ID, only the
    /// first is: a pod can replay a handshake from any number of addresses, and all of them would
    /// have to be searched.
    pub(super) fn identify(&mut self, at: u32) {
        let flow = &self.flows[at as usize];
        let Some(id) = flow
            .classifier
            .connection_id()
            .filter(|id| id.as_slice().len() >= ID)
        else {
            return;
        };
        let hash = Hash::of(&self.hasher, id);
        let same = |it: &Hashed| it.hash == hash && self.flows[it.slot as usize].id == Some(id);
        if self.by_id.find(hash.spread(), same).is_some() {
            return;
        }
        self.flows[at as usize].id = Some(id);
        self.id_lengths |= 1 << id.as_slice().len();
        let hashed = Hashed { hash, slot: at };
        self.by_id
            .insert_unique(hash.spread(), hashed, |it| it.hash.spread());
    }

    /// The connection that continues with `datagram`, from an address that its client did not have
    /// before.
    pub(super) fn migrated(
        &mut self,
        datagram: &Datagram<'_>,
        peers: Peers<'_>,
        new: Hash,
    ) -> Option<u32> {
        // A short header: a connection does not move before its handshake is confirmed (RFC 9000 §9).
        let id = match datagram.payload {
            [first, id @ ..] if first & 0x80 == 0 && self.id_lengths != 0 => id,
            _ => return None,
        };
        let at = (ID..=20).find_map(|n| {
            if self.id_lengths & 1 << n == 0 {
                return None;
            }
            let id = ConnectionId::new(id.get(..n)?)?;
            let hash = Hash::of(&self.hasher, id);
            self.by_id
                .find(hash.spread(), |it| {
                    it.hash == hash && self.flows[it.slot as usize].id == Some(id)
                })
                .map(|it| it.slot)
        })?;
        let flow = &self.flows[at as usize];
        let (client, server) = flow.parties();
        // Only a client moves, and only to a flow of its own.
        if server != datagram.dst || flow.moved.len() == MOVES {
            return None;
        }
        let old = Hash::of(&self.hasher, Peers::again(&flow.ends));
        if let Ok(entry) = self.by_peers.find_entry(old.spread(), |it| it.slot == at) {
            entry.remove();
        }
        let flow = &mut self.flows[at as usize];
        flow.moved.push(client);
        let swapped = flow.classifier.client_is_server();
        let (_, sender) = Peers::of(&datagram.src, &datagram.dst);
        flow.ends = peers.to_owned();
        flow.client_end = if swapped { sender.other() } else { sender };
        self.by_peers.insert_unique(
            new.spread(),
            Hashed {
                hash: new,
                slot: at,
            },
            |it| it.hash.spread(),
        );
        self.stats.joined += 1;
        Some(at)
    }
}
