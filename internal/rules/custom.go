package rules

import "slices"

// The kinds of other projects that people run in clusters, by what their writer can
// do with them: their controllers act with permissions of their own for anyone who
// writes an object. Kinds that are not listed are WriteUnknownKinds.

// customIdentity lets its writer act as somebody else.
var customIdentity = []path{
	{change, "oauth.openshift.io", []string{"oauthaccesstokens", "oauthauthorizetokens", "oauthclients", "oauthclientauthorizations"}},
	{change, "user.openshift.io", []string{"identities", "useridentitymappings"}},
	{change, "config.openshift.io", []string{"oauths"}},
	{change, "management.cattle.io", []string{"tokens", "users", "authconfigs"}},
}

// customRBAC is turned into roles and bindings, or into groups of people.
var customRBAC = []path{
	{write, "authorization.openshift.io", []string{"roles", "clusterroles", "rolebindings", "clusterrolebindings"}},
	{write, "user.openshift.io", []string{"users", "groups"}},
	{write, "management.cattle.io", []string{
		"globalroles", "globalrolebindings", "roletemplates", "clusterroletemplatebindings", "projectroletemplatebindings", "projects",
	}},
	{write, "rbacmanager.reactiveops.io", []string{"rbacdefinitions"}},
	{write, "capsule.clastix.io", []string{"tenants", "capsuleconfigurations"}},
	{write, "hnc.x-k8s.io", []string{"hierarchyconfigurations", "hncconfigurations", "subnamespaceanchors"}},
	{write, "kubeflow.org", []string{"profiles"}},
}

// customAdmission decides what may be written, or changes and makes objects itself.
var customAdmission = slices.Concat(whole(write,
	"policies.kyverno.io", "constraints.gatekeeper.sh", "mutations.gatekeeper.sh", "policies.kubewarden.io",
), []path{
	{write, "kyverno.io", []string{"clusterpolicies", "policies", "policyexceptions", "cleanuppolicies", "clustercleanuppolicies", "globalcontextentries"}},
	{write, "templates.gatekeeper.sh", []string{"constrainttemplates"}},
	{write, "expansion.gatekeeper.sh", []string{"expansiontemplate"}},
	{write, "externaldata.gatekeeper.sh", []string{"providers"}},
	{write, "config.gatekeeper.sh", []string{"configs"}},
	{write, "policy.sigstore.dev", []string{"clusterimagepolicies"}},
	{write, "security.openshift.io", []string{"securitycontextconstraints"}},
})

// customNodes reaches the machines that pods run on.
var customNodes = slices.Concat(whole(change,
	"bootstrap.cluster.x-k8s.io", "kops.k8s.io", "rke.cattle.io",
), []path{
	{change, "machineconfiguration.openshift.io", []string{"machineconfigs", "machineconfigpools", "kubeletconfigs", "containerruntimeconfigs", "machineosconfigs"}},
	{change, "tuned.openshift.io", []string{"tuneds", "profiles"}},
	{change, "performance.openshift.io", []string{"performanceprofiles"}},
	{change, "upgrade.cattle.io", []string{"plans"}},
	{change, "karpenter.k8s.aws", []string{"ec2nodeclasses"}},
	{change, "karpenter.azure.com", []string{"aksnodeclasses"}},
})

