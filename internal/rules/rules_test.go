package rules

import (
	"math/rand"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
)

// The kinds of risks in the table, the most dangerous first.
const (
	DoAnything              = "DoAnything"
	Escalate                = "Escalate"
	Impersonate             = "Impersonate"
	ChangeRBAC              = "ChangeRBAC"
	ChangeAdmission         = "ChangeAdmission"
	ControlNodes            = "ControlNodes"
	RunOnNodes              = "RunOnNodes"
	IssueCertificates       = "IssueCertificates"
	ExtendAPI               = "ExtendAPI"
	DeployAnything          = "DeployAnything"
	ChangeNodes             = "ChangeNodes"
	CreatePersistentVolumes = "CreatePersistentVolumes"
	ControlBroker           = "ControlBroker"
	ProvisionInfrastructure = "ProvisionInfrastructure"
	MintTokens              = "MintTokens"
	RunPods                 = "RunPods"
	RunWorkflows            = "RunWorkflows"
	RunWorkloads            = "RunWorkloads"
	RunPrivileged           = "RunPrivileged"
	ReadSecrets             = "ReadSecrets"
	SyncSecrets             = "SyncSecrets"
	CreateSecrets           = "CreateSecrets"
	RestoreBackups          = "RestoreBackups"
	Exec                    = "Exec"
	DebugPods               = "DebugPods"
	ChangeServiceAccounts   = "ChangeServiceAccounts"
	ChangeConfiguration     = "ChangeConfiguration"
	ReadVolumes             = "ReadVolumes"
	ReachPods               = "ReachPods"
	RedirectTraffic         = "RedirectTraffic"
	ChangeNetworkPolicies   = "ChangeNetworkPolicies"
	ObtainCertificates      = "ObtainCertificates"
	CollectTelemetry        = "CollectTelemetry"
	ChangeNamespaces        = "ChangeNamespaces"
	DeleteNamespaces        = "DeleteNamespaces"
	DestroyData             = "DestroyData"
	Persist                 = "Persist"
)

// rule allows verbs on resources of a group, on those of the names if given.
func rule(verbs, resources []string, group string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: verbs, APIGroups: []string{group}, Resources: resources, ResourceNames: names}
}

func words(words ...string) []string { return words }

// The roles that every cluster has, as of Kubernetes 1.36.
var (
	viewRole = []rbacv1.PolicyRule{
		rule(read, words("configmaps", "endpoints", "persistentvolumeclaims", "persistentvolumeclaims/status", "pods", "pods/log", "pods/status",
			"replicationcontrollers", "replicationcontrollers/scale", "replicationcontrollers/status", "serviceaccounts", "services", "services/status",
			"bindings", "events", "limitranges", "namespaces", "namespaces/status", "resourcequotas", "resourcequotas/status"), ""),
		rule(read, words("events"), "events.k8s.io"),
		rule(read, words("endpointslices"), "discovery.k8s.io"),
		rule(read, words("controllerrevisions", "daemonsets", "daemonsets/status", "deployments", "deployments/scale", "deployments/status",
			"replicasets", "replicasets/scale", "replicasets/status", "statefulsets", "statefulsets/scale", "statefulsets/status"), "apps"),
		rule(read, words("horizontalpodautoscalers", "horizontalpodautoscalers/status"), "autoscaling"),
		rule(read, words("cronjobs", "cronjobs/status", "jobs", "jobs/status"), "batch"),
		rule(read, words("poddisruptionbudgets", "poddisruptionbudgets/status"), "policy"),
		rule(read, words("ingresses", "ingresses/status", "networkpolicies"), "networking.k8s.io"),
		rule(read, words("resourceclaims", "resourceclaims/status", "resourceclaimtemplates"), "resource.k8s.io"),
	}
	editRole = slices.Concat(viewRole, []rbacv1.PolicyRule{
		rule(read, words("pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"), ""),
		rule(words("impersonate"), words("serviceaccounts"), ""),
		rule(write, words("pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"), ""),
		rule(words("create"), words("pods/eviction"), ""),
		rule(write, words("configmaps", "persistentvolumeclaims", "replicationcontrollers", "replicationcontrollers/scale", "secrets",
			"serviceaccounts", "services", "services/proxy", "events"), ""),
		rule(words("create"), words("serviceaccounts/token"), ""),
		rule(write, words("daemonsets", "deployments", "deployments/rollback", "deployments/scale", "replicasets", "replicasets/scale",
			"statefulsets", "statefulsets/scale"), "apps"),
		rule(write, words("horizontalpodautoscalers"), "autoscaling"),
		rule(write, words("cronjobs", "jobs"), "batch"),
		rule(write, words("poddisruptionbudgets"), "policy"),
		rule(write, words("ingresses", "networkpolicies"), "networking.k8s.io"),
		rule(slices.Concat(read, write), words("leases"), "coordination.k8s.io"),
		rule(write, words("resourceclaims", "resourceclaimtemplates"), "resource.k8s.io"),
	})
	adminRole = slices.Concat(editRole, []rbacv1.PolicyRule{
		rule(words("create"), words("localsubjectaccessreviews"), "authorization.k8s.io"),
		rule(slices.Concat(read, write), words("rolebindings", "roles"), "rbac.authorization.k8s.io"),
	})
	clusterAdminRole = []rbacv1.PolicyRule{
		rule(words("*"), words("*"), "*"),
		{Verbs: words("*"), NonResourceURLs: words("*")},
	}
)

