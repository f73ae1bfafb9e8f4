//! A client on s2n-tls, with what changes its flight.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::task::Poll;

use anyhow::{Context, Result};
use s2n_tls::callbacks::VerifyHostNameCallback;
use s2n_tls::config::Config;
use s2n_tls::connection::Connection;
use s2n_tls::enums::{Blinding, ClientAuthType, PeerKeyUpdate};
use s2n_tls::security::Policy;

use crate::setup::Setup;

/// The corpus is about what is on the wire.
struct AnyName;

impl VerifyHostNameCallback for AnyName {
    fn verify_host_name(&self, _name: &str) -> bool {
        true
    }
}

pub(crate) fn run(setup: &Setup) -> Result<()> {
    let mut builder = Config::builder();
    let policy = if setup.is_13 { "default_tls13" } else { "20170210" };
    builder.set_security_policy(&Policy::from_version(policy)?)?;
    builder.trust_pem(&Setup::pem("CA")?)?;
    builder.set_verify_host_callback(AnyName)?;
    if setup.own {
        builder.load_pem(&Setup::pem("CERT")?, &Setup::pem("KEY")?)?;
    }
    builder.set_client_auth_type(ClientAuthType::Optional)?;
    builder.enable_session_tickets(setup.has("tickets"))?;
    let config = builder.build()?;
    let tcp = TcpStream::connect(setup.to)?;
    let mut connection = Connection::new_client();
    connection.set_config(config)?;
    connection.set_server_name(&setup.name)?;
    connection.set_blinding(Blinding::SelfService)?;
    if setup.has("latency") {
        connection.prefer_low_latency()?;
    }
    let mut stream = Stream { tcp, connection };
    stream.handshake().context("handshake: alert or refusal")?;
    if setup.has("key-update") {
        stream.connection.request_key_update(PeerKeyUpdate::KeyUpdateNotRequested)?;
    }
    stream.send(b"GET / HTTP/1.0\r\n\r\n")?;
    stream.print().context("read: alert or refusal")
}

/// A connection over a blocking socket.
struct Stream {
    tcp: TcpStream,
    connection: Connection,
}

fn blocking<T>(poll: Poll<Result<T, s2n_tls::error::Error>>) -> Result<Option<T>> {
    match poll {
        Poll::Ready(done) => Ok(Some(done?)),
        Poll::Pending => Ok(None),
    }
}

unsafe extern "C" fn receive(context: *mut std::ffi::c_void, buf: *mut u8, len: u32) -> i32 {
    // The stream outlives the connection's use of it.
    let (tcp, buf) = unsafe {
        (&mut *context.cast::<TcpStream>(), std::slice::from_raw_parts_mut(buf, len as usize))
    };
    tcp.read(buf).map_or(-1, |n| n as i32)
}

unsafe extern "C" fn send(context: *mut std::ffi::c_void, buf: *const u8, len: u32) -> i32 {
    let (tcp, buf) = unsafe {
        (&mut *context.cast::<TcpStream>(), std::slice::from_raw_parts(buf, len as usize))
    };
    tcp.write(buf).map_or(-1, |n| n as i32)
}

impl Stream {
    fn handshake(&mut self) -> Result<()> {
        let tcp = std::ptr::from_mut(&mut self.tcp).cast();
        self.connection.set_receive_callback(Some(receive))?;
        self.connection.set_send_callback(Some(send))?;
        // Valid until `self` moves, which it does not.
        unsafe {
            self.connection.set_receive_context(tcp)?;
            self.connection.set_send_context(tcp)?;
        }
        while blocking(self.connection.poll_negotiate().map_ok(drop))?.is_none() {}
        Ok(())
    }

    fn send(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            if let Some(n) = blocking(self.connection.poll_send(data))? {
                data = &data[n..];
            }
        }
        Ok(())
    }

    fn print(&mut self) -> Result<()> {
        let mut page = [0; 4096];
        loop {
            match blocking(self.connection.poll_recv(&mut page)) {
                Ok(Some(0)) => return Ok(()),
                Ok(Some(n)) => std::io::stdout().write_all(&page[..n])?,
                Ok(None) => {}
                // OpenSSL's server closes without close_notify.
                Err(error) if error.to_string().contains("CLOSED") => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
