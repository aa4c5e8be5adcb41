package servers

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/marianned/marianned/tests/bench/workload"
)

// netHTTP reads the body at once, makes sure that it is JSON, and sends it back
// with a Content-Length, which spares chunks.
func netHTTP(l net.Listener, _ *workload.Workload) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		params := make([]byte, max(r.ContentLength, 0))
		if _, err := io.ReadFull(r.Body, params); err != nil || !json.Valid(params) {
			http.Error(w, "expected JSON of a known length", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(params)))
		_, _ = w.Write(params)
	})
	return http.Serve(l, mux)
}
