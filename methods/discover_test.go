package methods

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

func names(doc document) (list []string) {
	for _, m := range doc.Methods {
		list = append(list, m.Name)
	}
	return list
}

func TestDiscoverListsWhatTheCallerMaySee(t *testing.T) {
	s := start(t, rpc.Limits{})
	var doc document
	s.dial(operator).result("rpc.discover", &doc)
	require.Equal(t, []string{"daemon.config", "daemon.health", "daemon.metrics", "daemon.monitor.stream",
		"daemon.peers", "daemon.ready", "daemon.shutdown",
		"daemon.status", "rpc.cancel", "rpc.discover", "rpc.echo", "rpc.ping"}, names(doc))
	require.Equal(t, "1.3.2", doc.OpenRPC)
	require.Equal(t, info{Title: "marianned", Version: "1.2.3"}, doc.Info)

	doc = document{}
	s.dial(stranger).result("rpc.discover", &doc)
	require.Equal(t, []string{"daemon.health", "daemon.ready", "daemon.status",
		"rpc.cancel", "rpc.discover", "rpc.echo", "rpc.ping"}, names(doc))
}

func TestAMethodThatMayBeSeenButNotCalledIsListed(t *testing.T) {
	s := start(t, rpc.Limits{})
	s.server.Authorize = func(*rpc.Peer, *rpc.Method) error { return rpc.Errorf(rpc.CodeNotAuthorized, "not you") }
	require.Contains(t, names(s.daemonDocument()), "daemon.shutdown")
	s.server.Authorize = nil
	require.Contains(t, names(s.daemonDocument()), "daemon.shutdown")
}

func (s *service) daemonDocument() document {
	s.daemon.registry = s.server.Methods
	return s.daemon.document(stranger)
}

func TestAMethodIsDescribedByItsSchemas(t *testing.T) {
	handler := rpc.HandlerFunc(func(context.Context, *rpc.Request) (any, error) { return nil, nil })
	stream := func(context.Context, *rpc.Request, *rpc.Stream) (any, error) { return nil, nil }
	schema := rpc.RawMessage(`{"type":"object","required":["path","z"],"properties":{
		"depth":{"type":"integer"}, "all":true, "path":{"type":"string","description":"where"}, "z":{}}}`)
	for name, test := range map[string]struct {
		method    *rpc.Method
		params    []string // required ones with a "!"
		structure string
	}{
		"required params come first":               {&rpc.Method{Handler: handler, ParamsSchema: schema}, []string{"path!", "z!", "all", "depth"}, "by-name"},
		"positional ones in their order":           {&rpc.Method{Handler: handler, ParamsSchema: schema, ParamNames: []string{"depth", "path"}}, []string{"depth", "path!", "z!", "all"}, "either"},
		"no schema, no params":                     {&rpc.Method{Handler: handler}, nil, "by-name"},
		"an array of any length can have no names": {&rpc.Method{Handler: handler, TakesArray: true}, nil, "either"},
		"a schema that says nothing":               {&rpc.Method{Handler: handler, ParamsSchema: rpc.RawMessage(`true`)}, nil, "by-name"},
	} {
		t.Run(name, func(t *testing.T) {
			got := new(document).describe(test.method)
			var params []string
			for _, p := range got.Params {
				if p.Required {
					p.Name += "!"
				}
				params = append(params, p.Name)
			}
			require.Equal(t, test.params, params)
			require.NotNil(t, got.Params, "an OpenRPC method has params, be they none")
			require.Equal(t, test.structure, got.ParamStructure)
			require.JSONEq(t, `{}`, string(got.Result.Schema))
			require.False(t, got.Stream)
		})
	}
	require.Equal(t, "where", new(document).describe(&rpc.Method{Handler: handler, ParamsSchema: schema}).Params[0].Description)
	require.True(t, new(document).describe(&rpc.Method{Stream: stream}).Stream)
}

func BenchmarkDiscover(b *testing.B) {
	s := start(b, rpc.Limits{})
	c := s.dial(operator)
	for b.Loop() {
		c.call("rpc.discover", "")
	}
}
