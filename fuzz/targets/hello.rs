//! Hellos, and what is derived from them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_core::wire::text;
use mtls_core::wire::tls::hello::V2Hello;
use mtls_core::wire::tls::{Carrier, ClientHello, Ja4, RecordHeader, ServerHello};

fuzz_target!(|data: &[u8]| {
    let _ = RecordHeader::at(data);
    let _ = V2Hello::at(data);
    let _ = ServerHello::parse(data);
    let _ = ServerHello::parse_dtls(data);
    let _ = ClientHello::parse_dtls(data).map(|hello| hello.highest_version());
    assert!(text::clean(data).len() <= text::MAX);
    if let Some(hello) = ClientHello::parse(data) {
        let ja4 = Ja4::of(&hello, Carrier::Tcp).text();
        assert_eq!(ja4.len(), 36);
        assert!(hello.protocols().count() <= data.len());
    }
});
