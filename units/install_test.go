package units

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// install runs Install below root and returns what it reported, by file name.
func install(scope Scope, root string, force bool) (map[string]Action, Result, error) {
	reported := map[string]Action{}
	result, err := Install(scope, Params{ConfigHome: "/home/ann/.config"}, Options{Root: root, Force: force},
		func(file File, action Action) { reported[file.Name] = action })
	return reported, result, err
}

// tree returns the files below root with their content, so that a test sees what
// was left behind too.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if entry.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			found[name] = "-> " + target
			return err
		}
		content, err := os.ReadFile(path)
		found[name] = string(content)
		return err
	}))
	return found
}

func TestInstallWritesEveryFileWithItsModeAndNothingElse(t *testing.T) {
	for _, scope := range []Scope{System, User} {
		root := t.TempDir()
		reported, _, err := install(scope, root, false)
		require.NoError(t, err)
		files, err := Files(scope, Params{ConfigHome: "/home/ann/.config"})
		require.NoError(t, err)
		found := tree(t, root)
		require.Len(t, found, len(files), "a temporary file was left behind")
		for _, file := range files {
			require.Equal(t, string(file.Content), found[file.Path[1:]])
			require.Equal(t, Written, reported[file.Name])
			info, err := os.Stat(filepath.Join(root, file.Path))
			require.NoError(t, err)
			require.Equal(t, fs.FileMode(0o644), info.Mode())
		}
	}
}

func TestInstallAgainChangesNothingAndSaysSo(t *testing.T) {
	root := t.TempDir()
	_, _, err := install(System, root, false)
	require.NoError(t, err)
	service := filepath.Join(root, "etc/systemd/system/marianned.service")
	before, err := os.Stat(service)
	require.NoError(t, err)
	for _, force := range []bool{false, true} {
		reported, _, err := install(System, root, force)
		require.NoError(t, err)
		require.Equal(t, allBut(Unchanged, "", ""), reported)
		after, err := os.Stat(service)
		require.NoError(t, err)
		require.True(t, os.SameFile(before, after), "the file was written anew")
	}
}

func TestInstallLeavesEverythingAloneWhenOneFileDiffers(t *testing.T) {
	const service = "etc/systemd/system/marianned.service"
	for name, prepare := range map[string]func(path string) error{
		"longer": func(path string) error { return os.WriteFile(path, []byte("[Service]\n"), 0o644) },
		"of the same length": func(path string) error {
			content, err := embedded.ReadFile("system/marianned.service")
			if err != nil {
				return err
			}
			content[len(content)-2]++
			return os.WriteFile(path, content, 0o644)
		},
		"a mask":                     func(path string) error { return os.Symlink("/dev/null", path) },
		"a link to nowhere":          func(path string) error { return os.Symlink("nowhere", path) },
		"a link to the same content": func(path string) error { return linkToCopy(path) },
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, service)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, prepare(path))
			before := tree(t, root)

			reported, result, err := install(System, root, false)
			require.ErrorIs(t, err, ErrDiffers)
			require.ErrorContains(t, err, path)
			require.Empty(t, result.Next)
			require.Equal(t, allBut(Withheld, "marianned.service", Differs), reported)
			require.Equal(t, before, tree(t, root))

			reported, _, err = install(System, root, true)
			require.NoError(t, err)
			require.Equal(t, allBut(Written, "marianned.service", Replaced), reported)
			info, err := os.Lstat(path)
			require.NoError(t, err)
			require.True(t, info.Mode().IsRegular(), "a link must be replaced, never written through")
		})
	}
}

// allBut returns the same action for every file of the system but one.
func allBut(action Action, name string, other Action) map[string]Action {
	actions := map[string]Action{}
	for _, file := range []string{"marianned.conf", "marianned.socket", "marianned.service", "marianned-exec.socket", "marianned-exec@.service"} {
		actions[file] = action
		if file == name {
			actions[file] = other
		}
	}
	return actions
}

func linkToCopy(path string) error {
	content, err := embedded.ReadFile("system/marianned.service")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".elsewhere", content, 0o644); err != nil {
		return err
	}
	return os.Symlink(path+".elsewhere", path)
}

func TestInstallNeverReplacesAFolder(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "etc/systemd/system/marianned.socket")
	require.NoError(t, os.MkdirAll(path, 0o755))
	reported, _, err := install(System, root, true)
	require.ErrorContains(t, err, "found a folder at "+path)
	require.Empty(t, reported)
}

func TestInstallNamesTheFileThatCannotBeWritten(t *testing.T) {
	root := t.TempDir()
	// A file where a folder must be is in the way of root as well.
	require.NoError(t, os.WriteFile(filepath.Join(root, "etc"), nil, 0o644))
	_, _, err := install(System, root, false)
	require.ErrorContains(t, err, "etc/sysusers.d/marianned.conf")
}

func TestAFolderForAnImageHasNothingToRunNow(t *testing.T) {
	_, result, err := install(System, t.TempDir(), false)
	require.NoError(t, err)
	require.Nil(t, result.Next)
}

func TestTheNextStepsFitTheScopeAndWhatWasDone(t *testing.T) {
	home := t.TempDir() // no Root: this is how a user installs
	result, err := Install(User, Params{ConfigHome: home}, Options{}, func(File, Action) {})
	require.NoError(t, err)
	require.Equal(t, []string{"systemctl --user daemon-reload",
		"systemctl --user enable --now marianned.socket"}, result.Next)

	files, err := Files(System, Params{}) // sysusers, socket, service, exec socket, its service
	require.NoError(t, err)
	always := []string{"systemd-sysusers marianned.conf", "systemctl daemon-reload",
		"systemctl enable --now marianned.socket"}
	for _, test := range []struct {
		actions []Action
		further []string
	}{
		{[]Action{Written, Unchanged, Written, Written, Written}, nil},
		{[]Action{Replaced, Unchanged, Unchanged, Unchanged, Replaced}, nil},
		{[]Action{Unchanged, Unchanged, Replaced, Unchanged, Unchanged}, []string{"systemctl try-restart marianned.service"}},
		{[]Action{Unchanged, Replaced, Replaced, Unchanged, Unchanged}, []string{"systemctl restart marianned.socket"}},
		{[]Action{Unchanged, Unchanged, Unchanged, Replaced, Unchanged}, []string{"systemctl try-restart marianned-exec.socket"}},
	} {
		require.Equal(t, append(always[:3:3], test.further...), next(System, files, test.actions))
	}
}
