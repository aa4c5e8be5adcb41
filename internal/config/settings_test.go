package config

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/methods"
	"github.com/marianned/marianned/rpc"
)

// fieldsOf lists all values, those of a struct in it one by one.
func fieldsOf(v reflect.Value) (fields []any) {
	for _, field := range v.Fields() {
		if field.Kind() == reflect.Struct {
			fields = append(fields, fieldsOf(field)...)
			continue
		}
		fields = append(fields, field.Addr().Interface())
	}
	return fields
}

func TestThereIsASettingForEachValue(t *testing.T) {
	var values Values
	var fields []any
	for _, s := range Settings {
		fields = append(fields, s.field(&values))
		require.NotEmpty(t, s.Usage, s.Name)
	}
	all := fieldsOf(reflect.ValueOf(&values).Elem())
	require.Len(t, fields, len(all))
	for i := range all {
		require.Same(t, all[i], fields[i], Settings[i].Name)
	}
}

func TestEveryLimitCanBeSetUnderTheNameThatItIsShownBy(t *testing.T) {
	var shown map[string]float64
	require.NoError(t, json.Unmarshal(methods.Limits(rpc.Limits{}), &shown))
	for name, value := range shown {
		name, seconds := strings.CutSuffix(name, "_seconds")
		limits := rpc.Limits{}
		flag := strings.ReplaceAll(name, "_", "-")
		text := "4096"
		if seconds {
			text = "4096s"
		}
		require.NoError(t, SetLimit(&limits, flag, text))
		require.NotEqual(t, rpc.Limits{}, limits)
		at := slices.IndexFunc(LimitSettings, func(s *Setting) bool { return s.Name == name })
		require.GreaterOrEqual(t, at, 0, name)
		defaults := Defaults(OwnInstance)
		switch v := LimitSettings[at].get(&defaults).(type) {
		case int:
			require.Equal(t, value, float64(v))
		case time.Duration:
			require.Equal(t, value, v.Seconds())
		}
	}
	require.Len(t, LimitSettings, len(shown))
	require.ErrorContains(t, SetLimit(new(rpc.Limits), "max-bach", "1"), `found the limit "max-bach"`)
	require.ErrorContains(t, SetLimit(new(rpc.Limits), "mode", "0600"), `found the limit "mode"`)
	require.ErrorContains(t, SetLimit(new(rpc.Limits), "max-batch", "0"), "--max-batch is 0, expected at least 1")
}

func TestTheBoundsOfSettingsAreThoseOfTheServer(t *testing.T) {
	for _, test := range []struct {
		taken, refused rpc.Limits
	}{
		{rpc.Limits{MaxMessageBytes: minMessageBytes}, rpc.Limits{MaxMessageBytes: minMessageBytes - 1}},
		{rpc.Limits{MaxBufferedBytes: maxCount}, rpc.Limits{MaxBufferedBytes: maxCount + 1}},
		{rpc.Limits{MaxConnections: maxCount}, rpc.Limits{MaxConnections: maxCount + 1}},
	} {
		require.NoError(t, test.taken.Validate())
		require.Error(t, test.refused.Validate())
	}
}

func TestEveryDefaultIsReadAsItIsWritten(t *testing.T) {
	defaults := Defaults(OwnInstance)
	for _, s := range Settings {
		values := Values{}
		if text := s.Default(); text != "" || s.Name == "group" {
			require.Empty(t, s.set(&values, text), s.Name)
			require.Equal(t, s.get(&defaults), s.get(&values), s.Name)
		}
	}
}

func TestSizesHaveUnits(t *testing.T) {
	for text, want := range map[string]int{
		"0": 0, "-5": -5, "1000": 1000, "1KiB": 1 << 10, "16 MiB": 16 << 20, "2GiB": 2 << 30,
	} {
		n, ok := parseSize(text)
		require.True(t, ok, text)
		require.Equal(t, want, n, text)
	}
	for _, text := range []string{"", "16MB", "16M", "16mib", "1.5GiB", "MiB", "16  MiB", "9223372036854775807KiB", "99999999999999999999"} {
		_, ok := parseSize(text)
		require.False(t, ok, text)
	}
	for want, n := range map[string]int{"16MiB": 16 << 20, "1GiB": 1 << 30, "1025": 1025, "3KiB": 3072, "0": 0} {
		require.Equal(t, want, formatSize(n))
	}
}

func TestDurationsAreShort(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"5m": 5 * time.Minute, "1h": time.Hour, "1h0m5s": time.Hour + 5*time.Second, "10m": 10 * time.Minute,
		"0s": 0, "1m30s": 90 * time.Second, "250ms": 250 * time.Millisecond, "1h20m": 80 * time.Minute, "10h": 10 * time.Hour,
	} {
		require.Equal(t, want, formatDuration(d))
	}
}
