package main

import (
	"bytes"
	"encoding/base64"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// A registry that knows one user, and one user who may only pull.
func registryFor(t *testing.T) string {
	t.Helper()
	inside := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case user == "robot" && password == "right":
			inside.ServeHTTP(w, r)
		case user == "reader" && password == "right" && r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.WriteHeader(http.StatusForbidden)
		case user == "reader" && password == "right":
			inside.ServeHTTP(w, r)
		default:
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// logIn leaves credentials where `docker login` does, and none for nobody.
func logIn(t *testing.T, host, user, password string) {
	t.Helper()
	folder := t.TempDir()
	config := `{"auths":{"` + host + `":{"auth":"` + base64.StdEncoding.EncodeToString([]byte(user+":"+password)) + `"}}}`
	if user == "" {
		config = "{}"
	}
	if err := os.WriteFile(filepath.Join(folder, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", folder)
}

// What is pulled is what the archive holds, for every platform.
func TestPush(t *testing.T) {
	host := registryFor(t)
	logIn(t, host, "robot", "right")
	for _, p := range programs {
		to := host + "/team/" + p.name + ":" + version
		var said bytes.Buffer
		if err := run(t.Context(), []string{"push", archiveOf(p), to}, &said, io.Discard); err != nil {
			t.Fatal(err)
		}
		digest := digestOf(t, p)
		if want := to + "@" + digest.String(); strings.TrimSpace(said.String()) != want {
			t.Errorf("it says %s, want %s", said.String(), want)
		}
		tag, err := name.NewTag(to)
		if err != nil {
			t.Fatal(err)
		}
		pulled, err := remote.Index(tag, remote.WithAuthFromKeychain(authn.DefaultKeychain))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := pulled.Digest(); err != nil || got != digest {
			t.Errorf("pulled %s, pushed %s, %v", got, digest, err)
		}
		if err := validate.Index(pulled); err != nil {
			t.Error(err)
		}
	}
}

func TestPushRefused(t *testing.T) {
	host := registryFor(t)
	for who, test := range map[string]struct{ user, password, want string }{
		"wrong password": {"robot", "wrong", "log in, for example with `docker login " + host + "`"},
		"who may not":    {"reader", "right", "does not let you push to team/access-broker"},
		"nobody":         {"", "", "does not accept your credentials"},
	} {
		t.Run(who, func(t *testing.T) {
			logIn(t, host, test.user, test.password)
			err := run(t.Context(), []string{"push", archiveOf(programs[0]), host + "/team/access-broker:" + version}, io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}

// A push names repository and tag, and takes only what `make image` wrote.
func TestPushBadInput(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.tar")
	content := read(t, archiveOf(programs[0]))
	content[len(content)/2] ^= 1
	if err := os.WriteFile(broken, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"such as registry.example.com/team/access-broker:v1.2.3": {archiveOf(programs[0]), "access-broker"},
		"no such file":                  {filepath.Join(t.TempDir(), "none.tar"), "localhost/a:b"},
		"is no archive of `make image`": {broken, "localhost/a:b"},
	} {
		if err := run(t.Context(), append([]string{"push"}, args...), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
