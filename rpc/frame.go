package rpc

import (
	"bytes"
	"time"
)

// sharedFrame is the largest frame that is handled while it stands in the read
// buffer among others, in bytes. A larger one gets the buffer for itself.
const sharedFrame = 64 << 10

// maxRead bounds one read, in bytes, so that little of what follows a large frame has to
// be copied. If the frame is as large as the one before, what it still lacks is known:
// such a read may take all of that, up to maxFrameRead, and nothing of the next frame.
const (
	maxRead      = 256 << 10
	maxFrameRead = 1 << 20
)

// frameReader cuts a stream of bytes into frames: lines that end in "\n" or
// "\r\n". It is owned by whoever reads the connection, does no I/O, and holds
// no buffer while there is no input.
type frameReader struct {
	max     int
	buf     *buffer
	r, w    int       // buf.b[r:w] is input that was not handled yet
	scanned int       // buf.b[r:scanned] holds no newline
	last    int       // size of the last frame, in bytes
	full    bool      // the last input took all the room there was
	started time.Time // when the first byte of an incomplete frame came
	now     time.Time // when the last input came
}

// space returns where the next input goes. It is empty where wanted is not 0.
func (f *frameReader) space() []byte {
	if f.buf == nil {
		f.buf = newBuffer(0)
		f.r, f.w, f.scanned = 0, 0, 0
	}
	if f.r == f.w {
		f.r, f.w, f.scanned = 0, 0, 0
	}
	most := min(f.r+f.last+len("\n")-f.w, maxFrameRead)
	return f.buf.b[f.w:min(len(f.buf.b), f.w+max(most, maxRead))]
}

// wanted returns the size of the buffer that an incomplete frame needs before
// it can go on; 0 if there is room. Where memory is no matter, it is that of the
// last frame at once: who sends large ones goes on to.
func (f *frameReader) wanted(plenty bool) int {
	if f.buf == nil || f.r == f.w || f.w < len(f.buf.b) {
		return 0
	}
	size := 4 * (len(f.buf.b) - bufferSlack)
	if plenty && f.last > size {
		size = f.last
	}
	size = bufferSize(min(size, f.max+bufferSlack))
	if f.r > len(f.buf.b)/2 || size <= len(f.buf.b) {
		n := copy(f.buf.b, f.buf.b[f.r:f.w]) // what was handled makes room
		f.r, f.w, f.scanned = 0, n, f.scanned-f.r
		return 0
	}
	return size
}

// largest returns the size of the buffer that the largest frame needs.
func (f *frameReader) largest() int { return bufferSize(f.max + bufferSlack) }

// tooLarge reports whether what there is of an incomplete frame is too much. One
// byte more than max may be the "\r" of the line end.
func (f *frameReader) tooLarge() bool { return f.w-f.r > f.max+1 }

// billed returns how many bytes the buffer holds of the connection's account.
func (f *frameReader) billed() int {
	if f.buf == nil || f.buf.conn == nil {
		return 0
	}
	return f.buf.grant.bytes
}

// size returns the size of the buffer.
func (f *frameReader) size() int {
	if f.buf == nil {
		return 0
	}
	return len(f.buf.b)
}

// grow goes on in buf, which it returns.
func (f *frameReader) grow(buf *buffer) *buffer {
	f.moveTo(buf).free()
	return buf
}

// moveTo goes on in buf, with a copy of the input, and leaves the old buffer to
// the caller.
func (f *frameReader) moveTo(buf *buffer) (old *buffer) {
	old, f.buf = f.buf, buf
	n := 0
	for input := old.b[f.r:f.w]; n < len(input); {
		// The runtime can not stop one copy, and would hold up everybody until its end.
		n += copy(buf.b[n:], input[n:min(len(input), n+maxRead)])
	}
	f.r, f.w, f.scanned = 0, n, f.scanned-f.r
	return old
}

// filled takes in n bytes that were read into space.
func (f *frameReader) filled(n int, now time.Time) {
	if f.r == f.w {
		f.started = now
	}
	f.w += n
	f.now = now
	f.full = f.w == len(f.buf.b)
}

// readAgain takes in, once after each input, that nothing was read from then
// until now: who sends a frame is not to blame for it.
func (f *frameReader) readAgain(now time.Time) { f.started = f.started.Add(now.Sub(f.now)) }

// kept notes that the reader kept its peer waiting.
func (f *frameReader) kept(d time.Duration) { f.started = f.started.Add(d) }

// next returns the next frame that is not blank, without its line end. It is
// valid until the next call of any method. more means that there is none yet,
// tooLarge that there never will be.
func (f *frameReader) next() (frame []byte, more, tooLarge bool) {
	for f.buf != nil {
		n := bytes.IndexByte(f.buf.b[f.scanned:f.w], '\n')
		if n < 0 {
			f.scanned = f.w
			return nil, true, f.tooLarge()
		}
		end := f.scanned + n
		frame = bytes.TrimSuffix(f.buf.b[f.r:end], []byte{'\r'})
		f.r, f.scanned, f.started = end+1, end+1, f.now
		f.last = len(frame)
		if f.last > f.max {
			return nil, false, true
		}
		if skipSpace(frame, 0) < len(frame) {
			return frame, false, false
		}
	}
	return nil, true, false
}

// partial reports whether there is input that is not a whole frame.
func (f *frameReader) partial() bool { return f.r < f.w }

// rest returns the input that was not handled. It is valid until the next call of
// any method.
func (f *frameReader) rest() []byte {
	if f.buf == nil {
		return nil
	}
	return f.buf.b[f.r:f.w]
}

// resume begins with input, in buf.
func (f *frameReader) resume(buf *buffer, input []byte) {
	f.buf = buf
	f.w = copy(buf.b, input)
	f.started = f.now
}

// detach hands over the buffer that holds the last frame; what follows the
// frame is copied.
func (f *frameReader) detach() *buffer {
	if f.r == f.w {
		old := f.buf
		f.buf = nil
		return old
	}
	return f.moveTo(newBuffer(f.w - f.r))
}

// fork returns a reader that goes on behind the last frame, with a copy of the
// input. f keeps its buffer, for the handler that still runs on it.
func (f *frameReader) fork() frameReader {
	next := *f
	next.detach()
	return next
}

// release frees the buffer.
func (f *frameReader) release() {
	f.buf.free()
	f.buf = nil
	f.r, f.w, f.scanned = 0, 0, 0
}
