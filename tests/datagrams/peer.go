// Peers of the corpus of datagrams: quic-go, x/net/quic and pion, each as client and server.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/quic-go/quic-go"
	xquic "golang.org/x/net/quic"
)

var (
	addr   = flag.String("addr", "127.0.0.1:4433", "where to listen, or to connect to")
	ask    = flag.String("ask", "no", "no, want or need: whether the server asks for a certificate")
	cert   = flag.String("cert", "", "own certificate")
	key    = flag.String("key", "", "its key")
	ca     = flag.String("ca", "", "the authority")
	again  = flag.Bool("again", false, "a second connection, which resumes the first")
	retry  = flag.Bool("retry", false, "the server sends a Retry")
	cid    = flag.Bool("cid", false, "with connection IDs (DTLS)")
	srtp   = flag.Bool("srtp", false, "with keys for SRTP (DTLS)")
	rounds = 3
)

func main() {
	role := os.Args[1]
	if role != "go-tls-client" {
		flag.CommandLine.Parse(os.Args[2:])
	}
	run := map[string]func() error{
		"quic-go-server": quicServer, "quic-go-client": quicClient,
		"x-net-server": xServer, "x-net-client": xClient,
		"pion-server": pionServer, "pion-client": pionClient,
		"go-tls-client": goClient,
	}[role]
	if run == nil {
		fmt.Fprintln(os.Stderr, "unknown role", role)
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func config(server bool) (*tls.Config, error) {
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(*ca)
	if err != nil {
		return nil, err
	}
	pool.AppendCertsFromPEM(pem)
	c := &tls.Config{
		RootCAs: pool, ClientCAs: pool, ServerName: "db.shop.svc.cluster.local",
		NextProtos: []string{"h3"}, MinVersion: tls.VersionTLS13,
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
	if *cert != "" {
		own, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{own}
	}
	if server {
		c.ClientAuth = map[string]tls.ClientAuthType{
			"no": tls.NoClientCert, "want": tls.VerifyClientCertIfGiven, "need": tls.RequireAndVerifyClientCert,
		}[*ask]
	}
	return c, nil
}

// talk asks and hears the answer, some times.
func talk(stream io.ReadWriter) error {
	reader := bufio.NewReader(stream)
	for i := 0; i < rounds; i++ {
		if _, err := fmt.Fprintf(stream, "ping %d\n", i); err != nil {
			return err
		}
		if f, ok := stream.(interface{ Flush() error }); ok {
			f.Flush()
		}
		if _, err := reader.ReadString('\n'); err != nil {
			return err
		}
	}
	return nil
}

func echo(stream io.ReadWriter) {
	reader := bufio.NewReader(stream)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return
		}
		fmt.Fprint(stream, line)
		if f, ok := stream.(interface{ Flush() error }); ok {
			f.Flush()
		}
	}
}

func deadline() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 8*time.Second)
}

func quicServer() error {
	conf, err := config(true)
	if err != nil {
		return err
	}
	udp, err := net.ListenPacket("udp", *addr)
	if err != nil {
		return err
	}
	transport := &quic.Transport{Conn: udp, VerifySourceAddress: func(net.Addr) bool { return *retry }}
	listener, err := transport.Listen(conf, &quic.Config{DisablePathMTUDiscovery: true})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		conn, err := listener.Accept(context.Background())
		if err != nil {
			return err
		}
		go func() {
			for {
				stream, err := conn.AcceptStream(context.Background())
				if err != nil {
					return
				}
				go echo(stream)
			}
		}()
	}
}

