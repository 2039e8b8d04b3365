package rules

import (
	"slices"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// WriteUnknownKinds is the kind of the power that has no paths: it is what the
// others leave.
const WriteUnknownKinds = "WriteUnknownKinds"

// builtIn are the API groups of Kubernetes itself, and the broker's own.
var builtIn = []string{
	"", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps", "authentication.k8s.io",
	"authorization.k8s.io", "autoscaling", "batch", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io",
	"extensions", "flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io", "policy",
	"rbac.authorization.k8s.io", "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io", "storagemigration.k8s.io",
	v1alpha1.GroupVersion.Group,
}

var (
	read    = []string{"get", "list", "watch"}
	change  = []string{"create", "update", "patch"}
	write   = []string{"create", "update", "patch", "delete", "deletecollection"}
	destroy = []string{"delete", "deletecollection"}
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
	changeRBAC    = slices.Concat([]path{
		{write, "rbac.authorization.k8s.io", []string{"roles", "clusterroles", "rolebindings", "clusterrolebindings"}},
	}, customRBAC)
	changeAdmission = slices.Concat([]path{
		{write, "admissionregistration.k8s.io", []string{
			"validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations",
			"mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "mutatingwebhookconfigurations",
		}},
	}, customAdmission)
	issueCertificates = []path{
		{[]string{"update", "patch"}, "certificates.k8s.io", []string{"certificatesigningrequests/approval", "certificatesigningrequests/status"}},
		{[]string{"approve", "sign", "attest"}, "certificates.k8s.io", []string{"signers"}},
	}
)

// powers are the well-known ways in which permissions become more than they seem,
// the most dangerous first. Most of those over Kubernetes' own kinds come from
// https://kubernetes.io/docs/concepts/security/rbac-good-practices; the paths over
// kinds of other projects are in custom.go.
var powers = []power{
	{
		kind: "DoAnything", message: "do everything there is to do: the rules allow every verb on every resource",
		paths: []path{{[]string{"*"}, "*", []string{"*"}}},
	},
	{
		kind: "Escalate", never: true, message: "get any permission, by writing it into a role (escalate) or by binding a role that has it (bind)",
		paths: []path{{[]string{"escalate", "bind"}, "rbac.authorization.k8s.io", []string{"roles", "clusterroles"}}},
	},
	{
		// KEP-5284 splits the verb into impersonate:<mode> and
		// impersonate-on:<mode>:<verb>, the latter on any resource. The other
		// paths are for a rule with all verbs.
		kind: "Impersonate", never: true, message: "act as other users, groups or ServiceAccounts, with all of their permissions",
		paths: slices.Concat([]path{
			{verbs: []string{"impersonate*"}},
			{[]string{"impersonate"}, "", []string{"users", "groups", "serviceaccounts"}},
			{[]string{"impersonate"}, "authentication.k8s.io", []string{"users", "groups", "serviceaccounts", "nodes", "uids", "userextras"}},
		}, customIdentity),
	},
	{
		kind: "ChangeRBAC", never: true, message: "change who is allowed what, and pass on what they hold, beyond the end of their own access",
		paths: changeRBAC,
	},
	{
		kind: "ChangeAdmission", never: true, message: "see and change what others write to the API, Secrets included, or take away the rules that admission enforces",
		paths: changeAdmission,
	},
	{
		// get is enough: the kubelet takes a websocket for an exec.
		kind: "ControlNodes", never: true, message: "run commands in every pod of a node, past admission and the audit log",
		paths: []path{{connect, "", []string{"nodes/proxy"}}},
	},
	{
		kind: "RunOnNodes", never: true, message: "run commands or place files of their own on the nodes themselves, with all that runs there",
		paths: customNodes,
	},
	{
		kind: "IssueCertificates", never: true, message: "issue client certificates in other names, which cannot be revoked",
		paths: issueCertificates,
	},
	{
		kind: "ExtendAPI", message: "put a server of their own behind parts of the API, and see and change what passes through",
		paths: []path{
			{change, "apiextensions.k8s.io", []string{"customresourcedefinitions"}},
			{change, "apiregistration.k8s.io", []string{"apiservices"}},
		},
	},
	{
		kind: "DeployAnything", message: "have a controller apply what they choose with its own permissions, often those of a cluster administrator",
		paths: customDeployment,
	},
	{
		kind: "ChangeNodes", message: "draw other people's pods to a node of their choice, or pass off a machine of their own as a node",
		paths: []path{
			{write, "", []string{"nodes"}},
			{change, "", []string{"nodes/status"}},
			{[]string{"create"}, "", []string{"bindings", "pods/binding"}},
		},
	},
	{
		kind: "CreatePersistentVolumes", message: "read and write the files of the nodes, through a hostPath volume",
		paths: []path{{change, "", []string{"persistentvolumes"}}},
	},
	{
		kind: "ControlBroker", never: true, message: "ask for, decide or rule over access through the broker itself",
		paths: []path{
			{write, v1alpha1.GroupVersion.Group, []string{
				"accessrequests", "accessrequests/status", "accesspolicies", "accesspolicies/status", "accessgrants", "accessgrants/status", "accessusages", anyResource,
			}},
			// These define the broker's own kinds and their schemas.
			{write, "apiextensions.k8s.io", []string{"customresourcedefinitions"}},
			{write, "apiregistration.k8s.io", []string{"apiservices"}},
		},
	},
	{
		kind: "ProvisionInfrastructure", message: "make, change or destroy machines, cloud resources and their permissions outside of the cluster, with the credentials of an operator",
		paths: customInfrastructure,
	},
	{
		kind: "MintTokens", never: true, message: "make tokens of ServiceAccounts and act as them from anywhere",
		paths: mintTokens,
	},
	{
		kind: "RunPods", message: "run pods as any ServiceAccount of the namespace, with all of its permissions, and mount any Secret there",
		paths: runPods,
	},
	{
		kind: "RunWorkflows", message: "run workflows, builds or pipelines: commands of their own as ServiceAccounts and with Secrets of the namespace",
		paths: customWorkflows,
	},
	{
		kind: "RunWorkloads", message: "have an operator run containers or virtual machines of their own, as ServiceAccounts and with Secrets of the namespace",
		paths: customWorkloads,
	},
	{
		kind: "RunPrivileged", message: "run pods with rights over the node that are otherwise held back",
		paths: []path{
			{[]string{"use"}, "security.openshift.io", []string{"securitycontextconstraints"}},
			{[]string{"use"}, "policy", []string{"podsecuritypolicies"}},
		},
	},
	{
		// A patch answers with the object, a deletecollection with all of them, and a
		// delete that waits for a finalizer with the object, too.
		kind: "ReadSecrets", message: "read the contents of Secrets, tokens of ServiceAccounts among them (list, watch, patch and delete show them as get does)",
		paths: []path{{[]string{"get", "list", "watch", "patch", "delete", "deletecollection"}, "", []string{"secrets"}}},
	},
	{
		kind: "SyncSecrets", message: "have an operator that holds the keys to a store of secrets bring them into the cluster, carry Secrets out or replace them",
		paths: customSecrets,
	},
	{
		kind: "CreateSecrets", message: "have a lasting token made for any ServiceAccount of the namespace, by a Secret of that type",
		paths: createSecrets,
	},
	{
		kind: "RestoreBackups", message: "put backups back where and as they choose, or take copies out: Secrets, permissions and data included",
		paths: customBackups,
	},
	{
		// get is enough before 1.35: a websocket is a GET.
		kind: "Exec", message: "run commands in running pods, as their ServiceAccounts and with what is mounted there",
		paths: slices.Concat([]path{{[]string{"get", "create"}, "", []string{"pods/exec", "pods/attach"}}}, customConsoles),
	},
	{
		kind: "DebugPods", message: "add containers of their own to running pods, as their ServiceAccounts and with what is mounted there",
		paths: []path{{[]string{"update", "patch"}, "", []string{"pods/ephemeralcontainers"}}},
	},
	{
		kind: "ChangeServiceAccounts", message: "change what pods get with their ServiceAccount: the identity in the cloud that its annotations name, and the keys to registries",
		paths: []path{{change, "", []string{"serviceaccounts"}}},
	},
	{
		kind: "ChangeConfiguration", message: "change what programs read: passwords and keys, or in kube-system what DNS answers and, on EKS, who is an administrator",
		paths: []path{
			{change, "", []string{"configmaps"}},
			{[]string{"update", "patch"}, "", []string{"secrets"}},
		},
	},
	{
		kind: "ReadVolumes", message: "read other people's volumes, through an object that points at the same storage",
		paths: []path{
			{change, "", []string{"persistentvolumes"}},
			{change, "storage.k8s.io", []string{"volumeattachments"}},
			{change, "snapshot.storage.k8s.io", []string{"volumesnapshotcontents"}},
			{change, "groupsnapshot.storage.k8s.io", []string{"volumegroupsnapshotcontents"}},
		},
	},
	{
		kind: "ReachPods", message: "talk to the ports of pods and Services past network policies",
		paths: []path{
			{[]string{"get", "create"}, "", []string{"pods/portforward"}},
			{connect, "", []string{"pods/proxy", "services/proxy"}},
		},
	},
	{
		// A Service takes any address through externalIPs or its load balancer's status
		// (CVE-2020-8554); a pod takes the address in its status.
		kind: "RedirectTraffic", message: "draw other people's traffic to a place of their choice, and read or change what passes",
		paths: slices.Concat([]path{
			{change, "", []string{"services", "services/status", "endpoints", "pods/status"}},
			{change, "discovery.k8s.io", []string{"endpointslices"}},
			{change, "networking.k8s.io", []string{"ingresses", "ingresses/status", "ingressclasses"}},
		}, customTraffic),
	},
	{
		kind: "ChangeNetworkPolicies", message: "open what network policies close, or cut others off",
		paths: slices.Concat([]path{{write, "networking.k8s.io", []string{"networkpolicies"}}}, customNetworkPolicies),
	},
	{
		kind: "ObtainCertificates", message: "get certificates of the cluster's own authorities for names of their choice, or have others trust one of their own",
		paths: slices.Concat([]path{{change, "certificates.k8s.io", []string{"clustertrustbundles"}}}, customCertificates),
	},
	{
		kind: "CollectTelemetry", message: "have metrics, traces and logs of others, and the tokens that collect them, sent to a place of their choice",
		paths: customTelemetry,
	},
	{
		kind: "ChangeNamespaces", message: "change the labels of namespaces, which Pod Security, network policies and access policies go by",
		paths: []path{{[]string{"update", "patch"}, "", []string{"namespaces"}}},
	},
	{
		kind: "DeleteNamespaces", message: "delete namespaces with everything in them",
		paths: []path{{destroy, "", []string{"namespaces"}}},
	},
	{
		kind: "DestroyData", message: "destroy data that nobody can bring back: volumes and their snapshots, backups, or a kind with every object of it",
		paths: slices.Concat([]path{
			{destroy, "", []string{"persistentvolumeclaims", "persistentvolumes"}},
			{destroy, "apiextensions.k8s.io", []string{"customresourcedefinitions"}},
		}, customData),
	},
	{
		kind: WriteUnknownKinds, message: "write kinds that are not Kubernetes' own; what their controllers do with it is not known here",
	},
	{
		kind: "Persist", message: "leave behind workloads, credentials or permissions that work on when the access has ended",
		paths: slices.Concat(runPods, mintTokens, createSecrets, changeRBAC, changeAdmission, issueCertificates,
			customNodes, customDeployment, customInfrastructure, customWorkflows, customWorkloads),
	},
}
