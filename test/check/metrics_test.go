package check

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/test/kit"
)

// The metrics are those of the page, the alerts use no other, and none tells who asked
// for what.
func TestMetrics(t *testing.T) {
	t.Parallel()
	outside.answer(roster("metrics-fails"), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	waits(t, asks(t, "gauge@example.com", scene(t, "roster"), "metrics-fails"), "CheckFailed", "answered 502")
	kit.Create(t, e.Admin, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "scraper"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "access-broker-metrics-reader"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: "default"}},
	})
	if status, _ := kit.Scrape(t, metricsAt, ""); status != http.StatusUnauthorized {
		t.Errorf("nobody scrapes: %d", status)
	}
	account, err := e.ServiceAccount(t.Context(), "default", "default")
	if err != nil {
		t.Fatal(err)
	}
	status, page := kit.Scrape(t, metricsAt, account.BearerToken)
	if status != http.StatusOK {
		t.Fatalf("%d: %s", status, page)
	}
	for _, want := range []string{`access_checker_failing_requests{check="roster"} `, `access_checker_asked_total{check="roster",result="Failed"} `, "access_checker_config_valid 1", `access_checker_waiting_requests{check="jira"} `} {
		if !strings.Contains(page, want) {
			t.Errorf("there is no %s", want)
		}
	}
	if strings.Contains(page, "gauge@example.com") || strings.Contains(page, "metrics-fails") {
		t.Error("a metric tells who asked for what")
	}
	read := func(path ...string) string {
		content, err := os.ReadFile(filepath.Join(append([]string{e.Root}, path...)...))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	doc := read("docs", "checks.md")
	exported := regexp.MustCompile(`(?m)^# TYPE (access_checker_\S+) (\S+)$`).FindAllStringSubmatch(page, -1)
	for _, m := range exported {
		if !strings.Contains(doc, "| `"+m[1]+"` | "+m[2]+" |") {
			t.Errorf("docs/checks.md has no row for %s, a %s", m[1], m[2])
		}
	}
	if rows := len(regexp.MustCompile("\\| `access_checker_").FindAllString(doc, -1)); rows != len(exported) {
		t.Errorf("the page has %d metrics, the checker %d", rows, len(exported))
	}
	for _, name := range regexp.MustCompile(`access_checker_\w+`).FindAllString(read("config", "monitoring", "checks.yaml"), -1) {
		if !strings.Contains(page, "# TYPE "+name+" ") {
			t.Errorf("an alert uses %s, which is not exported", name)
		}
	}
	for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(read("config", "monitoring", "checks.yaml"), -1) {
		if !strings.Contains(read("docs", "operations.md"), "| `"+m[1]+"` |") {
			t.Errorf("docs/operations.md does not say what to do about %s", m[1])
		}
	}
}
