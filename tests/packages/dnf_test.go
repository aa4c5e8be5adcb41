package packages

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

// standIn has the names of what the package depends on, which Debian has under its
// own.
const standIn = `Name: stand-in
Version: 1
Release: 1
Summary: What Debian has
License: Apache-2.0
BuildArch: noarch
Provides: systemd coreutils /bin/sh /usr/bin/prlimit
%description
%files
`

func TestDnfInstallsUpgradesAndRemovesTheRpm(t *testing.T) {
	need(t, "dnf", "dnf")
	need(t, "rpmbuild", "rpm")
	t.Parallel()
	b := bare(t)
	put(t, b, rpmOf(older(t), previous, runtime.GOARCH), "/srv/"+previous+".rpm")
	put(t, b, rpmOf(all(t), current, runtime.GOARCH), "/srv/"+current+".rpm")
	dnf := func(args ...string) box.Result {
		return b.Try(t, append([]string{"dnf", "--assumeyes", "--disablerepo=*", "--nogpgcheck"}, args...)...)
	}

	refused := dnf("install", "/srv/"+previous+".rpm")
	require.NotZero(t, refused.Code, "nothing provides its dependencies yet")
	require.Contains(t, refused.Stderr, "nothing provides systemd")
	b.Write(t, "/srv/stand-in.spec", standIn)
	b.Run(t, "rpmbuild", "--quiet", "--define=_rpmdir /srv", "-bb", "/srv/stand-in.spec")
	b.Run(t, "rpm", "--install", "/srv/noarch/stand-in-1-1.noarch.rpm")

	for _, step := range []struct{ verb, what, version string }{
		{"install", "/srv/" + previous + ".rpm", previous},
		{"upgrade", "/srv/" + current + ".rpm", current},
		{"downgrade", "/srv/" + previous + ".rpm", previous},
		{"reinstall", "/srv/" + previous + ".rpm", previous},
		{"remove", "marianned", ""},
	} {
		done := dnf(step.verb, step.what)
		require.Zero(t, done.Code, "%s: %s%s", step.verb, done.Stdout, done.Stderr)
		require.NotContains(t, done.Stdout+done.Stderr, "scriptlet failed", step.verb)
		if step.version != "" {
			require.Contains(t, b.Run(t, "marianned", "version"), "marianned "+step.version+"\n", step.verb)
		}
	}
	require.NoFileExists(t, b.Path("/usr/bin/marianned"))
}
