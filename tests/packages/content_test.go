package packages

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marianned/marianned/tests/box"
)

// packed is one file or folder of a package.
type packed struct {
	folder      bool
	mode        os.FileMode
	user, group string
	digest      string // of a file's content
}

// debFiles returns what a deb holds, by path, but for folders that are everybody's.
func debFiles(t *testing.T, deb string) map[string]packed {
	t.Helper()
	need(t, "dpkg-deb", "dpkg")
	files := map[string]packed{}
	for archive := tar.NewReader(strings.NewReader(run(t, "dpkg-deb", "--fsys-tarfile", deb))); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		content, err := io.ReadAll(archive)
		require.NoError(t, err)
		require.Zero(t, header.Uid)
		require.Zero(t, header.Gid)
		name := path.Join("/", header.Name)
		file := packed{folder: header.Typeflag == tar.TypeDir, mode: os.FileMode(header.Mode).Perm(), user: "root", group: "root"}
		if file.folder && !strings.Contains(name, "marianned") {
			require.Equal(t, os.FileMode(0o755), file.mode, name)
			continue
		}
		if !file.folder {
			require.Equal(t, byte(tar.TypeReg), header.Typeflag, name)
			sum := sha256.Sum256(content)
			file.digest = hex.EncodeToString(sum[:])
		}
		files[name] = file
	}
	return files
}

// rpmFiles returns the same of an rpm.
func rpmFiles(t *testing.T, rpm string) map[string]packed {
	t.Helper()
	need(t, "rpm", "rpm")
	out := run(t, "rpm", "-qp", "--queryformat",
		`[%{FILENAMES} %{FILEMODES:octal} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILEDIGESTS}\n]`, rpm)
	files := map[string]packed{}
	for line := range strings.Lines(out) {
		field := strings.Fields(line)
		mode, err := strconv.ParseUint(field[1], 8, 32)
		require.NoError(t, err)
		file := packed{folder: mode&0o170000 == 0o040000, mode: os.FileMode(mode).Perm(), user: field[2], group: field[3]}
		if !file.folder {
			file.digest = field[4]
		}
		files[field[0]] = file
	}
	return files
}

// differently are the files that the two families have in different places.
var differently = map[string]string{ // deb: rpm
	"/usr/share/zsh/vendor-completions/_marianned": "/usr/share/zsh/site-functions/_marianned",
	"/usr/share/doc/marianned/copyright":           "/usr/share/licenses/marianned/copyright",
}

// debAlone and rpmAlone are what only one of them has.
var (
	debAlone = []string{
		"/usr/share/doc/marianned/changelog.Debian.gz", // in an rpm it is a tag
		"/usr/share/doc/marianned/changelog.gz",
		"/usr/share/lintian/overrides/marianned",
	}
	rpmAlone = []string{
		"/usr/share/doc/marianned/CHANGELOG.md",
		"/usr/share/licenses/marianned",
		"/usr/share/licenses/marianned/LICENSE", // which every Debian has
	}
)

func TestBothPackagesHoldTheSameFiles(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		deb, rpm := debFiles(t, debOf(all(t), current, arch)), rpmFiles(t, rpmOf(all(t), current, arch))
		for _, name := range debAlone {
			require.Contains(t, deb, name)
			delete(deb, name)
		}
		for _, name := range rpmAlone {
			require.Contains(t, rpm, name)
			delete(rpm, name)
		}
		for there, here := range differently {
			require.Contains(t, deb, there)
			deb[here] = deb[there]
			delete(deb, there)
		}
		require.Equal(t, deb, rpm)
	}
}

