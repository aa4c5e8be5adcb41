package conffile

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// write makes a file with the folders above it.
func write(t *testing.T, text string, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	return file
}

// safeDir is a folder that Trusted finds nothing wrong with.
func safeDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	if err := Trusted().folder(dir); err != nil {
		t.Skipf("needs a folder for temporary files that only root and this user can write to: %v", err)
	}
	return dir
}

func TestAFileHidesThoseOfItsNameInLaterFolders(t *testing.T) {
	dir := safeDir(t)
	etc, run, lib := filepath.Join(dir, "etc"), filepath.Join(dir, "run"), filepath.Join(dir, "lib")
	write(t, "", lib, "20-b.toml")
	write(t, "", lib, "10-a.toml")
	write(t, "", lib, "30-masked.toml")
	write(t, "", run, "10-a.toml")
	write(t, "", etc, "15-only-here.toml")
	write(t, "", etc, "ignored.conf")
	write(t, "", etc, ".hidden.toml")
	require.NoError(t, os.Symlink(os.DevNull, filepath.Join(etc, "30-masked.toml")))

	var findings Findings
	require.Equal(t, []string{
		filepath.Join(run, "10-a.toml"), filepath.Join(etc, "15-only-here.toml"), filepath.Join(lib, "20-b.toml"),
	}, List([]string{etc, run, filepath.Join(dir, "missing"), lib}, Trusted(), &findings))
	require.Empty(t, findings)
}

func TestTheFirstFolderThatHasAFileDecides(t *testing.T) {
	etc, lib := t.TempDir(), t.TempDir()
	folders := []string{etc, lib}
	require.Empty(t, First(folders, "a.toml"))
	inLib := write(t, "", lib, "a.toml")
	require.Equal(t, inLib, First(folders, "a.toml"))
	inEtc := filepath.Join(etc, "a.toml")
	require.NoError(t, os.Symlink("/nowhere", inEtc))
	require.Equal(t, inEtc, First(folders, "a.toml"), "that it can not be read must be said")
	require.NoError(t, os.Remove(inEtc))
	require.NoError(t, os.Symlink(os.DevNull, inEtc))
	require.Empty(t, First(folders, "a.toml"), "masked")
}

func TestAFileThatOthersCanChangeIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(t *testing.T, dir string) (path string)
		want  string
	}{
		"writable file": {func(t *testing.T, dir string) string {
			path := write(t, "", dir, "a.toml")
			require.NoError(t, os.Chmod(path, 0o664))
			return path
		}, "may be written by others (mode 0664), expected by its owner alone"},
		"writable folder": {func(t *testing.T, dir string) string {
			path := write(t, "", dir, "open", "a.toml")
			require.NoError(t, os.Chmod(filepath.Dir(path), 0o777))
			return path
		}, "open: may be written by others (mode 0777)"},
		"folder above": {func(t *testing.T, dir string) string {
			path := write(t, "", dir, "open", "below", "a.toml")
			require.NoError(t, os.Chmod(filepath.Join(dir, "open"), 0o777))
			return path
		}, "open: may be written by others (mode 0777)"},
		"link to a writable folder": {func(t *testing.T, dir string) string {
			target := write(t, "", dir, "open", "a.toml")
			require.NoError(t, os.Chmod(filepath.Dir(target), 0o777))
			path := filepath.Join(dir, "link.toml")
			require.NoError(t, os.Symlink(target, path))
			return path
		}, "it is a link to"},
		"pipe": {func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "a.toml")
			require.NoError(t, syscall.Mkfifo(path, 0o644))
			return path
		}, "expected a regular file"},
		"folder": {func(_ *testing.T, dir string) string { return dir }, "expected a regular file"},
		"too large": {func(t *testing.T, dir string) string {
			return write(t, strings.Repeat("#", maxFileBytes+1), dir, "a.toml")
		}, "it is larger than 1048576 bytes: split it"},
		"missing": {func(_ *testing.T, dir string) string { return filepath.Join(dir, "a.toml") }, "no such file"},
		"somebody else's": {func(t *testing.T, dir string) string {
			if os.Geteuid() != 0 {
				t.Skip("needs root, to give a file away")
			}
			path := write(t, "", dir, "a.toml")
			require.NoError(t, os.Chown(path, 65534, 65534))
			return path
		}, "owned by uid 65534, expected root"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := safeDir(t)
			_, err := Trusted().Read(test.spoil(t, dir))
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestWithoutOwnersAnybodysFilesAreRead(t *testing.T) {
	path := write(t, "text", t.TempDir(), "open", "a.toml")
	require.NoError(t, os.Chmod(path, 0o666))
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o777))
	text, err := Trust{}.Read(path)
	require.NoError(t, err)
	require.Equal(t, "text", string(text))
}

