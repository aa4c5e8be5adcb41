package rpc

import (
	"context"
	"testing"
	"time"

	"github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/assert"
)

func TestLinesThatClientsCauseAreFewAndTheNextSaysHowManyWereLeftOut(t *testing.T) {
	var q logQuota
	now := time.Now()
	for range linesPerInterval {
		ok, _ := q.take(now)
		assert.True(t, ok)
	}
	for range 7 {
		ok, _ := q.take(now.Add(logInterval - 1))
		assert.False(t, ok)
	}
	ok, leftOut := q.take(now.Add(logInterval))
	assert.True(t, ok)
	assert.Equal(t, 7, leftOut)
	_, leftOut = q.take(now.Add(logInterval))
	assert.Zero(t, leftOut)
}

func TestAClientDoesNotFillTheLog(t *testing.T) {
	logger, log := test.NewNullLogger()
	path := startServer(t, &Server{Methods: testMethods(t), Logger: logger})
	w := dialWire(t, path)
	for range linesPerInterval + 20 {
		w.send(`{"jsonrpc":"2.0","id":1,"method":"fail"}` + "\n")
		w.reply()
	}
	assert.Equal(t, linesPerInterval, countLines(log, "call failed"))
}

func TestACallThatEndsBecauseItWasCancelledIsNoFailure(t *testing.T) {
	logger, log := test.NewNullLogger()
	entered := make(chan struct{})
	left := make(chan struct{})
	path := startServer(t, &Server{Logger: logger, Methods: testMethods(t, &Method{Name: "wait", Handler: HandlerFunc(
		func(ctx context.Context, _ *Request) (any, error) {
			defer close(left)
			close(entered)
			<-ctx.Done()
			return nil, ctx.Err()
		})})})
	w := dialWire(t, path)
	w.send(`{"jsonrpc":"2.0","id":1,"method":"wait"}` + "\n")
	<-entered
	w.send(`{"jsonrpc":"2.0","method":"rpc.cancel","params":{"id":1}}` + "\n")
	assert.Equal(t, CodeCancelled, w.reply().Error.Code)
	<-left
	w.send(`{"jsonrpc":"2.0","id":2,"method":"fail"}` + "\n")
	w.reply()
	assert.Equal(t, 1, countLines(log, "call failed"))
}

func countLines(log *test.Hook, text string) (n int) {
	for _, entry := range log.AllEntries() {
		if entry.Message == text {
			n++
		}
	}
	return n
}
