package web

import (
	"net/http"
	"slices"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

// decideData is what waits for me.
type decideData struct {
	Reading          bool
	Approve, Reviews []view.Card
}

// waiting counts what waits for me, of what was read by now.
func (p *Page) waiting() int {
	requests, _ := p.requests.all()
	n := 0
	for _, of := range requests {
		if view.WaitsForMe(of, p.Me) || view.ToReview(of, p.Me) {
			n++
		}
	}
	return n
}

func (p *Page) decide(r *http.Request) (content, error) {
	requests, whole, err := p.read(r.Context())
	if err != nil {
		return content{}, err
	}
	slices.SortFunc(requests, view.WorstFirst)
	data := decideData{Reading: !whole}
	now := time.Now()
	data.Approve = cardsOf(requests, now, func(of *v1alpha1.AccessRequest) bool { return view.WaitsForMe(of, p.Me) })
	data.Reviews = cardsOf(requests, now, func(of *v1alpha1.AccessRequest) bool { return view.ToReview(of, p.Me) })
	return content{template: "decide", title: "To decide", data: data}, nil
}

func cardsOf(requests []*v1alpha1.AccessRequest, now time.Time, which func(*v1alpha1.AccessRequest) bool) []view.Card {
	var cards []view.Card
	for _, of := range requests {
		if which(of) {
			cards = append(cards, view.CardOf(of, now))
		}
	}
	return cards
}
