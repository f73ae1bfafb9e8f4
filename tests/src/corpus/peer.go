// One end of a connection on Go's crypto/tls, for the corpus.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	role, to, ca, cert, key, version := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6]
	pem, err := os.ReadFile(ca)
	must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	own, err := tls.LoadX509KeyPair(cert, key)
	must(err)
	v := uint16(tls.VersionTLS13)
	if version == "1.2" {
		v = tls.VersionTLS12
	}
	config := &tls.Config{MinVersion: v, MaxVersion: v, RootCAs: pool, ClientCAs: pool}
	if role == "serve" {
		config.Certificates = []tls.Certificate{own}
		config.ClientAuth = map[string]tls.ClientAuthType{
			"no": tls.NoClientCert, "want": tls.VerifyClientCertIfGiven, "need": tls.RequireAndVerifyClientCert,
		}[os.Args[7]]
		listener, err := tls.Listen("tcp", ":"+to, config)
		must(err)
		for {
			conn, err := listener.Accept()
			must(err)
			go func() {
				defer conn.Close()
				reader := bufio.NewReader(conn)
				for {
					line, err := reader.ReadString('\n')
					if err != nil {
						return
					}
					if line == "\r\n" {
						break
					}
				}
				fmt.Fprint(conn, "HTTP/1.0 200 OK\r\n\r\nhello\n")
			}()
		}
	}
	if os.Args[7] == "true" {
		config.Certificates = []tls.Certificate{own}
	}
	config.ServerName = os.Args[8]
	conn, err := tls.Dial("tcp", to, config)
	must(err)
	fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
	_, err = io.Copy(os.Stdout, conn)
	must(err)
	conn.Close()
}
