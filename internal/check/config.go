// Package check is what a machine check asks outside of the cluster, and what it makes
// of the answer: its configuration, the URL that it may ask, and its verdict. It is
// pure; internal/checker asks and decides.
package check

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/internal/expression"
)

// Bounds of a configuration.
const (
	// MaxChecks bounds the names that are labels of metrics.
	MaxChecks  = 16
	maxHeaders = 16
	maxOthers  = 64

	defaultTimeout, maxTimeout = 10 * time.Second, time.Minute
	defaultBytes, maxBytes     = 256 << 10, 4 << 20
	minPeriod, defaultPeriod   = time.Second, time.Minute
	maxPeriod                  = time.Hour
)

// Config is the file that `access-broker check --config` names.
type Config struct {
	Checks []Check `json:"checks"`
}

// Check is one question to a server, and how to read its answer. Expressions are CEL.
type Check struct {
	// Name of the check in logs, metrics and comments.
	Name string `json:"name"`
	// Stage of the approvals for which the check decides. It decides only where the
	// stage names the account that it runs as.
	Stage string `json:"stage"`
	// Policies whose stage it is; those of all policies when empty.
	Policies []string `json:"policies"`
	// Requires must be true of a request before anything is asked; else it is denied.
	Requires []Requirement `json:"requires"`
	// Allow is what every URL must lie under: scheme, host, port and, if given, the
	// beginning of the path.
	Allow string `json:"allow"`
	// URL to ask, a string over request, now and allow.
	URL string `json:"url"`
	// Method is GET, the default, or POST.
	Method string `json:"method"`
	// Headers of the question.
	Headers []Header `json:"headers"`
	// Body of a POST, any value over request and now; it is sent as JSON.
	Body string `json:"body"`
	// CAFile has the authorities that the server's certificate may be of, in PEM; by
	// default those of the system. It is read for every question.
	CAFile string `json:"caFile"`
	// Timeout of one question, its answer included.
	Timeout metav1.Duration `json:"timeout"`
	// MaxBytes of an answer; a larger one is none.
	MaxBytes int `json:"maxBytes"`
	// Deny and Approve are over answer, request and now; Deny comes first. When
	// neither is true, the request waits and the server is asked again.
	Deny    string `json:"deny"`
	Approve string `json:"approve"`
	// NotAfter is when approved access ends at the latest, a timestamp over the same.
	NotAfter string `json:"notAfter"`
	// Comment of the decision, a string over the same and verdict. Everybody who may
	// read the request can read it.
	Comment string `json:"comment"`
	// Period is how long it takes at most until a server is asked again.
	Period metav1.Duration `json:"period"`
}

// Requirement is what a request must be like.
type Requirement struct {
	// Expression over request and now.
	Expression string `json:"expression"`
	// Message for the requester when it is not true.
	Message string `json:"message"`
}

// Header of a question: a value, or a file that holds it.
type Header struct {
	Name string `json:"name"`
	// Value is a string over request and now.
	Value string `json:"value"`
	// ValueFile holds the value, without the space around it. It is read for every
	// question, so that a changed Secret needs no restart.
	ValueFile string `json:"valueFile"`
	// Base64 encodes what the file holds, such as user:password.
	Base64 bool `json:"base64"`
	// Prefix of what the file holds, such as "Bearer ".
	Prefix string `json:"prefix"`
}

// Compiled is a check that can be used.
type Compiled struct {
	Check
	allow         *url.URL
	url           *expression.Text
	headers       []*expression.Text // nil for one from a file
	body          *expression.Value
	requires      []*expression.Program
	deny, approve *expression.Program
	notAfter      *expression.Moment
	comment       *expression.Text
}

var (
	name   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	header = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)
	host   = regexp.MustCompile(`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$`)
)

// reserved headers belong to the transport, not to a question.
var reserved = []string{"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade", "accept-encoding"}

