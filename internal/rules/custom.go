package rules

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
var customAdmission = []path{
	{write, "kyverno.io", []string{"clusterpolicies", "policies", "policyexceptions", "cleanuppolicies", "clustercleanuppolicies", "globalcontextentries"}},
	{write, "policies.kyverno.io", []string{anyResource}},
	{write, "templates.gatekeeper.sh", []string{"constrainttemplates"}},
	{write, "constraints.gatekeeper.sh", []string{anyResource}},
	{write, "mutations.gatekeeper.sh", []string{anyResource}},
	{write, "expansion.gatekeeper.sh", []string{"expansiontemplate"}},
	{write, "externaldata.gatekeeper.sh", []string{"providers"}},
	{write, "config.gatekeeper.sh", []string{"configs"}},
	{write, "policies.kubewarden.io", []string{anyResource}},
	{write, "policy.sigstore.dev", []string{"clusterimagepolicies"}},
	{write, "security.openshift.io", []string{"securitycontextconstraints"}},
}

// customNodes reaches the machines that pods run on.
var customNodes = []path{
	{change, "machineconfiguration.openshift.io", []string{"machineconfigs", "machineconfigpools", "kubeletconfigs", "containerruntimeconfigs", "machineosconfigs"}},
	{change, "tuned.openshift.io", []string{"tuneds", "profiles"}},
	{change, "performance.openshift.io", []string{"performanceprofiles"}},
	{change, "upgrade.cattle.io", []string{"plans"}},
	{change, "karpenter.k8s.aws", []string{"ec2nodeclasses"}},
	{change, "karpenter.azure.com", []string{"aksnodeclasses"}},
	{change, "bootstrap.cluster.x-k8s.io", []string{anyResource}},
	{change, "kops.k8s.io", []string{anyResource}},
	{change, "rke.cattle.io", []string{anyResource}},
}

// customDeployment is applied by deployers, most of which run as cluster
// administrators.
var customDeployment = []path{
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
	{write, "fleet.cattle.io", []string{anyResource}},
	{write, "catalog.cattle.io", []string{"apps", "clusterrepos", "operations"}},
	{write, "operators.coreos.com", []string{
		"subscriptions", "installplans", "clusterserviceversions", "catalogsources", "operatorgroups", "operators",
	}},
	{write, "olm.operatorframework.io", []string{"clusterextensions", "clustercatalogs"}},
	{write, "addons.cluster.x-k8s.io", []string{anyResource}},
	{write, "kappctrl.k14s.io", []string{"apps"}},
	{write, "packaging.carvel.dev", []string{"packageinstalls", "packagerepositories"}},
	{write, "configsync.gke.io", []string{"rootsyncs", "reposyncs"}},
	{write, "configmanagement.gke.io", []string{anyResource}},
	{write, "config.projectsveltos.io", []string{"profiles", "clusterprofiles"}},
	{write, "lib.projectsveltos.io", []string{anyResource}},
	{write, "work.open-cluster-management.io", []string{"manifestworks", "manifestworkreplicasets"}},
	{write, "apps.open-cluster-management.io", []string{anyResource}},
	{write, "policy.open-cluster-management.io", []string{"policies", "configurationpolicies", "policysets"}},
	{write, "policy.karmada.io", []string{anyResource}},
	{write, "work.karmada.io", []string{anyResource}},
	{write, "core.oam.dev", []string{anyResource}},
	{write, "kro.run", []string{anyResource}},
	{write, "metacontroller.k8s.io", []string{anyResource}},
	{write, "kubernetes.crossplane.io", []string{"objects", "observedobjectcollections", "providerconfigs"}},
	{write, "kubernetes.m.crossplane.io", []string{anyResource}},
	{write, "helm.crossplane.io", []string{"releases", "providerconfigs"}},
	{write, "helm.m.crossplane.io", []string{anyResource}},
	{write, "template.openshift.io", []string{"templateinstances", "brokertemplateinstances"}},
}

// customInfrastructure becomes something outside the cluster.
var customInfrastructure = []path{
	{write, "*.crossplane.io", []string{anyResource}},
	{write, "*.upbound.io", []string{anyResource}},
	{write, "*.cnrm.cloud.google.com", []string{anyResource}},
	{write, "*.services.k8s.aws", []string{anyResource}},
	{write, "*.azure.com", []string{anyResource}},
	{write, "cluster.x-k8s.io", []string{anyResource}},
	{write, "controlplane.cluster.x-k8s.io", []string{anyResource}},
	{write, "infrastructure.cluster.x-k8s.io", []string{anyResource}},
	{write, "ipam.cluster.x-k8s.io", []string{anyResource}},
	{write, "machine.openshift.io", []string{"machines", "machinesets", "controlplanemachinesets", "machinehealthchecks"}},
	{write, "hive.openshift.io", []string{anyResource}},
	{write, "hypershift.openshift.io", []string{anyResource}},
	{write, "metal3.io", []string{anyResource}},
	{write, "karpenter.sh", []string{"nodepools", "nodeclaims"}},
	{write, "provisioning.cattle.io", []string{"clusters"}},
	{write, "rke-machine-config.cattle.io", []string{anyResource}},
	{write, "core.gardener.cloud", []string{anyResource}},
	{write, "app.terraform.io", []string{anyResource}},
	{write, "infra.contrib.fluxcd.io", []string{"terraforms"}},
	{write, "pulumi.com", []string{anyResource}},
	{write, "auto.pulumi.com", []string{anyResource}},
	{write, "cloudcredential.openshift.io", []string{"credentialsrequests"}},
}

