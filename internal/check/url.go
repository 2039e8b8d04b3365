package check

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// parseAllow reads what all URLs of a check must lie under.
func parseAllow(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || !host.MatchString(u.Host):
		return nil, errors.New("it must be like https://jira.example.com, with a host in lower case, and a port or the beginning of a path if need be")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(text, "#"):
		return nil, errors.New("it must have no user, query or fragment")
	case strings.HasSuffix(u.Path, "/"):
		return nil, errors.New("it must not end with /")
	case steps(u.Path):
		return nil, errors.New("its path must not lead upwards")
	}
	return u, nil
}

// parse reads the URL that an expression made, and refuses what is not under allow.
// The text comes from a request, in part: what it would mean to a browser, a proxy or
// a server that decodes twice is refused as well.
func (c *Compiled) parse(text string) (*url.URL, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }) {
		return nil, errors.New("the URL has spaces, backslashes, control characters or letters that must be escaped: use segment() and query()")
	}
	if strings.Contains(text, "#") {
		return nil, errors.New("the URL has a fragment: use segment() and query()")
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("the URL cannot be read")
	}
	return u, c.Allows(u)
}

// Allows tells why a URL may not be asked; redirects come here, too.
func (c *Compiled) Allows(u *url.URL) error {
	switch {
	case u.Opaque != "" || u.User != nil || u.Fragment != "":
		return fmt.Errorf("the URL is not under %s: it has a user or a fragment, or no host", c.Allow)
	case u.Scheme != c.allow.Scheme || place(u) != place(c.allow):
		return fmt.Errorf("the URL is not under %s: it leads to another server", c.Allow)
	case steps(u.Path):
		return errors.New("the path of the URL leads upwards")
	case u.Path != c.allow.Path && !strings.HasPrefix(u.Path, c.allow.Path+"/"):
		return fmt.Errorf("the URL is not under %s", c.Allow)
	}
	return nil
}

// place is the host and port of a URL.
func place(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return strings.ToLower(u.Hostname()) + " " + port
}

// steps tells whether a decoded path has a segment that leads elsewhere, also to
// servers that decode once more, or take ; for the end of a segment.
func steps(path string) bool {
	lower := strings.ToLower(path)
	for _, code := range []string{"%2e", "%2f", "%5c", "%25"} {
		if strings.Contains(lower, code) {
			return true
		}
	}
	for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if name, _, _ := strings.Cut(segment, ";"); name == "." || name == ".." {
			return true
		}
	}
	return false
}
