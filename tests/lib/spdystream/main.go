// SPDX-License-Identifier: Apache-2.0

// main CASE URL [ARG...], or serve PORT: one conversation with crispd's streaming server over SPDY/3.1 by docker's spdystream, the
// implementation that kubelets and kubectl are built with. Ends with status 0 when the case holds.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/docker/spdystream"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func must(ok bool, what ...interface{}) {
	if !ok {
		panic(fmt.Sprint(what...))
	}
}

func dial(address, protocol string) *spdystream.Connection {
	u, err := url.Parse(address)
	check(err)
	c, err := net.Dial("tcp", u.Host)
	check(err)
	req, err := http.NewRequest("POST", address, nil)
	check(err)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "SPDY/3.1")
	req.Header.Set("X-Stream-Protocol-Version", protocol)
	check(req.Write(c))
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, req)
	check(err)
	must(resp.StatusCode == 101 && in.Buffered() == 0, resp.Status)
	must(resp.Header.Get("X-Stream-Protocol-Version") == protocol, resp.Header)
	conn, err := spdystream.NewConnection(c, false)
	check(err)
	go conn.Serve(spdystream.NoOpStreamHandler)
	return conn
}

func open(c *spdystream.Connection, headers http.Header) *spdystream.Stream {
	s, err := c.CreateStream(headers, nil, false)
	check(err)
	check(s.WaitTimeout(20 * time.Second))
	return s
}

func kind(c *spdystream.Connection, name string) *spdystream.Stream {
	return open(c, http.Header{"Streamtype": {name}})
}

func all(s io.Reader) []byte {
	b, err := io.ReadAll(s)
	check(err)
	return b
}

func code(e *spdystream.Stream) string {
	var status struct {
		Status  string
		Details struct{ Causes []struct{ Message string } }
	}
	check(json.Unmarshal(all(e), &status))
	if status.Status == "Success" {
		return "0"
	}
	return status.Details.Causes[0].Message
}

// plain: sh -c 'echo out; echo err >&2; exit 7'
func plain(address string) {
	c := dial(address, "v4.channel.k8s.io")
	e, out, errs := kind(c, "error"), kind(c, "stdout"), kind(c, "stderr")
	e.Close()
	must(string(all(out)) == "out\n", "stdout")
	must(string(all(errs)) == "err\n", "stderr")
	must(code(e) == "7", "code")
}

// copies: cat, 100 MB
func copies(address string) {
	const size = 100 << 20
	c := dial(address, "v4.channel.k8s.io")
	e, in, out := kind(c, "error"), kind(c, "stdin"), kind(c, "stdout")
	e.Close()
	sent, got := sha256.New(), sha256.New()
	go func() {
		_, err := io.CopyN(io.MultiWriter(in, sent), rand.New(rand.NewSource(1)), size)
		check(err)
		check(in.Close())
	}()
	n, err := io.Copy(got, out)
	check(err)
	must(n == size && bytes.Equal(sent.Sum(nil), got.Sum(nil)), "copied ", n)
	must(code(e) == "0", "code")
}

// tty: sh with a terminal
func tty(address string) {
	c := dial(address, "v4.channel.k8s.io")
	e, in, out, size := kind(c, "error"), kind(c, "stdin"), kind(c, "stdout"), kind(c, "resize")
	check(json.NewEncoder(size).Encode(map[string]int{"Width": 91, "Height": 37}))
	time.Sleep(300 * time.Millisecond)
	fmt.Fprint(in, "stty size; exit 5\n")
	text := all(out)
	must(bytes.Contains(text, []byte("37 91")), string(text))
	must(code(e) == "5", "code")
}

// forward PORT N: that many connections at once, an echo server behind them
func forward(address, port, count string) {
	n, err := strconv.Atoi(count)
	check(err)
	c := dial(address, "portforward.k8s.io")
	done := make(chan error, n)
	for i := 0; i < n; i++ {
		h := http.Header{"Port": {port}, "Requestid": {strconv.Itoa(i)}, "Streamtype": {"error"}}
		e := open(c, h)
		e.Close()
		h.Set("Streamtype", "data")
		s := open(c, h)
		data := make([]byte, 20000+i)
		rand.New(rand.NewSource(int64(i))).Read(data)
		go func() {
			s.Write(data)
			s.Close()
		}()
		go func() {
			back := sha256.Sum256(all(s))
			if back != sha256.Sum256(data) || len(all(e)) != 0 {
				done <- fmt.Errorf("connection differs")
				return
			}
			done <- nil
		}()
	}
	for i := 0; i < n; i++ {
		check(<-done)
	}
	check(c.Close())
}

// rate says how fast n bytes came through.
func rate(what func() int64) {
	start := time.Now()
	n := what()
	fmt.Printf("%.0f\n", float64(n)/1e6/time.Since(start).Seconds())
}

// sink N: stdin of N MB for a command that reads it; prints MB/s
func sink(address string, mb int64) {
	c := dial(address, "v4.channel.k8s.io")
	e, in, out := kind(c, "error"), kind(c, "stdin"), kind(c, "stdout")
	block := make([]byte, 1<<20)
	rate(func() int64 {
		for i := int64(0); i < mb; i++ {
			_, err := in.Write(block)
			check(err)
		}
		check(in.Close())
		all(out)
		return mb << 20
	})
	must(code(e) == "0", "code")
}

// source: all of a command's output; prints MB/s
func source(address string) {
	c := dial(address, "v4.channel.k8s.io")
	e, out := kind(c, "error"), kind(c, "stdout")
	rate(func() int64 {
		n, err := io.Copy(io.Discard, out)
		check(err)
		return n
	})
	must(code(e) == "0", "code")
}

// echo PORT N: N MB there and back through one forwarded connection; prints MB/s each way
func echo(address, port string, mb int64) {
	c := dial(address, "portforward.k8s.io")
	h := http.Header{"Port": {port}, "Requestid": {"0"}, "Streamtype": {"error"}}
	open(c, h).Close()
	h.Set("Streamtype", "data")
	s := open(c, h)
	block := make([]byte, 1<<20)
	go func() {
		for i := int64(0); i < mb; i++ {
			s.Write(block)
		}
	}()
	rate(func() int64 {
		n, err := io.CopyN(io.Discard, s, mb<<20)
		check(err)
		return n
	})
}

// serve PORT: be what echo talks to, until killed
func serve(port string) {
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	check(err)
	fmt.Println("ready")
	for {
		c, err := l.Accept()
		check(err)
		go func() {
			io.Copy(c, c)
			c.Close()
		}()
	}
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	check(err)
	return n
}

func main() {
	if os.Args[1] == "serve" {
		serve(os.Args[2])
	}
	time.AfterFunc(100*time.Second, func() { panic("it takes too long") })
	switch a := os.Args[2:]; os.Args[1] {
	case "plain":
		plain(a[0])
	case "copies":
		copies(a[0])
	case "tty":
		tty(a[0])
	case "forward":
		forward(a[0], a[1], a[2])
	case "sink":
		sink(a[0], number(a[1]))
	case "source":
		source(a[0])
	case "echo":
		echo(a[0], a[1], number(a[2]))
	default:
		panic("which case?")
	}
}
