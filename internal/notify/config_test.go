package notify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		config string
		want   string // part of the error, empty when there is none
	}{
		"all fields":               {`{source: https://prod.example.com, sinks: [{name: a, url: "https://x/y", format: slack, secretFile: /none, types: [dev.accessbroker.grant.ended]}]}`, ""},
		"least":                    {`sinks: [{name: a, url: "http://localhost:1"}]`, ""},
		"URL in a file":            {`sinks: [{name: a, urlFile: /none}]`, ""},
		"no sinks":                 {`source: x`, "there must be 1 to 16, not 0"},
		"unknown field":            {`sinks: [{name: a, url: "http://x", secret: x}]`, `unknown field "secret"`},
		"not YAML":                 {`{`, "notification config"},
		"no name":                  {`sinks: [{url: "http://x"}]`, "name must be"},
		"bad name":                 {`sinks: [{name: A_b, url: "http://x"}]`, "name must be"},
		"two of a name":            {`sinks: [{name: a, url: "http://x"}, {name: a, url: "http://y"}]`, "another sink has this name"},
		"no URL":                   {`sinks: [{name: a}]`, "exactly one of url and urlFile"},
		"two URLs":                 {`sinks: [{name: a, url: "http://x", urlFile: /x}]`, "exactly one of url and urlFile"},
		"other scheme":             {`sinks: [{name: a, url: "file:///etc/passwd"}]`, "url must be an http or https URL"},
		"no host":                  {`sinks: [{name: a, url: "https:///x"}]`, "url must be an http or https URL"},
		"unknown format":           {`sinks: [{name: a, url: "http://x", format: xml}]`, "format must be cloudevents or slack"},
		"unknown type":             {`sinks: [{name: a, url: "http://x", types: [dev.accessbroker.grant.gone]}]`, `"dev.accessbroker.grant.gone" is none of dev.accessbroker.request.pending`},
		"source is no URI":         {`{source: "%zz", sinks: [{name: a, url: "http://x"}]}`, "source must be"},
		"several things at a time": {`sinks: [{name: a, url: "ftp://x", format: xml}]`, "url must be an http or https URL with a host\nsink \"a\": format"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := Load(write(t, tc.config))
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if c.Source == "" || c.Sinks[0].Format == "" {
					t.Errorf("defaults are missing: %+v", c)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want it to contain %q", err, tc.want)
			}
		})
	}
}

// A URL may hold a password: no error repeats it.
func TestErrorsDoNotTellTheURL(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"ftp://user:hunter2@host/x", "https://user:hunter2@/x", "https://user:hunter2@ho st/x"} {
		_, err := Load(write(t, `sinks: [{name: a, url: "`+url+`"}]`))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
		sink := Sink{URLFile: write(t, url)}
		if err := sink.files(); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		sink Sink
		want string
	}{
		"both there":    {Sink{URLFile: write(t, "https://x/y\n"), SecretFile: write(t, "0123456789abcdef\n")}, ""},
		"no URL file":   {Sink{URLFile: "/none"}, "urlFile"},
		"short secret":  {Sink{URL: "http://x", SecretFile: write(t, "short")}, "at least 16 bytes"},
		"no secretFile": {Sink{URL: "http://x", SecretFile: "/none"}, "secretFile"},
	} {
		err := tc.sink.files()
		if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}
