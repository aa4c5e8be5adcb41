package load

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/marianned/marianned/tests/bench/servers"
)

// grpcSession is a session of gRPC over HTTP/2 (RFC 9113). grpc-go's own client
// takes more time for a call than its server does, so it would be what is
// measured: this one has all its frames ready and only fills in their streams.
type grpcSession struct {
	flight
	script *script
	grpcCalls

	out    []byte         // what is sent next
	queue  []int          // slots of calls that wait for a window
	begun  bool           // the preface is sent
	stream uint32         // of the next call
	slots  map[uint32]int // of the streams of the calls in flight

	connWindow   int // what the server takes on the connection
	streamWindow int // and on a new stream
	unread       int // bytes that came since the server was told

	rest    []byte // of a frame that is not whole
	headers *hpack.Decoder
	status  string // grpc-status of the header block that is being read
	code    string // :status of it
	matched []int  // how much of the reply of each slot has come
}

const (
	maxFrame      = 16384     // SETTINGS_MAX_FRAME_SIZE, and grpc-go never raises it
	defaultWindow = 65535     // RFC 9113, section 6.9.2
	largestWindow = 1<<31 - 1 // section 6.9.1
	frameHead     = 9         // section 4.1
)

func newGRPC(s *script, w *worker) *grpcSession {
	g := &grpcSession{
		flight: newFlight(s.w, w), script: s, grpcCalls: newGRPCCalls(s), stream: 1, slots: make(map[uint32]int, s.w.Slots),
		connWindow: defaultWindow, streamWindow: defaultWindow, matched: make([]int, s.w.Slots),
	}
	g.headers = hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		switch f.Name {
		case ":status":
			g.code = f.Value
		case "grpc-status":
			g.status = f.Value
		}
	})
	return g
}

func (g *grpcSession) inFlight() int { return g.count }

func (g *grpcSession) send(n int, now int64) ([]byte, error) {
	if !g.begun {
		g.begun = true
		g.out = append(g.out, http2.ClientPreface...)
		g.out = appendFrame(g.out, http2.FrameSettings, 0, 0, 6)
		g.out = binary.BigEndian.AppendUint16(g.out, uint16(http2.SettingInitialWindowSize))
		g.out = binary.BigEndian.AppendUint32(g.out, largestWindow)
		g.out = appendWindowUpdate(g.out, largestWindow-defaultWindow)
	}
	runs, err := g.begin(n, now)
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		for slot := r.first; r.n > 0; r.n-- {
			g.queue = append(g.queue, slot)
			slot = g.after(slot)
		}
	}
	sent := 0
	for _, slot := range g.queue {
		size := len(g.script.calls.Run(slot, 1))
		if size > g.connWindow || size > g.streamWindow {
			break
		}
		g.connWindow -= size
		g.out = g.appendCall(g.out, slot, g.stream)
		g.slots[g.stream] = slot
		g.stream += 2
		sent++
	}
	g.queue = append(g.queue[:0], g.queue[sent:]...)
	out := g.out
	g.out = g.out[:0]
	return out, nil
}

func (g *grpcSession) receive(in []byte, now int64) (replies int, err error) {
	if len(g.rest) > 0 {
		g.rest = append(g.rest, in...)
		in = g.rest
	}
	for len(in) >= frameHead {
		length := int(in[0])<<16 | int(in[1])<<8 | int(in[2])
		if length > maxFrame {
			return replies, fmt.Errorf("found a frame of %d bytes, expected at most %d", length, maxFrame)
		}
		if len(in) < frameHead+length {
			break
		}
		ended, err := g.frame(http2.FrameType(in[3]), http2.Flags(in[4]), binary.BigEndian.Uint32(in[5:])&(1<<31-1),
			in[frameHead:frameHead+length], now)
		if err != nil {
			return replies, err
		}
		if ended {
			replies++
		}
		in = in[frameHead+length:]
	}
	g.rest = append(g.rest[:0], in...)
	return replies, nil
}

// frame takes one frame, and tells whether it ended a reply.
func (g *grpcSession) frame(kind http2.FrameType, flags http2.Flags, stream uint32, payload []byte, now int64) (bool, error) {
	switch kind {
	case http2.FrameData:
		return false, g.data(stream, flags, payload)
	case http2.FrameHeaders:
		return g.header(stream, flags, payload, now)
	case http2.FrameSettings:
		if !flags.Has(http2.FlagSettingsAck) {
			return false, g.settings(payload)
		}
	case http2.FramePing:
		if !flags.Has(http2.FlagPingAck) {
			g.out = append(appendFrame(g.out, http2.FramePing, http2.FlagPingAck, 0, len(payload)), payload...)
		}
	case http2.FrameWindowUpdate:
		if stream == 0 && len(payload) == 4 {
			g.connWindow += int(binary.BigEndian.Uint32(payload))
		}
	default:
		return false, fmt.Errorf("found a frame %v with %s, expected a reply", kind, excerpt(payload))
	}
	return false, nil
}

