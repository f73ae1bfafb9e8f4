package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"slices"
)

// goClient is a client over TCP, for the other corpus. What it does is in the environment, as with
// the peers of tests/src/corpus/peers, and its options are arguments.
func goClient() error {
	wants := func(option string) bool { return slices.Contains(os.Args[2:], option) }
	*ca, *ask = os.Getenv("CA"), "no"
	if os.Getenv("OWN") != "" {
		*cert, *key = os.Getenv("CERT"), os.Getenv("KEY")
	}
	conf, err := config(false)
	if err != nil {
		return err
	}
	conf.NextProtos = nil
	if os.Getenv("VERSION") == "1.2" {
		conf.MinVersion, conf.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	}
	if wants("retry") {
		conf.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP384}
	}
	if wants("alpn") {
		conf.NextProtos = []string{"h2", "http/1.1"}
	}
	if own := conf.Certificates; wants("chain") && len(own) > 0 {
		// More than one record of certificates.
		for len(own[0].Certificate) < 40 {
			own[0].Certificate = append(own[0].Certificate, own[0].Certificate[0])
		}
	}
	conf.DynamicRecordSizingDisabled = wants("full-records")
	for turn := 0; turn == 0 || turn == 1 && wants("again"); turn++ {
		if err := askOnce(conf); err != nil {
			return fmt.Errorf("alert or refusal: %w", err)
		}
	}
	return nil
}

func askOnce(conf *tls.Config) error {
	conn, err := tls.Dial("tcp", os.Getenv("TO"), conf)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
	if _, err := io.Copy(os.Stdout, conn); err != nil && err != io.ErrUnexpectedEOF {
		return err
	}
	return nil
}
