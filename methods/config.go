package methods

import (
	"context"
	"reflect"
	"strconv"
	"time"
	"unicode"

	"github.com/marianned/marianned/rpc"
)

func (d *Daemon) config() *rpc.Method {
	return &rpc.Method{
		Name:         configName,
		Summary:      "Shows the configuration in force, defaults filled in, and where each setting is from",
		ParamsSchema: noParams,
		ResultSchema: rpc.RawMessage(`{"type":"object","required":["limits"],
			"properties":{"limits":{"type":"object","additionalProperties":{"type":"number"},"description":"timeouts in seconds"}}}`),
		Handler: rpc.Typed(func(context.Context, rpc.NoParams) (any, error) {
			if d.Config != nil {
				return d.Config(), nil
			}
			return struct {
				Limits rpc.RawMessage `json:"limits"`
			}{Limits(d.Server.CurrentLimits())}, nil
		}),
	}
}

// Limits returns the effective limits as a JSON object: the fields in their
// order, by their names with underscores (max_connections_per_uid); timeouts as
// seconds (queue_timeout_seconds).
func Limits(limits rpc.Limits) rpc.RawMessage {
	v := reflect.ValueOf(limits.WithDefaults())
	b := []byte{'{'}
	for i := range v.NumField() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = appendSnakeCase(b, v.Type().Field(i).Name)
		switch field := v.Field(i); value := field.Interface().(type) {
		case time.Duration:
			b = append(b, `_seconds":`...)
			b = strconv.AppendFloat(b, value.Seconds(), 'f', -1, 64)
		default:
			b = append(b, `":`...)
			b = strconv.AppendInt(b, field.Int(), 10)
		}
	}
	return append(b, '}')
}

// appendSnakeCase appends "max_connections_per_uid" for "MaxConnectionsPerUID".
func appendSnakeCase(b []byte, name string) []byte {
	lower := false
	for _, r := range name {
		if unicode.IsUpper(r) && lower {
			b = append(b, '_')
		}
		lower = unicode.IsLower(r)
		b = append(b, byte(unicode.ToLower(r))) // Go names of this module are ASCII
	}
	return b
}