// customDeployment is applied by deployers, most of which run as cluster
// administrators.
var customDeployment = slices.Concat(whole(write,
	"fleet.cattle.io", "addons.cluster.x-k8s.io", "configmanagement.gke.io", "lib.projectsveltos.io",
	"apps.open-cluster-management.io", "policy.karmada.io", "work.karmada.io", "core.oam.dev", "kro.run",
	"metacontroller.k8s.io", "kubernetes.m.crossplane.io", "helm.m.crossplane.io",
), []path{
	{write, "argoproj.io", []string{"applications", "applicationsets", "appprojects"}},
	{write, "kustomize.toolkit.fluxcd.io", []string{"kustomizations"}},
	{write, "helm.toolkit.fluxcd.io", []string{"helmreleases"}},
	{write, "source.toolkit.fluxcd.io", []string{
		"gitrepositories", "ocirepositories", "helmrepositories", "helmcharts", "buckets", "externalartifacts",
	}},
	{write, "source.extensions.fluxcd.io", []string{"artifactgenerators"}},
	{write, "image.toolkit.fluxcd.io", []string{"imagerepositories", "imagepolicies", "imageupdateautomations"}},
	{write, "fluxcd.controlplane.io", []string{"fluxinstances", "resourcesets", "resourcesetinputproviders"}},
	{write, "helm.cattle.io", []string{"helmcharts", "helmchartconfigs"}},
	{write, "k3s.cattle.io", []string{"addons"}},
	{write, "catalog.cattle.io", []string{"apps", "clusterrepos", "operations"}},
	{write, "operators.coreos.com", []string{
		"subscriptions", "installplans", "clusterserviceversions", "catalogsources", "operatorgroups", "operators",
	}},
	{write, "olm.operatorframework.io", []string{"clusterextensions", "clustercatalogs"}},
	{write, "kappctrl.k14s.io", []string{"apps"}},
	{write, "packaging.carvel.dev", []string{"packageinstalls", "packagerepositories"}},
	{write, "configsync.gke.io", []string{"rootsyncs", "reposyncs"}},
	{write, "config.projectsveltos.io", []string{"profiles", "clusterprofiles"}},
	{write, "work.open-cluster-management.io", []string{"manifestworks", "manifestworkreplicasets"}},
	{write, "policy.open-cluster-management.io", []string{"policies", "configurationpolicies", "policysets"}},
	{write, "kubernetes.crossplane.io", []string{"objects", "observedobjectcollections", "providerconfigs"}},
	{write, "helm.crossplane.io", []string{"releases", "providerconfigs"}},
	{write, "template.openshift.io", []string{"templateinstances", "brokertemplateinstances"}},
})

// customInfrastructure becomes something outside the cluster.
var customInfrastructure = slices.Concat(whole(write,
	"*.crossplane.io", "*.upbound.io", "*.cnrm.cloud.google.com", "*.services.k8s.aws", "*.azure.com",
	"cluster.x-k8s.io", "controlplane.cluster.x-k8s.io", "infrastructure.cluster.x-k8s.io", "ipam.cluster.x-k8s.io",
	"hive.openshift.io", "hypershift.openshift.io", "metal3.io", "rke-machine-config.cattle.io", "core.gardener.cloud",
	"app.terraform.io", "pulumi.com", "auto.pulumi.com",
), []path{
	{write, "machine.openshift.io", []string{"machines", "machinesets", "controlplanemachinesets", "machinehealthchecks"}},
	{write, "karpenter.sh", []string{"nodepools", "nodeclaims"}},
	{write, "provisioning.cattle.io", []string{"clusters"}},
	{write, "infra.contrib.fluxcd.io", []string{"terraforms"}},
	{write, "cloudcredential.openshift.io", []string{"credentialsrequests"}},
})

// customWorkflows runs commands: workflows, pipelines, builds.
var customWorkflows = slices.Concat(whole(change,
	"operator.tekton.dev", "kpack.io", "jenkins.io", "actions.github.com", "actions.summerwind.dev", "kargo.akuity.io",
	"litmuschaos.io", "chaos-mesh.org", "tests.testkube.io", "testworkflows.testkube.io", "executor.testkube.io",
), []path{
	{change, "argoproj.io", []string{
		"workflows", "cronworkflows", "workflowtemplates", "clusterworkflowtemplates", "workfloweventbindings", "workflowtasksets",
		"sensors", "eventsources", "eventbus", "analysistemplates", "clusteranalysistemplates", "analysisruns", "experiments",
	}},
	{change, "tekton.dev", []string{
		"tasks", "taskruns", "pipelines", "pipelineruns", "clustertasks", "customruns", "runs", "stepactions",
	}},
	{change, "triggers.tekton.dev", []string{
		"eventlisteners", "triggers", "triggertemplates", "triggerbindings", "clustertriggerbindings", "interceptors", "clusterinterceptors",
	}},
	{change, "resolution.tekton.dev", []string{"resolutionrequests"}},
	{change, "pipelinesascode.tekton.dev", []string{"repositories"}},
	{change, "build.openshift.io", []string{
		"builds", "buildconfigs", "builds/clone", "buildconfigs/instantiate", "buildconfigs/instantiatebinary", "buildconfigs/webhooks",
	}},
	{change, "shipwright.io", []string{"builds", "buildruns", "buildstrategies", "clusterbuildstrategies"}},
	{change, "apps.gitlab.com", []string{"runners"}},
	{change, "k6.io", []string{"testruns", "privateloadzones", "k6s"}},
	{change, "tf.galleybytes.com", []string{"terraforms"}},
})

