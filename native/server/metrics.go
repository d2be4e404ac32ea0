package server

import (
	"net/http"
	"strconv"

	"github.com/metaprune/metaprune/wasm/api"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what Prometheus reads.
type metrics struct {
	registry       *prometheus.Registry
	requests       *prometheus.CounterVec
	seconds        *prometheus.HistogramVec
	received, sent prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "metaprune_requests_total", Help: "Requests by operation and status."}, []string{"operation", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "metaprune_request_seconds", Help: "Time from the request's head to the answer's end, by operation.",
			Buckets: prometheus.ExponentialBuckets(.001, 2.5, 14)}, []string{"operation"}),
		received: prometheus.NewCounter(prometheus.CounterOpts{Name: "metaprune_received_bytes_total", Help: "Bytes of models received."}),
		sent:     prometheus.NewCounter(prometheus.CounterOpts{Name: "metaprune_sent_bytes_total", Help: "Bytes of answers sent."}),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.received, m.sent, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) observe(e api.Event) {
	m.requests.WithLabelValues(e.Operation, strconv.Itoa(e.Status)).Inc()
	m.seconds.WithLabelValues(e.Operation).Observe(e.Duration.Seconds())
	m.received.Add(float64(e.Received))
	m.sent.Add(float64(e.Sent))
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
