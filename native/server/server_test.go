package server

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaprune/metaprune/native/client"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/wasm/api"
	"github.com/stretchr/testify/require"
)

func model(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("../../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	return b
}

// start runs a service until the test ends; stop ends it and returns what Run returned.
func start(t *testing.T, c Config) (s *Server, stop func() error) {
	t.Helper()
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	s, err := New(c)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = stop() })
	return s, stop
}

// leftovers are files in a spool.
func leftovers(t *testing.T, folder string) int {
	t.Helper()
	list, err := os.ReadDir(folder)
	require.NoError(t, err)
	return len(list)
}

func TestClient(t *testing.T) {
	spoolDir, ctx, data := t.TempDir(), context.Background(), model(t)
	s, stop := start(t, Config{Spool: spoolDir, API: api.Config{Store: newSpool(spoolDir, 1000), Token: "word"}})
	var told []string
	c := &client.Client{URL: "http://" + s.Addr(), Token: "word", Warning: func(text string) { told = append(told, text) }}
	own, err := prune.Read(data, nil)
	require.NoError(t, err)
	report, err := c.Inspect(ctx, bytes.NewReader(data))
	require.NoError(t, err)
	require.Equal(t, own.Inspect().Groups, report.Groups)
	require.Empty(t, told)
	p, err := c.Masks(ctx, bytes.NewReader(data), client.Options{SpeedUp: 2, Ignore: []string{"conv1.weight", "layers.0.*"}, Steps: 2})
	require.NoError(t, err)
	require.InDelta(t, 2, float64(p.Achieved.MACs[0])/float64(p.Achieved.MACs[1]), .1)
	m, err := own.Apply(p)
	require.NoError(t, err)
	want, err := m.Marshal()
	require.NoError(t, err)
	var pruned, applied bytes.Buffer
	require.NoError(t, c.Prune(ctx, bytes.NewReader(data), client.Options{SpeedUp: 2, Ignore: []string{"conv1.weight", "layers.0.*"}, Steps: 2}, &pruned))
	require.Len(t, told, 2)
	require.Contains(t, told[1], "unrepaired: expect")
	require.True(t, bytes.Equal(want, pruned.Bytes()))
	require.NoError(t, c.Apply(ctx, bytes.NewReader(data), p, nil, &applied))
	require.True(t, bytes.Equal(want, applied.Bytes()))
	var refused *api.Problem
	_, err = (&client.Client{URL: c.URL}).Inspect(ctx, bytes.NewReader(data))
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 401, refused.Status)
	_, err = c.Masks(ctx, bytes.NewReader(data), client.Options{SpeedUp: 1e9})
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 422, refused.Status)

	answer, err := http.Get("http://" + s.Addr() + "/metrics")
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Contains(t, string(text), `metaprune_requests_total{operation="POST /v1/masks",status="200"} 1`)
	require.Contains(t, string(text), `metaprune_requests_total{operation="POST /v1/masks",status="422"} 1`)
	require.NoError(t, stop())
	require.Zero(t, leftovers(t, spoolDir))
}

