// Package notify tells sinks over HTTP what happens to requests and grants, as
// CloudEvents or as messages to Slack. It works from what the API server stores,
// so that nothing is lost when the broker restarts or a sink is down, and apart
// from the reconcilers, so that no sink can delay them.
package notify

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Formats of a message.
const (
	FormatCloudEvents = "cloudevents"
	FormatSlack       = "slack"
)

const (
	// maxSinks bounds the cursor, which one ConfigMap must hold.
	maxSinks = 16
	// minSecret keeps a secret from being guessed offline.
	minSecret = 16
	// defaultSource is the CloudEvents source of a broker that has no other.
	defaultSource = "access-broker"
)

// Config is the file that --notification-config names.
type Config struct {
	// Source is the source of every CloudEvent, a URI reference: it tells
	// clusters apart.
	Source string `json:"source"`
	Sinks  []Sink `json:"sinks"`
}

// Sink is one receiver.
type Sink struct {
	// Name of the sink in logs, metrics and the cursor. A sink under a new name
	// is a new one.
	Name string `json:"name"`
	// URL to POST to, or URLFile with the URL in it: the URL of a Slack webhook
	// is a secret.
	URL     string `json:"url"`
	URLFile string `json:"urlFile"`
	// Format is cloudevents, the default, or slack.
	Format string `json:"format"`
	// SecretFile holds what requests are signed with. It is read for every
	// request, so that a changed Secret needs no restart.
	SecretFile string `json:"secretFile"`
	// Types of events that the sink gets; all when empty.
	Types []string `json:"types"`
}

// sinkName is what may be a key of a ConfigMap and the value of a label.
var sinkName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// Load reads a configuration and says all that is wrong with it. It does not read
// the files that the configuration names: they may change or vanish at any time,
// and must not keep the broker from starting.
func Load(path string) (*Config, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("notification config: %w", err)
	}
	c := &Config{}
	if err := yaml.UnmarshalStrict(content, c); err != nil {
		return nil, fmt.Errorf("notification config %s: %w", path, err)
	}
	c.Source = cmp.Or(c.Source, defaultSource)
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("notification config %s: %w", path, err)
	}
	return c, nil
}

func (c *Config) validate() error {
	var errs []error
	if _, err := url.Parse(c.Source); err != nil {
		errs = append(errs, errors.New("source must be a URI reference"))
	}
	if len(c.Sinks) == 0 || len(c.Sinks) > maxSinks {
		errs = append(errs, fmt.Errorf("sinks: there must be 1 to %d, not %d", maxSinks, len(c.Sinks)))
	}
	seen := map[string]bool{}
	for i := range c.Sinks {
		s := &c.Sinks[i]
		s.Format = cmp.Or(s.Format, FormatCloudEvents)
		if seen[s.Name] {
			errs = append(errs, fmt.Errorf("sink %q: another sink has this name", s.Name))
		}
		seen[s.Name] = true
		for _, err := range s.validate() {
			errs = append(errs, fmt.Errorf("sink %q: %w", s.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Sink) validate() (errs []error) {
	if !sinkName.MatchString(s.Name) {
		errs = append(errs, errors.New("name must be 1 to 63 lower case letters, digits and dashes, and neither begin nor end with a dash"))
	}
	if (s.URL == "") == (s.URLFile == "") {
		errs = append(errs, errors.New("exactly one of url and urlFile is required"))
	} else if s.URL != "" {
		if _, err := s.target(); err != nil {
			errs = append(errs, err)
		}
	}
	if s.Format != FormatCloudEvents && s.Format != FormatSlack {
		errs = append(errs, fmt.Errorf("format must be %s or %s, not %q", FormatCloudEvents, FormatSlack, s.Format))
	}
	for _, t := range s.Types {
		if !slices.Contains(Types, t) {
			errs = append(errs, fmt.Errorf("types: %q is none of %s", t, strings.Join(Types, ", ")))
		}
	}
	return errs
}

// target is where to send to. Its errors say nothing of the URL, which may
// hold a password.
func (s *Sink) target() (string, error) {
	target, field := s.URL, "url"
	if s.URLFile != "" {
		content, err := os.ReadFile(s.URLFile)
		if err != nil {
			return "", fmt.Errorf("urlFile: %w", err)
		}
		target, field = strings.TrimSpace(string(content)), "urlFile"
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fmt.Errorf("%s must be an http or https URL with a host", field)
	}
	return target, nil
}

// secret is what requests are signed with, nil when they are not signed.
func (s *Sink) secret() ([]byte, error) {
	if s.SecretFile == "" {
		return nil, nil
	}
	content, err := os.ReadFile(s.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("secretFile: %w", err)
	}
	secret := bytes.TrimSpace(content)
	if len(secret) < minSecret {
		return nil, fmt.Errorf("secretFile must hold at least %d bytes", minSecret)
	}
	return secret, nil
}

// files tells what is wrong with the files that the sink needs.
func (s *Sink) files() error {
	_, targetErr := s.target()
	_, secretErr := s.secret()
	return errors.Join(targetErr, secretErr)
}

// wants tells whether the sink gets events of a type.
func (s *Sink) wants(eventType string) bool {
	return len(s.Types) == 0 || slices.Contains(s.Types, eventType)
}
