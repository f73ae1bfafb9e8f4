//! Certificates, as a TLS 1.2 peer may send them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_core::wire::tls::Certificate;

fuzz_target!(|data: &[u8]| {
    if let Some(certificate) = Certificate::parse(data) {
        let info = certificate.info(0);
        assert!(info.subject.len() <= 4096 && info.sans.len() <= 16);
        assert!(certificate.identity().chars().all(|c| !c.is_control()));
    }
});
