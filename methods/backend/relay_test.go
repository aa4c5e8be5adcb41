package backend

import (
	"encoding/json"
	"io"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/marianned/marianned/rpc"
)

func TestParamsOfAnEventAreAnObjectWithoutWhatAStreamAdds(t *testing.T) {
	for _, test := range []struct {
		in   string
		lost int
		want string
	}{
		{``, 0, `{}`},
		{`{}`, 0, `{}`},
		{`{"subscription":7,"a":1,"lost":3,"lost_before":2}`, 0, `{"a":1}`},
		{`{"subscription":7}`, 4, `{"lost_before":4}`},
		{` { "a" : [ 1 , {"lost":1} ] } `, 1, `{"a":[ 1 , {"lost":1} ],"lost_before":1}`},
		{`[1,2]`, 0, `{"params":[1,2]}`},
		{`null`, 2, `{"params":null,"lost_before":2}`},
		{`{"\u0073ubscription":7,"b":2}`, 0, `{"b":2}`}, // a name is what it means
	} {
		got, err := EventParams(rpc.RawMessage(test.in), test.lost)
		require.NoError(t, err, test.in)
		require.Equal(t, test.want, string(got), test.in)
	}
	_, err := EventParams(rpc.RawMessage(`{"a":`), 0)
	require.Error(t, err)
}

func TestParamsOfAnEventKeepAllElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.MapOf(rapid.String(), rapid.OneOf(
			rapid.Map(rapid.String(), func(s string) any { return s }),
			rapid.Map(rapid.Bool(), func(b bool) any { return b }),
			rapid.Map(rapid.SliceOf(rapid.String()), func(s []string) any { return s }),
		)).Draw(t, "members")
		for _, name := range []string{memberSubscription, memberLost, memberLostBefore} {
			delete(members, name)
		}
		want, err := json.Marshal(members)
		require.NoError(t, err)
		members[memberSubscription] = 17
		in, err := json.Marshal(members)
		require.NoError(t, err)
		got, err := EventParams(in, 0)
		require.NoError(t, err)
		require.JSONEq(t, string(want), string(got))
	})
}

func newCall() *Call {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return &Call{Method: "m", RequestID: "r-1", Log: logrus.NewEntry(log)}
}

func TestAReplyThatNamesABoundKeepsItAndSaysWhatIsKnownHere(t *testing.T) {
	data := rpc.RawMessage(`{"reason":"queue_timeout","scope":"uid","limit":30000,"retry_after_ms":100,"executed":"no","request_id":"theirs"}`)
	e := newCall().Relay(&rpc.Error{Code: rpc.CodeResourceExhausted, Message: "busy", Data: data}, rpc.ExecutedUnknown)
	require.Equal(t, "busy", e.Message)
	require.Equal(t, &rpc.ErrorData{Reason: "queue_timeout", Scope: "uid", Limit: 30000, RetryAfterMS: 100,
		Executed: rpc.ExecutedUnknown, RequestID: "r-1"}, e.Data)
	for _, data := range []any{nil, rpc.RawMessage(`"text"`), rpc.RawMessage(`{"reason":5}`)} {
		e := newCall().Relay(&rpc.Error{Code: rpc.CodeCancelled, Data: data}, rpc.ExecutedYes)
		require.Equal(t, &rpc.ErrorData{Reason: "backend", Executed: rpc.ExecutedYes, RequestID: "r-1"}, e.Data)
	}
}

func TestAnInternalFailureElsewhereIsNotToldToTheCaller(t *testing.T) {
	e := newCall().Relay(&rpc.Error{Code: rpc.CodeInternalError, Message: "panic at /secret/path", Data: "a stack"}, rpc.ExecutedUnknown)
	text, err := json.Marshal(e)
	require.NoError(t, err)
	require.NotContains(t, string(text), "secret")
	require.NotContains(t, string(text), "stack")
	require.Contains(t, string(text), `"executed":"unknown"`)
}