// customWorkloads becomes pods or virtual machines by a template that its writer
// chooses.
var customWorkloads = slices.Concat(whole(change,
	"apps.kruise.io", "kueue.x-k8s.io", "pipelines.kubeflow.org", "serving.kserve.io", "kubernetes.dask.org",
	"operator.knative.dev", "cdi.kubevirt.io", "agones.dev", "controller.devfile.io", "operator.victoriametrics.com",
	"camel.apache.org",
), []path{
	{change, "argoproj.io", []string{"rollouts"}},
	{change, "apps.openshift.io", []string{"deploymentconfigs", "deploymentconfigs/instantiate", "deploymentconfigs/rollback"}},
	{change, "jobset.x-k8s.io", []string{"jobsets"}},
	{change, "leaderworkerset.x-k8s.io", []string{"leaderworkersets"}},
	{change, "batch.volcano.sh", []string{"jobs", "cronjobs"}},
	{change, "flow.volcano.sh", []string{"jobflows", "jobtemplates"}},
	{change, "kubeflow.org", []string{
		"notebooks", "tfjobs", "pytorchjobs", "mpijobs", "xgboostjobs", "paddlejobs", "jaxjobs", "mxjobs", "experiments", "suggestions",
		"trials", "poddefaults", "scheduledworkflows", "viewers", "pvcviewers", "tensorboards",
	}},
	{change, "tensorboard.kubeflow.org", []string{"tensorboards"}},
	{change, "trainer.kubeflow.org", []string{"trainjobs", "trainingruntimes", "clustertrainingruntimes"}},
	{change, "ray.io", []string{"rayclusters", "rayjobs", "rayservices", "raycronjobs"}},
	{change, "sparkoperator.k8s.io", []string{"sparkapplications", "scheduledsparkapplications", "sparkconnects"}},
	{change, "spark.apache.org", []string{"sparkapplications", "sparkclusters"}},
	{change, "flink.apache.org", []string{"flinkdeployments", "flinksessionjobs", "flinkbluegreendeployments", "flinkstatesnapshots"}},
	{change, "keda.sh", []string{"scaledjobs"}},
	{change, "serving.knative.dev", []string{"services", "configurations", "revisions"}},
	{change, "sources.knative.dev", []string{"containersources", "sinkbindings"}},
	{change, "sinks.knative.dev", []string{"jobsinks"}},
	{change, "kubevirt.io", []string{
		"virtualmachines", "virtualmachineinstances", "virtualmachineinstancereplicasets", "virtualmachineinstancemigrations", "kubevirts",
	}},
	{change, "pool.kubevirt.io", []string{"virtualmachinepools"}},
	{change, "workspace.devfile.io", []string{"devworkspaces", "devworkspacetemplates"}},
	{change, "opentelemetry.io", []string{"opentelemetrycollectors", "instrumentations", "targetallocators", "opampbridges"}},
	{change, "monitoring.coreos.com", []string{"prometheuses", "prometheusagents", "alertmanagers", "thanosrulers"}},
})

// customConsoles gives a way into running workloads.
var customConsoles = []path{
	{[]string{"get", "create", "update"}, "subresources.kubevirt.io", []string{
		"virtualmachineinstances/console", "virtualmachineinstances/vnc", "virtualmachineinstances/usbredir", "virtualmachineinstances/portforward",
		"virtualmachines/portforward",
	}},
	{change, "apps.kruise.io", []string{"ephemeraljobs"}},
}

