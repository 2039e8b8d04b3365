package docs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

var (
	link    = regexp.MustCompile(`\[[^\]]*\]\(([^)]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fenced  = regexp.MustCompile("(?s)\n```.*?\n```")
)

// TestLinks follows every link within the repository, to its heading.
func TestLinks(t *testing.T) {
	for _, page := range pages(t) {
		for _, found := range link.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, page), ""), -1) {
			target, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s links to %s, which is not there", page, found[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(t, file), anchor) {
				t.Errorf("%s links to %s, which has no such heading", page, found[1])
			}
		}
	}
}

// anchors of a page's headings, as they are made on the web.
func anchors(t *testing.T, page string) []string {
	t.Helper()
	var out []string
	for _, h := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, page), ""), -1) {
		out = append(out, strings.ReplaceAll(regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-"))
	}
	return out
}

// TestOperations runs the commands of the page; one of them ends all access.
func TestOperations(t *testing.T) {
	e := running(t)
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Approvals[0].Count, s.ClusterScope = ptr.To[int32](0), v1alpha1.ClusterScopeAllowed
	})
	alice := e.Person(t, "alice", "dev")
	inside, everywhere := e.Ask(t, alice, ns, nil), e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Scope = &v1alpha1.Scope{Cluster: &v1alpha1.ClusterScope{}}
	})
	e.WaitFor(t, inside, v1alpha1.RequestActive)
	e.WaitFor(t, everywhere, v1alpha1.RequestActive)
	if !kit.Can(t, alice, ns) {
		t.Fatal("alice has no access")
	}
	commandsOf(t, e, "docs/operations.md")
	for _, request := range []*v1alpha1.AccessRequest{inside, everywhere} {
		e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndBindingTouched)
	}
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
}

var auditRow = regexp.MustCompile("(?m)^\\| ((?:`\\w+`(?:, )?)+) \\| (both|request|grant) \\|")

// TestAuditLog compares the fields of the audit log with those that
// operations.md lists.
func TestAuditLog(t *testing.T) {
	e := running(t)
	live(t, e)
	documented := map[string][]string{}
	for _, row := range auditRow.FindAllStringSubmatch(read(t, "docs/operations.md"), -1) {
		for _, field := range regexp.MustCompile(`\w+`).FindAllString(row[1], -1) {
			if row[2] != "grant" {
				documented["AccessRequest"] = append(documented["AccessRequest"], field)
			}
			if row[2] != "request" {
				documented["AccessGrant"] = append(documented["AccessGrant"], field)
			}
		}
	}
	events(t, e)
	content, err := os.ReadFile(e.audit)
	if err != nil {
		t.Fatal(err)
	}
	logged := map[string][]string{}
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		var entry map[string]any
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		kind, _ := entry["kind"].(string)
		for field := range entry {
			if !slices.Contains(logged[kind], field) {
				logged[kind] = append(logged[kind], field)
			}
		}
	}
	for kind, fields := range documented {
		slices.Sort(fields)
		slices.Sort(logged[kind])
		if !slices.Equal(fields, logged[kind]) {
			t.Errorf("%s: the page lists\n%q\nand the log has\n%q", kind, fields, logged[kind])
		}
	}
	if len(logged) != 2 || len(documented) != 2 {
		t.Errorf("logged are %d kinds, documented %d", len(logged), len(documented))
	}
}

// events waits for those of a grant in the namespace that the page names.
func events(t *testing.T, e *installed) {
	t.Helper()
	kit.Eventually(t, "an event that tells of the end of a grant in namespace default", func(ctx context.Context) (bool, error) {
		list := &eventsv1.EventList{}
		err := e.Admin.List(ctx, list, client.InNamespace(metav1.NamespaceDefault))
		return slices.ContainsFunc(list.Items, func(event eventsv1.Event) bool {
			return event.Regarding.Kind == "AccessGrant" && event.Reason == "Ended"
		}), err
	})
}

// TestEndReasons sees that concepts.md tells of every end and every phase that
// the API knows.
func TestEndReasons(t *testing.T) {
	page := read(t, "docs/concepts.md")
	source := read(t, "api/v1alpha1/accessgrant_types.go") + read(t, "api/v1alpha1/accessrequest_types.go")
	constants := regexp.MustCompile(`(?m)(?:EndReason|RequestPhase) = "(\w+)"$`).FindAllStringSubmatch(source, -1)
	if len(constants) < 20 {
		t.Fatalf("only %d constants are found", len(constants))
	}
	for _, c := range constants {
		if !strings.Contains(page, "`"+c[1]+"`") {
			t.Errorf("docs/concepts.md does not tell of %s", c[1])
		}
	}
}

// TestChecker runs the tests of the module beside this one.
func TestChecker(t *testing.T) {
	cmd := exec.Command("go", "test", "./...")
	cmd.Dir = filepath.Join(root, "test", "docs", "promql")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