// Parse reads a configuration and says all that is wrong with it, field by field.
func Parse(content []byte) ([]*Compiled, error) {
	config := &Config{}
	if err := yaml.UnmarshalStrict(content, config); err != nil {
		return nil, err
	}
	var errs []error
	if len(config.Checks) == 0 || len(config.Checks) > MaxChecks {
		errs = append(errs, fmt.Errorf("checks: there must be 1 to %d, not %d", MaxChecks, len(config.Checks)))
	}
	var checks []*Compiled
	seen := map[string]bool{}
	for _, c := range config.Checks {
		compiled, wrong := c.compile()
		if seen[c.Name] {
			wrong = append(wrong, errors.New("name: another check has it"))
		}
		seen[c.Name] = true
		for _, err := range wrong {
			errs = append(errs, fmt.Errorf("check %q: %w", c.Name, err))
		}
		checks = append(checks, compiled)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return checks, nil
}

func (c Check) compile() (_ *Compiled, errs []error) {
	c.Method = cmp.Or(c.Method, "GET")
	c.Timeout.Duration = cmp.Or(c.Timeout.Duration, defaultTimeout)
	c.Period.Duration = cmp.Or(c.Period.Duration, defaultPeriod)
	c.MaxBytes = cmp.Or(c.MaxBytes, defaultBytes)
	out := &Compiled{Check: c}
	wrong := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf(field+": "+format, args...))
	}
	is := func(field string, ok bool, words string) {
		if !ok {
			wrong(field, "%s", words)
		}
	}
	is("name", name.MatchString(c.Name), "it must be 1 to 63 lower case letters, digits and dashes, and neither begin nor end with a dash")
	is("stage", c.Stage != "", "name the stage of approvals for which this check decides")
	is("policies", len(c.Policies) <= maxOthers, "there are too many")
	is("method", c.Method == "GET" || c.Method == "POST", "it must be GET or POST")
	is("timeout", c.Timeout.Duration > 0 && c.Timeout.Duration <= maxTimeout, "it must be more than 0 and at most 1m")
	is("period", c.Period.Duration >= minPeriod && c.Period.Duration <= maxPeriod, "it must be between 1s and 1h")
	is("maxBytes", c.MaxBytes > 0 && c.MaxBytes <= maxBytes, fmt.Sprintf("it must be between 1 and %d", maxBytes))
	is("body", c.Body == "" || c.Method == "POST", "only a POST has one")
	is("approve", c.Approve != "" || c.Deny != "", "one of approve and deny is required")
	is("notAfter", c.NotAfter == "" || c.Approve != "", "it goes with approve")
	is("headers", len(c.Headers) <= maxHeaders, "there are too many")
	is("requires", len(c.Requires) <= maxHeaders, "there are too many")
	var err error
	if out.allow, err = parseAllow(c.Allow); err != nil {
		wrong("allow", "%w", err)
	}

	compiled := func(field string, err error) {
		if err != nil {
			wrong(field, "%w", err)
		}
	}
	asks, reads := []string{"request", "now", "allow"}, []string{"answer", "request", "now"}
	out.url, err = expression.CompileText(c.URL, asks...)
	compiled("url", err)
	for i, h := range c.Headers {
		text, problems := h.compile(out.allow, asks)
		for _, err := range problems {
			wrong(fmt.Sprintf("headers[%d]", i), "%w", err)
		}
		out.headers = append(out.headers, text)
	}
	for i, r := range c.Requires {
		field := fmt.Sprintf("requires[%d]", i)
		program, err := expression.Compile(r.Expression, "request", "now")
		compiled(field+".expression", err)
		is(field+".message", r.Message != "", "say what is required")
		out.requires = append(out.requires, program)
	}
	if c.Body != "" {
		out.body, err = expression.CompileValue(c.Body, asks...)
		compiled("body", err)
	}
	if c.Deny != "" {
		out.deny, err = expression.Compile(c.Deny, reads...)
		compiled("deny", err)
	}
	if c.Approve != "" {
		out.approve, err = expression.Compile(c.Approve, reads...)
		compiled("approve", err)
	}
	if c.NotAfter != "" {
		out.notAfter, err = expression.CompileMoment(c.NotAfter, reads...)
		compiled("notAfter", err)
	}
	if c.Comment != "" {
		out.comment, err = expression.CompileText(c.Comment, append(reads, "verdict")...)
		compiled("comment", err)
	}
	return out, errs
}

func (h Header) compile(allow *url.URL, vars []string) (_ *expression.Text, errs []error) {
	if !header.MatchString(h.Name) || slices.Contains(reserved, strings.ToLower(h.Name)) {
		errs = append(errs, errors.New("name: it must be the name of a header that a question may have: letters, digits and dashes"))
	}
	if (h.Value == "") == (h.ValueFile == "") {
		return nil, append(errs, errors.New("exactly one of value and valueFile is required"))
	}
	if h.ValueFile != "" {
		if allow != nil && allow.Scheme != "https" {
			errs = append(errs, errors.New("valueFile: what a file holds is sent over https alone"))
		}
		if !oneLine(h.Prefix) {
			errs = append(errs, errors.New("prefix: it must be one line"))
		}
		return nil, errs
	}
	if h.Base64 || h.Prefix != "" {
		errs = append(errs, errors.New("base64 and prefix go with valueFile"))
	}
	text, err := expression.CompileText(h.Value, vars...)
	if err != nil {
		errs = append(errs, fmt.Errorf("value: %w", err))
	}
	return text, errs
}

// oneLine tells whether a text may be the value of a header.
func oneLine(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
