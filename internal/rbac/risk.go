package rbac

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Risk is one thing that the holder of rules could do with them beyond what
// they say on the face of it.
type Risk struct {
	// Kind is one of the constants below.
	Kind string
	// Message is in plain words and completes "the holder could …". It is one
	// printable line of less than 1024 bytes.
	Message string
}

// Kinds of risks, the most dangerous first.
const (
	DoAnything              = "DoAnything"
	Escalate                = "Escalate"
	Impersonate             = "Impersonate"
	ChangeRBAC              = "ChangeRBAC"
	ChangeAdmission         = "ChangeAdmission"
	ControlNodes            = "ControlNodes"
	IssueCertificates       = "IssueCertificates"
	ExtendAPI               = "ExtendAPI"
	ChangeNodes             = "ChangeNodes"
	CreatePersistentVolumes = "CreatePersistentVolumes"
	ControlBroker           = "ControlBroker"
	MintTokens              = "MintTokens"
	RunPods                 = "RunPods"
	ReadSecrets             = "ReadSecrets"
	CreateSecrets           = "CreateSecrets"
	Exec                    = "Exec"
	DebugPods               = "DebugPods"
	ReachPods               = "ReachPods"
	ChangeNamespaces        = "ChangeNamespaces"
	DeleteNamespaces        = "DeleteNamespaces"
	Persist                 = "Persist"
)

// Risks says what the holder of the rules could do, the most dangerous first
// and each kind once. They are the risks of the rules wherever they hold: what
// is about nodes, say, or other things outside namespaces, comes to nothing
// when they are granted in a namespace. More rules never mean fewer risks.
func Risks(rules []rbacv1.PolicyRule) []Risk {
	var risks []Risk
	for _, p := range powers {
		if held, names := p.heldBy(rules); held {
			message := p.message
			if len(names) > 0 {
				message += ", limited to the names " + list(names)
			}
			risks = append(risks, Risk{Kind: p.kind, Message: message})
		}
	}
	return risks
}

// power is something that rules turn out to allow, and the paths to it.
type power struct {
	kind string
	// never is a power that is not grantable whatever a policy says.
	never   bool
	message string
	paths   []path
}

// path is a permission that gives a power: any of the verbs on any of the
// resources of the group, or on anything when it has none. A verb that ends in
// * stands for all that begin so.
type path struct {
	verbs     []string
	group     string
	resources []string
}

var (
	read    = []string{"get", "list", "watch"}
	change  = []string{"create", "update", "patch"}
	write   = []string{"create", "update", "patch", "delete", "deletecollection"}
	connect = []string{"get", "create", "update", "patch", "delete"} // by the method of the HTTP request
)

// Paths to more than one power.
var (
	runPods = []path{
		{change, "", []string{"pods", "replicationcontrollers"}},
		{change, "apps", []string{"deployments", "statefulsets", "daemonsets", "replicasets"}},
		{change, "batch", []string{"jobs", "cronjobs"}},
	}
	mintTokens    = []path{{[]string{"create"}, "", []string{"serviceaccounts/token"}}}
	createSecrets = []path{{[]string{"create"}, "", []string{"secrets"}}}
	changeRBAC    = []path{
		{write, "rbac.authorization.k8s.io", []string{"roles", "clusterroles", "rolebindings", "clusterrolebindings"}},
	}
	changeAdmission = []path{
		{write, "admissionregistration.k8s.io", []string{
			"validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations",
			"mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "mutatingwebhookconfigurations",
		}},
	}
	issueCertificates = []path{
		{[]string{"update", "patch"}, "certificates.k8s.io", []string{"certificatesigningrequests/approval", "certificatesigningrequests/status"}},
		{[]string{"approve", "sign", "attest"}, "certificates.k8s.io", []string{"signers"}},
	}
)

