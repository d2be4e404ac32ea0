package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/metaprune/metaprune/native/server"
	"github.com/spf13/cobra"
)

// serveReport is what serve prints with --json when it listens.
type serveReport struct {
	URL string `json:"url"`
}

type serveFlags struct {
	config                  server.Config
	maxSize, memory         string
	metanetFile, metaMemory string
	logFormat               string
}

func (a *app) serveCommand() *cobra.Command {
	f := &serveFlags{}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve over HTTP: POST a model, get a plan or a smaller model",
		Long: `Serve the HTTP API: POST /v1/inspect, /v1/masks, /v1/prune and /v1/apply, GET /v1/ops, /v1/progress, /healthz, /metrics and /openapi.json. Options are query parameters with the names of prune's flags.
Models that do not fit into memory wait on disk, in unnamed files. After SIGTERM or SIGINT, running requests are finished before the server ends.
If METAPRUNE_TOKEN is set, requests need it as bearer token.`,
		Example: `  metaprune serve
  metaprune serve --addr :8443 --tls-cert cert.pem --tls-key key.pem --memory 8GB
  curl --data-binary @model.onnx 'localhost:8080/v1/masks?speed-up=2' > plan.json
  curl --data-binary @model.onnx 'localhost:8080/v1/prune?speed-up=2&criterion=l2' -o smaller.onnx
  curl -F model=@model.onnx -F samples=@photos.zip 'localhost:8080/v1/prune?speed-up=2&criterion=obs' -o smaller.onnx
  curl -F model=@model.onnx -F plan=@plan.json localhost:8080/v1/apply -o smaller.onnx`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.serve(c.Context(), f) },
	}
	s := c.Flags()
	s.StringVar(&f.config.Addr, "addr", "localhost:8080", "host:port to listen on")
	s.StringVar(&f.config.Cert, "tls-cert", "", "certificate (PEM); with --tls-key for HTTPS")
	s.StringVar(&f.config.Key, "tls-key", "", "private key (PEM)")
	s.StringVar(&f.maxSize, "max-size", "1GB", "largest model")
	s.StringVar(&f.memory, "memory", "4GB", "memory of all running requests together with their models; further models wait on disk")
	s.IntVar(&f.config.API.Requests, "max-requests", 64, "largest number of running requests; further ones get status 429")
	s.DurationVar(&f.config.API.Timeout, "timeout", 5*time.Minute, "of a request")
	s.DurationVar(&f.config.Grace, "grace", 30*time.Second, "time for running requests to finish after SIGTERM")
	s.StringSliceVar(&f.config.API.Origins, "cors", nil, "origins whose web pages may call the API, such as https://example.com, or * for all")
	s.StringVar(&f.config.Spool, "spool", "", "folder for models that do not fit into memory (default: the system's folder for temporary files)")
	s.StringVar(&f.config.Site, "site", "", "folder with the page (make site), served at /")
	s.StringVar(&f.metanetFile, "metanet", "", "metanetwork of criterion metanet (default: the built-in one)")
	s.StringVar(&f.metaMemory, "metanet-memory", "", "memory for a metanetwork's cached edge states, such as 256MB")
	backendFlag(s, &f.config.Backend)
	s.StringVar(&f.logFormat, "log", "text", "format of the log on standard error: text, json or none")
	takes(s, bytesOf(), "max-size", "memory", "metanet-memory")
	takes(s, whole(1, 0), "max-requests")
	takes(s, span(), "timeout", "grace")
	oneOf(s, "log", "text", "json", "none")
	return c
}

func (f *serveFlags) check() error {
	for flag, to := range map[string]struct {
		text string
		at   *int64
	}{"--max-size": {f.maxSize, &f.config.API.MaxBytes}, "--memory": {f.memory, &f.config.Memory}, "--metanet-memory": {f.metaMemory, &f.config.API.MetanetOptions.Memory}} {
		if to.text == "" {
			continue
		}
		n, err := humanize.ParseBytes(to.text)
		if err != nil || n == 0 || n > 1<<50 {
			return fmt.Errorf("%s %q: want a size such as 1GB", flag, to.text)
		}
		*to.at = int64(n)
	}
	return nil
}

// logger writes to standard error.
func (a *app) logger(format string) (*slog.Logger, error) {
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(a.err, nil)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(a.err, nil)), nil
	case "none":
		return slog.New(slog.DiscardHandler), nil
	}
	return nil, fmt.Errorf("--log %q: want text, json or none", format)
}

func (a *app) serve(ctx context.Context, f *serveFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	log, err := a.logger(f.logFormat)
	if err != nil {
		return err
	}
	f.config.API.Log, f.config.API.Version, f.config.API.Token = log, programVersion(), os.Getenv("METAPRUNE_TOKEN")
	if f.metanetFile != "" {
		if f.config.API.Metanet, err = os.ReadFile(f.metanetFile); err != nil {
			return err
		}
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(100) // a long process, unlike the other commands
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(f.config.Memory)
	}
	s, err := server.New(f.config)
	if err != nil {
		return err
	}
	scheme := "http"
	if f.config.Cert != "" {
		scheme = "https"
	}
	log.Info("listening", "url", scheme+"://"+s.Addr(), "max_size", f.config.API.MaxBytes, "memory", f.config.Memory, "token", f.config.API.Token != "")
	if a.json {
		if err := a.printJSON(serveReport{scheme + "://" + s.Addr()}); err != nil {
			return err
		}
	}
	done := endingOf(ctx).longer()
	err = s.Run(ctx)
	done()
	log.Info("ended")
	return err
}
