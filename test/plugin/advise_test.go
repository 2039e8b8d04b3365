package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/test/kit"
)

// used is a call as a SubjectAccessReview asks for it, and its path in the log. named
// is what the log says of the name where the authorizer does not see it.
type used struct {
	authorizationv1.ResourceAttributes
	path  string
	named string
	code  int
}

// event is the call as the API server logs it.
func (u used) event(user string, n int) map[string]any {
	code := u.code
	if code == 0 {
		code = 200
	}
	e := map[string]any{
		"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": fmt.Sprint(n), "stage": "ResponseComplete",
		"verb": u.Verb, "requestURI": u.path, "user": map[string]any{"username": user}, "responseStatus": map[string]any{"code": code},
		"requestReceivedTimestamp": "2026-05-04T10:00:00.000000Z", "stageTimestamp": "2026-05-04T10:00:00.000000Z",
		"annotations": map[string]any{
			"authorization.k8s.io/decision": "allow",
			"authorization.k8s.io/reason":   `RBAC: allowed by ClusterRoleBinding "admins" of ClusterRole "cluster-admin" to Group "admins"`,
		},
	}
	if u.Resource != "" {
		e["objectRef"] = map[string]any{
			"resource": u.Resource, "subresource": u.Subresource, "apiGroup": u.Group, "namespace": u.Namespace, "name": u.Name + u.named, "apiVersion": "v1",
		}
	}
	return e
}

// What advise proposes, applied to a real cluster, allows every call of the log by the
// word of the API server itself, and does not allow others.
func TestAdvisedRolesAllowWhatWasUsed(t *testing.T) {
	t.Parallel()
	a, b := e.NewNamespace(t, nil), e.NewNamespace(t, nil)
	r := func(verb, group, resource, subresource, namespace, name string) used {
		return used{ResourceAttributes: authorizationv1.ResourceAttributes{Verb: verb, Group: group, Resource: resource, Subresource: subresource, Namespace: namespace, Name: name}}
	}
	created := r("create", "", "secrets", "", a, "")
	created.named, created.path = "made", "/api/v1/namespaces/"+a+"/secrets"
	applied := r("patch", "", "configmaps", "", a, "app")
	applied.code = 201
	calls := []used{
		r("get", "", "pods", "", a, "web"), r("list", "", "pods", "", a, ""), r("list", "", "pods", "", b, ""), r("watch", "", "secrets", "", a, "key"),
		r("get", "", "pods", "exec", a, "web"), r("create", "", "pods", "eviction", a, "web"), r("patch", "apps", "deployments", "scale", b, "api"),
		r("deletecollection", "batch", "jobs", "", b, ""), r("list", "", "nodes", "", "", ""), r("get", "", "nodes", "", "", "n1"),
		r("get", "", "namespaces", "", a, a), r("create", "", "serviceaccounts", "token", a, "ci"), created, applied,
		{ResourceAttributes: authorizationv1.ResourceAttributes{Verb: "get"}, path: "/metrics"},
	}
	var log strings.Builder
	out := json.NewEncoder(&log)
	user := "advised-" + a
	for i, call := range calls {
		if err := out.Encode(call.event(user, i)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte(log.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	proposal := admin.run(t, "advise", "--audit-log", path, "--user", user, "--bind", "user:"+user, "--name", user, "-o", "yaml").ok(t).out
	apply := e.Kubectl(admin.kubeconfig, "apply", "-f", "-")
	apply.Stdin = strings.NewReader(proposal)
	if out, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, proposal)
	}
	may := func(call used) bool {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user}}
		if call.Resource == "" {
			review.Spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Verb: call.Verb, Path: call.path}
		} else {
			review.Spec.ResourceAttributes = &call.ResourceAttributes
		}
		kit.Create(t, e.Admin, review)
		return review.Status.Allowed
	}
	needed := slices.Concat(calls, []used{r("create", "", "configmaps", "", a, "app"), r("create", "", "pods", "exec", a, "web")})
	kit.Eventually(t, "the last binding", func(context.Context) (bool, error) {
		return may(calls[len(calls)-1]) && may(calls[5]) && may(calls[6]), nil
	})
	for _, call := range needed {
		if !may(call) {
			t.Errorf("denied: %+v\n%s", call, proposal)
		}
	}
	for _, call := range []used{
		r("get", "", "pods", "", a, "db"), r("get", "", "pods", "", b, "web"), r("watch", "", "secrets", "", a, ""), r("list", "", "secrets", "", a, ""),
		r("create", "", "configmaps", "", a, ""), r("create", "", "pods", "exec", a, "db"), r("update", "apps", "deployments", "scale", b, "api"),
		r("patch", "apps", "deployments", "", b, "api"), r("delete", "batch", "jobs", "", b, "x"), r("deletecollection", "batch", "jobs", "", a, ""),
		r("get", "", "nodes", "", "", "n2"), r("list", "", "pods", "", "", ""), r("get", "", "namespaces", "", b, b), r("create", "", "secrets", "", b, ""),
		{ResourceAttributes: authorizationv1.ResourceAttributes{Verb: "get"}, path: "/metrics/slis"},
		{ResourceAttributes: authorizationv1.ResourceAttributes{Verb: "post"}, path: "/metrics"},
	} {
		if may(call) {
			t.Errorf("nobody used it, and it is allowed: %+v\n%s", call, proposal)
		}
	}
}

