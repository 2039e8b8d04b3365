package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/expression"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
)

// maxComment is how long a comment may be, in bytes.
const maxComment = 1000

// Word is what a check makes of an answer.
type Word string

const (
	// Approve, with the time until which it holds.
	Approve Word = "Approve"
	// Deny ends the request.
	Deny Word = "Deny"
	// Wait asks again later.
	Wait Word = "Wait"
)

// Verdict is what a check says.
type Verdict struct {
	Word Word
	// NotAfter is when approved access ends at the latest; zero for no such moment.
	NotAfter time.Time
	// Comment for the record.
	Comment string
}

// Question is what a server is asked.
type Question struct {
	Method, URL string
	Headers     []HeaderValue
	// Body is JSON; nil for none.
	Body []byte
}

// HeaderValue is a header whose value is known, or comes from the file of its check's
// header at that index.
type HeaderValue struct {
	Name, Value string
	File        bool
	Index       int
}

// Answer is what a server answered.
type Answer struct {
	// Status of HTTP.
	Status int
	// Headers by their names in lower case.
	Headers map[string]string
	// Body as JSON; nil when it is none.
	Body any
}

// Applying are the checks that decide on a request that waits, for an account. It
// also returns the stages that count the account's approval and have no check:
// where there is one, the account must not approve, because that would count there. A
// group of the account alone, such as that of all ServiceAccounts, does not mean it.
func Applying(checks []*Compiled, request *v1alpha1.AccessRequest, me v1alpha1.UserInfo) (applying []*Compiled, unchecked []string) {
	if request.Status.Policy == nil || request.Status.Phase != v1alpha1.RequestPending {
		return nil, nil
	}
	meant := false
	for _, stage := range request.Status.Approvals {
		if !identity.Among(stage.From, me.Username, me.Groups) {
			continue
		}
		meant = meant || identity.Among(stage.From, me.Username, nil)
		found := false
		for _, c := range checks {
			if c.Stage != stage.Name || len(c.Policies) > 0 && !slices.Contains(c.Policies, request.Status.Policy.Name) {
				continue
			}
			found = true
			if !slices.Contains(applying, c) {
				applying = append(applying, c)
			}
		}
		if !found && ptr.Deref(stage.Count, 1) > 0 {
			unchecked = append(unchecked, stage.Name)
		}
	}
	if !meant && len(applying) == 0 {
		return nil, nil
	}
	return applying, unchecked
}

// Decided tells whether an account has decided on a request, and need not again: an
// approval counts only for what the request stood for then.
func Decided(request *v1alpha1.AccessRequest, username string) bool {
	return slices.ContainsFunc(request.Status.Decisions, func(d v1alpha1.Decision) bool {
		return d.Username == username &&
			(d.Verdict == v1alpha1.VerdictDeny || d.Verdict == v1alpha1.VerdictApprove && d.RulesHash == request.Status.RulesHash)
	})
}

// Required tells what a request lacks before a server is asked; "" for nothing.
func (c *Compiled) Required(ctx context.Context, request map[string]any, now time.Time) (string, error) {
	for i, program := range c.requires {
		ok, err := program.Eval(ctx, map[string]any{"request": request, "now": now})
		if err != nil {
			return "", said(fmt.Sprintf("requires[%d].expression", i), err)
		}
		if !ok {
			return c.Requires[i].Message, nil
		}
	}
	return "", nil
}

// Question is what the check asks about a request.
func (c *Compiled) Question(ctx context.Context, request map[string]any, now time.Time) (*Question, error) {
	vars := map[string]any{"request": request, "now": now, "allow": c.Allow}
	target, err := c.url.Eval(ctx, vars)
	if err != nil {
		return nil, said("url", err)
	}
	u, err := c.parse(target)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	q := &Question{Method: c.Method, URL: u.String()}
	for i, h := range c.headers {
		value := HeaderValue{Name: c.Headers[i].Name, File: h == nil, Index: i}
		if h != nil {
			field := fmt.Sprintf("headers[%d].value", i)
			if value.Value, err = h.Eval(ctx, vars); err != nil {
				return nil, said(field, err)
			}
			if !oneLine(value.Value) {
				return nil, fmt.Errorf("%s: it is not one line", field)
			}
		}
		q.Headers = append(q.Headers, value)
	}
	if c.body != nil {
		if q.Body, err = c.body.JSON(ctx, vars); err != nil {
			return nil, said("body", err)
		}
	}
	return q, nil
}

