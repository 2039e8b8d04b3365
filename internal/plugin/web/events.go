package web

import (
	"fmt"
	"net/http"
	"time"
)

const (
	// calm is how long changes are gathered before a page is told of them: a busy
	// cluster has many a second.
	calm = 500 * time.Millisecond
	// alive is how often a stream says that it is there, so that a dead one is noticed.
	alive = 20 * time.Second
)

// events tells a page that what it shows may have changed, as server-sent events. What
// has changed it does not say: the page is read anew, by the same way as at first.
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	stream := http.NewResponseController(w)
	// The server's own timeouts are for pages.
	_ = stream.SetWriteDeadline(time.Time{})
	say := func(line string) bool {
		_, err := fmt.Fprint(w, line)
		return err == nil && stream.Flush() == nil
	}
	if !say("retry: 2000\n\n") {
		return
	}
	ping := time.NewTicker(alive)
	defer ping.Stop()
	changed := p.changes.next()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-p.ended:
			return
		case <-ping.C:
			if !say(": here\n\n") {
				return
			}
		case <-changed:
			select {
			case <-r.Context().Done():
				return
			case <-time.After(calm):
			}
			// Before it is told: what comes after that is told again.
			changed = p.changes.next()
			if !say("event: changed\ndata: {}\n\n") {
				return
			}
		}
	}
}