// The rules of the role come from the cluster, where there is one.
func TestAdviseReadsTheRole(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	call := used{ResourceAttributes: authorizationv1.ResourceAttributes{Verb: "list", Resource: "pods", Namespace: ns}}
	line, err := json.Marshal(call.event("alice", 1))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, line, 0o600); err != nil {
		t.Fatal(err)
	}
	admin.run(t, "advise", "--audit-log", path, "--role", "cluster-admin").
		ok(t, "In "+ns+":\n    list pods\n", "Never used of ClusterRole/cluster-admin as the cluster has it now: 1 of 2 permissions", "Used, but with a *")
	eve.run(t, "advise", "--audit-log", path, "--role", "cluster-admin").ok(t, "--role-file").not(t, "Never used of")
}

// What a person really did, as the API server logged it, is enough to do it again: the
// same commands, by somebody who holds the proposal and nothing else.
func TestAdviseFromRealCalls(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	somebody := func(name string) person {
		config, err := e.User(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := login(name, config)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first, second := "first-"+ns, "second-"+ns
	did, does := somebody(first), somebody(second)
	kit.Create(t, e.Admin, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "standing"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: first}},
	})
	kubectl := func(p person, command string) (string, error) {
		cmd := e.Kubectl(p.kubeconfig, strings.Fields(command)...)
		cmd.Stdin = strings.NewReader("{apiVersion: v1, kind: ConfigMap, metadata: {name: app, namespace: " + ns + "}, data: {a: b}}")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	commands := []string{
		"get pods -n " + ns, "get secrets -n " + ns + " --field-selector metadata.name=key", "create configmap made -n " + ns,
		"apply --server-side -f -", "get configmaps app -n " + ns, "label configmap app a=b -n " + ns, "create token default -n " + ns,
		"delete configmap made app -n " + ns, "auth can-i list pods -n " + ns, "get --raw /version", "delete pods --all -n " + ns,
	}
	kit.Eventually(t, "the standing binding", func(context.Context) (bool, error) {
		_, err := kubectl(did, commands[0])
		return err == nil, nil
	})
	for _, command := range commands {
		if out, err := kubectl(did, command); err != nil {
			t.Fatalf("kubectl %s: %v\n%s", command, err, out)
		}
	}
	if out, err := kubectl(did, "get nodes"); err == nil {
		t.Fatalf("a namespace's editor may list nodes: %s", out)
	}
	args := []string{"advise", "--audit-log", e.AuditLog(), "--user", first}
	admin.run(t, args...).ok(t, "by people: 1", "create configmaps in namespace "+ns+", on app", "list nodes\t\t1\t1")
	admin.run(t, append(args, "--role", "edit")...).ok(t, "Never used of ClusterRole/edit")
	proposal := admin.run(t, append(args, "-o", "yaml", "--bind", "user:"+second, "--name", second)...).ok(t).out
	apply := e.Kubectl(admin.kubeconfig, "apply", "-f", "-")
	apply.Stdin = strings.NewReader(proposal)
	if out, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, proposal)
	}
	kit.Eventually(t, "the proposed binding", func(context.Context) (bool, error) {
		_, err := kubectl(does, commands[0])
		return err == nil, nil
	})
	for _, command := range commands {
		if out, err := kubectl(does, command); err != nil {
			t.Errorf("kubectl %s: %v\n%s%s", command, err, out, proposal)
		}
	}
	for _, command := range []string{"get nodes", "get secrets -n " + ns, "get services -n " + ns, "get pods -A", "get configmaps -n " + ns, "create token other -n " + ns} {
		if out, err := kubectl(does, command); err == nil {
			t.Errorf("kubectl %s works, which nobody did: %s\n%s", command, out, proposal)
		}
	}
}

func TestAdviseHelp(t *testing.T) {
	t.Parallel()
	alice.run(t, "advise", "--help").ok(t, "Usage:\n  kubectl access advise", "Examples:", "--namespace", "generated-names")
	alice.run(t, "advise").ends(t, 1, "forbidden", "access-auditor")
	alice.run(t, "advise", "--binding", "a/b").ends(t, 1, "error: --binding looks into an audit log", "See 'kubectl access advise --help'.")
	alice.run(t, "__complete", "advise", "--widen", "reads,").ok(t, "reads,generated-names\nreads,writes\nreads,unknown-names\nreads,failed-names\n")
	alice.run(t, "__complete", "advise", "-o", "").ok(t, "yaml\njson\n")
	alice.run(t, "__complete", "advise", "--user", "").ok(t, ":4")
}
