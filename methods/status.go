package methods

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/marianned/marianned/rpc"
)

// decimal is a number that always has a decimal point: to a client in Python 12
// is an int, and the fields of this type are floats there.
type decimal float64

func (d decimal) MarshalJSON() ([]byte, error) {
	b := strconv.AppendFloat(nil, float64(d), 'f', -1, 64)
	if bytes.IndexByte(b, '.') < 0 {
		b = append(b, ".0"...)
	}
	return b, nil
}

func (d *Daemon) uptime() decimal {
	return decimal(float64(time.Since(d.Started).Milliseconds()) / 1000)
}

type health struct {
	Status        string  `json:"status"`
	PID           int     `json:"pid"`
	UptimeSeconds decimal `json:"uptime_seconds"`
	ShuttingDown  bool    `json:"shutting_down"`
}

func (d *Daemon) health() *rpc.Method {
	return &rpc.Method{
		Name:         healthName,
		Summary:      "Says that the daemon is alive, also while it is saturated or shutting down",
		ParamsSchema: noParams,
		ResultSchema: rpc.RawMessage(`{"type":"object",
			"required":["status","pid","uptime_seconds","shutting_down"],
			"properties":{
				"status":{"const":"ok"},
				"pid":{"type":"integer"},
				"uptime_seconds":{"type":"number"},
				"shutting_down":{"type":"boolean"}}}`),
		Control: true,
		Handler: rpc.Typed(func(context.Context, rpc.NoParams) (health, error) {
			return health{Status: "ok", PID: os.Getpid(), UptimeSeconds: d.uptime(), ShuttingDown: d.Server.Stats().Draining}, nil
		}),
	}
}

type readiness struct {
	Status        string  `json:"status"`
	AcceptingWork bool    `json:"accepting_work"`
	ShuttingDown  bool    `json:"shutting_down"`
	RunningJobs   int     `json:"running_jobs"`
	UptimeSeconds decimal `json:"uptime_seconds"`
	MemoryMB      decimal `json:"memory_mb"`
}

func (d *Daemon) ready() *rpc.Method {
	return &rpc.Method{
		Name:         readyName,
		Summary:      "Says whether new calls are taken",
		ParamsSchema: noParams,
		ResultSchema: rpc.RawMessage(`{"type":"object",
			"required":["status","accepting_work","shutting_down","running_jobs","uptime_seconds","memory_mb"],
			"properties":{
				"status":{"enum":["ready","not_ready"]},
				"accepting_work":{"type":"boolean"},
				"shutting_down":{"type":"boolean"},
				"running_jobs":{"type":"integer"},
				"uptime_seconds":{"type":"number"},
				"memory_mb":{"type":"number"}}}`),
		Control: true,
		Handler: rpc.Typed(func(context.Context, rpc.NoParams) (readiness, error) {
			stats := d.Server.Stats()
			r := readiness{
				Status: "ready", AcceptingWork: !stats.Draining, ShuttingDown: stats.Draining,
				RunningJobs: stats.Running, UptimeSeconds: d.uptime(), MemoryMB: residentMB(),
			}
			if stats.Draining {
				r.Status = "not_ready"
			}
			return r, nil
		}),
	}
}

type status struct {
	PID              int            `json:"pid"`
	Version          string         `json:"version"`
	UptimeSeconds    decimal        `json:"uptime_seconds"`
	MemoryUsageMB    decimal        `json:"memory_usage_mb"`
	ShuttingDown     bool           `json:"shutting_down"`
	RunningJobs      int            `json:"running_jobs"`
	TotalJobsActive  int            `json:"total_jobs_active"`
	Connections      int            `json:"connections"`
	Waiting          int            `json:"waiting"`
	Queued           int            `json:"queued"`
	Streams          int            `json:"streams"`
	BufferedBytes    int            `json:"buffered_bytes"`
	TotalConnections uint64         `json:"total_connections"`
	TotalRequests    uint64         `json:"total_requests"`
	Refusals         rpc.RawMessage `json:"refusals"`
	Limits           rpc.RawMessage `json:"limits"`
}

func (d *Daemon) status() *rpc.Method {
	return &rpc.Method{
		Name:         statusName,
		Summary:      "Counts connections, calls and refusals, and names the limits in force",
		ParamsSchema: noParams,
		ResultSchema: rpc.RawMessage(`{"type":"object",
			"required":["pid","version","uptime_seconds","memory_usage_mb","shutting_down","running_jobs","total_jobs_active",
				"connections","waiting","queued","streams","buffered_bytes","total_connections","total_requests","refusals","limits"],
			"properties":{
				"pid":{"type":"integer"},
				"version":{"type":"string"},
				"uptime_seconds":{"type":"number"},
				"memory_usage_mb":{"type":"number","description":"resident memory in MiB; 0 if not known"},
				"shutting_down":{"type":"boolean"},
				"running_jobs":{"type":"integer","description":"calls that hold a slot"},
				"total_jobs_active":{"type":"integer","description":"calls that run or are queued, and streams"},
				"connections":{"type":"integer","description":"connections served now"},
				"waiting":{"type":"integer","description":"connections accepted that wait for a place"},
				"queued":{"type":"integer","description":"calls that wait for a slot, or for their method"},
				"streams":{"type":"integer","description":"open streams"},
				"buffered_bytes":{"type":"integer","description":"input and output held for clients"},
				"total_connections":{"type":"integer","description":"connections that got a place, since the start"},
				"total_requests":{"type":"integer","description":"calls and notifications, since the start"},
				"refusals":{"type":"object","additionalProperties":{"type":"integer"},"description":"connections and calls refused since the start, by reason"},
				"limits":{"type":"object","additionalProperties":{"type":"number"},"description":"limits in force; timeouts in seconds"}}}`),
		Control: true,
		Handler: rpc.Typed(func(context.Context, rpc.NoParams) (status, error) {
			stats := d.Server.Stats()
			refusals, err := json.Marshal(stats.Refusals) // in the order of their names
			if err != nil {
				return status{}, err
			}
			return status{
				PID: os.Getpid(), Version: d.Version,
				UptimeSeconds: d.uptime(), MemoryUsageMB: residentMB(),
				ShuttingDown:     stats.Draining,
				RunningJobs:      stats.Running,
				TotalJobsActive:  stats.Running + stats.Queued + stats.Streams,
				Connections:      stats.Connections,
				Waiting:          stats.Waiting,
				Queued:           stats.Queued,
				Streams:          stats.Streams,
				BufferedBytes:    stats.BufferedBytes,
				TotalConnections: stats.TotalConnections,
				TotalRequests:    stats.TotalRequests,
				Refusals:         refusals,
				Limits:           Limits(d.Server.CurrentLimits()),
			}, nil
		}),
	}
}

// residentMB returns the resident memory of this process in MiB, or 0 where
// /proc does not tell (proc(5), statm).
func residentMB() decimal {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	const perMB = 1 << 20
	return decimal(math.Round(float64(pages*uint64(os.Getpagesize()))/perMB*10) / 10)
}