// customSecrets carries secrets from a store into the cluster, or out to one.
var customSecrets = slices.Concat(whole(write,
	"generators.external-secrets.io", "secrets.hashicorp.com", "redhatcop.redhat.io", "secretgen.carvel.dev",
	"secretgen.k14s.io", "secrets.infisical.com", "spv.no",
), []path{
	{write, "external-secrets.io", []string{
		"externalsecrets", "secretstores", "clustersecretstores", "clusterexternalsecrets", "pushsecrets", "clusterpushsecrets",
	}},
	{write, "kubernetes-client.io", []string{"externalsecrets"}},
	{write, "secrets-store.csi.x-k8s.io", []string{"secretproviderclasses", "secretproviderclasspodstatuses"}},
	{write, "secret-sync.x-k8s.io", []string{"secretsyncs"}},
	{write, "ricoberger.de", []string{"vaultsecrets"}},
	{write, "bitnami.com", []string{"sealedsecrets"}},
	{write, "isindir.github.com", []string{"sopssecrets"}},
	{write, "onepassword.com", []string{"onepassworditems"}},
	{write, "secrets.doppler.com", []string{"dopplersecrets"}},
	{write, "k8s.bitwarden.com", []string{"bitwardensecrets"}},
	{write, "digitalis.io", []string{"valssecrets", "dbsecrets"}},
	{write, "servicebinding.io", []string{"servicebindings", "clusterworkloadresourcemappings"}},
	{write, "binding.operators.coreos.com", []string{"servicebindings", "bindablekinds"}},
})

// customBackups copies namespaces out and in.
var customBackups = slices.Concat(whole(write,
	"oadp.openshift.io", "k8up.io", "cr.kanister.io", "config.kio.kasten.io", "actions.kio.kasten.io",
	"apps.kio.kasten.io", "stash.appscode.com", "core.kubestash.com", "stork.libopenstorage.org",
	"triliovault.trilio.io",
), []path{
	{write, "velero.io", []string{
		"backups", "restores", "schedules", "backupstoragelocations", "volumesnapshotlocations", "backuprepositories",
		"podvolumebackups", "podvolumerestores", "datauploads", "datadownloads", "downloadrequests", "deletebackuprequests", "serverstatusrequests",
	}},
	{write, "resources.cattle.io", []string{"backups", "restores"}},
	{write, "volsync.backube", []string{"replicationsources", "replicationdestinations"}},
	{write, "gemini.fairwinds.com", []string{"snapshotgroups"}},
})

// customTraffic says where connections go.
var customTraffic = slices.Concat(whole(change,
	"gateway.networking.k8s.io", "gateway.networking.x-k8s.io", "gateway.envoyproxy.io", "networking.istio.io",
	"traefik.io", "traefik.containo.us", "configuration.konghq.com", "projectcontour.io", "getambassador.io",
	"k8s.nginx.org", "gateway.nginx.org", "gloo.solo.io", "gateway.solo.io", "consul.hashicorp.com", "specs.smi-spec.io",
	"networking.internal.knative.dev", "flagger.app", "metallb.io", "submariner.io", "elbv2.k8s.aws",
), []path{
	{change, "extensions.istio.io", []string{"wasmplugins"}},
	{change, "telemetry.istio.io", []string{"telemetries"}},
	{change, "route.openshift.io", []string{"routes", "routes/custom-host", "routes/status"}},
	{change, "linkerd.io", []string{"serviceprofiles"}},
	{change, "split.smi-spec.io", []string{"trafficsplits"}},
	{change, "serving.knative.dev", []string{"routes", "domainmappings"}},
	{change, "externaldns.k8s.io", []string{"dnsendpoints"}},
	{change, "externaldns.nginx.org", []string{"dnsendpoints"}},
	{change, "cilium.io", []string{
		"ciliumlocalredirectpolicies", "ciliumenvoyconfigs", "ciliumclusterwideenvoyconfigs", "ciliumegressgatewaypolicies",
		"ciliumloadbalancerippools", "ciliuml2announcementpolicies", "ciliumbgppeeringpolicies", "ciliumbgpclusterconfigs",
		"ciliumbgppeerconfigs", "ciliumbgpadvertisements", "ciliumbgpnodeconfigoverrides", "ciliumendpoints", "ciliumidentities", "ciliumnodes",
	}},
	{change, "k8s.cni.cncf.io", []string{"network-attachment-definitions"}},
	{change, "multicluster.x-k8s.io", []string{"serviceexports", "serviceimports"}},
})