func quicClient() error {
	conf, err := config(false)
	if err != nil {
		return err
	}
	for i := 0; i == 0 || i == 1 && *again; i++ {
		ctx, cancel := deadline()
		defer cancel()
		conn, err := quic.DialAddr(ctx, *addr, conf, &quic.Config{DisablePathMTUDiscovery: true})
		if err != nil {
			return err
		}
		stream, err := conn.OpenStreamSync(ctx)
		if err != nil {
			return err
		}
		stream.SetDeadline(time.Now().Add(5 * time.Second))
		if err := talk(stream); err != nil {
			return err
		}
		if i == 1 && !conn.ConnectionState().TLS.DidResume {
			return errors.New("the second connection resumed nothing")
		}
		conn.CloseWithError(0, "")
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

func xServer() error {
	conf, err := config(true)
	if err != nil {
		return err
	}
	end, err := xquic.Listen("udp", *addr, &xquic.Config{TLSConfig: conf, RequireAddressValidation: *retry})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		conn, err := end.Accept(context.Background())
		if err != nil {
			return err
		}
		go func() {
			for {
				stream, err := conn.AcceptStream(context.Background())
				if err != nil {
					return
				}
				go echo(stream)
			}
		}()
	}
}

func xClient() error {
	conf, err := config(false)
	if err != nil {
		return err
	}
	end, err := xquic.Listen("udp", "127.0.0.1:0", nil)
	if err != nil {
		return err
	}
	ctx, cancel := deadline()
	defer cancel()
	conn, err := end.Dial(ctx, "udp", *addr, &xquic.Config{TLSConfig: conf})
	if err != nil {
		return err
	}
	stream, err := conn.NewStream(ctx)
	if err != nil {
		return err
	}
	stream.SetReadContext(ctx)
	if err := talk(stream); err != nil {
		return err
	}
	conn.Abort(nil)
	time.Sleep(100 * time.Millisecond)
	return nil
}

// store keeps sessions to resume.
type store struct {
	sync.Mutex
	sessions map[string]dtls.Session
}

var sessions = &store{sessions: map[string]dtls.Session{}}

func (s *store) Set(key []byte, session dtls.Session) error {
	s.Lock()
	defer s.Unlock()
	s.sessions[string(key)] = session
	return nil
}

func (s *store) Get(key []byte) (dtls.Session, error) {
	s.Lock()
	defer s.Unlock()
	return s.sessions[string(key)], nil
}

func (s *store) Del(key []byte) error {
	s.Lock()
	defer s.Unlock()
	delete(s.sessions, string(key))
	return nil
}

func pionConfig(server bool) (*dtls.Config, error) {
	conf, err := config(server)
	if err != nil {
		return nil, err
	}
	d := &dtls.Config{
		Certificates: conf.Certificates, RootCAs: conf.RootCAs, ClientCAs: conf.ClientCAs,
		ServerName: conf.ServerName, ExtendedMasterSecret: dtls.RequireExtendedMasterSecret,
		ClientAuth: map[string]dtls.ClientAuthType{
			"no": dtls.NoClientCert, "want": dtls.VerifyClientCertIfGiven, "need": dtls.RequireAndVerifyClientCert,
		}[*ask],
	}
	if *cid {
		d.ConnectionIDGenerator = dtls.RandomCIDGenerator(8)
	}
	if *again {
		d.SessionStore = sessions
	}
	if *srtp {
		d.SRTPProtectionProfiles = []dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_80}
	}
	return d, nil
}

func pionServer() error {
	conf, err := pionConfig(true)
	if err != nil {
		return err
	}
	udp, err := net.ResolveUDPAddr("udp", *addr)
	if err != nil {
		return err
	}
	listener, err := dtls.Listen("udp", udp, conf)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			buf := make([]byte, 2048)
			for {
				n, err := conn.Read(buf)
				if err != nil {
					return
				}
				conn.Write(buf[:n])
			}
		}()
	}
}

func pionClient() error {
	conf, err := pionConfig(false)
	if err != nil {
		return err
	}
	first, err := pionTalk(conf)
	if err != nil || !*again {
		return err
	}
	second, err := pionTalk(conf)
	if err == nil && !bytes.Equal(first, second) {
		err = errors.New("the second connection resumed nothing")
	}
	return err
}

// pionTalk is one connection; the ID of its session.
func pionTalk(conf *dtls.Config) ([]byte, error) {
	udp, err := net.ResolveUDPAddr("udp", *addr)
	if err != nil {
		return nil, err
	}
	conn, err := dtls.Dial("udp", udp, conf)
	if err != nil {
		return nil, err
	}
	ctx, cancel := deadline()
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 2048)
	for i := 0; i < rounds; i++ {
		if _, err := fmt.Fprintf(conn, "ping %d\n", i); err != nil {
			return nil, err
		}
		if _, err := conn.Read(buf); err != nil {
			return nil, err
		}
	}
	state, _ := conn.ConnectionState()
	return state.SessionID, conn.Close()
}