// What clients do wrong leaves nothing behind, and the next one is answered.
func TestRudeClients(t *testing.T) {
	spoolDir, data := t.TempDir(), model(t)
	s, stop := start(t, Config{Spool: spoolDir, API: api.Config{Store: newSpool(spoolDir, 1000), Timeout: 500 * time.Millisecond, Requests: 2}})
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", s.Addr())
		require.NoError(t, err)
		return conn
	}
	post := func(conn net.Conn, length int, body []byte) {
		_, err := fmt.Fprintf(conn, "POST /v1/inspect HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", length)
		require.NoError(t, err)
		_, err = conn.Write(body)
		require.NoError(t, err)
	}
	status := func(conn net.Conn) int {
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		defer answer.Body.Close()
		return answer.StatusCode
	}
	t.Run("says more than it sends, and hangs up", func(t *testing.T) {
		conn := dial()
		post(conn, len(data), data[:len(data)/2])
		require.NoError(t, conn.Close())
	})
	t.Run("says more than it sends, and waits", func(t *testing.T) {
		conn := dial()
		defer conn.Close()
		post(conn, len(data), data[:len(data)/2])
		require.Equal(t, 408, status(conn))
	})
	t.Run("sends more than it says", func(t *testing.T) {
		conn := dial()
		defer conn.Close()
		post(conn, len(data)/2, data)
		require.Equal(t, 422, status(conn))
	})
	t.Run("sends a byte at a time", func(t *testing.T) {
		conn := dial()
		defer conn.Close()
		post(conn, len(data), nil)
		for range 20 {
			if _, err := conn.Write(data[:1]); err != nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		require.Equal(t, 408, status(conn))
	})
	t.Run("hangs up in the middle of the answer", func(t *testing.T) {
		conn := dial()
		_, err := fmt.Fprintf(conn, "POST /v1/prune?speed-up=1.1 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(data))
		require.NoError(t, err)
		_, err = conn.Write(data)
		require.NoError(t, err)
		_, err = io.ReadFull(conn, make([]byte, 1000))
		require.NoError(t, errors.Join(err, conn.Close()))
	})
	require.Eventually(t, func() bool {
		_, err := (&client.Client{URL: "http://" + s.Addr()}).Inspect(context.Background(), bytes.NewReader(data))
		return err == nil
	}, 5*time.Second, 50*time.Millisecond)
	require.NoError(t, stop())
	require.Zero(t, leftovers(t, spoolDir))
}

// Told to end, the service finishes what is under way and takes nothing new.
func TestGracefulEnd(t *testing.T) {
	data := model(t)
	s, stop := start(t, Config{})
	conn, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST /v1/inspect HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(data))
	require.NoError(t, err)
	_, err = conn.Write(data[:1000])
	require.NoError(t, err)
	time.Sleep(50 * time.Millisecond)
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	require.Eventually(t, func() bool { _, err := net.Dial("tcp", s.Addr()); return err != nil }, 5*time.Second, 10*time.Millisecond)
	_, err = conn.Write(data[1000:])
	require.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, 200, answer.StatusCode)
	require.NoError(t, errors.Join(answer.Body.Close(), <-ended))
}

func TestGraceEnds(t *testing.T) {
	s, stop := start(t, Config{Grace: 50 * time.Millisecond})
	conn, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "POST /v1/inspect HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
	require.NoError(t, err)
	time.Sleep(50 * time.Millisecond)
	require.ErrorContains(t, stop(), "took longer than 50ms were cut off")
}

// certificate writes a self-signed certificate for 127.0.0.1.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	require.NoError(t, err)
	raw, err := x509.MarshalECPrivateKey(k)
	require.NoError(t, err)
	cert, key = filepath.Join(t.TempDir(), "c.pem"), filepath.Join(t.TempDir(), "k.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}), 0o600))
	pool = x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool.AddCert(parsed)
	return cert, key, pool
}

func TestTLS(t *testing.T) {
	cert, key, pool := certificate(t)
	s, _ := start(t, Config{Cert: cert, Key: key})
	c := &client.Client{URL: "https://" + s.Addr(), HTTP: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}}
	_, err := c.Inspect(context.Background(), bytes.NewReader(model(t)))
	require.NoError(t, err)
	_, err = New(Config{Cert: cert})
	require.ErrorContains(t, err, "TLS needs a certificate and its key")
}

func TestSite(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "index.html"), []byte("<title>page</title>"), 0o600))
	s, _ := start(t, Config{Site: folder})
	answer, err := http.Get("http://" + s.Addr() + "/")
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Contains(t, string(text), "page")
	require.Contains(t, answer.Header.Get("Content-Security-Policy"), "'wasm-unsafe-eval'")
	answer, err = http.Get("http://" + s.Addr() + "/v1/ops")
	require.NoError(t, errors.Join(err, answer.Body.Close()))
	require.True(t, strings.HasPrefix(answer.Header.Get("Content-Type"), "application/json"))
}