// customNetworkPolicies says which connections there may be.
var customNetworkPolicies = slices.Concat(whole(write,
	"crd.projectcalico.org", "projectcalico.org", "crd.antrea.io", "policy.linkerd.io",
), []path{
	{write, "policy.networking.k8s.io", []string{"adminnetworkpolicies", "baselineadminnetworkpolicies", "clusternetworkpolicies"}},
	{write, "cilium.io", []string{"ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies", "ciliumcidrgroups"}},
	{write, "k8s.ovn.org", []string{"egressfirewalls", "egressips", "egressqoses", "egressservices", "adminpolicybasedexternalroutes"}},
	{write, "network.openshift.io", []string{"netnamespaces", "egressnetworkpolicies", "hostsubnets", "clusternetworks"}},
	{write, "security.istio.io", []string{"authorizationpolicies", "peerauthentications", "requestauthentications"}},
	{write, "networking.gke.io", []string{"fqdnnetworkpolicies", "networkloggings"}},
	{write, "networking.k8s.aws", []string{"applicationnetworkpolicies", "clusternetworkpolicies", "policyendpoints"}},
})

// customCertificates makes certificates and trust in them, or identities.
var customCertificates = []path{
	{change, "cert-manager.io", []string{
		"certificates", "certificaterequests", "certificaterequests/status", "issuers", "clusterissuers",
	}},
	{[]string{"approve", "sign", "reference"}, "cert-manager.io", []string{"signers"}},
	{change, "acme.cert-manager.io", []string{"orders", "challenges"}},
	{write, "policy.cert-manager.io", []string{"certificaterequestpolicies"}},
	{change, "trust.cert-manager.io", []string{"bundles", "clusterbundles"}},
	{change, "awspca.cert-manager.io", []string{anyResource}},
	{change, "spire.spiffe.io", []string{"clusterspiffeids", "clusterstaticentries", "clusterfederatedtrustdomains"}},
}

// customTelemetry says what is collected, with whose token, and where it goes.
var customTelemetry = slices.Concat(whole(change,
	"azmonitoring.coreos.com", "monitoring.googleapis.com", "monitoring.grafana.com", "logging.banzaicloud.io",
	"logging-extensions.banzaicloud.io", "telemetry.kube-logging.dev", "fluentbit.fluent.io", "fluentd.fluent.io",
	"logging.openshift.io",
), []path{
	{change, "monitoring.coreos.com", []string{"servicemonitors", "podmonitors", "probes", "scrapeconfigs", "alertmanagerconfigs"}},
	{change, "observability.openshift.io", []string{"clusterlogforwarders"}},
	{change, "cilium.io", []string{"tracingpolicies", "tracingpoliciesnamespaced"}},
})

// customData is gone for good when it is deleted.
var customData = []path{
	{destroy, "snapshot.storage.k8s.io", []string{"volumesnapshots", "volumesnapshotcontents", "volumesnapshotclasses"}},
	{destroy, "groupsnapshot.storage.k8s.io", []string{"volumegroupsnapshots", "volumegroupsnapshotcontents"}},
	{destroy, "velero.io", []string{"backups", "backuprepositories"}},
	{[]string{"create"}, "velero.io", []string{"deletebackuprequests"}},
	{destroy, "longhorn.io", []string{"volumes", "snapshots", "backups", "backupvolumes"}},
	{destroy, "cdi.kubevirt.io", []string{"datavolumes"}},
}
