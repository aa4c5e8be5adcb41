package suggest

import "strings"

// Nearest returns the candidate that a person who wrote name most likely meant,
// or "": one that, as a whole or in what follows a dot ("status" for
// "daemon.status"), differs in letter case and at most a third of its
// characters, or that begins with name.
func Nearest(name string, candidates []string) string {
	best, least := "", 0
	consider := func(candidate string, cost int) {
		if best == "" || cost < least {
			best, least = candidate, cost
		}
	}
	for _, candidate := range candidates {
		lower, wanted := strings.ToLower(candidate), strings.ToLower(name)
		distance := editDistance(wanted, lower)
		if distance <= max(1, len(candidate)/3) {
			consider(candidate, distance)
		}
		if len(wanted) < 3 {
			continue
		}
		if strings.HasPrefix(lower, wanted) {
			consider(candidate, 2)
		}
		for at, r := range lower {
			if part := lower[at:]; r == '.' {
				if distance := editDistance(wanted, part[1:]); distance <= len(part)/3 {
					consider(candidate, distance+1)
				}
			}
		}
	}
	return best
}

// maxCompared bounds the work that a long name on the command line can cause.
const maxCompared = 200

// editDistance counts the characters to insert, delete, replace or swap with
// their neighbour to make b of a (optimal string alignment).
func editDistance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > maxCompared || len(y) > maxCompared {
		return max(len(x), len(y))
	}
	var before []int
	last := make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row := make([]int, len(y)+1)
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(y)]
}
