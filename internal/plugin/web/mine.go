package web

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

const (
	// patience is how long a page waits for what has to be read first. After that it says
	// that it is still reading.
	patience = 5 * time.Second
	// maxEnded is how many of my requests that are over are listed.
	maxEnded = 20
)

// mineData is what I hold, what waits and what was.
type mineData struct {
	Reading              bool
	Held, Waiting, Ended []mineCard
	// More have ended than are listed.
	More int
}

type mineCard struct {
	view.Card
	// Release and Extend tell what I may do about it.
	Release, Extend bool
	// Login is the command that uses its credential.
	Login string
	Shown view.Shown
	// More is the name of the request for more time that Extend makes.
	More string
}

// read are the requests that are there, once all are or patience is over; whole tells
// that these are all.
func (p *Page) read(ctx context.Context) (requests []*v1alpha1.AccessRequest, whole bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.requests.wait(ctx); err != nil && ctx.Err() == nil {
		return nil, false, err
	}
	requests, whole = p.requests.all()
	return requests, whole, nil
}

func (p *Page) mine(r *http.Request) (content, error) {
	requests, whole, err := p.read(r.Context())
	if err != nil {
		return content{}, err
	}
	now := time.Now()
	data := mineData{Reading: !whole}
	slices.SortFunc(requests, view.NewestFirst)
	for _, of := range requests {
		if !view.Mine(of, p.Me) {
			continue
		}
		card := mineCard{
			Card: view.CardOf(of, now), Shown: view.ShownOf(of),
			Release: !p.ReadOnly && !of.Status.Phase.Ended(), Extend: !p.ReadOnly && view.Extendable(of, p.Me),
		}
		if card.Who == p.Me.Username && card.ForWhom == "" {
			card.Who = "" // me, as everything here
		}
		if card.Extend {
			card.More = p.moreName(of)
		}
		if view.MyCredential(of, p.Me) {
			card.Login = view.Command("login", of)
		}
		switch {
		case of.Status.Phase == v1alpha1.RequestActive:
			data.Held = append(data.Held, card)
		case !of.Status.Phase.Ended():
			data.Waiting = append(data.Waiting, card)
		case len(data.Ended) == maxEnded:
			data.More++
		default:
			data.Ended = append(data.Ended, card)
		}
	}
	// What ends first is looked for first.
	slices.SortStableFunc(data.Held, func(a, b mineCard) int { return a.Until.Compare(b.Until) })
	return content{template: "mine", title: "Mine", data: data}, nil
}
