#!/usr/bin/env python3
"""Makes the corpus of datagrams: QUIC and DTLS by real stacks, each capture with its truth.

Every connection goes through a relay on loopback, which writes down what it forwards, and drops,
repeats, holds back or moves what a case asks for. The truth comes from how the peers were told to
behave and from their own success, never from the packets: a server that demands a certificate and
then answers has verified one.

    make.py OUT [--only NAME]     needs openssl, gnutls-bin, ngtcp2-client, ngtcp2-server, Go, and
                                  aioquic and python-mbedtls in the Python that runs it
"""

import argparse
import asyncio
import csv
import os
import random
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

NAME = "db.shop.svc.cluster.local"
HERE = os.path.dirname(os.path.abspath(__file__))
# Datagrams of one capture that are kept: more than any handshake has.
KEPT = 48


# The relay.

class Relay:
    """Forwards datagrams between clients and one server, and writes them down."""

    def __init__(self, server, case, seed):
        self.server, self.case = server, case
        self.random = random.Random(seed)
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind(("127.0.0.1", 0))
        self.port = self.front.getsockname()[1]
        self.backs, self.names = {}, {}
        self.packets, self.held, self.seen = [], [], 0
        self.running = True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def back(self, client):
        if client not in self.backs:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.connect(self.server)
            self.backs[client] = sock
            self.names[client] = 40000 + len(self.packets) + len(self.names)
        return self.backs[client]

    def run(self):
        while self.running:
            socks = [self.front, *self.backs.values()]
            ready, _, _ = select.select(socks, [], [], 0.02)
            for sock in ready:
                try:
                    if sock is self.front:
                        data, client = sock.recvfrom(65535)
                        self.back(client)
                        self.forward(client, True, data)
                    else:
                        data = sock.recv(65535)
                        client = next(c for c, s in self.backs.items() if s is sock)
                        self.forward(client, False, data)
                except OSError:
                    pass
            now = time.monotonic()
            for item in [h for h in self.held if h[0] <= now]:
                self.held.remove(item)
                self.send(*item[1:])

    def forward(self, client, up, data):
        self.seen += 1
        if "rebind" in self.case and up and self.seen > 14 and client not in getattr(self, "moved", set()):
            # The client's address changes, as a translator on the way has it.
            self.moved = getattr(self, "moved", set()) | {client}
            self.backs.pop(client).close()
            self.back(client)
        chance = self.random.random()
        if "loss" in self.case and self.seen > 1 and chance < 0.12:
            return
        if "reorder" in self.case and chance < 0.3:
            self.held.append((time.monotonic() + 0.03, client, up, data))
            return
        self.send(client, up, data)
        if "twice" in self.case and chance < 0.3:
            self.send(client, up, data)

    def send(self, client, up, data):
        self.packets.append((time.time_ns(), self.names[client], up, data))
        try:
            if up:
                self.backs[client].send(data)
            else:
                self.front.sendto(data, client)
        except OSError:
            pass

    def stop(self, path):
        self.running = False
        self.thread.join()
        with open(path, "wb") as out:
            # Nanoseconds; raw IP.
            out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 101))
            for when, port, up, data in self.packets[:KEPT]:
                ip = packet(port, up, data)
                out.write(struct.pack("<IIII", when // 10**9, when % 10**9, len(ip), len(ip)))
                out.write(ip)


def packet(port, up, data):
    ends = [(bytes([10, 77, 0, 1]), port), (bytes([10, 77, 0, 2]), 4433)]
    (src, sport), (dst, dport) = ends if up else ends[::-1]
    udp = struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0, src, dst)
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:] + udp


# Keys and certificates.

