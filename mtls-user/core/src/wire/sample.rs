//! Segments and datagrams in the form that `mtls record` receives.

use super::{Datagram, Segment, Sum};
use crate::record::{Sample, Time};

impl From<&Segment<'_>> for Sample {
    fn from(segment: &Segment<'_>) -> Self {
        Self {
            time: Time::from_nanos(segment.time),
            link: segment.link,
            udp: false,
            src: segment.src.into(),
            dst: segment.dst.into(),
            seq: segment.seq,
            ack: segment.ack,
            flags: segment.flags.0,
            damaged: segment.sum() == Sum::Wrong,
            inside: segment.inside,
            len: segment.len,
            payload: segment.payload.into(),
        }
    }
}

impl From<&Datagram<'_>> for Sample {
    fn from(datagram: &Datagram<'_>) -> Self {
        Self {
            time: Time::from_nanos(datagram.time),
            link: datagram.link,
            udp: true,
            src: datagram.src.into(),
            dst: datagram.dst.into(),
            seq: 0,
            ack: 0,
            flags: 0,
            damaged: false,
            inside: false,
            len: datagram.len,
            payload: datagram.payload.into(),
        }
    }
}
