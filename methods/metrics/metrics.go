// Package metrics counts what a daemon does, in the text format of Prometheus.
//
// The numbers of the server are read when somebody asks; only calls of the
// operator's methods, each of which starts a program or asks another process, are
// counted as they end. Nothing listens: the text is the result of daemon.metrics.
package metrics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/marianned/marianned/methods"
	"github.com/marianned/marianned/rpc"
)

// Metrics are those of one process. Its methods may be called from any goroutine.
type Metrics struct {
	registry *prometheus.Registry
	calls    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// New returns the metrics of a server, and of the process that it is in.
func New(server *rpc.Server, version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "marianned_method_calls_total",
			Help: "Calls of the operator's methods that have ended, by the code of their error, 0 for a result.",
		}, []string{"method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "marianned_method_duration_seconds",
			Help:    "How long calls of the operator's methods took, without the wait for a slot.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"method"}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "marianned_build_info", Help: "1; its labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	info.Set(1)
	m.registry.MustRegister(m.calls, m.seconds, info, serverCollector{server},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Observe counts a call of an operator's method that has ended. code is that of its
// error, 0 for a result.
func (m *Metrics) Observe(method string, code int, took time.Duration) {
	m.calls.WithLabelValues(method, strconv.Itoa(code)).Inc()
	m.seconds.WithLabelValues(method).Observe(took.Seconds())
}

// Text returns all metrics, in version 0.0.4 of the text format of Prometheus.
func (m *Metrics) Text() (string, error) {
	families, err := m.registry.Gather()
	if err != nil {
		return "", fmt.Errorf("metrics: %w", err)
	}
	var b bytes.Buffer
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&b, family); err != nil {
			return "", fmt.Errorf("metrics: %w", err)
		}
	}
	return b.String(), nil
}

// serverCollector reads the counters of a server.
type serverCollector struct{ server *rpc.Server }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("marianned_"+name, help, labels, nil)
}

// counters are the numbers of rpc.Stats.
var counters = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(rpc.Stats) float64
}{
	{describe("connections", "Connections that are served."), prometheus.GaugeValue, func(s rpc.Stats) float64 { return float64(s.Connections) }},
	{describe("connections_waiting", "Connections that wait for a place."), prometheus.GaugeValue, func(s rpc.Stats) float64 { return float64(s.Waiting) }},
	{describe("requests_running", "Calls that hold a slot."), prometheus.GaugeValue, func(s rpc.Stats) float64 { return float64(s.Running) }},
	{describe("requests_queued", "Calls that wait for a slot, or for their method."), prometheus.GaugeValue, func(s rpc.Stats) float64 { return float64(s.Queued) }},
	{describe("streams", "Open streams."), prometheus.GaugeValue, func(s rpc.Stats) float64 { return float64(s.Streams) }},
	{describe("buffered_bytes", "Input and output held for clients."), prometheus.GaugeValue, func(s rpc.Stats) float64 { return float64(s.BufferedBytes) }},
	{describe("connections_total", "Connections that got a place."), prometheus.CounterValue, func(s rpc.Stats) float64 { return float64(s.TotalConnections) }},
	{describe("requests_total", "Calls and notifications."), prometheus.CounterValue, func(s rpc.Stats) float64 { return float64(s.TotalRequests) }},
}

var (
	refusals = describe("refusals_total", "Connections and calls that were refused.", "reason")
	limits   = describe("limit", "Bounds in force, by their setting; timeouts in seconds.", "name")
)

// Describe is of prometheus.Collector.
func (c serverCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, counter := range counters {
		descs <- counter.desc
	}
	descs <- refusals
	descs <- limits
}

// Collect is of prometheus.Collector.
func (c serverCollector) Collect(metrics chan<- prometheus.Metric) {
	stats := c.server.Stats()
	for _, counter := range counters {
		metrics <- prometheus.MustNewConstMetric(counter.desc, counter.kind, counter.value(stats))
	}
	for reason, n := range stats.Refusals {
		metrics <- prometheus.MustNewConstMetric(refusals, prometheus.CounterValue, float64(n), reason)
	}
	var values map[string]float64
	if err := json.Unmarshal(methods.Limits(c.server.CurrentLimits()), &values); err != nil {
		metrics <- prometheus.NewInvalidMetric(limits, err)
	}
	for name, value := range values {
		metrics <- prometheus.MustNewConstMetric(limits, prometheus.GaugeValue, value, name)
	}
}
