package refusal

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/accessbroker/accessbroker/internal/text"
)

const (
	nobody = "system:anonymous"
	rbac   = "rbac.authorization.k8s.io"
)

// What people have reported, of Kubernetes 1.7 to 1.33, GKE, EKS, AKS and OpenShift:
// the project and the issue in the name. Names that were private are made up.
func TestReports(t *testing.T) {
	for name, tc := range map[string]struct {
		output string
		want   []Right
	}{
		"flannel#1103": {
			`clusterroles.rbac.authorization.k8s.io "flannel" is forbidden: User "system:node:test" cannot get resource "clusterroles" in API group "rbac.authorization.k8s.io" at the cluster scope`,
			[]Right{{User: "system:node:test", Verb: "get", Group: rbac, Resource: "clusterroles", Name: "flannel"}},
		},
		"cloud-code-vscode#41, Kubernetes 1.11": {
			`Error from server (Forbidden): nodes is forbidden: User "kubernetes-view:x" cannot list nodes at the cluster scope`,
			[]Right{{User: "kubernetes-view:x", Verb: "list", Resource: "nodes"}},
		},
		"kube-state-metrics#1368, the role is not there": {
			`E0127 06:01:02.787670       1 reflector.go:156] pkg/mod/k8s.io/client-go@v0.0.0/tools/cache/reflector.go:108: Failed to list *v1.Endpoints: endpoints is forbidden: User "system:serviceaccount:monitor:kube-state-metrics" cannot list resource "endpoints" in API group "" at the cluster scope: RBAC: clusterrole.rbac.authorization.k8s.io "kube-state-metrics" not found
E0127 06:01:02.787718       1 reflector.go:156] pkg/mod/k8s.io/client-go@v0.0.0/tools/cache/reflector.go:108: Failed to list *v1.Pod: pods is forbidden: User "system:serviceaccount:monitor:kube-state-metrics" cannot list resource "pods" in API group "" at the cluster scope: RBAC: clusterrole.rbac.authorization.k8s.io "kube-state-metrics" not found
`,
			[]Right{
				{User: "system:serviceaccount:monitor:kube-state-metrics", Verb: "list", Resource: "endpoints"},
				{User: "system:serviceaccount:monitor:kube-state-metrics", Verb: "list", Resource: "pods"},
			},
		},
		"pdb-controller#31, in a log line": {
			`time="2019-11-25T16:30:34Z" level=error msg="namespaces is forbidden: User \"system:serviceaccount:kube-system:pdb-controller\" cannot list resource \"namespaces\" in API group \"\" at the cluster scope"`,
			[]Right{{User: "system:serviceaccount:kube-system:pdb-controller", Verb: "list", Resource: "namespaces"}},
		},
		"rudr#139, in a text of Rust": {
			`Error prechecking CRDs: ApiError Forbidden ("customresourcedefinitions.apiextensions.k8s.io \"operationalconfigurations.core.hydra.io\" is forbidden: User \"system:serviceaccount:default:scylla\" cannot get resource \"customresourcedefinitions\" in API group \"apiextensions.k8s.io\" at the cluster scope")`,
			[]Right{{User: "system:serviceaccount:default:scylla", Verb: "get", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions", Name: "operationalconfigurations.core.hydra.io"}},
		},
		"devlake-helm-chart#355, helm": {
			`Error: INSTALLATION FAILED: Unable to continue with install: could not get information about the resource ClusterRole "devlake-grafana-clusterrole" in namespace "": clusterroles.rbac.authorization.k8s.io "devlake-grafana-clusterrole" is forbidden: User "alice" cannot get resource "clusterroles" in API group "rbac.authorization.k8s.io" at the cluster scope`,
			[]Right{{User: "alice", Verb: "get", Group: rbac, Resource: "clusterroles", Name: "devlake-grafana-clusterrole"}},
		},
		"airflow#37795, GKE, JSON": {
			`HTTP response body: {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods is forbidden: User \"784361991\" cannot create resource \"pods\" in API group \"\" in the namespace \"staging\": requires one of [\"container.pods.create\"] permission(s).","reason":"Forbidden","details":{"kind":"pods"},"code":403}`,
			[]Right{{User: "784361991", Verb: "create", Resource: "pods", Namespace: "staging"}},
		},
		"dashboard#2583, Kubernetes 1.7": {
			`User "system:serviceaccount:kube-system:default" cannot list pods in the namespace "default".: "Unknown user \"system:serviceaccount:kube-system:default\"" (get pods)`,
			[]Right{{User: "system:serviceaccount:kube-system:default", Verb: "list", Resource: "pods", Namespace: "default"}},
		},
		"k8s-kubectl#67, kubectl apply": {
			"Error from server (Forbidden): error when retrieving current configuration of:\n&{0xc4200f69c0 0xc4202159d0 gitlab helloFormGitlab deployment.yml 0xc420f61b90  false}\n" +
				`from server for: "deployment.yml": deployments.apps "helloFormGitlab" is forbidden: User "system:serviceaccount:gitlab:default" cannot get deployments.apps in the namespace "gitlab"`,
			[]Right{{User: "system:serviceaccount:gitlab:default", Verb: "get", Group: "apps", Resource: "deployments", Name: "helloFormGitlab", Namespace: "gitlab"}},
		},
		"kube-notary#12, OpenShift": {
			`Error getting pods: pods is forbidden: User \"system:serviceaccount:test:kube-notary\" cannot list pods at the cluster scope: no RBAC policy matched"`,
			[]Right{{User: "system:serviceaccount:test:kube-notary", Verb: "list", Resource: "pods"}},
		},
		"perceptor#53, OpenShift 3.7, says it twice": {
			`Failed to list *v1.Pod: User "system:serviceaccount:bds-perceptor:openshift-perceiver" cannot list pods at the cluster scope: User "system:serviceaccount:bds-perceptor:openshift-perceiver" cannot list all pods in the cluster (get pods)`,
			[]Right{{User: "system:serviceaccount:bds-perceptor:openshift-perceiver", Verb: "list", Resource: "pods"}},
		},
		"vscode-kubernetes-tools#713, nobody is named": {
			`Error from server (Forbidden): namespaces is forbidden: User cannot list namespaces at the cluster scope: no RBAC policy matched`, nil,
		},
		"kapp#71": {
			`Pod watching error: pods is forbidden: User "devop.zombie@enterprise.com" cannot list resource "pods" in API group "" at the cluster scope`,
			[]Right{{User: "devop.zombie@enterprise.com", Verb: "list", Resource: "pods"}},
		},
		"pipedash#13, twice in one line, quoted and not": {
			`Failed to validate credentials: API error: ApiError: namespaces is forbidden: User "foo" cannot list resource "namespaces" in API group "" at the cluster scope: Forbidden (ErrorResponse { status: "Failure", message: "namespaces is forbidden: User \"foo\" cannot list resource \"namespaces\" in API group \"\" at the cluster scope", reason: "Forbidden", code: 403 })`,
			[]Right{{User: "foo", Verb: "list", Resource: "namespaces"}},
		},
		"lens#950, exec by get": {
			`Error from server (Forbidden): pods "demo-6888488647-2zc4k" is forbidden: User "267596194370097065" cannot get resource "pods/exec" in API group "" in the namespace "demo"`,
			[]Right{{User: "267596194370097065", Verb: "get", Resource: "pods/exec", Name: "demo-6888488647-2zc4k", Namespace: "demo"}},
		},
		"triggermesh/tm#49, Kubernetes 1.11, exec": {
			`2018/12/07 23:21:45 pods "onetwothree-bar-00002-2sd5z" is forbidden: User "system:serviceaccount:sebgoa:default" cannot create pods/exec in the namespace "sebgoa"`,
			[]Right{{User: "system:serviceaccount:sebgoa:default", Verb: "create", Resource: "pods/exec", Name: "onetwothree-bar-00002-2sd5z", Namespace: "sebgoa"}},
		},
		"kubernetes#117035, a path": {
			`  "message": "forbidden: User \"system:anonymous\" cannot get path \"/metrics\"",`,
			[]Right{{User: nobody, Verb: "get", Path: "/metrics"}},
		},
		"follow-me-install-kubernetes-cluster#259, an aggregated API": {
			`Error from server (Forbidden): nodes.metrics.k8s.io is forbidden: User "aggregator" cannot list nodes.metrics.k8s.io at the cluster scope.`,
			[]Right{{User: "aggregator", Verb: "list", Group: "metrics.k8s.io", Resource: "nodes"}},
		},
		"hardeneks#2, EKS, wrapped by the terminal": {
			"\"namespaces is forbidden: User \\\"system:anonymous\\\" cannot list resource \\\"namespaces\\\" in API group \\\"\\\" at the cluster\nscope\",\"reason\":\"Forbidden\"",
			[]Right{{User: nobody, Verb: "list", Resource: "namespaces"}},
		},
		"terraform-aws-eks#3016, EKS, helm": {
			`Error: UPGRADE FAILED: could not get information about the resource: servicemonitors.monitoring.coreos.com "dev-preview-monitor" is forbidden: User "arn:aws:sts::9260:assumed-role/eks-devs/EKSGetTokenAuth" cannot get resource "servicemonitors" in API group "monitoring.coreos.com" in the namespace "dev-preview"`,
			[]Right{{User: "arn:aws:sts::9260:assumed-role/eks-devs/EKSGetTokenAuth", Verb: "get", Group: "monitoring.coreos.com", Resource: "servicemonitors", Name: "dev-preview-monitor", Namespace: "dev-preview"}},
		},
		"eks-anywhere#889, impersonation": {
			`users "admin" is forbidden: User "system:serviceaccount:eks-connector:eks-connector" cannot impersonate resource "users" in API group "" at the cluster scope. `,
			[]Right{{User: "system:serviceaccount:eks-connector:eks-connector", Verb: "impersonate", Resource: "users", Name: "admin"}},
		},
		"metalbear-co#2152, AKS, quoted three times": {
			`ApiError: userextras.authentication.k8s.io \\\"0cc8e575\\\" is forbidden: User \\\"system:serviceaccount:mirror:operator\\\" cannot impersonate resource \\\"userextras/oid\\\" in API group \\\"authentication.k8s.io\\\" at the cluster scope: Azure does not have opinion for this user.`,
			[]Right{{User: "system:serviceaccount:mirror:operator", Verb: "impersonate", Group: "authentication.k8s.io", Resource: "userextras/oid", Name: "0cc8e575"}},
		},
		"kubectl#1026, a kubelet refuses": {
			`error: unable to upgrade connection: Forbidden (user=system:anonymous, verb=get, resource=nodes, subresource=proxy)`, nil,
		},
		"OpenShift 3, a project": {
			`Error from server (Forbidden): User "developer" cannot list deploymentconfigs.apps.openshift.io in project "payments"`,
			[]Right{{User: "developer", Verb: "list", Group: "apps.openshift.io", Resource: "deploymentconfigs", Namespace: "payments"}},
		},
		"colours of klog around it": {
			"\x1b[31mError from server (Forbidden)\x1b[0m: \x1b[1mpods \"x\" is forbidden: User \"alice\" cannot delete resource \"pods\" in API group \"\" in the namespace \"payments\"\x1b[0m\r\n",
			[]Right{{User: "alice", Verb: "delete", Resource: "pods", Name: "x", Namespace: "payments"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Parse(tc.output); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%+v\nwant %+v", got, tc.want)
			}
		})
	}
}

// What refuses for other reasons, and what asks for more than a call can be.
func TestNotTaken(t *testing.T) {
	const message = `User "alice" cannot get resource "secrets" in API group "" in the namespace "payments"`
	for name, output := range map[string]string{
		"an admission webhook":         `Error from server (Forbidden): error when creating "x.yaml": admission webhook "validate.kyverno.svc-fail" denied the request: ` + message,
		"an admission policy":          `The pods "x" is invalid: : ValidatingAdmissionPolicy 'p' with binding 'b' denied request: ` + message,
		"a quota":                      `Error from server (Forbidden): pods "x" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=2, limited: pods=2`,
		"Pod Security":                 `Error from server (Forbidden): pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false`,
		"SecurityContextConstraints":   `pods "x" is forbidden: unable to validate against any security context constraint: []`,
		"a namespace that ends":        `Error from server (Forbidden): pods "x" is forbidden: unable to create new content in namespace payments because it is being terminated`,
		"a role that is too much":      `roles.rbac.authorization.k8s.io "x" is forbidden: user "alice" (groups=["dev"]) is attempting to grant RBAC permissions not currently held: {APIGroups:[""], Resources:["pods"], Verbs:["get"]}`,
		"not known":                    `error: You must be logged in to the server (Unauthorized)`,
		"old, without words":           `Error from server (Forbidden): the server does not allow access to the requested resource`,
		"all verbs":                    `User "alice" cannot * resource "pods" in API group "" in the namespace "payments"`,
		"all resources":                `pods is forbidden: User "alice" cannot get resource "*" in API group "" in the namespace "payments"`,
		"all subresources":             `User "alice" cannot get resource "pods/*" in API group "" in the namespace "payments"`,
		"all groups":                   `User "alice" cannot get resource "pods" in API group "*" in the namespace "payments"`,
		"all names":                    `pods "*" is forbidden: User "alice" cannot get resource "pods" in API group "" in the namespace "payments"`,
		"all paths":                    `User "alice" cannot get path "/*"`,
		"all, as before":               `User "alice" cannot get *.* in the namespace "payments"`,
		"a list of names":              `pods "a,b" is forbidden: User "alice" cannot get resource "pods" in API group "" in the namespace "payments"`,
		"a namespace that is none":     `User "alice" cannot get resource "pods" in API group "" in the namespace "a b"`,
		"a terminal's escape":          "pods \"\x1b[2J\" is forbidden: User \"alice\" cannot get resource \"pods\" in API group \"\" in the namespace \"payments\"",
		"an escape that %q wrote":      `pods "\x1b[2J" is forbidden: User "alice" cannot get resource "pods" in API group "" in the namespace "payments"`,
		"text that turns":              "User \"al\u202eice\" cannot get resource \"pods\" in API group \"\" in the namespace \"payments\"",
		"a name that nobody can read":  "pods \"a\u200bb\" is forbidden: User \"alice\" cannot get resource \"pods\" in API group \"\" in the namespace \"payments\"",
		"no user":                      `User "" cannot get resource "pods" in API group "" in the namespace "payments"`,
		"a name that is far too long":  `pods "` + strings.Repeat("x", 300) + `" is forbidden: ` + `User "alice" cannot get resource "pods" in API group "" in the namespace "payments"`,
		"a message that was cut short": `pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace "pay`,
	} {
		t.Run(name, func(t *testing.T) {
			if got := Parse(output); got != nil {
				t.Errorf("%+v", got)
			}
		})
	}
}

// However much is said, little is read of it, and the last counts.
func TestMuchOutput(t *testing.T) {
	line := func(name string) string {
		return `pods "` + name + `" is forbidden: User "alice" cannot get resource "pods" in API group "" in the namespace "payments"` + "\n"
	}
	var many strings.Builder
	for i := range 3 * MaxRights {
		many.WriteString(line("x" + strings.Repeat("y", i)))
	}
	if got := Parse(many.String()); len(got) != MaxRights {
		t.Errorf("%d rights", len(got))
	}
	if got := Parse(line("first") + strings.Repeat("z", maxOutput) + line("last")); len(got) != 1 || got[0].Name != "last" {
		t.Errorf("%+v", got)
	}
}

func TestRules(t *testing.T) {
	for _, tc := range []struct {
		right Right
		want  string
	}{
		{Right{Verb: "delete", Resource: "pods", Name: "x", Namespace: "a"}, "delete pods x"},
		{Right{Verb: "create", Resource: "pods", Name: "x"}, "create pods"},
		{Right{Verb: "create", Resource: "pods/exec", Name: "x"}, "create pods/exec x"},
		{Right{Verb: "deletecollection", Group: "apps", Resource: "deployments", Name: "x"}, "deletecollection deployments.apps"},
		{Right{Verb: "list", Resource: "secrets", Name: "x"}, "list secrets x"},
		{Right{Verb: "get", Path: "/metrics"}, "get /metrics"},
	} {
		if got := Lines(Rules([]Right{tc.right})); !slices.Equal(got, []string{tc.want}) {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}

func TestByPlace(t *testing.T) {
	for name, tc := range map[string]struct {
		rights []Right
		want   []string
	}{
		"nothing": {nil, nil},
		"one namespace, one rule": {
			[]Right{{Verb: "get", Resource: "pods", Namespace: "a"}, {Verb: "list", Resource: "pods", Namespace: "a"}},
			[]string{"get,list pods in namespace a"},
		},
		"the same right in two namespaces stays two": {
			[]Right{{Verb: "get", Resource: "pods", Namespace: "b"}, {Verb: "get", Resource: "pods", Namespace: "a"}},
			[]string{"get pods in namespace b", "get pods in namespace a"},
		},
		"a namespace and the cluster, mixed up": {
			[]Right{
				{Verb: "get", Path: "/metrics"},
				{Verb: "delete", Resource: "pods", Name: "x", Namespace: "a"},
				{Verb: "list", Group: "apps", Resource: "deployments"},
				{Verb: "get", Resource: "secrets", Namespace: "a"},
			},
			[]string{
				"list deployments.apps; get /metrics in the whole cluster",
				"delete pods x; get secrets in namespace a",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			var kept int
			for _, place := range ByPlace(tc.rights) {
				got = append(got, place.String())
				kept += len(place.Rights)
				for _, r := range place.Rights {
					if r.Namespace != place.Namespace {
						t.Errorf("%+v is among what is missing in %q", r, place.Namespace)
					}
				}
			}
			if !slices.Equal(got, tc.want) || kept != len(tc.rights) {
				t.Errorf("%q, %d rights; want %q, %d", got, kept, tc.want, len(tc.rights))
			}
		})
	}
}

func TestRightSaysWhere(t *testing.T) {
	for want, r := range map[string]Right{
		"create pods/exec x in namespace a":          {Verb: "create", Resource: "pods/exec", Name: "x", Namespace: "a"},
		"list deployments.apps in the whole cluster": {Verb: "list", Group: "apps", Resource: "deployments"},
		"get /metrics in the whole cluster":          {Verb: "get", Path: "/metrics"},
	} {
		if got := r.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Whatever a program prints, what comes of it is bounded, can be shown as it is, and
// means no more than single calls.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`pods "x" is forbidden: User "alice" cannot delete resource "pods" in API group "" in the namespace "payments"`,
		`User \"a\" cannot get path \"/metrics\"`,
		`User "a" cannot list pods.x/y in project "b": User "a" cannot create pods/exec at the cluster scope`,
		"\x1b[31m\"\u202e\" is forbidden: User \"\\\\\\\"\" cannot * resource \"*\" in API group \"*\" at the\tcluster\nscope",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, output string) {
		found := Parse(output)
		if len(found) > MaxRights {
			t.Fatalf("%d rights", len(found))
		}
		for _, r := range found {
			for _, s := range []string{r.User, r.Verb, r.Group, r.Resource, r.Name, r.Namespace, r.Path} {
				if s != text.Visible(s) || len(s) > 1024 || strings.ContainsAny(s, "\n\r\t") {
					t.Errorf("%q is not safe to show", s)
				}
			}
			if all := r.Verb + r.Group + r.Resource + r.Name + r.Namespace + r.Path; strings.Contains(all, "*") {
				t.Errorf("%+v has a wildcard", r)
			}
			if lines := Lines(Rules([]Right{r})); len(lines) != 1 {
				t.Errorf("%+v is %q", r, lines)
			}
		}
	})
}
