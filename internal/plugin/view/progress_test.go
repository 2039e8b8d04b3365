package view

import (
	"testing"
	"time"
)

func TestLeftAndAgo(t *testing.T) {
	now := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	if got := left(now.Add(90*time.Minute), now); got != "90m left" {
		t.Error(got)
	}
	if got := left(now, now); got != "time is up" {
		t.Error(got)
	}
	if got := ago(now.Add(time.Hour), now); got != "0s" {
		t.Error("a clock that is behind:", got)
	}
}
