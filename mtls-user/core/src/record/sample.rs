//! What `mtls record` receives: copies of the samples of connections, and what is reported about
//! these.
//!
//! Used only between a daemon and this program, and not part of any schema.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{FlowRecord, Time, Transport};

/// A segment or a datagram, or what was captured of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// When it was seen.
    pub time: Time,
    /// The interface where it was seen (its index); 0 if none, as in a capture.
    pub link: u32,
    /// Whether it is a datagram.
    pub udp: bool,
    /// The sender.
    pub src: SocketAddr,
    /// The receiver.
    pub dst: SocketAddr,
    /// Sequence number of the first byte; 0 for a datagram.
    pub seq: u32,
    /// Acknowledgement number; 0 for a datagram.
    pub ack: u32,
    /// TCP's control bits.
    pub flags: u8,
    /// Whether its checksum is wrong, as far as that was checked.
    pub damaged: bool,
    /// Whether its segment began before it: the kernel delivers only some parts of a segment.
    #[serde(default)]
    pub inside: bool,
    /// Bytes of payload that were on the wire.
    pub len: u32,
    /// The captured bytes, a prefix of those; hexadecimal digits in JSON.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub payload: Vec<u8>,
}

impl Sample {
    /// The transport protocol.
    pub fn transport(&self) -> Transport {
        if self.udp {
            Transport::Udp
        } else {
            Transport::Tcp
        }
    }
}

/// A line that a daemon sends to a recording client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recorded {
    /// A sample.
    Sample(Arc<Sample>),
    /// The outcome of a connection, some of whose samples came before.
    Flow(Arc<FlowRecord>),
    /// This many lines were missed, because they were not read in time.
    Missed(u64),
}

fn to_hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    let text: String = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect();
    serializer.serialize_str(&text)
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || serde::de::Error::custom("not hexadecimal digits");
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or_else(wrong);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(wrong());
    }
    let bytes = pairs
        .iter()
        .map(|[high, low]| Ok((digit(*high)? << 4 | digit(*low)?) as u8));
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_comes_back_as_it_was() {
        let sample = Sample {
            time: Time::from_seconds(7),
            link: 3,
            udp: false,
            src: "10.0.0.1:40000".parse().unwrap(),
            dst: "[fd00::1]:443".parse().unwrap(),
            seq: 1,
            ack: 2,
            flags: 0x18,
            damaged: false,
            inside: true,
            len: 300,
            payload: (0..=255).collect(),
        };
        let line = serde_json::to_string(&Recorded::Sample(Arc::new(sample.clone()))).unwrap();
        let Recorded::Sample(read) = serde_json::from_str(&line).unwrap() else {
            panic!("{line}");
        };
        assert_eq!(*read, sample);
        let whole = "000102";
        for wrong in ["0", "zz"] {
            let line = line.replacen(whole, wrong, 1);
            assert!(serde_json::from_str::<Recorded>(&line).is_err(), "{wrong}");
        }
    }
}