class Pki:
    """An authority, a server's and a client's certificate, and a stranger's."""

    def __init__(self, at):
        self.at = at
        for authority in ("ca", "rogue"):
            self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-keyout", f"{authority}.key", "-out", f"{authority}.pem", "-days", "3650",
                     "-subj", f"/CN=corpus {authority}")
        self.leaf("server", "ca", f"DNS:{NAME},DNS:localhost,IP:127.0.0.1", "ec")
        self.leaf("client", "ca", "URI:spiffe://cluster.local/ns/shop/sa/web", "ec")
        self.leaf("client-rsa", "ca", "URI:spiffe://cluster.local/ns/shop/sa/web", "rsa")
        self.leaf("stranger", "rogue", "DNS:stranger", "ec")

    def leaf(self, name, authority, san, kind):
        key = ["-newkey", "rsa:2048"] if kind == "rsa" else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        self.run("req", *key, "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        with open(self.path("ext"), "w") as ext:
            ext.write(f"subjectAltName={san}\nextendedKeyUsage=serverAuth,clientAuth\n")
        self.run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
                 "-CAcreateserial", "-days", "3650", "-extfile", "ext", "-out", f"{name}.pem")

    def run(self, *args):
        subprocess.run(["openssl", *args], cwd=self.at, check=True, capture_output=True)

    def path(self, name):
        return os.path.join(self.at, name)


# aioquic and mbedTLS, which live in this process's Python.

def aioquic_config(args, client):
    import ssl
    from aioquic.quic.configuration import QuicConfiguration
    config = QuicConfiguration(is_client=client, alpn_protocols=["h3"], server_name=NAME if client else None)
    if args.cert:
        config.load_cert_chain(args.cert, args.key)
    config.load_verify_locations(args.ca)
    config.verify_mode = ssl.CERT_REQUIRED if client else None
    return config


async def aioquic_server(args):
    from aioquic import tls
    from aioquic.asyncio import serve
    begin = tls.Context.__init__

    def asking(self, *a, **k):
        begin(self, *a, **k)
        self._request_client_certificate = args.ask != "no"

    tls.Context.__init__ = asking
    tickets = {}

    def echo(reader, writer):
        async def run():
            while line := await reader.readline():
                writer.write(line)
        asyncio.ensure_future(run())

    host, port = args.addr.split(":")
    await serve(host, int(port), configuration=aioquic_config(args, False), stream_handler=echo, retry=args.retry,
                session_ticket_handler=lambda t: tickets.__setitem__(t.ticket, t),
                session_ticket_fetcher=lambda t: tickets.get(t))
    print("ready", flush=True)
    await asyncio.sleep(60)


async def aioquic_client(args):
    from aioquic.asyncio import connect
    host, port = args.addr.split(":")
    tickets = []
    for turn in range(2 if args.again else 1):
        config = aioquic_config(args, True)
        if turn:
            config.session_ticket = tickets[-1]
        early = bool(turn and args.early)
        async with connect(host, int(port), configuration=config, session_ticket_handler=tickets.append,
                           wait_connected=not early) as client:
            reader, writer = await client.create_stream()
            for n in range(3):
                writer.write(b"ping %d\n" % n)
                if early and n == 0:
                    client.transmit()
                assert await asyncio.wait_for(reader.readline(), 5)
            if turn:
                assert client._quic.tls.session_resumed, "the second connection resumed nothing"
        await asyncio.sleep(0.1)


def mbedtls_client(args):
    from mbedtls import tls, x509, pk
    import contextlib
    store = tls.TrustStore.from_pem_file(args.ca)
    chain = ()
    if args.cert:
        with open(args.cert) as cert, open(args.key) as key:
            chain = ([x509.CRT.from_PEM(cert.read())], pk.ECC.from_PEM(key.read()))
    config = tls.DTLSConfiguration(trust_store=store, certificate_chain=chain or None)
    host, port = args.addr.split(":")

    def block(call, *a):
        while True:
            with contextlib.suppress(tls.WantReadError, tls.WantWriteError):
                return call(*a)

    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    conn = tls.ClientContext(config).wrap_socket(sock, server_hostname=NAME)
    conn.connect((host, int(port)))
    conn.settimeout(5)
    block(conn.do_handshake)
    for n in range(3):
        block(conn.send, b"ping %d\n" % n)
        assert block(conn.recv, 1024)
    conn.close()


# The stacks as commands.