// slot is the one whose call has this stream.
func (g *grpcSession) slot(stream uint32) (int, error) {
	slot, known := g.slots[stream]
	if !known {
		return 0, fmt.Errorf("found a frame for the stream %d, expected one of a call in flight", stream)
	}
	return slot, nil
}

func (g *grpcSession) data(stream uint32, flags http2.Flags, payload []byte) error {
	slot, err := g.slot(stream)
	if err != nil {
		return err
	}
	const neverSeen = http2.FlagDataPadded | http2.FlagDataEndStream // the trailers end a stream
	want := g.script.replies.Run(slot, 1)[g.matched[slot]:]
	if flags&neverSeen != 0 || len(payload) > len(want) || !bytes.Equal(payload, want[:len(payload)]) {
		return fmt.Errorf("found %s in the result of the stream %d, expected %s", excerpt(payload), stream, excerpt(want))
	}
	g.matched[slot] += len(payload)
	if g.unread += len(payload); g.unread > largestWindow/8 {
		g.out = appendWindowUpdate(g.out, g.unread)
		g.unread = 0
	}
	return nil
}

// header takes a header block: the first of a reply, or the trailers, which end
// it.
func (g *grpcSession) header(stream uint32, flags http2.Flags, payload []byte, now int64) (ended bool, err error) {
	slot, err := g.slot(stream)
	if err != nil {
		return false, err
	}
	if !flags.Has(http2.FlagHeadersEndHeaders) || flags.Has(http2.FlagHeadersPadded) || flags.Has(http2.FlagHeadersPriority) {
		return false, fmt.Errorf("found headers with flags %#x, expected them whole and plain", flags)
	}
	g.code, g.status = "", ""
	if _, err := g.headers.Write(payload); err != nil {
		return false, fmt.Errorf("headers of the stream %d: %w", stream, err)
	}
	if err := g.headers.Close(); err != nil {
		return false, fmt.Errorf("headers of the stream %d: %w", stream, err)
	}
	if !flags.Has(http2.FlagHeadersEndStream) {
		if g.code != "200" {
			return false, fmt.Errorf("found the status %q, expected 200", g.code)
		}
		return false, nil
	}
	if want := len(g.script.replies.Run(slot, 1)); g.status != "0" || g.matched[slot] != want {
		return false, fmt.Errorf("found the end of the stream %d with grpc-status %q after %d bytes, expected 0 after %d", stream, g.status, g.matched[slot], want)
	}
	g.matched[slot] = 0
	delete(g.slots, stream)
	return true, g.answered(slot, now)
}

func (g *grpcSession) settings(payload []byte) error {
	for ; len(payload) >= 6; payload = payload[6:] {
		if http2.SettingID(binary.BigEndian.Uint16(payload)) == http2.SettingInitialWindowSize {
			g.streamWindow = int(binary.BigEndian.Uint32(payload[2:]))
		}
	}
	g.out = appendFrame(g.out, http2.FrameSettings, http2.FlagSettingsAck, 0, 0)
	return nil
}

func appendFrame(out []byte, kind http2.FrameType, flags http2.Flags, stream uint32, length int) []byte {
	out = append(out, byte(length>>16), byte(length>>8), byte(length), byte(kind), byte(flags))
	return binary.BigEndian.AppendUint32(out, stream)
}

func appendWindowUpdate(out []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(out, http2.FrameWindowUpdate, 0, 0, 4), uint32(n))
}

// grpcCalls makes the frames of calls. The first call of a connection spells its
// headers, which the server remembers; later ones name them by number (HPACK, RFC
// 7541), as any client does.
type grpcCalls struct {
	script       *script
	first, later []byte // header blocks
	spelt        bool
}

func newGRPCCalls(s *script) grpcCalls {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	encode := func() []byte {
		block.Reset()
		for _, field := range [][2]string{
			{":method", "POST"}, {":scheme", "http"}, {":path", servers.GRPCMethod}, {":authority", "bench"},
			{"content-type", "application/grpc"}, {"te", "trailers"}, {"user-agent", "bench"},
		} {
			_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}) // to memory: it cannot fail
		}
		return bytes.Clone(block.Bytes())
	}
	return grpcCalls{script: s, first: encode(), later: encode()}
}

func (c *grpcCalls) appendCall(out []byte, slot int, stream uint32) []byte {
	block := c.later
	if !c.spelt {
		block, c.spelt = c.first, true
	}
	out = appendFrame(out, http2.FrameHeaders, http2.FlagHeadersEndHeaders, stream, len(block))
	out = append(out, block...)
	for message := c.script.calls.Run(slot, 1); len(message) > 0; {
		n := min(len(message), maxFrame)
		var flags http2.Flags
		if n == len(message) {
			flags = http2.FlagDataEndStream
		}
		out = append(appendFrame(out, http2.FrameData, flags, stream, n), message[:n]...)
		message = message[n:]
	}
	return out
}
