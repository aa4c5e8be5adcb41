package methods

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/marianned/marianned/rpc"
)

// openRPCVersion is that of the specification at spec.open-rpc.org which the
// document follows.
const openRPCVersion = "1.3.2"

type document struct {
	OpenRPC string           `json:"openrpc"`
	Info    info             `json:"info"`
	Methods []methodDocument `json:"methods"`
	// Components is nil where no schema refers to another.
	Components *components `json:"components,omitempty"`
}

type info struct {
	Title   string `json:"title"`
	Version string `json:"version"`
}

type methodDocument struct {
	Name           string              `json:"name"`
	Summary        string              `json:"summary,omitempty"`
	ParamStructure string              `json:"paramStructure"`
	Params         []contentDescriptor `json:"params"`
	Result         contentDescriptor   `json:"result"`
	// Stream is ours ("x-" is for extensions): the call sends notifications
	// until it is answered.
	Stream bool `json:"x-stream,omitzero"`
}

type contentDescriptor struct {
	Name        string         `json:"name"`
	Description string         `json:"description,omitempty"`
	Required    bool           `json:"required,omitzero"`
	Schema      rpc.RawMessage `json:"schema"`
}

func (d *Daemon) discover() *rpc.Method {
	return &rpc.Method{
		Name:         discoverName,
		Summary:      "Describes the methods that the caller may see, as an OpenRPC document",
		ParamsSchema: noParams,
		ResultSchema: rpc.RawMessage(`{"type":"object","required":["openrpc","info","methods"]}`),
		Control:      true,
		Handler: rpc.Typed(func(ctx context.Context, _ rpc.NoParams) (document, error) {
			return d.document(rpc.PeerFromContext(ctx)), nil
		}),
	}
}

// document describes what peer may see, in the order of the names.
func (d *Daemon) document(peer *rpc.Peer) document {
	doc := document{OpenRPC: openRPCVersion, Info: info{Title: d.Title, Version: d.Version}}
	list := append(d.registry.List(), cancel)
	slices.SortFunc(list, func(a, b *rpc.Method) int { return strings.Compare(a.Name, b.Name) })
	for _, m := range list {
		if m != cancel && !d.visible(peer, m) {
			continue
		}
		doc.Methods = append(doc.Methods, doc.describe(m))
	}
	return doc
}

func (d *Daemon) visible(peer *rpc.Peer, m *rpc.Method) bool {
	switch {
	case d.Visible != nil:
		return d.Visible(peer, m)
	case d.Server.Authorize != nil:
		return !errors.Is(d.Server.Authorize(peer, m), rpc.ErrHidden)
	}
	return true
}

func (d *document) describe(m *rpc.Method) methodDocument {
	return methodDocument{
		Name:           m.Name,
		Summary:        m.Summary,
		ParamStructure: paramStructure(m),
		Params:         describeParams(m, d.refer(m.Name+".params", schemaOrAny(m.ParamsSchema))),
		Result:         contentDescriptor{Name: "result", Schema: d.refer(m.Name+".result", schemaOrAny(m.ResultSchema))},
		Stream:         m.Stream != nil,
	}
}

func paramStructure(m *rpc.Method) string {
	if m.TakesArray || len(m.ParamNames) > 0 {
		return "either"
	}
	return "by-name"
}

// describeParams returns the properties of the params: in the order in which an
// array is matched to them, where the method takes one, else the required ones
// first.
func describeParams(m *rpc.Method, text rpc.RawMessage) []contentDescriptor {
	var schema struct {
		Properties map[string]rpc.RawMessage `json:"properties"`
		Required   []string                  `json:"required"`
	}
	// A schema that is not an object, or not there, names no params.
	_ = json.Unmarshal(text, &schema)
	params := []contentDescriptor{} // the specification wants an array
	for name, property := range schema.Properties {
		var annotations struct {
			Description string `json:"description"`
		}
		_ = json.Unmarshal(property, &annotations) // true and false have none
		params = append(params, contentDescriptor{
			Name:        name,
			Description: annotations.Description,
			Required:    slices.Contains(schema.Required, name),
			Schema:      property,
		})
	}
	slices.SortFunc(params, func(a, b contentDescriptor) int {
		if x, y := position(m, a), position(m, b); x != y {
			return x - y
		}
		return strings.Compare(a.Name, b.Name)
	})
	return params
}

// position sorts positional params before required ones before the rest.
func position(m *rpc.Method, p contentDescriptor) int {
	if i := slices.Index(m.ParamNames, p.Name); i >= 0 {
		return i
	}
	if p.Required {
		return len(m.ParamNames)
	}
	return len(m.ParamNames) + 1
}

func schemaOrAny(schema rpc.RawMessage) rpc.RawMessage {
	if len(schema) == 0 {
		return rpc.RawMessage(`{}`)
	}
	return schema
}