class Kit:
    """How each stack is begun."""

    def __init__(self, pki, go, peers):
        self.pki, self.go, self.peers = pki, go, peers

    def rust(self, addr, who, ask):
        """A peer of tests/peers, which finds what it is to do in its environment."""
        own = [f"OWN=1", f"CERT={self.pki.path(who + '.pem')}", f"KEY={self.pki.path(who + '.key')}"] if who else []
        return ["env", f"TO={addr}", f"SNI={NAME}", f"CA={self.pki.path('ca.pem')}", f"ASK={ask}", "VERSION=1.3", *own,
                self.peers]

    def own(self, who):
        return ["-cert", self.pki.path(who + ".pem"), "-key", self.pki.path(who + ".key")] if who else []

    def server(self, stack, port, ask, extra):
        ca, addr = self.pki.path("ca.pem"), f"127.0.0.1:{port}"
        cert, key = self.pki.path("server.pem"), self.pki.path("server.key")
        if stack in RUST:
            return [*self.rust(addr, "server", ask), stack + "-server", *(flag.strip("-") for flag in extra)]
        if stack in ("quic-go", "x-net", "pion"):
            return [self.go, stack + "-server", "-addr", addr, "-ask", ask, "-ca", ca, *self.own("server"), *extra]
        if stack == "aioquic":
            return [sys.executable, __file__, stack + "-server", "-addr", addr, "-ask", ask, "-ca", ca,
                    *self.own("server"), *extra]
        if stack == "ngtcp2":
            verify = ["--verify-client"] if ask != "no" else []
            return ["gtlsserver", "-q", "--htdocs", self.pki.at, *verify, "127.0.0.1", str(port), key, cert]
        if stack == "openssl":
            verify = {"no": [], "want": ["-verify", "2"], "need": ["-Verify", "2", "-verify_return_error"]}[ask]
            old = ["-dtls1", "-cipher", "ALL:@SECLEVEL=0"] if "-old" in extra else ["-dtls"]
            return ["openssl", "s_server", *old, "-accept", str(port), "-cert", cert, "-key", key, "-CAfile", ca,
                    "-listen" if "-cookie" in extra else "-naccept", *([] if "-cookie" in extra else ["2"]),
                    "-mtu", "1400", *verify]
        if stack == "gnutls":
            verify = {"no": ["--disable-client-cert"], "want": [], "need": ["--require-client-cert"]}[ask]
            return ["gnutls-serv", "--udp", "--port", str(port), "--x509certfile", cert, "--x509keyfile", key,
                    "--x509cafile", ca, "--echo", "--quiet", *gnutls(extra), *verify]
        raise ValueError(stack)

    def client(self, stack, port, who, extra):
        ca, addr = self.pki.path("ca.pem"), f"127.0.0.1:{port}"
        if stack in RUST:
            return [*self.rust(addr, who, "no"), stack + "-client", *(flag.strip("-") for flag in extra)], None
        if stack in ("quic-go", "x-net", "pion"):
            return [self.go, stack + "-client", "-addr", addr, "-ca", ca, *self.own(who), *extra], None
        if stack in ("aioquic", "mbedtls"):
            return [sys.executable, __file__, stack + "-client", "-addr", addr, "-ca", ca, *self.own(who), *extra], None
        cert, key = self.pki.path(f"{who}.pem"), self.pki.path(f"{who}.key")
        if stack == "ngtcp2":
            own = ["--cert", cert, "--key", key] if who else []
            return ["gtlsclient", "-q", "--exit-on-all-streams-close", *own, "127.0.0.1", str(port),
                    f"https://{NAME}/ca.pem"], None
        if stack == "openssl":
            own = ["-cert", cert, "-key", key] if who else []
            old = ["-dtls1", "-cipher", "ALL:@SECLEVEL=0"] if "-old" in extra else ["-dtls"]
            command = ["openssl", "s_client", *old, "-connect", addr, "-CAfile", ca, "-servername", NAME,
                       "-mtu", "1400", *own]
            if "-again" not in extra:
                return command, b"ping"
            twice = """set -e; session=$(mktemp); trap 'rm $session' EXIT
                sleep 2 | "$@" -sess_out $session | grep -q ^ping
                sleep 2 | "$@" -sess_in $session | grep -q '^Reused, '"""
            return ["sh", "-c", twice, "sh", *command], None
        if stack == "gnutls":
            own = ["--x509certfile", cert, "--x509keyfile", key] if who else []
            command = ["gnutls-cli", "--udp", "--port", str(port), "--x509cafile", ca, "--sni-hostname", NAME,
                       "--verify-hostname", NAME, *gnutls(extra), *own, "127.0.0.1"]
            if "-again" not in extra:
                return command, b"ping"
            twice = """(sleep 2; echo ping; sleep 1) | "$@" --resume | grep -q 'This is a resumed session'"""
            return ["sh", "-c", twice, "sh", *command], None
        raise ValueError(stack)