func TestSpool(t *testing.T) {
	folder := t.TempDir()
	s := newSpool(folder, 1000)
	for _, n := range []int{0, 1, 999, 1000, 1001, 50_000} {
		for _, size := range []int64{-1, int64(n), 10, 100_000} {
			data := bytes.Repeat([]byte{3}, n)
			u, err := s.Keep(bytes.NewReader(data), size)
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, u.Data))
			require.Zero(t, leftovers(t, folder))
			u.Free()
		}
	}
	first, err := s.Keep(bytes.NewReader(make([]byte, 600)), 600)
	require.NoError(t, err)
	second, err := s.Keep(bytes.NewReader(make([]byte, 600)), 600) // has no room
	require.NoError(t, err)
	require.Len(t, second.Data, 600)
	first.Free()
	second.Free()
	_, err = s.Keep(io.MultiReader(bytes.NewReader(make([]byte, 2000)), &failing{}), -1)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Zero(t, leftovers(t, folder))
	require.True(t, s.room.TryAcquire(1000), "all room was given back")
	_, err = New(Config{Spool: filepath.Join(folder, "none"), Addr: "127.0.0.1:0"})
	require.ErrorContains(t, err, "uploads cannot be spooled")
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// BenchmarkMasks compares a plan over HTTP with the same work in the process: hash, analysis, scores, plan. METAPRUNE_MODEL names another model than the small one.
func BenchmarkMasks(b *testing.B) {
	path := os.Getenv("METAPRUNE_MODEL")
	if path == "" {
		path = "../../testdata/fashion-resnet20.onnx"
	}
	data, err := os.ReadFile(path)
	require.NoError(b, err)
	b.Run("own", func(b *testing.B) {
		for b.Loop() {
			s, err := prune.Read(data, nil)
			require.NoError(b, err)
			s.StartHash()
			p, err := s.MakePlan(context.Background(), prune.Request{Options: planner.Options{Target: planner.Target{SpeedUp: 2}}})
			require.NoError(b, err)
			s.Sign(p)
			_, err = planner.MarshalPlan(p)
			require.NoError(b, err)
			s.Close()
		}
	})
	b.Run("http", func(b *testing.B) {
		s, err := New(Config{Addr: "127.0.0.1:0"})
		require.NoError(b, err)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		c := &client.Client{URL: "http://" + s.Addr()}
		for b.Loop() {
			_, err := c.Masks(ctx, bytes.NewReader(data), client.Options{SpeedUp: 2})
			require.NoError(b, err)
		}
		cancel()
		require.NoError(b, <-ended)
	})
}

// A file with its compressed copy beside it is sent compressed to whoever takes that, as the same bytes and the same type.
func TestSiteCompressed(t *testing.T) {
	folder := t.TempDir()
	program := bytes.Repeat([]byte("wasm "), 1000)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(program)
	require.NoError(t, errors.Join(err, z.Close()))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "a.wasm"), program, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "a.wasm.gz"), packed.Bytes(), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "b.gz"), packed.Bytes(), 0o600))
	s, _ := start(t, Config{Site: folder})
	for accepted, coded := range map[string]bool{"gzip": true, "br, gzip;q=0.5": true, "*": true, "": false, "br": false, "gzip;q=0": false, "gzip;q=0.0, *": false, "identity": false} {
		r, err := http.NewRequest(http.MethodGet, "http://"+s.Addr()+"/a.wasm", nil)
		require.NoError(t, err)
		r.Header["Accept-Encoding"] = []string{accepted}
		answer, err := (&http.Transport{DisableCompression: true}).RoundTrip(r)
		require.NoError(t, err)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, errors.Join(err, answer.Body.Close()))
		require.Equal(t, "application/wasm", answer.Header.Get("Content-Type"), accepted)
		require.Equal(t, "Accept-Encoding", answer.Header.Get("Vary"), accepted)
		if coded {
			require.Equal(t, "gzip", answer.Header.Get("Content-Encoding"), accepted)
			require.Equal(t, packed.Bytes(), body, accepted)
		} else {
			require.Empty(t, answer.Header.Get("Content-Encoding"), accepted)
			require.Equal(t, program, body, accepted)
		}
	}
	answer, err := http.Get("http://" + s.Addr() + "/b")
	require.NoError(t, errors.Join(err, answer.Body.Close()))
	require.Equal(t, http.StatusNotFound, answer.StatusCode, "nothing but a compressed copy")
}
