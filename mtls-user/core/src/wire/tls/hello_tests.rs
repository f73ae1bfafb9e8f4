use super::*;

fn client_hello(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([2, 0xaa, 0xbb]);
    body.extend([0, 4, 0x13, 0x01, 0x0a, 0x0a]);
    body.extend([1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    body
}

fn ext(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = kind.to_be_bytes().to_vec();
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
    out
}

#[test]
fn a_client_hello_in_full() {
    let extensions = [
        ext(0x1a1a, &[]),
        ext(0, &[0, 6, 0, 0, 3, b'a', b'.', b'b']),
        ext(16, &[0, 3, 2, b'h', b'2']),
        ext(43, &[6, 0x2a, 0x2a, 3, 4, 3, 3]),
        ext(41, &[0, 8, 0, 2, 9, 9, 0, 0, 0, 5, 0, 2, 1, 1]),
        ext(42, &[]),
        ext(49, &[]),
    ]
    .concat();
    let body = client_hello(&extensions);
    let hello = ClientHello::parse(&body).unwrap();
    assert_eq!(hello.session_id, [0xaa, 0xbb]);
    assert_eq!(hello.server_name, Some(&b"a.b"[..]));
    assert_eq!(hello.protocols().collect::<Vec<_>>(), [b"h2"]);
    assert_eq!(hello.highest_version(), 0x0304);
    let psk = OfferedPsk {
        identity_len: 2,
        age: 5,
    };
    assert_eq!(hello.psk, Some(psk));
    assert!(hello.early_data && hello.post_handshake_auth && !hello.ech);
    assert!(hello.offers(0x1301) && !hello.offers(0x1305));
    for cut in 0..body.len() {
        assert!(ClientHello::parse(&body[..cut]).is_none() || cut == 2 + 32 + 3 + 6 + 2);
    }
}

#[test]
fn a_server_hello_in_every_version() {
    let mut body = vec![3, 3];
    body.extend([5; 32]);
    body.extend([0, 0x13, 0x02, 0]);
    let extensions = [
        ext(43, &[3, 4]),
        ext(51, &[0, 0x1d, 0, 0]),
        ext(41, &[0, 0]),
    ]
    .concat();
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(&extensions);
    let hello = ServerHello::parse(&body).unwrap();
    assert!(hello.is_13() && !hello.retry);
    assert_eq!(
        (hello.cipher, hello.group, hello.psk),
        (0x1302, Some(0x1d), Some(0))
    );

    let mut retry = body.clone();
    retry[2..34].copy_from_slice(&RETRY);
    assert!(ServerHello::parse(&retry).unwrap().retry);

    let mut draft = vec![0x7f, 0x12];
    draft.extend([5; 32]);
    draft.extend([0x13, 0x01, 0, 0]);
    assert!(ServerHello::parse(&draft).unwrap().is_13());

    let mut old = vec![3, 1];
    old.extend([5; 32]);
    old.extend([0, 0, 0x2f, 0]);
    assert_eq!(ServerHello::parse(&old).unwrap().version, 0x0301);
    assert!(ServerHello::parse(&old[..36]).is_none());
}

#[test]
fn an_ssl2_framed_hello() {
    let mut hello = vec![0x80, 9 + 3 + 16, 1, 3, 1, 0, 3, 0, 0, 0, 16, 0, 0, 0x2f];
    hello.extend([1; 16]);
    assert_eq!(
        V2Hello::at(&hello),
        Some(Some(V2Hello {
            version: 0x0301,
            size: 30
        }))
    );
    for n in 0..11 {
        assert_eq!(V2Hello::at(&hello[..n]), Some(None), "{n} bytes may be one");
    }
    assert_eq!(V2Hello::at(b"GET"), None);
}

#[test]
fn grease() {
    assert!(is_grease(0x0a0a) && is_grease(0xfafa));
    assert!(!is_grease(0x1301) && !is_grease(0x0a1a));
}
