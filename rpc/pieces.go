package rpc

// pieces is output that grows without being moved: a reply of many megabytes that
// comes together bit by bit would else be copied again and again, each time to
// memory that was never used. The zero value is empty.
type pieces struct {
	chunks []chunk
	bytes  int
}

// The first piece is as large as what is in it, nearly, for most replies are small
// and many may wait. The others are buffers, no larger than all that there is.
const (
	firstPiece  = freelyTaken
	largerPiece = 4*sharedFrame + bufferSlack
)

// append appends the concatenation of parts.
func (p *pieces) append(parts ...[]byte) {
	for _, part := range parts {
		p.bytes += len(part)
		for len(part) > 0 {
			last := p.last()
			n := min(len(part), room(last))
			if size := len(last.b) + n; size > cap(last.b) { // append would exceed firstPiece
				last.b = append(make([]byte, 0, min(max(size, 2*cap(last.b)), firstPiece)), last.b...)
			}
			last.b = append(last.b, part[:n]...)
			part = part[n:]
		}
	}
}

// room is how much more may be appended to a piece.
func room(piece *chunk) int {
	if piece.owner != nil {
		return cap(piece.b) - len(piece.b)
	}
	return firstPiece - len(piece.b)
}

// last returns the piece that has room.
func (p *pieces) last() *chunk {
	n := len(p.chunks)
	switch {
	case n == 0:
		p.chunks = append(p.chunks, chunk{})
	case room(&p.chunks[n-1]) > 0:
		return &p.chunks[n-1]
	default:
		size := firstPiece
		if p.bytes > largerPiece {
			size = largerPiece
		}
		buf := newBuffer(size)
		p.chunks = append(p.chunks, chunk{buf.b[:0], buf})
	}
	return &p.chunks[n]
}

// free gives every buffer back, and empties p.
func (p *pieces) free() {
	for _, c := range p.chunks {
		c.owner.free()
	}
	*p = pieces{}
}

func totalLen(parts [][]byte) (n int) {
	for _, p := range parts {
		n += len(p)
	}
	return n
}
