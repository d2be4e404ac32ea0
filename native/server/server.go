package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/metaprune/metaprune/wasm/api"
)

// Config of a service. The zero value listens on localhost:8080.
type Config struct {
	API       api.Config
	Addr      string        // to listen on
	Cert, Key string        // PEM files for TLS, both or none
	Memory    int64         // bytes for requests and their models together, 0 for 4 GiB
	Backend   string        // that runs models for repairs: one of engines.Names, empty for the best that works
	Spool     string        // folder for models that have no room in memory, empty for the system's
	Site      string        // folder with the page, empty for none
	Grace     time.Duration // that requests get to finish, 0 for 30 s
}

// bodyShare is the part of the memory that models may have while they wait and are worked on; those that find no room lie on disk.
const bodyShare = 4

// Server is a service that has been set up.
type Server struct {
	config  Config
	handler *api.Handler
	http    *http.Server
	listen  net.Listener
}

// New sets a service up and listens. Close ends a server that does not run.
func New(c Config) (*Server, error) {
	if c.Addr == "" {
		c.Addr = "localhost:8080"
	}
	if c.Memory == 0 {
		c.Memory = 4 << 30
	}
	c.API.Memory = c.Memory - c.Memory/bodyShare
	if c.Grace == 0 {
		c.Grace = 30 * time.Second
	}
	if (c.Cert == "") != (c.Key == "") {
		return nil, errors.New("TLS needs a certificate and its key")
	}
	if c.API.Store == nil {
		c.API.Store = newSpool(c.Spool, c.Memory/bodyShare)
	}
	if c.API.Engine == nil {
		c.API.Engine = newEngine(&c)
	}
	if err := writable(c.Spool); err != nil {
		return nil, err
	}
	m := newMetrics()
	c.API.Observe = m.observe
	c.API.Extra = append(c.API.Extra, api.Route{Method: http.MethodGet, Path: "/metrics", Handler: m.handler()})
	h, err := api.New(c.API)
	if err != nil {
		return nil, err
	}
	s := &Server{config: c, handler: h, http: &http.Server{Handler: withSite(h, c.Site), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}}
	s.listen, err = net.Listen("tcp", c.Addr)
	return s, err
}

// writable finds out early whether uploads can be kept.
func writable(folder string) error {
	f, err := os.CreateTemp(folder, "metaprune-upload-*")
	if err != nil {
		return fmt.Errorf("uploads cannot be spooled: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Addr is the address that the server listens on.
func (s *Server) Addr() string { return s.listen.Addr().String() }

// Close ends a server at once.
func (s *Server) Close() error { return errors.Join(s.http.Close(), s.listen.Close()) }

// Run serves until ctx is done; then it takes no new connections and waits for requests under way.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() {
		if s.config.Cert != "" {
			ended <- s.http.ServeTLS(s.listen, s.config.Cert, s.config.Key)
		} else {
			ended <- s.http.Serve(s.listen)
		}
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	s.handler.Drain()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Grace)
	defer cancel()
	if err := s.http.Shutdown(last); err != nil {
		return errors.Join(fmt.Errorf("requests that took longer than %s were cut off: %w", s.config.Grace, err), s.http.Close())
	}
	return nil
}
