package conffile

import (
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Index knows where in one file each key and each item of an array stands, by
// its path from the root: keys, and numbers of items from 0.
type Index struct {
	// File is the path of the file.
	File string
	// Paths are those of all keys, in the order of the file.
	Paths [][]string

	positions map[string]Position
}

const pathSeparator = "\x00" // no TOML key can hold it

func joinPath(path []string) string { return strings.Join(path, pathSeparator) }

// NewIndex reads a text that is valid TOML; of one that is not it knows what
// comes before the error.
func NewIndex(file string, text []byte) *Index {
	x := &Index{File: file, positions: make(map[string]Position)}
	p := new(unstable.Parser)
	p.Reset(text)
	var table []string
	tables := make(map[string]int) // how many an array of tables has
	for p.NextExpression() {
		switch e := p.Expression(); e.Kind {
		case unstable.Table:
			table = x.keys(p, nil, e.Key())
		case unstable.ArrayTable:
			table = x.keys(p, nil, e.Key())
			number := tables[joinPath(table)]
			tables[joinPath(table)]++
			at := x.positions[joinPath(table)]
			table = append(table, strconv.Itoa(number))
			x.positions[joinPath(table)] = at
		case unstable.KeyValue:
			x.keyValue(p, table, e)
		}
	}
	return x
}

func (x *Index) keyValue(p *unstable.Parser, table []string, e *unstable.Node) {
	x.value(p, x.keys(p, table, e.Key()), e.Value())
}

// keys notes each part of a dotted key below prefix and returns the whole path.
func (x *Index) keys(p *unstable.Parser, prefix []string, key unstable.Iterator) []string {
	path := prefix[:len(prefix):len(prefix)]
	for key.Next() {
		path = append(path, string(key.Node().Data))
		if _, seen := x.positions[joinPath(path)]; !seen {
			x.note(path, p.Shape(key.Node().Raw).Start)
			x.Paths = append(x.Paths, path[:len(path):len(path)])
		}
	}
	return path
}

func (x *Index) note(path []string, at unstable.Position) {
	x.positions[joinPath(path)] = Position{x.File, at.Line, at.Column}
}

func (x *Index) value(p *unstable.Parser, path []string, value *unstable.Node) {
	children := value.Children()
	switch value.Kind {
	case unstable.InlineTable:
		for children.Next() {
			x.keyValue(p, path, children.Node())
		}
	case unstable.Array:
		for number := 0; children.Next(); number++ {
			item := append(path[:len(path):len(path)], strconv.Itoa(number))
			if child := children.Node(); child.Raw.Length > 0 {
				x.note(item, p.Shape(child.Raw).Start)
			}
			x.value(p, item, children.Node())
		}
	}
}

// At returns the position of a path, or of the nearest part of it that the file
// has.
func (x *Index) At(path ...string) Position {
	for n := len(path); n > 0; n-- {
		if p, ok := x.positions[joinPath(path[:n])]; ok {
			return p
		}
	}
	return Position{File: x.File}
}
