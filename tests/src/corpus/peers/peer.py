"""Clients that live in Python, for the corpus: `peer.py STACK OPTION...`; the rest is in the environment.

tlslite is tlslite-ng; the others are BoringSSL with the hellos of browsers, out of curl_cffi.
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


stack, *options = sys.argv[1:]
try:
    tlslite(options) if stack == "tlslite" else boringssl(*options)
except Exception as error:
    sys.exit(f"alert or refusal: {error!r}")
