package methods

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/marianned/marianned/rpc"
)

// The kinds of events that a client can choose from. The method of an event is
// eventPrefix and its kind.
const (
	kindCall       = "call"
	kindRefusal    = "refusal"
	kindConnection = "connection"

	eventPrefix = "monitor."

	// startedEvent is sent once: whatever happens after it is reported.
	startedEvent = eventPrefix + "started"
)

var kinds = []string{kindCall, kindRefusal, kindConnection}

type monitorParams struct {
	Kinds []string `json:"kinds"` // nil: all
}

// monitorEvent is the params of an event. It never holds params or results of
// a call.
type monitorEvent struct {
	Time            time.Time `json:"time"`
	UID             uint32    `json:"uid"`
	GID             uint32    `json:"gid"`
	PID             int32     `json:"pid"`
	State           string    `json:"state,omitempty"` // of a connection: opened, closed
	Method          string    `json:"method,omitempty"`
	RequestID       string    `json:"request_id,omitempty"`
	DurationSeconds *decimal  `json:"duration_seconds,omitempty"`
	Code            int       `json:"code,omitzero"` // of an error
	Reason          string    `json:"reason,omitempty"`
}

func (d *Daemon) monitor() *rpc.Method {
	return &rpc.Method{
		Name:    monitorName,
		Summary: "Reports calls, refusals and connections as they happen",
		ParamsSchema: rpc.RawMessage(`{"type":"object","additionalProperties":false,
			"properties":{"kinds":{"type":["array","null"],"minItems":1,"items":{"enum":["call","refusal","connection"]},"description":"what to report; all by default"}}}`),
		ResultSchema: rpc.RawMessage(`{"type":"null"}`),
		ParamNames:   []string{"kinds"},
		Overflow:     rpc.DropOldest,
		Stream: func(ctx context.Context, req *rpc.Request, stream *rpc.Stream) (any, error) {
			var params monitorParams
			if err := rpc.DecodeParams(req.Params, &params); err != nil {
				return nil, err
			}
			wanted := kinds
			if params.Kinds != nil {
				wanted = params.Kinds
			}
			if err := checkKinds(wanted); err != nil {
				return nil, err
			}
			stop := d.Server.Monitor(func(e rpc.Event) {
				if kind, event := describeEvent(e); slices.Contains(wanted, kind) {
					// Send does not wait for the client. It fails when the stream
					// has ended, which ctx says too.
					_ = stream.Send(eventPrefix+kind, event)
				}
			})
			defer stop()
			_ = stream.Send(startedEvent, map[string]any{"kinds": wanted})
			<-ctx.Done()
			return nil, nil // what ended the stream has answered it
		},
	}
}

func checkKinds(wanted []string) error {
	if len(wanted) == 0 {
		return rpc.Errorf(rpc.CodeInvalidParams, "invalid params: kinds is empty, expected some of: %s", strings.Join(kinds, ", "))
	}
	for _, kind := range wanted {
		if !slices.Contains(kinds, kind) {
			return rpc.Errorf(rpc.CodeInvalidParams, "invalid params: kinds has %q, expected some of: %s", kind, strings.Join(kinds, ", "))
		}
	}
	return nil
}

// describeEvent returns the kind of an event, "" for one that is not reported.
func describeEvent(e rpc.Event) (kind string, event monitorEvent) {
	event = monitorEvent{
		Time: e.Time, UID: e.Peer.UID, GID: e.Peer.GID, PID: e.Peer.PID,
		Method: e.Method, RequestID: e.RequestID, Code: e.Code, Reason: e.Reason,
	}
	switch e.Kind {
	case rpc.EventCall:
		seconds := decimal(e.Duration.Round(time.Microsecond).Seconds())
		event.DurationSeconds = &seconds
		return kindCall, event
	case rpc.EventRefusal:
		return kindRefusal, event
	case rpc.EventConnectionOpened:
		event.State = "opened"
		return kindConnection, event
	case rpc.EventConnectionClosed:
		event.State = "closed"
		return kindConnection, event
	}
	return "", event
}