// Weigh is the verdict on an answer. An error is none.
func (c *Compiled) Weigh(ctx context.Context, request map[string]any, answer Answer, now time.Time) (Verdict, error) {
	headers := make(map[string]any, len(answer.Headers))
	for name, value := range answer.Headers {
		headers[name] = value
	}
	vars := map[string]any{"request": request, "now": now, "answer": map[string]any{
		"status": int64(answer.Status), "headers": headers, "body": answer.Body,
	}}
	v := Verdict{Word: Wait}
	denied, err := holds(ctx, c.deny, vars)
	if err != nil {
		return v, said("deny", err)
	}
	approved := false
	if !denied {
		if approved, err = holds(ctx, c.approve, vars); err != nil {
			return v, said("approve", err)
		}
	}
	switch {
	case denied:
		v.Word = Deny
	case approved && c.notAfter != nil:
		if v.NotAfter, err = c.notAfter.Eval(ctx, vars); err != nil {
			return v, said("notAfter", err)
		}
		if year := v.NotAfter.UTC().Year(); year < 2000 || year > 2999 {
			return v, errors.New("notAfter: it is not in the years 2000 to 2999")
		}
		if v.NotAfter = v.NotAfter.Truncate(time.Second); !v.NotAfter.After(now) {
			return Verdict{Word: Wait, Comment: c.Name + ": the time until which access is allowed is over"}, nil
		}
		v.Word = Approve
	case approved:
		v.Word = Approve
	}
	if v.Comment, err = c.says(ctx, vars, v.Word); err != nil {
		return Verdict{Word: Wait}, said("comment", err)
	}
	return v, nil
}

func holds(ctx context.Context, program *expression.Program, vars map[string]any) (bool, error) {
	if program == nil {
		return false, nil
	}
	return program.Eval(ctx, vars)
}

// says is the comment on a verdict.
func (c *Compiled) says(ctx context.Context, vars map[string]any, word Word) (string, error) {
	if c.comment == nil {
		return c.Name + ": " + map[Word]string{Approve: "the answer approves", Deny: "the answer denies", Wait: "not yet"}[word], nil
	}
	vars["verdict"] = string(word)
	comment, err := c.comment.Eval(ctx, vars)
	if err != nil {
		return "", err
	}
	return text.Cut(text.OneLine(comment), maxComment), nil
}

// said is an error of an expression for people who may not see what the server
// answered.
func said(field string, err error) error {
	return fmt.Errorf("%s: %s", field, expression.WithoutValues(err))
}

// Together is what several checks say together: one Deny is enough, all must approve,
// and the earliest end counts.
func Together(verdicts []Verdict) Verdict {
	of := func(word Word) (some []Verdict) {
		for _, v := range verdicts {
			if v.Word == word {
				some = append(some, v)
			}
		}
		return some
	}
	denied, waiting := of(Deny), of(Wait)
	switch {
	case len(denied) > 0:
		return Verdict{Word: Deny, Comment: comments(denied)}
	case len(waiting) > 0 || len(verdicts) == 0:
		return Verdict{Word: Wait, Comment: comments(waiting)}
	}
	all := Verdict{Word: Approve, Comment: comments(verdicts)}
	for _, v := range verdicts {
		if all.NotAfter.IsZero() || !v.NotAfter.IsZero() && v.NotAfter.Before(all.NotAfter) {
			all.NotAfter = v.NotAfter
		}
	}
	return all
}

func comments(verdicts []Verdict) string {
	var all []string
	for _, v := range verdicts {
		if v.Comment != "" && !slices.Contains(all, v.Comment) {
			all = append(all, v.Comment)
		}
	}
	return text.Cut(strings.Join(all, "; "), maxComment)
}