func TestWhoMayReadAFileIsForItsModeAndThoseOfTheFolders(t *testing.T) {
	const stranger = 54321
	dir, err := os.MkdirTemp("", "readable") // that of t.TempDir is in one for us alone
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	dir, err = filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	folder := filepath.Join(dir, "folder")
	path := write(t, "", folder, "a.toml")
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	if Readable(filepath.Dir(dir), stranger, stranger) != nil {
		t.Skip("needs a folder for temporary files that everybody may enter")
	}
	require.NoError(t, os.Chmod(dir, 0o755))
	for _, test := range []struct {
		folder, file os.FileMode
		uid, gid     uint32
		names        string // what is to blame, "" for a file that may be read
	}{
		{0o755, 0o644, stranger, stranger, ""},
		{0o755, 0o640, stranger, stranger, path},
		{0o755, 0o640, stranger, gid, ""},
		{0o755, 0o604, stranger, gid, path}, // the group's bits alone count
		{0o755, 0o600, uid, stranger, ""},
		{0o750, 0o644, stranger, stranger, folder},
		{0o750, 0o644, stranger, gid, ""},
		{0o711, 0o644, stranger, stranger, ""},
		{0o700, 0o600, 0, 0, ""},
	} {
		require.NoError(t, os.Chmod(folder, test.folder))
		require.NoError(t, os.Chmod(path, test.file))
		err := Readable(path, test.uid, test.gid)
		if test.names == "" {
			require.NoError(t, err, "%+v", test)
		} else {
			require.ErrorContains(t, err, test.names+" has mode", "%+v", test)
		}
	}
	require.Error(t, Readable(filepath.Join(dir, "missing"), stranger, stranger))
}

func TestAStickyFolderIsNoDanger(t *testing.T) {
	path := write(t, "text", safeDir(t), "tmp", "own", "a.toml")
	require.NoError(t, os.Chmod(filepath.Dir(filepath.Dir(path)), 0o777|os.ModeSticky))
	_, err := Trusted().Read(path)
	require.NoError(t, err)
}

func TestAFolderThatOthersCanChangeIsNamedOnce(t *testing.T) {
	dir := safeDir(t)
	write(t, "", dir, "a.toml")
	write(t, "", dir, "b.toml")
	require.NoError(t, os.Chmod(dir, 0o775))
	var findings Findings
	require.Empty(t, List([]string{dir}, Trusted(), &findings))
	require.Len(t, findings, 1)
	require.Equal(t, dir, findings[0].File)
	require.ErrorContains(t, findings.Err(), "chmod go-w it")
}

func TestAnIndexKnowsWhereEverythingStands(t *testing.T) {
	x := NewIndex("f", []byte(`a = 1
"b.c" = [10, "x",
  {d = 2}]
[e.f]
g.h = true
[[i]]
j = 1
[[i]]
j = 2
`))
	for want, path := range map[string][]string{
		"f:1:1":  {"a"},
		"f:2:1":  {"b.c"},
		"f:2:14": {"b.c", "1"},
		"f:3:4":  {"b.c", "2", "d"},
		"f:4:4":  {"e", "f"},
		"f:5:3":  {"e", "f", "g", "h"},
		"f:7:1":  {"i", "0", "j"},
		"f:9:1":  {"i", "1", "j"},
		"f":      {"nowhere"},
	} {
		require.Equal(t, want, x.At(path...).String(), "%v", path)
	}
	require.Equal(t, "f:5:3", x.At("e", "f", "g", "h", "below").String(), "the nearest thing around it")
}

func TestWhatIsWrongIsSaidForPeople(t *testing.T) {
	type file struct {
		Number int      `toml:"number"`
		Words  []string `toml:"words"`
		Flag   bool     `toml:"flag"`
	}
	known := []string{"number", "words", "flag"}
	for text, want := range map[string]string{
		"number = \"x\"":            "f:1:10: number: found a string, expected a whole number",
		"words = 1":                 "f:1:9: words: found an integer, expected an array, each item of it a string",
		"\nflag = 1":                "f:2:8: flag: found an integer, expected true or false",
		"flag = true\nflag = false": "f:2:1: ",
		"number 1":                  "f:1:8: ",
		"nunber = 1":                `f:1:1: unknown key "nunber"; did you mean "number"?`,
		"Number = 1":                `f:1:1: unknown key "Number"; did you mean "number"?`,
		"[a]\nb = 1":                `f:1:2: unknown key "a"; expected one of: number, words, flag`,
	} {
		var findings Findings
		x := Decode("f", []byte(text), new(file), &findings)
		x.UnknownKeys(func(path []string) ([]string, bool) {
			for _, key := range known {
				if path[0] == key {
					return nil, true
				}
			}
			return known, false
		}, &findings)
		require.Len(t, findings, 1, "%s: %v", text, findings)
		require.Contains(t, findings[0].String(), want, text)
	}
}

func TestFindingsAreInTheOrderOfTheFiles(t *testing.T) {
	var findings Findings
	require.NoError(t, findings.Err())
	findings.Add(Position{"b", 1, 1}, "third")
	findings.Warn(Position{"a", 3, 1}, "a warning")
	require.Len(t, findings, 2)
	findings.Add(Position{"a", 2, 5}, "second")
	findings.Add(Position{"a", 2, 1}, "first")
	findings.Add(Position{}, "of no file")
	require.EqualError(t, findings.Err(), "of no file\na:2:1: first\na:2:5: second\nb:1:1: third")
	_, warnings := findings.Split()
	require.EqualError(t, warnings, "a:3:1: warning: a warning")
}