// vocabulary is what fuzzed rules are made of: few words, so that rules overlap.
var vocabulary = struct{ verbs, groups, resources, names, urls []string }{
	verbs:     words("get", "list", "create", "patch", "delete", "*", "bind", "impersonate", "impersonate-on:user-info:get", "", "\u202e"),
	groups:    words("", "apps", "rbac.authorization.k8s.io", "*", "jit.accessbroker.dev", "argoproj.io", "policies.kyverno.io", "iam.aws.upbound.io", "example.com"),
	resources: words("pods", "pods/exec", "secrets", "roles", "serviceaccounts/token", "*", "*/exec", "pods/*", "deployments/scale", "*/scale", "accessgrants", "workflows", "widgets/finalizers", "/", ""),
	names:     words("a", "b", "*", "", "\n"),
	urls:      words("/metrics", "/api/*", "*", "/", ""),
}

// rulesFrom makes rules of fuzzed bytes: of every five, each picks up to three
// words of a vocabulary.
func rulesFrom(data []byte) []rbacv1.PolicyRule {
	pick := func(from []string, b byte) []string {
		var picked []string
		for range b % 4 {
			b = b*13 + 7
			picked = append(picked, from[int(b)%len(from)])
		}
		return picked
	}
	var rules []rbacv1.PolicyRule
	for chunk := range slices.Chunk(data, 5) {
		if len(chunk) < 5 || len(rules) == 12 {
			break
		}
		rules = append(rules, rbacv1.PolicyRule{
			Verbs:           pick(vocabulary.verbs, chunk[0]),
			APIGroups:       pick(vocabulary.groups, chunk[1]),
			Resources:       pick(vocabulary.resources, chunk[2]),
			ResourceNames:   pick(vocabulary.names, chunk[3]&1*chunk[3]),
			NonResourceURLs: pick(vocabulary.urls, chunk[4]&1*chunk[4]),
		})
	}
	return rules
}

// shuffled returns the same rules in another order, with some of them repeated.
func shuffled(rules []rbacv1.PolicyRule, random *rand.Rand) []rbacv1.PolicyRule {
	mix := func(items []string) []string {
		items = slices.Clone(items)
		if len(items) > 0 {
			items = append(items, items[random.Intn(len(items))])
		}
		random.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
		return items
	}
	var out []rbacv1.PolicyRule
	for _, rule := range rules {
		mixed := rbacv1.PolicyRule{
			Verbs: mix(rule.Verbs), APIGroups: mix(rule.APIGroups), Resources: mix(rule.Resources),
			ResourceNames: mix(rule.ResourceNames), NonResourceURLs: mix(rule.NonResourceURLs),
		}
		out = append(out, mixed)
		if random.Intn(2) == 0 {
			out = append(out, rule)
		}
	}
	random.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}
