package rules

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
)

func kinds(risks []Risk) []string {
	var out []string
	for _, risk := range risks {
		out = append(out, risk.Kind)
	}
	return out
}

func TestRisks(t *testing.T) {
	const (
		rbacGroup = "rbac.authorization.k8s.io"
		admission = "admissionregistration.k8s.io"
		certs     = "certificates.k8s.io"
		authn     = "authentication.k8s.io"
		broker    = "jit.accessbroker.dev"
	)
	for name, test := range map[string]struct {
		rule rbacv1.PolicyRule
		want []string
	}{
		"create pods":                  {rule(words("create"), words("pods"), ""), words(RunPods, Persist)},
		"patch pods":                   {rule(words("patch"), words("pods"), ""), words(RunPods, Persist)},
		"delete pods":                  {rule(words("delete", "deletecollection"), words("pods"), ""), nil},
		"read pods":                    {rule(read, words("pods", "pods/log"), ""), nil},
		"evict pods":                   {rule(words("create"), words("pods/eviction"), ""), nil},
		"deployments":                  {rule(words("create"), words("deployments"), "apps"), words(RunPods, Persist)},
		"statefulsets":                 {rule(words("update"), words("statefulsets"), "apps"), words(RunPods, Persist)},
		"daemonsets":                   {rule(words("patch"), words("daemonsets"), "apps"), words(RunPods, Persist)},
		"replicasets":                  {rule(words("create"), words("replicasets"), "apps"), words(RunPods, Persist)},
		"replicationcontrollers":       {rule(words("create"), words("replicationcontrollers"), ""), words(RunPods, Persist)},
		"jobs":                         {rule(words("create"), words("jobs"), "batch"), words(RunPods, Persist)},
		"cronjobs":                     {rule(words("create"), words("cronjobs"), "batch"), words(RunPods, Persist)},
		"podtemplates":                 {rule(write, words("podtemplates"), ""), nil},
		"scale":                        {rule(words("update"), words("deployments/scale"), "apps"), nil},
		"deployments of a wrong group": {rule(write, words("deployments"), ""), nil},
		"any workload of apps":         {rule(words("create"), words("*"), "apps"), words(RunPods, Persist)},
		"any verb on jobs":             {rule(words("*"), words("jobs"), "batch"), words(RunPods, Persist)},
		"jobs of any group":            {rule(words("create"), words("jobs"), "*"), words(RunPods, RunWorkloads, WriteUnknownKinds, Persist)},

		"get secrets":          {rule(words("get"), words("secrets"), ""), words(ReadSecrets)},
		"list secrets":         {rule(words("list"), words("secrets"), ""), words(ReadSecrets)},
		"watch secrets":        {rule(words("watch"), words("secrets"), ""), words(ReadSecrets)},
		"create secrets":       {rule(words("create"), words("secrets"), ""), words(CreateSecrets, Persist)},
		"update secrets":       {rule(words("update"), words("secrets"), ""), words(ChangeConfiguration)},
		"patch secrets":        {rule(words("patch"), words("secrets"), ""), words(ReadSecrets, ChangeConfiguration)},
		"delete secrets":       {rule(words("delete"), words("secrets"), ""), words(ReadSecrets)},
		"delete all secrets":   {rule(words("deletecollection"), words("secrets"), ""), words(ReadSecrets)},
		"write configmaps":     {rule(slices.Concat(read, write), words("configmaps"), ""), words(ChangeConfiguration)},
		"delete configmaps":    {rule(destroy, words("configmaps"), ""), nil},
		"mint tokens":          {rule(words("create"), words("serviceaccounts/token"), ""), words(MintTokens, Persist)},
		"mint by */token":      {rule(words("create"), words("*/token"), ""), words(MintTokens, Persist)},
		"get tokens":           {rule(words("get"), words("serviceaccounts/token"), ""), nil},
		"serviceaccounts":      {rule(write, words("serviceaccounts"), ""), words(ChangeServiceAccounts)},
		"serviceaccounts/*":    {rule(words("*"), words("serviceaccounts/*"), ""), nil},
		"exec":                 {rule(words("create"), words("pods/exec"), ""), words(Exec)},
		"exec by get":          {rule(words("get"), words("pods/exec"), ""), words(Exec)},
		"exec by */exec":       {rule(words("create"), words("*/exec"), ""), words(Exec)},
		"exec by pods/*":       {rule(words("create"), words("pods/*"), ""), nil},
		"attach":               {rule(words("create"), words("pods/attach"), ""), words(Exec)},
		"portforward":          {rule(words("create"), words("pods/portforward"), ""), words(ReachPods)},
		"proxy":                {rule(words("patch"), words("services/proxy"), ""), words(ReachPods)},
		"debug":                {rule(words("patch"), words("pods/ephemeralcontainers"), ""), words(DebugPods)},
		"look at debug":        {rule(words("get"), words("pods/ephemeralcontainers"), ""), nil},
		"nodes/proxy":          {rule(words("get"), words("nodes/proxy"), ""), words(ControlNodes)},
		"*/proxy":              {rule(words("get"), words("*/proxy"), ""), words(ControlNodes, ReachPods)},
		"nodes/metrics":        {rule(words("get"), words("nodes/metrics", "nodes/log", "nodes"), ""), nil},
		"patch nodes":          {rule(words("patch"), words("nodes"), ""), words(ChangeNodes)},
		"nodes/status":         {rule(words("update"), words("nodes/status"), ""), words(ChangeNodes)},
		"persistent volumes":   {rule(words("create"), words("persistentvolumes"), ""), words(CreatePersistentVolumes, ReadVolumes)},
		"claims":               {rule(write, words("persistentvolumeclaims"), ""), words(DestroyData)},
		"label namespaces":     {rule(words("patch"), words("namespaces"), ""), words(ChangeNamespaces)},
		"delete namespaces":    {rule(words("delete"), words("namespaces"), ""), words(DeleteNamespaces)},
		"create namespaces":    {rule(words("create"), words("namespaces"), ""), nil},
		"crds":                 {rule(words("create"), words("customresourcedefinitions"), "apiextensions.k8s.io"), words(ExtendAPI, ControlBroker)},
		"apiservices":          {rule(words("patch"), words("apiservices"), "apiregistration.k8s.io"), words(ExtendAPI, ControlBroker)},
		"read crds":            {rule(read, words("customresourcedefinitions"), "apiextensions.k8s.io"), nil},
		"roles":                {rule(words("update"), words("roles"), rbacGroup), words(ChangeRBAC, Persist)},
		"clusterroles":         {rule(words("patch"), words("clusterroles"), rbacGroup), words(ChangeRBAC, Persist)},
		"rolebindings":         {rule(words("create"), words("rolebindings"), rbacGroup), words(ChangeRBAC, Persist)},
		"clusterrolebindings":  {rule(words("delete"), words("clusterrolebindings"), rbacGroup), words(ChangeRBAC, Persist)},
		"read RBAC":            {rule(read, words("roles", "rolebindings", "clusterroles", "clusterrolebindings"), rbacGroup), nil},
		"escalate":             {rule(words("escalate"), words("clusterroles"), rbacGroup), words(Escalate)},
		"bind":                 {rule(words("bind"), words("roles"), rbacGroup), words(Escalate)},
		"bind elsewhere":       {rule(words("bind"), words("apiexports"), "example.com"), words(WriteUnknownKinds)},
		"everything in RBAC":   {rule(words("*"), words("*"), rbacGroup), words(Escalate, ChangeRBAC, Persist)},
		"impersonate a user":   {rule(words("impersonate"), words("users"), ""), words(Impersonate)},
		"impersonate an SA":    {rule(words("impersonate"), words("serviceaccounts"), ""), words(Impersonate)},
		"impersonate extra":    {rule(words("impersonate"), words("userextras/scopes"), authn), words(Impersonate)},
		"impersonate as info":  {rule(words("impersonate:user-info"), words("users"), authn), words(Impersonate)},
		"impersonate as SA":    {rule(words("impersonate:serviceaccount"), words("serviceaccounts"), authn), words(Impersonate)},
		"impersonate any node": {rule(words("impersonate:arbitrary-node"), words("nodes"), authn), words(Impersonate)},
		"impersonate own node": {rule(words("impersonate:associated-node"), words("nodes"), authn), words(Impersonate)},
		"impersonate on":       {rule(words("impersonate-on:user-info:list"), words("pods"), ""), words(Impersonate)},
		"impersonate on path":  {rbacv1.PolicyRule{Verbs: words("impersonate-on:user-info:get"), NonResourceURLs: words("/metrics")}, words(Impersonate)},
		"any verb on users":    {rule(words("*"), words("users"), ""), words(Impersonate)},
		"any verb on reviews":  {rule(words("*"), words("tokenreviews"), authn), nil},
		"approve requests":     {rule(words("update"), words("certificatesigningrequests/approval"), certs), words(IssueCertificates, Persist)},
		"sign requests":        {rule(words("patch"), words("certificatesigningrequests/status"), certs), words(IssueCertificates, Persist)},
		"approve as signer":    {rule(words("approve"), words("signers"), certs), words(IssueCertificates, Persist)},
		"sign as signer":       {rule(words("sign"), words("signers"), certs), words(IssueCertificates, Persist)},
		"ask for certificates": {rule(words("create", "get", "list", "watch"), words("certificatesigningrequests"), certs), nil},
		"webhooks":             {rule(words("create"), words("mutatingwebhookconfigurations"), admission), words(ChangeAdmission, Persist)},
		"admission policies":   {rule(words("delete"), words("validatingadmissionpolicybindings"), admission), words(ChangeAdmission, Persist)},
		"read admission":       {rule(read, words("*"), admission), nil},
		"approve access":       {rule(words("patch"), words("accessrequests/status"), broker), words(ControlBroker)},
		"write policies":       {rule(words("create"), words("accesspolicies"), broker), words(ControlBroker)},
		"delete grants":        {rule(words("delete"), words("accessgrants"), broker), words(ControlBroker)},
		"read the broker":      {rule(read, words("*"), broker), nil},
		"no group":             {rbacv1.PolicyRule{Verbs: words("create"), Resources: words("pods")}, nil},
		"no verb":              {rbacv1.PolicyRule{APIGroups: words(""), Resources: words("pods")}, nil},
		"path of a resource":   {rbacv1.PolicyRule{Verbs: words("create"), NonResourceURLs: words("pods", "*")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, kinds(Risks([]rbacv1.PolicyRule{test.rule}))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRisksOfCustomKinds: the rules that the makers of well-known tools put into
// view, edit and admin, or that people write for them.
func TestRisksOfCustomKinds(t *testing.T) {
	for name, test := range map[string]struct {
		rule rbacv1.PolicyRule
		want []string
	}{
		// Aggregated into edit and admin by the tools themselves.
		"argo workflows":    {rule(write, words("workflows", "workflows/finalizers", "cronworkflows", "workflowtemplates"), "argoproj.io"), words(RunWorkflows, Persist)},
		"argo cd":           {rule(words("patch"), words("applications"), "argoproj.io"), words(DeployAnything, Persist)},
		"argo rollouts":     {rule(write, words("rollouts", "rollouts/status"), "argoproj.io"), words(RunWorkloads, WriteUnknownKinds, Persist)},
		"flux":              {rule(write, words("*"), "kustomize.toolkit.fluxcd.io"), words(DeployAnything, WriteUnknownKinds, Persist)},
		"helm releases":     {rule(words("create"), words("helmreleases"), "helm.toolkit.fluxcd.io"), words(DeployAnything, Persist)},
		"a source":          {rule(words("update"), words("gitrepositories"), "source.toolkit.fluxcd.io"), words(DeployAnything, Persist)},
		"tekton":            {rule(write, words("taskruns", "pipelineruns"), "tekton.dev"), words(RunWorkflows, Persist)},
		"tekton triggers":   {rule(write, words("eventlisteners"), "triggers.tekton.dev"), words(RunWorkflows, Persist)},
		"external secrets":  {rule(words("create"), words("externalsecrets", "secretstores"), "external-secrets.io"), words(SyncSecrets)},
		"pushed secrets":    {rule(words("create"), words("pushsecrets"), "external-secrets.io"), words(SyncSecrets)},
		"csi secrets":       {rule(words("patch"), words("secretproviderclasses"), "secrets-store.csi.x-k8s.io"), words(SyncSecrets)},
		"sealed secrets":    {rule(words("create"), words("sealedsecrets"), "bitnami.com"), words(SyncSecrets)},
		"cert-manager":      {rule(write, words("certificates", "certificaterequests", "issuers"), "cert-manager.io"), words(ObtainCertificates)},
		"its approval":      {rule(words("approve"), words("signers"), "cert-manager.io", "clusterissuers.cert-manager.io/*"), words(ObtainCertificates)},
		"knative":           {rule(words("*"), words("*"), "serving.knative.dev"), words(RunWorkloads, RedirectTraffic, WriteUnknownKinds, Persist)},
		"keda":              {rule(words("create"), words("scaledjobs"), "keda.sh"), words(RunWorkloads, Persist)},
		"olm":               {rule(words("create"), words("subscriptions"), "operators.coreos.com"), words(DeployAnything, Persist)},
		"k3s charts":        {rule(words("create"), words("helmcharts"), "helm.cattle.io"), words(DeployAnything, Persist)},
		"upgrade plans":     {rule(words("create"), words("plans"), "upgrade.cattle.io"), words(RunOnNodes, Persist)},
		"machine configs":   {rule(words("patch"), words("machineconfigs"), "machineconfiguration.openshift.io"), words(RunOnNodes, Persist)},
		"velero":            {rule(words("create"), words("restores"), "velero.io"), words(RestoreBackups)},
		"velero, deletion":  {rule(words("create"), words("deletebackuprequests"), "velero.io"), words(RestoreBackups, DestroyData)},
		"compositions":      {rule(words("create"), words("compositions"), "apiextensions.crossplane.io"), words(ProvisionInfrastructure, Persist)},
		"cloud permissions": {rule(words("create"), words("roles"), "iam.aws.upbound.io"), words(ProvisionInfrastructure, Persist)},
		"config connector":  {rule(words("patch"), words("iampolicymembers"), "iam.cnrm.cloud.google.com"), words(ProvisionInfrastructure, Persist)},
		"cluster api":       {rule(words("delete"), words("clusters"), "cluster.x-k8s.io"), words(ProvisionInfrastructure, Persist)},
		"job sets":          {rule(words("create"), words("jobsets"), "jobset.x-k8s.io"), words(RunWorkloads, Persist)},
		"notebooks":         {rule(words("create"), words("notebooks"), "kubeflow.org"), words(RunWorkloads, Persist)},
		"ray":               {rule(words("create"), words("rayjobs"), "ray.io"), words(RunWorkloads, Persist)},
		"spark":             {rule(words("create"), words("sparkapplications"), "sparkoperator.k8s.io"), words(RunWorkloads, Persist)},
		"virtual machines":  {rule(words("create"), words("virtualmachines"), "kubevirt.io"), words(RunWorkloads, Persist)},
		"console":           {rule(words("get"), words("virtualmachineinstances/console"), "subresources.kubevirt.io"), words(Exec)},
		"istio":             {rule(words("create"), words("envoyfilters"), "networking.istio.io"), words(RedirectTraffic)},
		"gateway":           {rule(words("patch"), words("httproutes"), "gateway.networking.k8s.io"), words(RedirectTraffic)},
		"kyverno":           {rule(words("create"), words("policyexceptions"), "kyverno.io"), words(ChangeAdmission, Persist)},
		"gatekeeper":        {rule(words("delete"), words("k8srequiredlabels"), "constraints.gatekeeper.sh"), words(ChangeAdmission, Persist)},
		"cilium":            {rule(words("delete"), words("ciliumnetworkpolicies"), "cilium.io"), words(ChangeNetworkPolicies)},
		"prometheus":        {rule(words("create"), words("prometheuses"), "monitoring.coreos.com"), words(RunWorkloads, Persist)},
		"service monitors":  {rule(words("create"), words("servicemonitors"), "monitoring.coreos.com"), words(CollectTelemetry)},
		"use of an scc":     {rule(words("use"), words("securitycontextconstraints"), "security.openshift.io", "privileged"), words(RunPrivileged)},
		"change of an scc":  {rule(words("patch"), words("securitycontextconstraints"), "security.openshift.io"), words(ChangeAdmission, Persist)},
		"openshift tokens":  {rule(words("create"), words("oauthaccesstokens"), "oauth.openshift.io"), words(Impersonate)},
		"openshift groups":  {rule(words("update"), words("groups"), "user.openshift.io"), words(ChangeRBAC, Persist)},
		"rancher bindings":  {rule(words("create"), words("projectroletemplatebindings"), "management.cattle.io"), words(ChangeRBAC, Persist)},

		"traffic of services":   {rule(words("update"), words("services"), ""), words(RedirectTraffic)},
		"traffic of endpoints":  {rule(words("create"), words("endpointslices"), "discovery.k8s.io"), words(RedirectTraffic)},
		"traffic of a pod":      {rule(words("patch"), words("pods/status"), ""), words(RedirectTraffic)},
		"network policies":      {rule(words("delete"), words("networkpolicies"), "networking.k8s.io"), words(ChangeNetworkPolicies)},
		"place of pods":         {rule(words("create"), words("pods/binding"), ""), words(ChangeNodes)},
		"trust":                 {rule(words("create"), words("clustertrustbundles"), "certificates.k8s.io"), words(ObtainCertificates)},
		"contents of snapshots": {rule(words("create"), words("volumesnapshotcontents"), "snapshot.storage.k8s.io"), words(ReadVolumes)},
		"a kind with all of it": {rule(words("delete"), words("customresourcedefinitions"), "apiextensions.k8s.io"), words(ControlBroker, DestroyData)},

		"reading":                {rule(read, words("*"), "argoproj.io"), nil},
		"reading an unknown":     {rule(read, words("*"), "example.com"), nil},
		"an unknown":             {rule(words("patch"), words("widgets"), "example.com"), words(WriteUnknownKinds)},
		"deletion of an unknown": {rule(words("delete"), words("widgets"), "example.com"), words(WriteUnknownKinds)},
		"unknown verb":           {rule(words("sync"), words("widgets"), "example.com"), words(WriteUnknownKinds)},
		"status of an unknown":   {rule(words("update"), words("widgets/status"), "example.com"), words(WriteUnknownKinds)},
		"finalizers alone":       {rule(words("update"), words("widgets/finalizers"), "example.com"), nil},
		"scale of everything":    {rule(words("update"), words("*/scale"), "*"), words(WriteUnknownKinds)},
		"a name in every group":  {rule(words("create"), words("widgets"), "*"), words(WriteUnknownKinds)},
		"the broker's own":       {rule(words("update"), words("accesslocks"), "jit.accessbroker.dev"), words(ControlBroker)},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, kinds(Risks([]rbacv1.PolicyRule{test.rule}))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestUnknownKinds: unknown kinds are named, so that people who decide can ask.
func TestUnknownKinds(t *testing.T) {
	of := func(rules ...rbacv1.PolicyRule) string {
		for _, risk := range Risks(rules) {
			if risk.Kind == WriteUnknownKinds {
				return risk.Message
			}
		}
		return ""
	}
	const message = "write kinds that are not Kubernetes' own; what their controllers do with it is not known here: "
	widgets := rule(write, words("widgets"), "example.com")
	for name, test := range map[string]struct{ got, want string }{
		"one":                   {of(widgets), message + "widgets.example.com"},
		"beside known ones":     {of(widgets, rule(write, words("rollouts"), "argoproj.io")), message + "widgets.example.com"},
		"twice":                 {of(widgets, rule(words("delete"), words("widgets"), "example.com")), message + "widgets.example.com"},
		"many":                  {of(rule(write, words("e", "d", "c", "b", "a"), "x.io")), message + "a.x.io, b.x.io, c.x.io and 2 more"},
		"everything":            {of(clusterAdminRole...), message + "*.*"},
		"of some names":         {of(rule(write, words("widgets"), "example.com", "mine")), message + "widgets.example.com, limited to the names mine"},
		"what looks like other": {of(rule(write, words("widgets \n"), "example.com")), message + `"widgets \n.example.com"`},
	} {
		if test.got != test.want {
			t.Errorf("%s: %q, want %q", name, test.got, test.want)
		}
	}
}

// TestRisksFit: there are never more risks than status.risks may hold.
func TestRisksFit(t *testing.T) {
	if len(powers) > 60 {
		t.Errorf("%d kinds of risks", len(powers))
	}
	seen := map[string]bool{}
	for _, p := range powers {
		if seen[p.kind] || len(p.kind) > 64 || len(p.message) > 400 {
			t.Errorf("%s: twice, or too long", p.kind)
		}
		seen[p.kind] = true
	}
}

// TestRisksOfMuch: a rule of a thousand million permissions takes no longer than its
// length requires.
func TestRisksOfMuch(t *testing.T) {
	var items []string
	for i := range 30_000 {
		items = append(items, "x"+strconv.Itoa(i))
	}
	risks := Risks([]rbacv1.PolicyRule{{Verbs: items, APIGroups: items, Resources: items, ResourceNames: items}})
	if len(risks) != 1 || risks[0].Kind != WriteUnknownKinds {
		t.Errorf("%v", risks)
	}
}

// TestRisksOfEveryPath: a rule with just one path of a power is found to give it,
// and a rule that only reads is not.
func TestRisksOfEveryPath(t *testing.T) {
	for _, p := range powers {
		for _, at := range p.paths {
			for _, verb := range at.verbs {
				resources := at.resources
				if resources == nil || slices.Contains(resources, anyResource) {
					resources = words("anything", "anything/status", "*")
				}
				for _, resource := range resources {
					only := []rbacv1.PolicyRule{rule(words(verb), words(resource), strings.Replace(at.group, "*.", "a.b.", 1))}
					if !slices.Contains(kinds(Risks(only)), p.kind) {
						t.Errorf("%v is no risk of %s", only, p.kind)
					}
					if found := Forbidden(only); p.never != slices.ContainsFunc(found, func(f Finding) bool { return f.Kind == p.kind }) {
						t.Errorf("%v: forbidden as %s is %v", only, p.kind, !p.never)
					}
				}
			}
		}
	}
}

func TestRisksOfRoles(t *testing.T) {
	edit := words(Impersonate, MintTokens, RunPods, ReadSecrets, CreateSecrets, Exec, ChangeServiceAccounts, ChangeConfiguration,
		ReachPods, RedirectTraffic, ChangeNetworkPolicies, DestroyData, Persist)
	var all []string
	for _, p := range powers {
		all = append(all, p.kind)
	}
	for name, test := range map[string]struct {
		rules []rbacv1.PolicyRule
		want  []string
	}{
		"none":          {nil, nil},
		"view":          {viewRole, nil},
		"edit":          {editRole, edit},
		"admin":         {adminRole, slices.Insert(slices.Clone(edit), 1, ChangeRBAC)},
		"cluster-admin": {clusterAdminRole, all},
		"all of the core group": {
			[]rbacv1.PolicyRule{rule(words("*"), words("*"), "")},
			words(Impersonate, ControlNodes, ChangeNodes, CreatePersistentVolumes, MintTokens, RunPods, ReadSecrets, CreateSecrets,
				Exec, DebugPods, ChangeServiceAccounts, ChangeConfiguration, ReadVolumes, ReachPods, RedirectTraffic,
				ChangeNamespaces, DeleteNamespaces, DestroyData, Persist),
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, kinds(Risks(test.rules))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRisksOfNames(t *testing.T) {
	secrets := func(names ...string) rbacv1.PolicyRule { return rule(words("get"), words("secrets"), "", names...) }
	const message = "read the contents of Secrets, tokens of ServiceAccounts among them (list, watch, patch and delete show them as get does)"
	for name, test := range map[string]struct {
		rules []rbacv1.PolicyRule
		want  string
	}{
		"all":          {[]rbacv1.PolicyRule{secrets()}, message},
		"one":          {[]rbacv1.PolicyRule{secrets("a")}, message + ", limited to the names a"},
		"of two rules": {[]rbacv1.PolicyRule{secrets("b"), secrets("a", "b")}, message + ", limited to the names a, b"},
		"some and all": {[]rbacv1.PolicyRule{secrets("a"), secrets()}, message},
		"many":         {[]rbacv1.PolicyRule{secrets("e", "d", "c", "b", "a")}, message + ", limited to the names a, b, c and 2 more"},
		"a lie":        {[]rbacv1.PolicyRule{secrets("a or nothing\n\u202e")}, message + `, limited to the names "a or nothing\n\u202e"`},
		"too long":     {[]rbacv1.PolicyRule{secrets(strings.Repeat("a", 253))}, message + `, limited to the names "` + strings.Repeat("a", 50) + `"…`},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff([]Risk{{ReadSecrets, test.want}}, Risks(test.rules)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzRisks: more rules never have fewer risks, each kind comes once and in the
// order of the powers, and messages are readable and bounded.
func FuzzRisks(f *testing.F) {
	f.Add([]byte("abcdefghij"), []byte("klmno"), "name")
	f.Add([]byte{5, 1, 3, 1, 1}, []byte{}, "\u202e\n"+strings.Repeat("x", 1000))
	f.Fuzz(func(t *testing.T, a, b []byte, text string) {
		rules := append(rulesFrom(a), rule(words("get", text), words("secrets", text), "", text, text+"2"))
		risks := Risks(rules)
		more := Risks(slices.Concat(rulesFrom(b), rules))
		for _, risk := range risks {
			i := slices.IndexFunc(more, func(m Risk) bool { return m.Kind == risk.Kind })
			if i < 0 {
				t.Errorf("%v loses the risk %s to %v", rules, risk.Kind, rulesFrom(b))
			} else if !strings.Contains(risk.Message, "limited") && strings.Contains(more[i].Message, "limited") {
				t.Errorf("%q is limited by %v", risk.Message, rulesFrom(b))
			}
		}
		last := -1
		for _, risk := range risks {
			i := slices.IndexFunc(powers, func(p power) bool { return p.kind == risk.Kind })
			if i <= last {
				t.Errorf("%s comes again or too late", risk.Kind)
			}
			last = i
			checkReadable(t, risk.Message, 1024)
		}
		for _, finding := range Forbidden(rules) {
			checkReadable(t, finding.Reason, 4096)
			if finding.Kind != Wildcard && !slices.Contains(kinds(risks), finding.Kind) {
				t.Errorf("%s is forbidden and no risk", finding.Kind)
			}
		}
	})
}

func checkReadable(t *testing.T, text string, limit int) {
	t.Helper()
	if text == "" || len(text) > limit {
		t.Errorf("%d bytes: %s", len(text), text)
	}
	for _, r := range text {
		if !strconv.IsPrint(r) {
			t.Errorf("%q contains %q", text, r)
		}
	}
}
