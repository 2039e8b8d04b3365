package web

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/asking"
	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/pkg/accessclient"
)

// lineFault is what is wrong with a line that somebody wrote.
func lineFault(field, line string, most int) []fault {
	if err := asking.CheckLine("it", line, most); err != nil {
		return []fault{{field, text.Lines(err.Error())}}
	}
	return nil
}

// limitsOf is how much an approver allows at most.
func limitsOf(r *http.Request, verdict v1alpha1.Verdict) (limits []accessclient.Limit, faults []fault) {
	if verdict != v1alpha1.VerdictApprove {
		return nil, nil
	}
	if word := strings.TrimSpace(r.PostFormValue("atMost")); word != "" {
		d, err := asking.Duration(word)
		if err != nil {
			faults = append(faults, fault{"atMost", err.Error()})
		}
		limits = append(limits, accessclient.AtMost(d))
	}
	if word := strings.TrimSpace(r.PostFormValue("until")); word != "" {
		now := time.Now()
		t, err := asking.Moment(word, now)
		if err == nil && !t.After(now) {
			err = errors.New(text.Moment(t) + " is over")
		}
		if err != nil {
			faults = append(faults, fault{"until", err.Error()})
		}
		limits = append(limits, accessclient.Until(t))
	}
	return limits, faults
}

// moreName is a name for the next request for more time of another. It is made when the
// form is shown, so that a form that is sent twice is one request.
func (p *Page) moreName(request *v1alpha1.AccessRequest) string {
	before := 0
	others, _ := p.requests.all()
	for _, other := range others {
		if other.Namespace == request.Namespace && other.Spec.Extends == request.Name {
			before++
		}
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", request.UID, before))
	return asking.NameLike(request.Name, "more") + hex.EncodeToString(sum[:4])
}

// extend asks for more time of a request.
func (p *Page) extend(r *http.Request, request *v1alpha1.AccessRequest, again func(...fault) (outcome, error)) (outcome, error) {
	asked := asking.Form{
		Duration: strings.TrimSpace(r.PostFormValue("for")), Reason: strings.TrimSpace(r.PostFormValue("reason")),
	}
	spec, err := asked.Extending(request.Name)
	var wrong asking.Faults
	switch {
	case errors.As(err, &wrong):
		var faults []fault
		for _, f := range wrong {
			faults = append(faults, fault{f.Field, f.Says})
		}
		return again(faults...)
	case err != nil:
		return again(fault{Message: p.explain(err)})
	}
	more := &v1alpha1.AccessRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: request.Namespace, Name: r.PostFormValue("more")}, Spec: spec,
	}
	if err := p.Cluster.AskOnce(r.Context(), more); err != nil {
		return again(fault{Message: p.explain(err)})
	}
	return outcome{to: p.at("requests", more.Namespace, more.Name), said: "You asked for more time."}, nil
}
