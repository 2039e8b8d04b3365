package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func reviewBy(d time.Duration) ofPolicy {
	return func(s *v1alpha1.AccessPolicySpec) { s.ReviewBy = &metav1.Time{Time: noon.Add(d)} }
}

func TestReview(t *testing.T) {
	for name, test := range map[string]struct {
		in   time.Duration
		want v1alpha1.PolicyReview
		next time.Time
	}{
		"in a year":               {365 * 24 * time.Hour, v1alpha1.PolicyReviewNotDue, noon.Add(365*24*time.Hour - v1alpha1.ReviewNotice)},
		"a moment before notice":  {v1alpha1.ReviewNotice + time.Second, v1alpha1.PolicyReviewNotDue, noon.Add(time.Second)},
		"in two weeks":            {v1alpha1.ReviewNotice, v1alpha1.PolicyReviewSoon, noon.Add(v1alpha1.ReviewNotice)},
		"a second before the end": {time.Second, v1alpha1.PolicyReviewSoon, noon.Add(time.Second)},
		"now":                     {0, v1alpha1.PolicyReviewOverdue, time.Time{}},
		"long ago":                {-1000 * time.Hour, v1alpha1.PolicyReviewOverdue, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			spec := &newPolicy("p", reviewBy(test.in)).Spec
			if got, next := spec.Review(noon); got != test.want || !next.Equal(test.next) {
				t.Errorf("got %s, next %s; want %s, %s", got, next, test.want, test.next)
			}
			if err := Overdue(spec, noon); (err != nil) != (test.want == v1alpha1.PolicyReviewOverdue) {
				t.Error(err)
			}
		})
	}
	if got, next := newPolicy("p").Spec.Review(noon); got != v1alpha1.PolicyReviewNotDue || !next.IsZero() {
		t.Errorf("without reviewBy: %s, %s", got, next)
	}
}

// A policy whose review is overdue gives nothing and takes nothing.
func TestOverdue(t *testing.T) {
	const why = "its review was due by 2026-07-15T12:00:00Z: it gives nothing until somebody has looked at it and moved reviewBy"
	p := compiled("prod-edit", reviewBy(0))
	check(t, unknown(`policy "prod-edit" cannot be used: `+why), find(list(p), newRequest(), noon))
	check(t, allowed("prod-edit", time.Hour), find(list(p), newRequest(), noon.Add(-time.Second)))
	check(t, but("allows at most 1h"), find(list(p), newRequest(lasting(2*time.Hour)), noon))
	check(t, allowed("another", time.Hour), find(list(p, compiled("another")), newRequest(), noon))
	check(t, but("could never be met for this request: it needs 1 of alice, and alice is the requester"),
		find(list(compiled("prod-edit", reviewBy(0), approvers(user("alice")))), newRequest(), noon))

	if ok, why, err := p.Allows(t.Context(), newRequest(), noon); !ok || err != nil {
		t.Errorf("it would end what it gave: %q, %v", why, err)
	}
	if ok, why, err := p.StillAllows(t.Context(), newRequest(), noon, true); !ok || err != nil {
		t.Errorf("it would end what it gave: %q, %v", why, err)
	}
}

func TestNotConfirmed(t *testing.T) {
	confirmed := func(by string, generation int64) *v1alpha1.PolicyConfirmation {
		return &v1alpha1.PolicyConfirmation{Username: by, UID: "uid-of-p", Generation: generation}
	}
	const changed = "it was changed by anna and gives nothing until a second person confirms it: kubectl access confirm-policy p"
	for name, test := range map[string]struct {
		changedBy string
		confirmed *v1alpha1.PolicyConfirmation
		want      string
	}{
		"by nobody":                  {"anna", nil, changed},
		"by another":                 {"anna", confirmed("boris", 3), ""},
		"as it was":                  {"anna", confirmed("boris", 2), changed},
		"as it will be":              {"anna", confirmed("boris", 4), changed},
		"another of its name":        {"anna", &v1alpha1.PolicyConfirmation{Username: "boris", UID: "other", Generation: 3}, changed},
		"by its author":              {"anna", confirmed("anna", 3), "anna confirmed it and counts as anna, who changed it"},
		"by one who looks like them": {"anna", confirmed("ＡNNA", 3), "ＡNNA confirmed it and counts as anna, who changed it"},
		"by the first of two":        {"anna\nboris", confirmed("anna", 3), "anna confirmed it and counts as anna"},
		"by the second of two":       {"anna\nboris", confirmed("Boris", 3), "Boris confirmed it and counts as boris"},
		"by a third":                 {"anna\nboris", confirmed("clara", 3), ""},
		"by two, by nobody":          {"anna\nboris", nil, "it was changed by anna, boris and gives nothing"},
		"written by nobody known":    {"", confirmed("boris", 3), "nobody knows who wrote it"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPolicy("p")
			p.UID, p.Generation = "uid-of-p", 3
			p.Annotations = map[string]string{v1alpha1.AnnotationChangedBy: test.changedBy}
			p.Status.Confirmed = test.confirmed
			got := ""
			if err := NotConfirmed(p); err != nil {
				got = err.Error()
			}
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}

			free := Compile(p)
			check(t, allowed("p", time.Hour), find(list(free), newRequest(), noon))
			bound := Compile(p)
			bound.MustBeConfirmed()
			want := allowed("p", time.Hour)
			if got != "" {
				want = unknown(`policy "p" cannot be used: ` + got)
			}
			check(t, want, find(list(bound), newRequest(), noon))
			if ok, why, err := bound.Allows(t.Context(), newRequest(), noon); !ok || err != nil {
				t.Errorf("it would end what it gave: %q, %v", why, err)
			}
			if err := bound.NotConfirmed(); (err == nil) != (test.want == "") {
				t.Error(err)
			}
		})
	}
}

func TestChangedBy(t *testing.T) {
	p := newPolicy("p")
	if got := p.ChangedBy(); got != nil {
		t.Errorf("got %q", got)
	}
	p.Annotations = map[string]string{v1alpha1.AnnotationChangedBy: "anna\nsystem:serviceaccount:argocd:argocd"}
	if diff := cmp.Diff(list("anna", "system:serviceaccount:argocd:argocd"), p.ChangedBy()); diff != "" {
		t.Error(diff)
	}
}
