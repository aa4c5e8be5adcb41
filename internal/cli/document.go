package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// document is what of an OpenRPC document the commands show.
type document struct {
	Methods []methodDocument
}

type methodDocument struct {
	Name        string          `json:"name"`
	Summary     string          `json:"summary"`
	Description string          `json:"description"`
	Params      []paramDocument `json:"params"`
	Structure   string          `json:"paramStructure"`
	Result      *paramDocument  `json:"result"`
	Deprecated  bool            `json:"deprecated"`
	Stream      bool            `json:"x-stream"`

	text json.RawMessage // as the daemon sent it
}

type paramDocument struct {
	Name        string          `json:"name"`
	Summary     string          `json:"summary"`
	Description string          `json:"description"`
	Required    bool            `json:"required"`
	Schema      json.RawMessage `json:"schema"`
}

// parseDocument reads the result of rpc.discover.
func parseDocument(result json.RawMessage) (document, error) {
	var texts struct {
		Methods []json.RawMessage `json:"methods"`
	}
	err := json.Unmarshal(result, &texts)
	d := document{Methods: make([]methodDocument, len(texts.Methods))}
	for i, text := range texts.Methods {
		if err == nil {
			err = json.Unmarshal(text, &d.Methods[i])
		}
		d.Methods[i].text = text
	}
	if err != nil {
		return document{}, fmt.Errorf("the daemon's answer to %s is no OpenRPC document: %w; `marianned call %s` shows it", discoverMethod, err, discoverMethod)
	}
	slices.SortFunc(d.Methods, func(a, b methodDocument) int { return strings.Compare(a.Name, b.Name) })
	return d, nil
}

// index returns the place of the method of that name, or -1.
func (d document) index(name string) int {
	return slices.IndexFunc(d.Methods, func(m methodDocument) bool { return m.Name == name })
}

func (d document) names() []string {
	names := make([]string, len(d.Methods))
	for i, m := range d.Methods {
		names[i] = m.Name
	}
	return names
}

// formatMethods returns a table of names and summaries.
func formatMethods(d document, colours palette) string {
	var b strings.Builder
	width := 0
	for _, m := range d.Methods {
		width = max(width, utf8.RuneCountInString(visible(m.Name)))
	}
	for _, m := range d.Methods {
		name := visible(m.Name)
		summary := visible(m.Summary)
		if m.Stream {
			summary = strings.TrimSpace(summary + " (stream)")
		}
		pad := strings.Repeat(" ", width-utf8.RuneCountInString(name))
		b.WriteString(strings.TrimRight(colours.bold(name)+pad+"  "+summary, " ") + "\n")
	}
	return b.String()
}

// formatMethod returns what is known of one method.
func formatMethod(m methodDocument, colours palette) string {
	var b strings.Builder
	b.WriteString(colours.bold(visible(m.Name)) + "\n")
	for _, text := range []string{m.Summary, m.Description} {
		if text != "" {
			b.WriteString("  " + strings.ReplaceAll(visibleLines(text), "\n", "\n  ") + "\n")
		}
	}
	if m.Deprecated {
		b.WriteString("  Deprecated.\n")
	}
	if m.Stream {
		b.WriteString("  A stream: `marianned call --stream` prints its events as they come.\n")
	}
	b.WriteString("\n" + colours.bold("params") + "\n")
	switch {
	case len(m.Params) > 0:
	case m.Structure == "either": // an array is taken, but matched to no names
		b.WriteString("  any object or array\n")
	default:
		b.WriteString("  none\n")
	}
	writeParams(&b, "  ", m.Params)
	b.WriteString("\n" + colours.bold("result") + "\n")
	if m.Result == nil {
		b.WriteString("  any\n")
		return trimLines(b.String())
	}
	properties, others := splitProperties(m.Result.Schema)
	kind, rest := formatSchema(others)
	b.WriteString("  " + strings.TrimSpace(kind+"  "+rest) + "\n")
	writeParams(&b, "    ", properties)
	return trimLines(b.String())
}

// writeParams writes a table with a line for each parameter.
func writeParams(b *strings.Builder, indent string, params []paramDocument) {
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, p := range params {
		need := "optional"
		if p.Required {
			need = "required"
		}
		kind, rest := formatSchema(p.Schema)
		about := p.Summary
		if about == "" {
			about = p.Description
		}
		about = strings.TrimSpace(visible(strings.ReplaceAll(about, "\n", " ")) + "  " + rest)
		fmt.Fprintf(table, "%s%s\t%s\t%s\t%s\n", indent, visible(p.Name), kind, need, about)
	}
	_ = table.Flush() // to a Builder, which never fails
}

// splitProperties takes the properties out of the schema of an object, in their
// order. Where there are none, others is the schema.
func splitProperties(schema json.RawMessage) (properties []paramDocument, others json.RawMessage) {
	var known struct {
		Properties json.RawMessage `json:"properties"`
		Required   []string        `json:"required"`
	}
	if err := json.Unmarshal(schema, &known); err != nil {
		return nil, schema
	}
	members, err := objectMembers(known.Properties)
	if err != nil || len(members) == 0 {
		return nil, schema
	}
	for _, m := range members {
		var annotations struct {
			Description string `json:"description"`
		}
		_ = json.Unmarshal(m.value, &annotations) // true and false have none
		properties = append(properties, paramDocument{
			Name:        m.name,
			Description: annotations.Description,
			Required:    slices.Contains(known.Required, m.name),
			Schema:      m.value,
		})
	}
	var rest map[string]json.RawMessage
	_ = json.Unmarshal(schema, &rest) // it was an object above
	delete(rest, "properties")
	delete(rest, "required")
	others, _ = json.Marshal(rest) // RawMessages that were just read
	return properties, others
}

// trimLines takes the spaces off the ends of lines that a table leaves there.
func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}