// A line that is missing in the list of files is missing in both packages, so that
// comparing them would not show it.
func TestThePackagesHaveWhatAProgramOfTheSystemHas(t *testing.T) {
	deb, rpm := debFiles(t, debOf(all(t), current, "amd64")), rpmFiles(t, rpmOf(all(t), current, "amd64"))
	for _, folder := range []string{"/etc/marianned", "/etc/marianned/conf.d", "/etc/marianned/methods.d",
		"/usr/lib/marianned/methods.d"} {
		require.True(t, deb[folder].folder, folder)
		require.True(t, rpm[folder].folder, folder)
	}
	for _, name := range []string{
		"/usr/bin/marianned",
		"/etc/marianned/marianned.toml",
		"/usr/share/bash-completion/completions/marianned",
		"/usr/share/fish/vendor_completions.d/marianned.fish",
		"/usr/share/doc/marianned/README.md",
		"/usr/share/doc/marianned/examples/hello/main.go",
	} {
		require.NotEmpty(t, deb[name].digest, name)
		require.NotEmpty(t, rpm[name].digest, name)
	}
	for there, here := range differently {
		require.NotEmpty(t, deb[there].digest, there)
		require.NotEmpty(t, rpm[here].digest, here)
	}
	// The folders for what others write are empty.
	for name := range deb {
		require.NotRegexp(t, "^(/etc/marianned/(conf|methods)[.]d|/usr/lib/marianned/methods[.]d)/", name)
	}
	require.Contains(t, run(t, "rpm", "-qp", "--changelog", rpmOf(all(t), current, "amd64")), current)
}

func TestEveryFileIsRootsAndWritableByRootAlone(t *testing.T) {
	files := debFiles(t, debOf(all(t), current, "amd64"))
	require.NotEmpty(t, files)
	for name, file := range files { // the rpm's are the same
		want := os.FileMode(0o644)
		if file.folder || name == "/usr/bin/marianned" {
			want = 0o755
		}
		require.Equal(t, want, file.mode, name)
		require.Equal(t, "root root", file.user+" "+file.group, name)
	}
}

// installedAs is where the files of a folder of the checkout are in a package.
var installedAs = map[string]string{
	"units/system":     "/usr/lib/systemd/system",
	"units/user":       "/usr/lib/systemd/user",
	"units/sysusers.d": "/usr/lib/sysusers.d",

	"examples/methods.d": "/usr/share/doc/marianned/examples/methods.d",
}

func TestThePackagesHaveEveryUnitAndManPage(t *testing.T) {
	files := debFiles(t, debOf(all(t), current, "amd64"))
	for from, to := range installedAs {
		sources, err := filepath.Glob(filepath.Join(checkout, from, "*"))
		require.NoError(t, err)
		require.NotEmpty(t, sources)
		for _, source := range sources {
			content, err := os.ReadFile(source)
			require.NoError(t, err)
			sum := sha256.Sum256(content)
			require.Equal(t, hex.EncodeToString(sum[:]), files[path.Join(to, filepath.Base(source))].digest, source)
		}
	}
	pages, err := filepath.Glob(checkout + "/packaging/man/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, pages)
	for _, page := range pages {
		name := strings.TrimSuffix(filepath.Base(page), ".md")
		section := name[strings.LastIndexByte(name, '.')+1:]
		require.Contains(t, files, "/usr/share/man/man"+section+"/"+name+".gz")
	}
}

// An upgrade leaves alone what the operator has changed.
func TestTheConfigurationIsTheOperators(t *testing.T) {
	const file = "/etc/marianned/marianned.toml"
	need(t, "dpkg-deb", "dpkg")
	require.Equal(t, file+"\n", run(t, "dpkg-deb", "--info", debOf(all(t), current, "amd64"), "conffiles"))
	need(t, "rpm", "rpm")
	out := run(t, "rpm", "-qp", "--queryformat", `[%{FILENAMES} %{FILEFLAGS:fflags}\n]`, rpmOf(all(t), current, "amd64"))
	require.Contains(t, out, file+" cn\n") // config, noreplace
}

// extracted returns one file of a deb, in a folder of the test.
func extracted(t *testing.T, deb, name string) string {
	t.Helper()
	need(t, "dpkg-deb", "dpkg")
	folder := t.TempDir()
	run(t, "dpkg-deb", "--extract", deb, folder)
	return filepath.Join(folder, name)
}

func TestTheBinaryIsStaticAndStrippedAndSmall(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		binary := extracted(t, debOf(all(t), current, arch), "/usr/bin/marianned")
		info, err := os.Stat(binary)
		require.NoError(t, err)
		require.Less(t, info.Size(), int64(15<<20))
		file, err := elf.Open(binary)
		require.NoError(t, err)
		defer file.Close()
		require.Equal(t, machine, file.Machine)
		for _, segment := range file.Progs {
			require.NotContains(t, []elf.ProgType{elf.PT_INTERP, elf.PT_DYNAMIC}, segment.Type)
		}
		require.Nil(t, file.Section(".symtab"))
	}
}