def gnutls(extra):
    old = "NORMAL:-VERS-ALL:+VERS-DTLS1.0:%VERIFY_ALLOW_SIGN_WITH_SHA1"
    return ["--priority", old] if "-old" in extra else []


QUIC, DTLS = ("quic-go", "x-net", "aioquic", "ngtcp2"), ("openssl", "gnutls", "pion", "mbedtls")
# Those of them that are Rust crates. Among themselves and with one other they are enough.
RUST = ("quinn", "s2n-quic", "dimpl")
# Their truth, whether the server asks, and what the client has.
CASES = [("server-only", "tls", "no", ""), ("mutual", "mtls", "need", "client"),
         ("requested-none", "tls-requested", "want", "")]
# Name, client, server, truth, ask, who, extra for the client and the server.
SPECIAL = [
    ("quic-resumed-mutual", "quic-go", "quic-go", "resumed-mtls", "need", "client", ["-again"], []),
    ("quic-resumed-server-only", "quic-go", "quic-go", "resumed-tls", "no", "", ["-again"], []),
    ("quic-0rtt", "aioquic", "aioquic", "resumed-tls", "no", "", ["-again", "-early"], []),
    ("quic-retry-mutual", "quic-go", "quic-go", "mtls", "need", "client", [], ["-retry"]),
    ("quic-retry-server-only", "aioquic", "aioquic", "tls", "no", "", [], ["-retry"]),
    ("quic-retry-x-net", "x-net", "x-net", "mtls", "need", "client", [], ["-retry"]),
    ("quic-rsa", "quic-go", "x-net", "mtls", "need", "client-rsa", [], []),
    ("quic-rebind-mutual", "aioquic", "quic-go", "mtls", "need", "client", [], []),
    ("quic-rebind-server-only", "aioquic", "aioquic", "tls", "no", "", [], []),
    ("quic-refused-none", "quic-go", "quic-go", "failed", "need", "", [], []),
    ("quic-refused-stranger", "x-net", "quic-go", "failed", "need", "stranger", [], []),
    *((f"quic-{how}-{case}-{n}", c, s, truth, ask, who, [], [])
      for how in ("loss", "reorder", "twice") for case, truth, ask, who in CASES[:2]
      for n, (c, s) in enumerate([("quic-go", "aioquic"), ("aioquic", "quic-go")])),
    # Both connections of these are over one pair of ports: one flow, which is called as the worse of them.
    ("quic-resumed-mutual-quinn", "quinn", "quinn", "mtls", "need", "client", ["-again"], []),
    ("quic-resumed-server-only-quinn", "quinn", "quic-go", "tls", "no", "", ["-again"], []),
    ("quic-resumed-mutual-s2n-quic", "s2n-quic", "s2n-quic", "mtls", "need", "client", ["-again"], []),
    ("quic-0rtt-mutual-quinn", "quinn", "quinn", "mtls", "need", "client", ["-again", "-early"], []),
    ("quic-0rtt-server-only-quinn", "quinn", "quinn", "tls", "no", "", ["-again", "-early"], []),
    ("quic-retry-quinn", "quinn", "quinn", "mtls", "need", "client", [], ["-retry"]),
    ("quic-retry-server-only-s2n-quic", "s2n-quic", "quinn", "tls", "no", "", [], ["-retry"]),
    ("quic-moved-mutual-quinn", "quinn", "quinn", "mtls", "need", "client", ["-move"], []),
    ("quic-moved-server-only-quinn", "quinn", "quinn", "tls", "no", "", ["-move"], []),
    *((f"quic-padded-{case}-quinn", "quinn", "quic-go", truth, ask, who, ["-pad"], [])
      for case, truth, ask, who in CASES),
    *((f"quic-{how}-{case}-{c}", c, s, truth, ask, who, [], [])
      for how in ("loss", "reorder", "twice") for case, truth, ask, who in CASES[:2]
      for c, s in (("quinn", "s2n-quic"), ("s2n-quic", "quinn"))),
    ("quic-refused-none-quinn", "quinn", "s2n-quic", "failed", "need", "", [], []),
    ("quic-refused-stranger-s2n-quic", "s2n-quic", "quinn", "failed", "need", "stranger", [], []),
    ("dtls-cookie", "openssl", "openssl", "mtls", "need", "client", [], ["-cookie"]),
    *((f"dtls-1.0-{case}-{stack}", stack, stack, truth, ask, who, ["-old"], ["-old"])
      for stack in ("openssl", "gnutls") for case, truth, ask, who in CASES),
    *((f"dtls-resumed-{case}-{stack}", stack, stack, f"resumed-{truth}", ask, who, ["-again"], ["-again"])
      for stack in ("openssl", "gnutls") for case, truth, ask, who in CASES[:2]),
    # Its server resumes no session with a client's certificate.
    ("dtls-resumed-server-only-pion", "pion", "pion", "resumed-tls", "no", "", ["-again"], ["-again"]),
    # A client of dimpl always has a certificate.
    *((f"dtls-1.3-{case}{size}", "dimpl", "dimpl", truth, ask, "client", [*extra], [*extra])
      for size, extra in (("", []), ("-small", ["-small"])) for case, truth, ask, _ in CASES[:2]),
    *((f"dtls-1.3-{how}-{case}", "dimpl", "dimpl", truth, ask, "client", [], [])
      for how in ("loss", "reorder", "twice") for case, truth, ask, _ in CASES[:2]),
    ("dtls-cid", "pion", "pion", "mtls", "need", "client", ["-cid"], ["-cid"]),
    ("dtls-srtp", "pion", "pion", "mtls", "need", "client", ["-srtp"], ["-srtp"]),
    ("dtls-refused-stranger", "pion", "openssl", "failed", "need", "stranger", [], []),
    ("dtls-refused-none", "openssl", "pion", "failed", "need", "", [], []),
    *((f"dtls-{how}-{case}", "pion", "pion", truth, ask, who, [], [])
      for how in ("loss", "reorder", "twice") for case, truth, ask, who in CASES[:2]),
]