// powers are the well-known ways in which permissions become more than they
// seem, the most dangerous first. Most are those of
// https://kubernetes.io/docs/concepts/security/rbac-good-practices.
var powers = []power{
	{
		kind: DoAnything, message: "do everything there is to do: the rules allow every verb on every resource",
		paths: []path{{[]string{"*"}, "*", []string{"*"}}},
	},
	{
		kind: Escalate, never: true, message: "get any permission, by writing it into a role (escalate) or by binding a role that has it (bind)",
		paths: []path{{[]string{"escalate", "bind"}, "rbac.authorization.k8s.io", []string{"roles", "clusterroles"}}},
	},
	{
		// KEP-5284 splits the verb into impersonate:<mode> and
		// impersonate-on:<mode>:<verb>, the latter on any resource. The other
		// paths are for a rule with all verbs.
		kind: Impersonate, never: true, message: "act as other users, groups or ServiceAccounts, with all of their permissions",
		paths: []path{
			{verbs: []string{"impersonate*"}},
			{[]string{"impersonate"}, "", []string{"users", "groups", "serviceaccounts"}},
			{[]string{"impersonate"}, "authentication.k8s.io", []string{"users", "groups", "serviceaccounts", "nodes", "uids", "userextras"}},
		},
	},
	{
		kind: ChangeRBAC, never: true, message: "change who is allowed what, and pass on what they hold, beyond the end of their own access",
		paths: changeRBAC,
	},
	{
		kind: ChangeAdmission, never: true, message: "see and change what others write to the API, Secrets included, or take away the rules that admission enforces",
		paths: changeAdmission,
	},
	{
		// get is enough: the kubelet takes a websocket for an exec.
		kind: ControlNodes, never: true, message: "run commands in every pod of a node, past admission and the audit log",
		paths: []path{{connect, "", []string{"nodes/proxy"}}},
	},
	{
		kind: IssueCertificates, never: true, message: "issue client certificates in other names, which cannot be revoked",
		paths: issueCertificates,
	},
	{
		kind: ExtendAPI, message: "put a server of their own behind parts of the API, and see and change what passes through",
		paths: []path{
			{change, "apiextensions.k8s.io", []string{"customresourcedefinitions"}},
			{change, "apiregistration.k8s.io", []string{"apiservices"}},
		},
	},
	{
		kind: ChangeNodes, message: "draw other people's pods to a node of their choice, or pass off a machine of their own as a node",
		paths: []path{{change, "", []string{"nodes", "nodes/status"}}},
	},
	{
		kind: CreatePersistentVolumes, message: "read and write the files of the nodes, through a hostPath volume",
		paths: []path{{change, "", []string{"persistentvolumes"}}},
	},
	{
		kind: ControlBroker, never: true, message: "ask for, decide or rule over access through the broker itself",
		paths: []path{
			{write, v1alpha1.GroupVersion.Group, []string{
				"accessrequests", "accessrequests/status", "accesspolicies", "accesspolicies/status", "accessgrants", "accessgrants/status",
			}},
			// Its kinds are what these say they are, their schemas among it.
			{write, "apiextensions.k8s.io", []string{"customresourcedefinitions"}},
			{write, "apiregistration.k8s.io", []string{"apiservices"}},
		},
	},
	{
		kind: MintTokens, never: true, message: "make tokens of ServiceAccounts and act as them from anywhere",
		paths: mintTokens,
	},
	{
		kind: RunPods, message: "run pods as any ServiceAccount of the namespace, with all of its permissions, and mount any Secret there",
		paths: runPods,
	},
	{
		kind: ReadSecrets, message: "read the contents of Secrets, tokens of ServiceAccounts among them (list and watch show them as get does)",
		paths: []path{{read, "", []string{"secrets"}}},
	},
	{
		kind: CreateSecrets, message: "have a lasting token made for any ServiceAccount of the namespace, by a Secret of that type",
		paths: createSecrets,
	},
	{
		// get is enough before 1.35: a websocket is a GET.
		kind: Exec, message: "run commands in running pods, as their ServiceAccounts and with what is mounted there",
		paths: []path{{[]string{"get", "create"}, "", []string{"pods/exec", "pods/attach"}}},
	},
	{
		kind: DebugPods, message: "add containers of their own to running pods, as their ServiceAccounts and with what is mounted there",
		paths: []path{{[]string{"update", "patch"}, "", []string{"pods/ephemeralcontainers"}}},
	},
	{
		kind: ReachPods, message: "talk to the ports of pods and Services past network policies",
		paths: []path{
			{[]string{"get", "create"}, "", []string{"pods/portforward"}},
			{connect, "", []string{"pods/proxy", "services/proxy"}},
		},
	},
	{
		kind: ChangeNamespaces, message: "change the labels of namespaces, which Pod Security, network policies and access policies go by",
		paths: []path{{[]string{"update", "patch"}, "", []string{"namespaces"}}},
	},
	{
		kind: DeleteNamespaces, message: "delete namespaces with everything in them",
		paths: []path{{[]string{"delete", "deletecollection"}, "", []string{"namespaces"}}},
	},
	{
		kind: Persist, message: "leave behind workloads, credentials or permissions that work on when the access has ended",
		paths: slices.Concat(runPods, mintTokens, createSecrets, changeRBAC, changeAdmission, issueCertificates),
	},
}