func TestTheBinaryKnowsItsVersionCommitAndDate(t *testing.T) {
	binary := extracted(t, debOf(all(t), current, runtime.GOARCH), "/usr/bin/marianned")
	var version struct{ Version, Commit, Date string }
	require.NoError(t, json.Unmarshal([]byte(run(t, binary, "version", "--json")), &version))
	require.Equal(t, current, version.Version)
	require.Equal(t, "0123456789abcdef0123456789abcdef01234567", version.Commit)
	require.Equal(t, "2025-06-15T15:06:40Z", version.Date)
}

// Every module that is in the binary is in the list of licences, and nothing is in
// the list that this module does not need.
func TestTheCopyrightNamesTheModulesInTheBinary(t *testing.T) {
	text, err := os.ReadFile(checkout + "/packaging/copyright")
	require.NoError(t, err)
	named := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^Files: (\S+\.\S+)/\*$`).FindAllStringSubmatch(string(text), -1) {
		named[match[1]] = true
	}
	info, err := buildinfo.ReadFile(extracted(t, debOf(all(t), current, "amd64"), "/usr/bin/marianned"))
	require.NoError(t, err)
	require.NotEmpty(t, info.Deps)
	for _, module := range info.Deps {
		require.Contains(t, named, module.Path, "packaging/copyright has no paragraph about it")
	}
	needed := run(t, "go", "list", "-C", checkout, "-m", "-f", "{{.Path}}", "all")
	for module := range named {
		require.Contains(t, strings.Fields(needed), module, "packaging/copyright has a paragraph about it")
	}
	for _, match := range regexp.MustCompile(`(?m)^License: (\S+)\n`).FindAllStringSubmatch(string(text), -1) {
		require.Regexp(t, `(?m)^License: `+regexp.QuoteMeta(match[1])+`\n `, string(text), "the text of a licence is missing")
	}
}

func TestLintianHasNothingToSay(t *testing.T) {
	need(t, "lintian", "lintian")
	t.Parallel()
	command := exec.Command("lintian", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0",
		debOf(all(t), current, "amd64"), debOf(all(t), current, "arm64"))
	out, err := command.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(bytes.TrimSpace(out)))
}

func TestRpmlintHasNothingToSay(t *testing.T) {
	need(t, "rpmlint", "rpmlint")
	need(t, "cpio", "cpio")
	command := exec.Command("rpmlint", "--config", checkout+"/packaging/rpm/rpmlint.toml",
		rpmOf(all(t), current, "amd64"), rpmOf(all(t), current, "arm64"))
	command.Env = append(os.Environ(), "PATH="+relativeCpio(t)+":"+os.Getenv("PATH"))
	out, err := command.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), " 0 errors, 0 warnings,")
}

// relativeCpio returns a folder with a cpio for rpmlint, which unpacks a package
// in a folder of its own: the names in it are absolute, as rpm has them too, and
// cpio would write to the root of this machine, and leave that folder empty.
func relativeCpio(t *testing.T) string {
	t.Helper()
	real, err := exec.LookPath("cpio")
	require.NoError(t, err)
	folder := t.TempDir()
	script := "#!/bin/sh\nexec " + real + " --no-absolute-filenames \"$@\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(folder, "cpio"), []byte(script), 0o755))
	return folder
}

// A unit is verified where it is installed, and in silence: an unknown key is no
// error to systemd.
func verifyUnits(t *testing.T, b *box.Box) {
	t.Helper()
	b.Run(t, "mkdir", "-p", "-m", "0700", "/run/user/0")
	for _, scope := range []string{"system", "user"} {
		var paths []string
		units, err := filepath.Glob(checkout + "/units/" + scope + "/*")
		require.NoError(t, err)
		for _, unit := range units {
			paths = append(paths, "/usr/lib/systemd/"+scope+"/"+filepath.Base(unit))
		}
		require.NotEmpty(t, paths)
		result := b.Try(t, append([]string{"env", "XDG_RUNTIME_DIR=/run/user/0", "systemd-analyze", "--" + scope, "verify"}, paths...)...)
		require.Zero(t, result.Code, result.Stderr)
		require.Empty(t, result.Stderr)
	}
}
