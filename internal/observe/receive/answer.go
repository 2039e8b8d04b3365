package receive

import (
	"encoding/json"
	"net/http"
	"time"
)

const (
	requestIDHeader = "X-Amz-Firehose-Request-Id"
	accessKeyHeader = "X-Amz-Firehose-Access-Key"
)

// firehose is the answer that Amazon Data Firehose wants. Without it, it takes a
// delivery for failed, and goes on sending the same events for hours.
type firehose struct {
	RequestID string `json:"requestId"`
	Timestamp int64  `json:"timestamp"` // milliseconds
	Error     string `json:"errorMessage,omitempty"`
}

// success is what API servers expect of one another.
const success = `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success"}` + "\n"

func accept(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if id := r.Header.Get(requestIDHeader); id != "" {
		_ = json.NewEncoder(w).Encode(firehose{RequestID: id, Timestamp: time.Now().UnixMilli()})
		return
	}
	_, _ = w.Write([]byte(success))
}

func refuse(w http.ResponseWriter, r *http.Request, refused *refusal) {
	switch refused {
	case noPost:
		w.Header().Set("Allow", http.MethodPost)
	case unknown:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case busy:
		// Others are done in a second. After an error, API servers had better keep to
		// their own pause: it gets longer.
		w.Header().Set("Retry-After", "1")
	}
	id := r.Header.Get(requestIDHeader)
	if id == "" {
		http.Error(w, refused.text, refused.code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(refused.code)
	_ = json.NewEncoder(w).Encode(firehose{RequestID: id, Timestamp: time.Now().UnixMilli(), Error: refused.text})
}