// heldBy tells whether rules give the power, and the names that it is limited
// to when every rule that gives it is.
func (p power) heldBy(rules []rbacv1.PolicyRule) (held bool, names []string) {
	for _, rule := range rules {
		if !p.givenBy(rule) {
			continue
		}
		if len(rule.ResourceNames) == 0 {
			return true, nil
		}
		held = true
		names = append(names, rule.ResourceNames...)
	}
	return held, sorted(names)
}

func (p power) givenBy(rule rbacv1.PolicyRule) bool {
	return slices.ContainsFunc(p.paths, func(at path) bool { return at.openedBy(rule) })
}

func (p path) openedBy(rule rbacv1.PolicyRule) bool {
	if !slices.ContainsFunc(p.verbs, func(verb string) bool { return hasVerb(rule, verb) }) {
		return false
	}
	return p.resources == nil || hasGroup(rule, p.group) &&
		slices.ContainsFunc(p.resources, func(resource string) bool { return hasResource(rule, resource) })
}

// The three below match a rule as the API server's RBAC authorizer does.

func hasVerb(rule rbacv1.PolicyRule, verb string) bool {
	if prefix, ok := strings.CutSuffix(verb, "*"); ok && prefix != "" {
		return slices.ContainsFunc(rule.Verbs, func(v string) bool { return strings.HasPrefix(v, prefix) })
	}
	return slices.Contains(rule.Verbs, verb) || slices.Contains(rule.Verbs, rbacv1.VerbAll)
}

func hasGroup(rule rbacv1.PolicyRule, group string) bool {
	return slices.Contains(rule.APIGroups, group) || slices.Contains(rule.APIGroups, rbacv1.APIGroupAll)
}

// hasResource: */scale is the scale of every resource, while pods/* is nothing
// but itself.
func hasResource(rule rbacv1.PolicyRule, resource string) bool {
	if slices.Contains(rule.Resources, resource) || slices.Contains(rule.Resources, rbacv1.ResourceAll) {
		return true
	}
	_, subresource, ok := strings.Cut(resource, "/")
	return ok && slices.Contains(rule.Resources, "*/"+subresource)
}

// What of the words of a rule goes into a sentence.
const (
	shownItems = 3
	shownBytes = 100
)

var plain = regexp.MustCompile(`^[-A-Za-z0-9._:/*]{1,` + strconv.Itoa(shownBytes) + `}$`)

// list enumerates items for people: the first few, escaped where they are not
// plain, and how many more there are.
func list(items []string) string {
	shown := make([]string, 0, shownItems)
	for _, item := range items[:min(len(items), shownItems)] {
		switch {
		case plain.MatchString(item):
			shown = append(shown, item)
		case len(item) <= shownBytes/2:
			shown = append(shown, strconv.QuoteToASCII(item))
		default:
			shown = append(shown, strconv.QuoteToASCII(item[:shownBytes/2])+"…")
		}
	}
	text := strings.Join(shown, ", ")
	if more := len(items) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
