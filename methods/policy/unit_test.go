package policy

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/rpc"
)

// rules reads the rules of a method, which have no mistake.
func rules(t *testing.T, text string) *Policy {
	t.Helper()
	p, findings := read(t, text)
	require.NoError(t, findings.Err())
	return p
}

func TestWhoseUnitIsNotKnownIsLetInByNoneAndPastNone(t *testing.T) {
	backup, stranger := &rpc.Peer{UID: 7, Unit: "backup.service"}, &rpc.Peer{UID: 7}
	hidden := &rpc.Peer{UID: 7, UnitUnknown: true}

	allow := rules(t, `allow = ["unit:backup.service"]`)
	require.True(t, allow.Decide(backup).Allowed)
	require.False(t, allow.Decide(stranger).Allowed)
	require.False(t, allow.Decide(hidden).Allowed)

	deny := rules(t, "allow = [\"uid:7\"]\ndeny = [\"unit:backup*.service\"]")
	require.False(t, deny.Decide(backup).Allowed)
	require.True(t, deny.Decide(stranger).Allowed)
	d := deny.Decide(hidden)
	require.False(t, d.Allowed)
	require.Equal(t, 4, d.At.Line)
}