// customWorkflows runs commands: workflows, pipelines, builds.
var customWorkflows = []path{
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
	{change, "operator.tekton.dev", []string{anyResource}},
	{change, "build.openshift.io", []string{
		"builds", "buildconfigs", "builds/clone", "buildconfigs/instantiate", "buildconfigs/instantiatebinary", "buildconfigs/webhooks",
	}},
	{change, "shipwright.io", []string{"builds", "buildruns", "buildstrategies", "clusterbuildstrategies"}},
	{change, "kpack.io", []string{anyResource}},
	{change, "jenkins.io", []string{anyResource}},
	{change, "actions.github.com", []string{anyResource}},
	{change, "actions.summerwind.dev", []string{anyResource}},
	{change, "apps.gitlab.com", []string{"runners"}},
	{change, "kargo.akuity.io", []string{anyResource}},
	{change, "litmuschaos.io", []string{anyResource}},
	{change, "chaos-mesh.org", []string{anyResource}},
	{change, "k6.io", []string{"testruns", "privateloadzones", "k6s"}},
	{change, "tests.testkube.io", []string{anyResource}},
	{change, "testworkflows.testkube.io", []string{anyResource}},
	{change, "executor.testkube.io", []string{anyResource}},
	{change, "tf.galleybytes.com", []string{"terraforms"}},
}

// customWorkloads becomes pods or virtual machines by a template that its writer
// chooses.
var customWorkloads = []path{
	{change, "argoproj.io", []string{"rollouts"}},
	{change, "apps.openshift.io", []string{"deploymentconfigs", "deploymentconfigs/instantiate", "deploymentconfigs/rollback"}},
	{change, "apps.kruise.io", []string{anyResource}},
	{change, "jobset.x-k8s.io", []string{"jobsets"}},
	{change, "leaderworkerset.x-k8s.io", []string{"leaderworkersets"}},
	{change, "kueue.x-k8s.io", []string{anyResource}},
	{change, "batch.volcano.sh", []string{"jobs", "cronjobs"}},
	{change, "flow.volcano.sh", []string{"jobflows", "jobtemplates"}},
	{change, "kubeflow.org", []string{
		"notebooks", "tfjobs", "pytorchjobs", "mpijobs", "xgboostjobs", "paddlejobs", "jaxjobs", "mxjobs", "experiments", "suggestions",
		"trials", "poddefaults", "scheduledworkflows", "viewers", "pvcviewers", "tensorboards",
	}},
	{change, "tensorboard.kubeflow.org", []string{"tensorboards"}},
	{change, "pipelines.kubeflow.org", []string{anyResource}},
	{change, "trainer.kubeflow.org", []string{"trainjobs", "trainingruntimes", "clustertrainingruntimes"}},
	{change, "serving.kserve.io", []string{anyResource}},
	{change, "ray.io", []string{"rayclusters", "rayjobs", "rayservices", "raycronjobs"}},
	{change, "sparkoperator.k8s.io", []string{"sparkapplications", "scheduledsparkapplications", "sparkconnects"}},
	{change, "spark.apache.org", []string{"sparkapplications", "sparkclusters"}},
	{change, "flink.apache.org", []string{"flinkdeployments", "flinksessionjobs", "flinkbluegreendeployments", "flinkstatesnapshots"}},
	{change, "kubernetes.dask.org", []string{anyResource}},
	{change, "keda.sh", []string{"scaledjobs"}},
	{change, "serving.knative.dev", []string{"services", "configurations", "revisions"}},
	{change, "sources.knative.dev", []string{"containersources", "sinkbindings"}},
	{change, "sinks.knative.dev", []string{"jobsinks"}},
	{change, "operator.knative.dev", []string{anyResource}},
	{change, "kubevirt.io", []string{
		"virtualmachines", "virtualmachineinstances", "virtualmachineinstancereplicasets", "virtualmachineinstancemigrations", "kubevirts",
	}},
	{change, "pool.kubevirt.io", []string{"virtualmachinepools"}},
	{change, "cdi.kubevirt.io", []string{anyResource}},
	{change, "agones.dev", []string{anyResource}},
	{change, "workspace.devfile.io", []string{"devworkspaces", "devworkspacetemplates"}},
	{change, "controller.devfile.io", []string{anyResource}},
	{change, "opentelemetry.io", []string{"opentelemetrycollectors", "instrumentations", "targetallocators", "opampbridges"}},
	{change, "monitoring.coreos.com", []string{"prometheuses", "prometheusagents", "alertmanagers", "thanosrulers"}},
	{change, "operator.victoriametrics.com", []string{anyResource}},
	{change, "camel.apache.org", []string{anyResource}},
}

