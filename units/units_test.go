package units

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPackagedUnitsAreTheRenderedOnesByteForByte(t *testing.T) {
	for scope, folder := range map[Scope]string{System: "system", User: "user"} {
		files, err := Files(scope, Params{ConfigHome: "/home/ann/.config"})
		require.NoError(t, err)
		for _, file := range files {
			source := filepath.Join(folder, file.Name)
			if file.Name == "marianned.conf" {
				source = filepath.Join("sysusers.d", file.Name)
			}
			want, err := os.ReadFile(source)
			require.NoError(t, err)
			require.Equal(t, string(want), string(file.Content), source)
		}
	}
}

func TestEveryCommandOfAUnitRunsTheGivenBinary(t *testing.T) {
	for _, scope := range []Scope{System, User} {
		files, err := Files(scope, Params{Binary: "/opt/m 1/marianned", ConfigHome: "/x"})
		require.NoError(t, err)
		var commands []string
		for _, file := range files {
			for line := range strings.Lines(string(file.Content)) {
				if strings.HasPrefix(line, "Exec") {
					commands = append(commands, line)
					require.Contains(t, line, `="/opt/m 1/marianned" `, file.Path)
				}
			}
		}
		want := 2 // ExecStart and ExecReload
		if scope == System {
			want = 3 // ExecStart of the service for a call
		}
		require.Len(t, commands, want, scope)
	}
}

func TestTheSystemsFilesGoWhereAnOperatorsDo(t *testing.T) {
	files, err := Files(System, Params{})
	require.NoError(t, err)
	var paths []string
	for _, file := range files {
		paths = append(paths, file.Path)
	}
	require.Equal(t, []string{
		"/etc/sysusers.d/marianned.conf", // before the socket, whose group it makes
		"/etc/systemd/system/marianned.socket",
		"/etc/systemd/system/marianned.service",
		"/etc/systemd/system/marianned-exec.socket",
		"/etc/systemd/system/marianned-exec@.service",
	}, paths)
}

func TestAUsersFilesGoToTheFirstConfigurationHomeThatIsKnown(t *testing.T) {
	for _, test := range []struct {
		name                string
		given, xdg, home    string
		folder, errContains string
	}{
		{name: "the parameter", given: "/a", xdg: "/b", home: "/c", folder: "/a/systemd/user"},
		{name: "the variable", xdg: "/b", home: "/c", folder: "/b/systemd/user"},
		{name: "a relative variable is ignored", xdg: "b", home: "/c", folder: "/c/.config/systemd/user"},
		{name: "the home", home: "/c", folder: "/c/.config/systemd/user"},
		{name: "a relative parameter", given: "a", errContains: `"a", expected an absolute path`},
		{name: "no home", errContains: "set HOME"},
		{name: "a relative home", home: "c", errContains: "set HOME"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("XDG_CONFIG_HOME", test.xdg)
			t.Setenv("HOME", test.home)
			files, err := Files(User, Params{ConfigHome: test.given})
			if test.errContains != "" {
				require.ErrorContains(t, err, test.errContains)
				return
			}
			require.NoError(t, err)
			for _, file := range files {
				require.Equal(t, test.folder, filepath.Dir(file.Path))
			}
		})
	}
}

func TestAnUnknownScopeIsRefusedByName(t *testing.T) {
	_, err := Files(Scope(7), Params{})
	require.ErrorContains(t, err, "Scope(7)")
}

func TestABinaryThatTheSandboxHidesIsRefusedForTheSystem(t *testing.T) {
	for _, folder := range hiddenFolders {
		binary := folder + "/ann/marianned"
		_, err := Files(System, Params{Binary: binary})
		require.ErrorContains(t, err, binary)
		require.ErrorContains(t, err, "hides "+folder)
		_, err = Files(User, Params{Binary: binary, ConfigHome: "/x"})
		require.NoError(t, err, "a user's service sees every file of its user")
	}
	_, err := Files(System, Params{Binary: "/homework/marianned"})
	require.NoError(t, err)
}

// directives returns the values of a unit by key, in their order.
func directives(t *testing.T, path string) map[string][]string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	values := map[string][]string{}
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		if key, value, found := strings.Cut(line, "="); found && line[0] != '#' {
			values[key] = append(values[key], value)
		}
	}
	return values
}

func TestTheServiceKeepsWhatTheDaemonRestsOn(t *testing.T) {
	for _, path := range []string{"system/marianned.service", "user/marianned.service"} {
		d := directives(t, path)
		for key, why := range map[string]string{
			"PartOf":           "an upgrade of the package must not restart the socket under its clients",
			"ExecStop":         "a command that dials the socket would start the daemon again",
			"RuntimeDirectory": "stopping the service would remove the folder with the socket in it",
			"DynamicUser":      "the daemon's uid is in the rules of who may call what",
			"PrivatePIDs":      "peers would have no pid",
			"RootDirectory":    "methods run programs of the host",
		} {
			require.NotContains(t, d, key, "%s: %s", path, why)
		}
		require.Equal(t, []string{"on-failure"}, d["Restart"], "always would undo an exit on idle")
		if value, found := d["PrivateUsers"]; found {
			require.Equal(t, []string{"no"}, value, "every peer would have uid 65534")
		}
		if value, found := d["ProtectProc"]; found {
			require.Equal(t, []string{"default"}, value, "the unit of a peer could not be read")
		}
	}
}
