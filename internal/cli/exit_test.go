package cli

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/activation"
	"github.com/marianned/marianned/internal/config"
	"github.com/marianned/marianned/rpc"
)

func TestEachKindOfFailureHasItsExitCode(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{rpc.Errorf(-32000, "no"), 1},
		{rpc.Errorf(rpc.CodeMethodNotFound, "no"), 1},
		{rpc.Errorf(rpc.CodeNotAuthorized, "no"), 77},
		{usageErrorf("no %w", context.Canceled), 64},
		{unavailable(errors.New("no")), 69},
		{internalError(rpc.Errorf(-32000, "no")), 70},
		{activation.ErrCannotCreate, 73},
		{activation.ErrAlreadyRunning, 75},
		{activation.ErrNotPermitted, 77},
		{activation.ErrConfig, 78},
		{config.Errorf("no"), 78},
		{errors.New("nobody knows"), 70},
	} {
		require.Equal(t, test.want, ExitCode(test.err), "%v", test.err)
		if test.err != nil {
			require.Equal(t, test.want, ExitCode(fmt.Errorf("wrapped: %w", test.err)), "%v", test.err)
		}
	}
}

func TestNoFailureHasNoCode(t *testing.T) {
	require.NoError(t, unavailable(nil))
	require.NoError(t, internalError(nil))
	require.ErrorIs(t, usageErrorf("no %w", context.Canceled), context.Canceled)
	require.EqualError(t, withCode(exitBusy, errors.New("as it was")), "as it was")
}