def cases():
    for kind, stacks in (("quic", QUIC), ("dtls", DTLS)):
        for client in stacks:
            for server in stacks:
                # ngtcp2's programs speak HTTP/3, and the others' none.
                if (client == "ngtcp2") != (server == "ngtcp2"):
                    continue
                # Its DTLS server cannot be made to work from Python.
                if server == "mbedtls":
                    continue
                for case, truth, ask, who in CASES:
                    # Its server demands what it asks for, and its client does not say how it ended.
                    if client == "ngtcp2" and case == "requested-none":
                        continue
                    yield f"{kind}-{case}-{client}-{server}", client, server, truth, ask, who, [], []
        for client in ("quinn", "s2n-quic", "quic-go") if kind == "quic" else ():
            for server in ("quinn", "s2n-quic", "quic-go"):
                if client in RUST or server in RUST:
                    for case, truth, ask, who in CASES:
                        yield f"{kind}-{case}-{client}-{server}", client, server, truth, ask, who, [], []
    yield from SPECIAL


def prompt(serving):
    """Has a server say something, again and again."""
    try:
        while serving.poll() is None:
            time.sleep(0.3)
            serving.stdin.write(b"ping\n")
            serving.stdin.flush()
    except OSError:
        pass


def make(kit, out, name, client, server, truth, ask, who, client_extra, server_extra):
    """One capture; whether the peers did what the truth says."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serving = subprocess.Popen(kit.server(server, port, ask, server_extra), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if server in ("quic-go", "x-net", "pion", "aioquic", *RUST):
        serving.stdout.readline()
    else:
        time.sleep(1)
    if server == "openssl":
        # It sends what it is told, to whom it has accepted.
        threading.Thread(target=prompt, args=(serving,), daemon=True).start()
    relay = Relay(("127.0.0.1", port), name, name)
    command, text = kit.client(client, relay.port, who, client_extra)
    try:
        asking = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if text:
            # A line a time, until one came back.
            said = []
            reader = threading.Thread(target=lambda: said.extend(iter(asking.stdout.readline, b"")), daemon=True)
            reader.start()
            end = time.monotonic() + 8
            done = False
            while time.monotonic() < end and asking.poll() is None and not done:
                time.sleep(0.3)
                try:
                    asking.stdin.write(text + b"\n")
                    asking.stdin.flush()
                except OSError:
                    break
                answer = b"ping"
                done = any(line.strip().endswith(answer) for line in said)
            asking.terminate()
            asking.wait(5)
        else:
            answer, _ = asking.communicate(timeout=15)
            done = asking.returncode == 0
    except subprocess.TimeoutExpired:
        asking.kill()
        done = False
    finally:
        time.sleep(0.2)
        serving.kill()
        serving.wait()
    path = os.path.join(out, name + ".pcap")
    relay.stop(path)
    as_told = done == (truth != "failed")
    if not as_told or len(relay.packets) < 3:
        os.remove(path)
        return False
    return True


def main():
    if len(sys.argv) > 1 and sys.argv[1].split("-")[0] in ("aioquic", "mbedtls"):
        parser = argparse.ArgumentParser(prefix_chars="-")
        parser.add_argument("role")
        for flag in ("-addr", "-ask", "-cert", "-key", "-ca"):
            parser.add_argument(flag, default="")
        for flag in ("-again", "-early", "-retry"):
            parser.add_argument(flag, action="store_true")
        args = parser.parse_args()
        if args.role.startswith("mbedtls"):
            return mbedtls_client(args)
        return asyncio.run({"aioquic-server": aioquic_server, "aioquic-client": aioquic_client}[args.role](args))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--only", default="")
    parser.add_argument("--peers", default="", help="the program that tests/peers builds")
    args = parser.parse_args()
    pcaps = os.path.join(args.out, "pcap")
    os.makedirs(pcaps, exist_ok=True)
    table = os.path.join(args.out, "truth.csv")
    rows = {}
    if os.path.exists(table):
        with open(table) as old:
            rows = {row["pcap"]: row for row in csv.DictReader(old)}
    with tempfile.TemporaryDirectory() as work:
        os.mkdir(os.path.join(work, "pki"))
        go = os.path.join(work, "peer")
        subprocess.run(["go", "build", "-o", go, "."], cwd=HERE, check=True)
        kit = Kit(Pki(os.path.join(work, "pki")), go, args.peers)
        for name, client, server, truth, *rest in cases():
            if args.only not in name:
                continue
            rows.pop(name + ".pcap", None)
            made = make(kit, pcaps, name, client, server, truth, *rest)
            print(name, "made" if made else "not made: the peers did not do what the case wants", flush=True)
            if made:
                rows[name + ".pcap"] = {"pcap": name + ".pcap", "transport": name.split("-")[0],
                                        "client": client, "server": server, "truth": truth}
    with open(table, "w") as out:
        writer = csv.DictWriter(out, ["pcap", "transport", "client", "server", "truth"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[name] for name in sorted(rows))
    return None


if __name__ == "__main__":
    sys.exit(main())
