"""Clients that live in Python, for the corpus: `peer.py STACK OPTION...`; the rest is in the environment.

tlslite is tlslite-ng; openssl is a later OpenSSL than the system's,
out of cryptography; the others are BoringSSL with the hellos of browsers, out of curl_cffi.
"""

import os
import socket
import sys

IP, PORT, SNI = os.environ["IP"], int(os.environ["PORT"]), os.environ["SNI"]
OWN, IS_13 = "OWN" in os.environ, os.environ["VERSION"] == "1.3"
ASK = b"GET / HTTP/1.0\r\n\r\n"


def boringssl(browser):
    from curl_cffi import Curl, CurlOpt, CurlSslVersion
    curl = Curl()
    curl.impersonate(browser)
    curl.setopt(CurlOpt.URL, f"https://{SNI}:{PORT}/".encode())
    curl.setopt(CurlOpt.RESOLVE, [f"{SNI}:{PORT}:{IP}"])
    curl.setopt(CurlOpt.HTTP_VERSION, 2)
    curl.setopt(CurlOpt.SSL_VERIFYPEER, 0)
    curl.setopt(CurlOpt.SSL_VERIFYHOST, 0)
    if not IS_13:
        curl.setopt(CurlOpt.SSLVERSION, 6 | 6 << 16)
    if OWN:
        curl.setopt(CurlOpt.SSLCERT, os.environ["CERT"].encode())
        curl.setopt(CurlOpt.SSLKEY, os.environ["KEY"].encode())
    curl.setopt(CurlOpt.HEADERFUNCTION, lambda line: sys.stdout.buffer.write(line))
    curl.setopt(CurlOpt.WRITEFUNCTION, lambda data: sys.stdout.buffer.write(data))
    curl.perform()


def tlslite(options):
    from tlslite.api import HandshakeSettings, TLSConnection, X509, X509CertChain, parsePEMKey
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = (3, 4) if IS_13 else (3, 3)
    if "record-limit" in options:
        settings.record_size_limit = 512
    if "pad" in options:
        # To blocks that are no multiple of 16.
        settings.padding_cb = lambda length, kind, room: min(-(length + 1) % 300, room)
    if "retry" in options:
        settings.keyShares = []
    own = {}
    if OWN:
        chain = X509CertChain([X509().parse(open(os.environ["CERT"]).read())])
        own = {"certChain": chain, "privateKey": parsePEMKey(open(os.environ["KEY"]).read(), private=True)}
    session = None
    for _ in range(2 if "again" in options else 1):
        connection = TLSConnection(socket.create_connection((IP, PORT)))
        connection.handshakeClientCert(**own, session=session, settings=settings, serverName=SNI)
        if "key-update" in options:
            for _ in connection.send_keyupdate_request(1):
                pass
        connection.send(ASK)
        try:
            while page := connection.recv(4096):
                sys.stdout.buffer.write(page)
        finally:
            session = connection.session
            connection.close()


CONFIGURATION = """openssl_conf = start
[start]
ssl_conf = ssl
[ssl]
system_default = default
[default]
RecordPadding = %s
"""


def openssl(options):
    for option in options:
        if option.startswith("pad="):
            # Data and handshake apart: `pad=DATA,HANDSHAKE`. Read when the library is loaded.
            with open("openssl.cnf", "w") as file:
                file.write(CONFIGURATION % option[4:])
            os.environ["OPENSSL_CONF"] = "openssl.cnf"
    from OpenSSL import SSL
    context = SSL.Context(SSL.TLS_METHOD)
    if OWN:
        context.use_certificate_file(os.environ["CERT"])
        context.use_privatekey_file(os.environ["KEY"])
        from OpenSSL import crypto
        own = crypto.load_certificate(crypto.FILETYPE_PEM, open(os.environ["CERT"]).read())
        for chain in (option for option in options if option.startswith("chain=")):
            for _ in range(int(chain[6:])):
                context.add_extra_chain_cert(own)
    session = None
    for _ in range(2 if "again" in options else 1):
        sock = socket.create_connection((IP, PORT))
        # "joined": as programs that keep what the library writes, and send it with their own first data.
        connection = SSL.Connection(context, None if "joined" in options else sock)
        connection.set_tlsext_host_name(SNI.encode())
        connection.set_connect_state()
        if session:
            connection.set_session(session)
        if "joined" in options:
            joined(SSL, connection, sock)
        else:
            connection.do_handshake()
            connection.sendall(ASK)
            try:
                while page := connection.recv(4096):
                    sys.stdout.buffer.write(page)
            except (SSL.ZeroReturnError, SSL.SysCallError):
                pass
        session = connection.get_session()
        connection.shutdown()
        sock.close()


def joined(SSL, connection, sock):
    def flush():
        try:
            sock.sendall(connection.bio_read(1 << 20))
        except SSL.WantReadError:
            pass

    def receive():
        flush()
        data = sock.recv(1 << 16)
        if data:
            connection.bio_write(data)
        return data

    while True:
        try:
            connection.do_handshake()
            break
        except SSL.WantReadError:
            if not receive():
                raise
    for line in ASK.splitlines(True):
        connection.send(line)
    while True:
        try:
            sys.stdout.buffer.write(connection.recv(4096))
        except SSL.WantReadError:
            if not receive():
                return
        except SSL.ZeroReturnError:
            return


stack, *options = sys.argv[1:]
try:
    {"tlslite": tlslite, "openssl": openssl}.get(stack, lambda browser: boringssl(*browser))(options)
except Exception as error:
    sys.exit(f"alert or refusal: {error!r}")
