package web

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"sync"
)

// maxNotices bounds how many are kept that nobody came to read.
const maxNotices = 64

// notices are what people are told on the page to which what they did led them, once.
type notices struct {
	mu   sync.Mutex
	said map[string]string
	keys []string
}

// carry is the address at which a notice is told.
func (n *notices) carry(to, said string) string {
	if said == "" {
		return to
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.said == nil {
		n.said = map[string]string{}
	}
	key := rand.Text()
	n.said[key] = said
	n.keys = append(n.keys, key)
	if len(n.keys) > maxNotices {
		delete(n.said, n.keys[0])
		n.keys = n.keys[1:]
	}
	return to + "?" + url.Values{"said": {key}}.Encode()
}

// take is the notice that a request carries, "" when it was told already.
func (n *notices) take(r *http.Request) string {
	key := r.URL.Query().Get("said")
	n.mu.Lock()
	defer n.mu.Unlock()
	said := n.said[key]
	delete(n.said, key)
	return said
}
