//! Protocols without an upgrade, by the specifications that each recogniser cites.

use super::added::{both, hex, x224};
use super::*;

pub(super) fn samples() -> Vec<Sample> {
    use Match::{Encrypted, Yes};
    let http = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    let zmtp = |mechanism: &str| {
        let mut greeting = hex("ff 00000000 00000001 7f 03 01");
        greeting.extend(mechanism.bytes());
        greeting.resize(64, 0);
        greeting
    };
    let s7 = both(&[
        &x224(0xe0, &hex("c0010a c1020100 c2020102")),
        &hex("03000019 02f080 32010000 0000 0008 0000 f000 0001 0001 01e0"),
    ]);
    let dcerpc = |level: Option<u8>| {
        let mut bind = hex("05 00 0b 03 10000000 4800 0000 01000000");
        bind.resize(72, 0);
        if let Some(level) = level {
            bind.extend([10, level, 0, 0, 0, 0, 0, 0]);
            bind.extend([1; 16]);
            bind[8] = bind.len() as u8;
            bind[10] = 16;
        }
        bind
    };
    let opcua = |policy: &str, body: &[u8]| {
        let url = "opc.tcp://plc:4840";
        let mut hello = b"HELF".to_vec();
        hello.extend((32 + url.len() as u32).to_le_bytes());
        hello.extend([0; 20]);
        hello.extend((url.len() as u32).to_le_bytes());
        hello.extend(url.bytes());
        let mut open = b"OPNF".to_vec();
        open.extend((20 + policy.len() as u32).to_le_bytes());
        open.extend([0; 4]);
        open.extend((policy.len() as u32).to_le_bytes());
        open.extend(policy.bytes());
        open.extend([0xff; 4]);
        let message = both(&[b"MSGF", &[60, 0, 0, 0], &[1; 8], body, &[0x5a; 32]]);
        both(&[&hello, &open, &message])
    };
    let tns = {
        let text = "(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST=db)(PORT=1521)))";
        let mut packet = vec![0, 58 + text.len() as u8, 0, 0, 1, 0, 0, 0, 1, 0x3f];
        packet.resize(26, 0);
        packet.extend([0, 58]);
        packet.resize(58, 0);
        packet.extend(text.bytes());
        packet
    };
    let ano_request = both(&[&[0, 40, 0, 0, 6, 0, 0, 0, 0, 0], &hex("deadbeef"), &[0; 26]]);
    let ano_answer = |algorithm: u8| {
        let mut answer = hex("0020 0000 06 00 0000 0000 deadbeef 0020 0b200200 0001 00");
        answer.extend(hex("0002 0002 00000000 0004 0005 0b200200 0001 0002"));
        answer.push(algorithm);
        answer
    };
    let rocket = {
        let header = "{\"code\":105,\"language\":\"JAVA\",\"opaque\":0,\"version\":401}";
        let len = header.len() as u32;
        both(&[
            &(len + 4).to_be_bytes(),
            &len.to_be_bytes(),
            header.as_bytes(),
        ])
    };
    let mut memberlist = vec![10, 0, 0, 0, 60, 1];
    memberlist.resize(65, 0xc3);
    let openvpn = |opcode: u8| both(&[&[0, 14, opcode], &[9; 13]]);
    let mut initiation = vec![0, 148, 1, 0, 0, 0];
    initiation.resize(150, 0x6b);
    let mut response = vec![0, 92, 2, 0, 0, 0];
    response.resize(94, 0x6b);
    let mut rtmp = vec![3, 0, 1, 0x23, 5, 0, 0, 0, 0];
    rtmp.extend((0..1528u32).map(|i| (i * 7 + 1) as u8));
    let mut echo = vec![3; 1537];
    echo.extend(&rtmp[1..]);
    let modbus = hex("0001 0000 0006 01 03 0000 000a");
    let mut dnp3 = hex("0564 05 c0 0100 0004");
    dnp3.extend(hex("e921"));
    let as_req = hex("00000026 6a24 3022 a103020105 a20302010a a416 3014");
    vec![
        sample(http("CCM_POST /a HTTP/1.1"), "", Yes("http/1.1")),
        sample(http("\r\nGET / HTTP/1.1"), "", Yes("http/1.1")),
        sample(http("get / HTTP/1.1"), "", Yes("http/1.1")),
        sample(
            both(&[
                &hex("00000034 0012 0000 00000001 0026"),
                b"kafka@vm (github.com/segmentio/kafka-go)",
            ]),
            "",
            Yes("kafka"),
        ),
        sample(
            both(&[
                &hex("00000017 0003 0002 00000001 0006"),
                b"prober\xff\xff\xff\xff",
            ]),
            "",
            Yes("kafka"),
        ),
        sample("PING\r\n", "+PONG\r\n", Yes("redis")),
        sample("AUTH pw\r\n", "+OK\r\n", Yes("redis")),
        sample("KEYS *\r\n", "*0\r\n", Yes("redis")),
        sample("", b"\x0f\0\0\0\xff\x69\x04Host blocked", Yes("mysql")),
        sample(
            hex(
                "0026 1234 2800 0001 0000 0001 0000 04746573740000060001 c00c000100010000003c00040a000001",
            ),
            "",
            Yes("dns"),
        ),
        sample(
            hex("0016 1234 2400 0001 0000 0000 0000 04746573740000060001"),
            "",
            Yes("dns"),
        ),
        sample("\r\n\r\nREGISTER sip:a SIP/2.0\r\n", "\r\n", Yes("sip")),
        sample(s7, "", Yes("s7")),
        sample(zmtp("CURVE"), "", Encrypted("zmtp")),
        sample(zmtp("NULL"), "", Yes("zmtp")),
        sample(dcerpc(None), "", Yes("dcerpc")),
        sample(dcerpc(Some(6)), "", Encrypted("dcerpc")),
        sample(dcerpc(Some(5)), "", Yes("dcerpc")),
        sample(as_req, "", Yes("kerberos")),
        sample(&modbus, hex("0001 0000 0017 01 03 14"), Yes("modbus")),
        sample(dnp3, "", Yes("dnp3")),
        sample(hex("6804 07000000"), hex("6804 0b000000"), Yes("iec-104")),
        sample(
            opcua("http://opcfoundation.org/UA/SecurityPolicy#None", &[]),
            "",
            Yes("opcua"),
        ),
        sample(
            opcua(
                "http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256",
                &[0x91; 16],
            ),
            "",
            Encrypted("opcua"),
        ),
        sample(
            opcua(
                "http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256",
                &[2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0xcd, 1],
            ),
            "",
            Yes("opcua"),
        ),
        sample(
            both(&[&[0xff; 16], &hex("001d 01 04 fde8 00b4 0a000001 00")]),
            "",
            Yes("bgp"),
        ),
        sample(
            both(&[&tns, &ano_request]),
            ano_answer(17),
            Encrypted("oracle"),
        ),
        sample(both(&[&tns, &ano_request]), ano_answer(0), Yes("oracle")),
        sample(
            both(&[&hex("000000f4 01"), b"ActiveMQ\0\0\0\x0c"]),
            "",
            Yes("openwire"),
        ),
        sample(
            "<134>1 2026-01-01T00:00:00Z a b - - - m\n",
            "",
            Yes("syslog"),
        ),
        sample("42 <13>Oct 11 22:14:15 host su: m", "", Yes("syslog")),
        sample("1 open 85 relp_version=0\n", "", Yes("relp")),
        sample(
            both(&[
                b"ES",
                &hex("00000032 0000000000000001 08 006b8f09 0000001c"),
            ]),
            "",
            Yes("elasticsearch"),
        ),
        sample(
            b"\0\x11ClickHouse client\x18\x08\xd2\xa9\x03",
            "",
            Yes("clickhouse"),
        ),
        sample(
            b"\0\x06driver\x18\x08",
            b"\0\x0aClickHouse\x18",
            Yes("clickhouse"),
        ),
        sample(b"HZC\0\0\0\x40", "HZC", Yes("hazelcast")),
        sample(b"CP2\x60\0\0\0\0\xc0\0\x01", "", Yes("hazelcast")),
        sample(
            both(&[&hex("02 01 00000000 0005"), b"node\n"]),
            hex("02 01 00000000 0010"),
            Yes("aerospike"),
        ),
        sample(hex("00000033 0000002f 0802 122b 0a05"), "", Yes("pulsar")),
        sample(rocket, "", Yes("rocketmq")),
        sample(rtmp, echo, Yes("rtmp")),
        sample(b"8=FIX.4.4\x019=65\x0135=A\x01", "", Yes("fix")),
        sample(b"\x0bMSH|^~\\&|A|B", "", Yes("hl7")),
        sample(&memberlist, &memberlist[..6], Encrypted("memberlist")),
        sample(b"\x06\x83\xa5Nodes\x01", "", Yes("memberlist")),
        sample(openvpn(0x38), openvpn(0x40), Encrypted("openvpn")),
        sample(&initiation, &response, Encrypted("wireguard")),
        sample(&initiation[2..], &response[2..], Encrypted("wireguard")),
    ]
}
