package load

import (
	"math/bits"
	"time"
)

// Histogram counts latencies in buckets that are at most 1/64 wide, from 1 ns to
// 18 minutes; what is above counts as that.
type Histogram struct {
	counts [bucketCount]uint64
	n      uint64
}

const (
	subBits     = 6
	maxBits     = 40
	bucketCount = (maxBits - subBits + 1) << subBits
)

func bucketOf(ns int64) int {
	v := uint64(max(ns, 0))
	if v >= 1<<maxBits {
		return bucketCount - 1
	}
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift<<subBits + int(v>>shift)
}

// upperEnd is the largest value of a bucket.
func upperEnd(bucket int) int64 {
	shift := max(bucket>>subBits-1, 0)
	return (int64(bucket-shift<<subBits)+1)<<shift - 1
}

func (h *Histogram) add(ns int64) {
	h.counts[bucketOf(ns)]++
	h.n++
}

func (h *Histogram) merge(other *Histogram) {
	for i, c := range other.counts {
		h.counts[i] += c
	}
	h.n += other.n
}

// N is how many latencies were counted.
func (h *Histogram) N() uint64 { return h.n }

// Quantile is the latency that the share q of all is not above, up to the width
// of a bucket; 0 if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.n))
	var seen uint64
	for i, c := range h.counts {
		if seen += c; seen > rank || seen == h.n && c > 0 {
			return time.Duration(upperEnd(i))
		}
	}
	return 0
}
