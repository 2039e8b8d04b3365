package docs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// query is a PromQL expression and where it stands.
type query struct {
	Where string `json:"where"`
	Expr  string `json:"expr"`
}

// TestQueries holds the alerts and the dashboard against the metrics that the
// broker exports to a scraper who may read them, after it has granted, refused
// and revoked something.
func TestQueries(t *testing.T) {
	e := running(t)
	live(t, e)
	metrics := filepath.Join(t.TempDir(), "metrics")
	exposition := scrape(t, e)
	if err := os.WriteFile(metrics, exposition, 0o600); err != nil {
		t.Fatal(err)
	}

	var input bytes.Buffer
	encoder := json.NewEncoder(&input)
	encoder.SetEscapeHTML(false)
	for _, q := range append(alerts(t), panels(t)...) {
		if err := encoder.Encode(q); err != nil {
			t.Fatal(err)
		}
	}
	check := exec.Command("go", "run", ".", "-metrics", metrics, "-own", "access_broker_")
	check.Dir = filepath.Join(root, "test", "docs", "promql")
	check.Stdin = &input
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}

	// An alert that lists controllers lists all of them.
	for _, controller := range regexp.MustCompile(`controller_runtime_reconcile_total\{controller="([a-z]+)"`).FindAllSubmatch(exposition, -1) {
		for _, q := range alerts(t) {
			if list := regexp.MustCompile(`controller=~"([a-z|]+)"`).FindStringSubmatch(q.Expr); len(list) > 1 && !slices.Contains(strings.Split(list[1], "|"), string(controller[1])) {
				t.Errorf("the alert %s leaves out the controller %s", q.Where, controller[1])
			}
		}
	}

	page := read(t, "docs/operations.md")
	for _, help := range regexp.MustCompile(`(?m)^# TYPE (access_broker_\S+) (\S+)$`).FindAllSubmatch(exposition, -1) {
		row := fmt.Sprintf("| %#q | %s |", help[1], help[2])
		if !strings.Contains(page, row) {
			t.Errorf("docs/operations.md has no row %s", row)
		}
	}
	for _, name := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (?:counter|gauge|histogram) ").FindAllStringSubmatch(page, -1) {
		if !bytes.Contains(exposition, []byte("# TYPE "+name[1]+" ")) {
			t.Errorf("docs/operations.md tells of %s, which is not exported", name[1])
		}
	}
}

// TestAlertsAreOnThePage sees that operations.md names every alert.
func TestAlertsAreOnThePage(t *testing.T) {
	page := read(t, "docs/operations.md")
	for _, q := range alerts(t) {
		if !strings.Contains(page, "`"+q.Where+"`") {
			t.Errorf("docs/operations.md does not tell what to do about %s", q.Where)
		}
	}
}

// live lets one access expire, and denies another.
func live(t *testing.T, e *installed) {
	t.Helper()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	alice, bob := e.Person(t, "alice", "dev"), e.Person(t, "bob", "sre")
	short := func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: 2 * time.Second} }
	granted, denied := e.Ask(t, alice, ns, short), e.Ask(t, alice, ns, nil)
	for request, verdict := range map[*v1alpha1.AccessRequest]v1alpha1.Verdict{granted: v1alpha1.VerdictApprove, denied: v1alpha1.VerdictDeny} {
		e.WaitMatched(t, request)
		kit.MustDecide(t, bob, request, verdict)
	}
	e.WaitFor(t, granted, v1alpha1.RequestExpired)
	e.WaitFor(t, denied, v1alpha1.RequestDenied)
}

// scrape reads the metrics as Prometheus does, with the token of a
// ServiceAccount that holds access-broker-metrics-reader and nothing else.
func scrape(t *testing.T, e *installed) []byte {
	t.Helper()
	ns := e.NewNamespace(t, nil)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "prometheus"}}
	kit.Create(t, e.Admin, account)
	config, err := e.ServiceAccount(t.Context(), ns, account.Name)
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := kit.Scrape(t, e.metrics, config.BearerToken); status != http.StatusForbidden {
		t.Errorf("without the role the metrics answer %d", status)
	}
	if status, _ := kit.Scrape(t, e.metrics, ""); status != http.StatusUnauthorized {
		t.Errorf("without a token the metrics answer %d", status)
	}
	kit.Create(t, e.Admin, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "prometheus-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "access-broker-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: account.Name}},
	})
	// The broker remembers a refusal for a while, so this asks with another token.
	if config, err = e.ServiceAccount(t.Context(), ns, account.Name); err != nil {
		t.Fatal(err)
	}
	status, body := kit.Scrape(t, e.metrics, config.BearerToken)
	if status != http.StatusOK {
		t.Fatalf("the metrics answer %d: %s", status, body)
	}
	return []byte(body)
}

func alerts(t *testing.T) []query {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string } `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "config/monitoring/alerts.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	var out []query
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			out = append(out, query{rule.Alert, rule.Expr})
		}
	}
	if len(out) == 0 {
		t.Fatal("there are no alerts")
	}
	return out
}

func panels(t *testing.T) []query {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "config/monitoring/dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	var out []query
	for _, panel := range dashboard.Panels {
		if len(panel.Targets) == 0 {
			t.Errorf("panel %q shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			// What Grafana puts in, a duration.
			out = append(out, query{panel.Title, strings.ReplaceAll(target.Expr, "$__rate_interval", "5m")})
		}
	}
	return out
}