// customConsoles gives a way into running workloads.
var customConsoles = []path{
	{[]string{"get", "create", "update"}, "subresources.kubevirt.io", []string{
		"virtualmachineinstances/console", "virtualmachineinstances/vnc", "virtualmachineinstances/usbredir", "virtualmachineinstances/portforward",
		"virtualmachines/portforward",
	}},
	{change, "apps.kruise.io", []string{"ephemeraljobs"}},
}

// customSecrets carries secrets from a store into the cluster, or out to one.
var customSecrets = []path{
	{write, "external-secrets.io", []string{
		"externalsecrets", "secretstores", "clustersecretstores", "clusterexternalsecrets", "pushsecrets", "clusterpushsecrets",
	}},
	{write, "generators.external-secrets.io", []string{anyResource}},
	{write, "kubernetes-client.io", []string{"externalsecrets"}},
	{write, "secrets-store.csi.x-k8s.io", []string{"secretproviderclasses", "secretproviderclasspodstatuses"}},
	{write, "secret-sync.x-k8s.io", []string{"secretsyncs"}},
	{write, "secrets.hashicorp.com", []string{anyResource}},
	{write, "redhatcop.redhat.io", []string{anyResource}},
	{write, "ricoberger.de", []string{"vaultsecrets"}},
	{write, "bitnami.com", []string{"sealedsecrets"}},
	{write, "isindir.github.com", []string{"sopssecrets"}},
	{write, "secretgen.carvel.dev", []string{anyResource}},
	{write, "secretgen.k14s.io", []string{anyResource}},
	{write, "onepassword.com", []string{"onepassworditems"}},
	{write, "secrets.infisical.com", []string{anyResource}},
	{write, "secrets.doppler.com", []string{"dopplersecrets"}},
	{write, "k8s.bitwarden.com", []string{"bitwardensecrets"}},
	{write, "spv.no", []string{anyResource}},
	{write, "digitalis.io", []string{"valssecrets", "dbsecrets"}},
	{write, "servicebinding.io", []string{"servicebindings", "clusterworkloadresourcemappings"}},
	{write, "binding.operators.coreos.com", []string{"servicebindings", "bindablekinds"}},
}

// customBackups copies namespaces out and in.
var customBackups = []path{
	{write, "velero.io", []string{
		"backups", "restores", "schedules", "backupstoragelocations", "volumesnapshotlocations", "backuprepositories",
		"podvolumebackups", "podvolumerestores", "datauploads", "datadownloads", "downloadrequests", "deletebackuprequests", "serverstatusrequests",
	}},
	{write, "oadp.openshift.io", []string{anyResource}},
	{write, "k8up.io", []string{anyResource}},
	{write, "cr.kanister.io", []string{anyResource}},
	{write, "config.kio.kasten.io", []string{anyResource}},
	{write, "actions.kio.kasten.io", []string{anyResource}},
	{write, "apps.kio.kasten.io", []string{anyResource}},
	{write, "stash.appscode.com", []string{anyResource}},
	{write, "core.kubestash.com", []string{anyResource}},
	{write, "resources.cattle.io", []string{"backups", "restores"}},
	{write, "stork.libopenstorage.org", []string{anyResource}},
	{write, "triliovault.trilio.io", []string{anyResource}},
	{write, "volsync.backube", []string{"replicationsources", "replicationdestinations"}},
	{write, "gemini.fairwinds.com", []string{"snapshotgroups"}},
}

