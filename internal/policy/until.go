package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
)

// entry is by which of its requesters a policy is for a user: of several that mean
// them, the one that lasts longest.
func (p *Policy) entry(user v1alpha1.UserInfo) (longest v1alpha1.PolicyRequester, found bool) {
	for _, r := range p.Spec.Requesters {
		if !identity.Among([]v1alpha1.PolicySubject{r.PolicySubject}, user.Username, user.Groups) {
			continue
		}
		if !found || longest.Until != nil && (r.Until == nil || longest.Until.Before(r.Until)) {
			longest, found = r, true
		}
	}
	return longest, found
}

// checkRequester compares who asks, for access that begins now. A policy whose
// requesters cannot be read refuses nobody.
func (p *Policy) checkRequester(m *miss, r Request, now time.Time, add addFunc) {
	if p.unread {
		return
	}
	entry, found := p.entry(r.Requester)
	if found && entry.Until == nil {
		return
	}
	subjects := p.Spec.RequesterSubjects()
	perhaps := leftOut(subjects, r.Requester)
	switch {
	case !found:
		m.stranger = perhaps == ""
		add("is for %s%s", strings.Join(text.Subjects(subjects), ", "), perhaps)
	case !now.Before(entry.Until.Time):
		add("was for %s until %s%s", text.Subject(entry.PolicySubject), text.Moment(entry.Until.Time), perhaps)
	default:
		begin := now
		if r.Extends != nil {
			begin = r.Extends.From
		}
		left := max(0, entry.Until.Sub(begin))
		if over := p.duration(r) - left; over > 0 {
			m.over = over
			add("is for %s until %s, which leaves %s%s", text.Subject(entry.PolicySubject), text.Moment(entry.Until.Time), remaining(left), perhaps)
		}
	}
}

// remaining is the time that is left, in whole seconds that are there to be asked for.
func remaining(left time.Duration) string {
	if whole := left.Truncate(time.Second); whole > 0 {
		return fmt.Sprintf("%s at most", text.Duration(whole))
	}
	return "less than a second"
}

// latest is the last moment at which access that was asked for can begin, zero when
// no requester's time is limited, or when it begins where other access ends.
func (p *Policy) latest(r Request) time.Time {
	entry, found := p.entry(r.Requester)
	if p.unread || !found || entry.Until == nil || r.Extends != nil {
		return time.Time{}
	}
	return entry.Until.Add(-p.duration(r))
}
