package worker

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/marianned/marianned/methods/backend"
	"github.com/marianned/marianned/rpc"
)

// Results of a tool, beside "" for the whole result as the server sent it.
const (
	resultText = "text"
	resultJSON = "json"
)

// CodeToolFailed answers a call whose tool said that it failed. It is of the
// range that belongs to applications.
const CodeToolFailed = -32000

// maxMessage bounds what a tool says of its failure in the message of an error.
const maxMessage = 4 << 10

// toolReply is a result of tools/call, Model Context Protocol, "Tools".
type toolReply struct {
	Content []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	} `json:"content"`
	Structured jsontext.Value `json:"structuredContent"`
	IsError    bool           `json:"isError"`
}

// toolFailure is the data of CodeToolFailed.
type toolFailure struct {
	Reason    string       `json:"reason"` // "tool"
	Executed  rpc.Executed `json:"executed"`
	RequestID string       `json:"request_id"`
}

func toolResult(call *backend.Call, kind string, result rpc.RawMessage) (rpc.RawMessage, error) {
	var reply toolReply
	if err := json.Unmarshal(result, &reply, lenient); err != nil {
		return nil, call.Failed(rpc.ExecutedYes, fmt.Errorf("the result is not that of a tool: %w", err))
	}
	if reply.IsError {
		text := reply.text()
		if len(text) > maxMessage {
			text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
		}
		return nil, &rpc.Error{Code: CodeToolFailed, Message: fmt.Sprintf("%q failed: %s", call.Method, text),
			Data: toolFailure{"tool", rpc.ExecutedYes, call.RequestID}}
	}
	switch kind {
	case resultText:
		return appendString(nil, reply.text()), nil
	case resultJSON:
		return reply.value(call)
	}
	return result, nil
}

// text returns all parts of the content that are text, a line for each.
func (r *toolReply) text() string {
	var texts []string
	for _, part := range r.Content {
		if part.Type == "text" {
			texts = append(texts, part.Text)
		}
	}
	return strings.Join(texts, "\n")
}

// value returns the structured content, or what the text holds: servers that
// know no structured content write JSON there.
func (r *toolReply) value(call *backend.Call) (rpc.RawMessage, error) {
	if r.Structured != nil {
		return rpc.RawMessage(r.Structured), nil
	}
	value := jsontext.Value(r.text())
	if !value.IsValid(jsontext.AllowDuplicateNames(true)) {
		return nil, call.Failed(rpc.ExecutedYes, fmt.Errorf("the tool gave neither structured content nor text that is JSON, which result = \"json\" asks for"))
	}
	return rpc.RawMessage(value), nil
}