// customTraffic says where connections go.
var customTraffic = []path{
	{change, "gateway.networking.k8s.io", []string{anyResource}},
	{change, "gateway.networking.x-k8s.io", []string{anyResource}},
	{change, "gateway.envoyproxy.io", []string{anyResource}},
	{change, "networking.istio.io", []string{anyResource}},
	{change, "extensions.istio.io", []string{"wasmplugins"}},
	{change, "telemetry.istio.io", []string{"telemetries"}},
	{change, "route.openshift.io", []string{"routes", "routes/custom-host", "routes/status"}},
	{change, "traefik.io", []string{anyResource}},
	{change, "traefik.containo.us", []string{anyResource}},
	{change, "configuration.konghq.com", []string{anyResource}},
	{change, "projectcontour.io", []string{anyResource}},
	{change, "getambassador.io", []string{anyResource}},
	{change, "k8s.nginx.org", []string{anyResource}},
	{change, "gateway.nginx.org", []string{anyResource}},
	{change, "gloo.solo.io", []string{anyResource}},
	{change, "gateway.solo.io", []string{anyResource}},
	{change, "consul.hashicorp.com", []string{anyResource}},
	{change, "linkerd.io", []string{"serviceprofiles"}},
	{change, "split.smi-spec.io", []string{"trafficsplits"}},
	{change, "specs.smi-spec.io", []string{anyResource}},
	{change, "serving.knative.dev", []string{"routes", "domainmappings"}},
	{change, "networking.internal.knative.dev", []string{anyResource}},
	{change, "flagger.app", []string{anyResource}},
	{change, "externaldns.k8s.io", []string{"dnsendpoints"}},
	{change, "externaldns.nginx.org", []string{"dnsendpoints"}},
	{change, "cilium.io", []string{
		"ciliumlocalredirectpolicies", "ciliumenvoyconfigs", "ciliumclusterwideenvoyconfigs", "ciliumegressgatewaypolicies",
		"ciliumloadbalancerippools", "ciliuml2announcementpolicies", "ciliumbgppeeringpolicies", "ciliumbgpclusterconfigs",
		"ciliumbgppeerconfigs", "ciliumbgpadvertisements", "ciliumbgpnodeconfigoverrides", "ciliumendpoints", "ciliumidentities", "ciliumnodes",
	}},
	{change, "metallb.io", []string{anyResource}},
	{change, "k8s.cni.cncf.io", []string{"network-attachment-definitions"}},
	{change, "multicluster.x-k8s.io", []string{"serviceexports", "serviceimports"}},
	{change, "submariner.io", []string{anyResource}},
	{change, "elbv2.k8s.aws", []string{anyResource}},
}

// customNetworkPolicies says which connections there may be.
var customNetworkPolicies = []path{
	{write, "policy.networking.k8s.io", []string{"adminnetworkpolicies", "baselineadminnetworkpolicies", "clusternetworkpolicies"}},
	{write, "cilium.io", []string{"ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies", "ciliumcidrgroups"}},
	{write, "crd.projectcalico.org", []string{anyResource}},
	{write, "projectcalico.org", []string{anyResource}},
	{write, "crd.antrea.io", []string{anyResource}},
	{write, "k8s.ovn.org", []string{"egressfirewalls", "egressips", "egressqoses", "egressservices", "adminpolicybasedexternalroutes"}},
	{write, "network.openshift.io", []string{"netnamespaces", "egressnetworkpolicies", "hostsubnets", "clusternetworks"}},
	{write, "security.istio.io", []string{"authorizationpolicies", "peerauthentications", "requestauthentications"}},
	{write, "policy.linkerd.io", []string{anyResource}},
	{write, "networking.gke.io", []string{"fqdnnetworkpolicies", "networkloggings"}},
	{write, "networking.k8s.aws", []string{"applicationnetworkpolicies", "clusternetworkpolicies", "policyendpoints"}},
}

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
var customTelemetry = []path{
	{change, "monitoring.coreos.com", []string{"servicemonitors", "podmonitors", "probes", "scrapeconfigs", "alertmanagerconfigs"}},
	{change, "azmonitoring.coreos.com", []string{anyResource}},
	{change, "monitoring.googleapis.com", []string{anyResource}},
	{change, "monitoring.grafana.com", []string{anyResource}},
	{change, "logging.banzaicloud.io", []string{anyResource}},
	{change, "logging-extensions.banzaicloud.io", []string{anyResource}},
	{change, "telemetry.kube-logging.dev", []string{anyResource}},
	{change, "fluentbit.fluent.io", []string{anyResource}},
	{change, "fluentd.fluent.io", []string{anyResource}},
	{change, "logging.openshift.io", []string{anyResource}},
	{change, "observability.openshift.io", []string{"clusterlogforwarders"}},
	{change, "cilium.io", []string{"tracingpolicies", "tracingpoliciesnamespaced"}},
}

// customData is gone for good when it is deleted.
var customData = []path{
	{destroy, "snapshot.storage.k8s.io", []string{"volumesnapshots", "volumesnapshotcontents", "volumesnapshotclasses"}},
	{destroy, "groupsnapshot.storage.k8s.io", []string{"volumegroupsnapshots", "volumegroupsnapshotcontents"}},
	{destroy, "velero.io", []string{"backups", "backuprepositories"}},
	{[]string{"create"}, "velero.io", []string{"deletebackuprequests"}},
	{destroy, "longhorn.io", []string{"volumes", "snapshots", "backups", "backupvolumes"}},
	{destroy, "cdi.kubevirt.io", []string{"datavolumes"}},
}
