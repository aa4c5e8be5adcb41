module github.com/marianned/marianned/tests/bench

go 1.26.0

require (
	github.com/creachadair/jrpc2 v1.3.6
	github.com/marianned/marianned v0.0.0
	github.com/sourcegraph/jsonrpc2 v0.2.3
	golang.org/x/sys v0.49.0
)

require (
	github.com/creachadair/mds v0.31.0 // indirect
	github.com/go-json-experiment/json v1.27.2 // indirect
	github.com/sirupsen/logrus v1.10.2 // indirect
	golang.org/x/sync v0.24.0 // indirect
)

replace github.com/marianned/marianned => ../..
