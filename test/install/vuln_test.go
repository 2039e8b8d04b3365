package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// `make vuln` fails for a vulnerability that is there, and for nothing else; it
// does not call well what it could not look at.
func TestVuln(t *testing.T) {
	const osv = `{
		"schema_version": "1.3.1", "id": "GO-2026-9999", "modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z",
		"summary": "A test", "details": "A test", "database_specific": {"url": "https://example.com/GO-2026-9999"},
		"affected": [{
			"package": {"name": "golang.org/x/net", "ecosystem": "Go"},
			"ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}],
			"ecosystem_specific": {"imports": [{"path": "golang.org/x/net/http2"}]}
		}]
	}`
	const modules = `[{"path": "golang.org/x/net", "vulns": [{"id": "GO-2026-9999", "modified": "2026-01-01T00:00:00Z"}]}]`
	database := t.TempDir()
	for name, content := range map[string]string{
		"index/db.json": `{"modified": "2026-01-01T00:00:00Z"}`, "index/modules.json": modules, "ID/GO-2026-9999.json": osv,
	} {
		file := filepath.Join(database, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		database, says string
		fails          bool
	}{
		"one known":    {"file://" + database, "there are known vulnerabilities", true},
		"out of reach": {"http://127.0.0.1:1", "DID NOT RUN", false},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "make", "vuln")
			cmd.Dir = root(t)
			cmd.Env = append(os.Environ(), "GOVULNDB="+test.database)
			said, err := cmd.CombinedOutput()
			if (err != nil) != test.fails || !strings.Contains(string(said), test.says) {
				t.Errorf("%v, want %q:\n%s", err, test.says, said)
			}
		})
	}
}
