package install

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
)

// What OpenShift's default constraint, restricted-v2, asks for besides the
// restricted standard: that no Pod names a user or a group for its files, which
// come from the range of its namespace, and that it has no other volumes.
func TestOpenShiftGivesTheUser(t *testing.T) {
	names := slices.DeleteFunc(components(t), func(name string) bool { return name == "openshift" })
	for from, of := range map[string]struct {
		list objects
		// workloads: the Deployment, a CronJob or Helm's Job, the observer and the checker.
		workloads int
	}{
		"config/default with every component": {kustomize(t, withComponents(t, append(names, "openshift")...)), 4},
		"the observer":                        {kustomize(t, withComponents(t, "observer", "openshift")), 2},
		"the chart":                           {chart(t, "--set", "runAsUser=null"), 2},
		"the chart with all":                  {chart(t, "--set", "runAsUser=null,observer.enabled=true,checks.enabled=true"), 4},
	} {
		workloads := 0
		for key, o := range of.list {
			template := podOf(t, o)
			if template == nil {
				continue
			}
			workloads++
			pod := template.Spec
			if pod.SecurityContext.RunAsUser != nil || pod.SecurityContext.FSGroup != nil {
				t.Errorf("%s: %s: the Pod names a user or a group: %+v", from, key, pod.SecurityContext)
			}
			for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
				if c.SecurityContext.RunAsUser != nil {
					t.Errorf("%s: %s: container %s names user %d", from, key, c.Name, *c.SecurityContext.RunAsUser)
				}
			}
			for _, v := range pod.Volumes {
				if v.ConfigMap == nil && v.Secret == nil && v.EmptyDir == nil && v.Projected == nil && v.PersistentVolumeClaim == nil {
					t.Errorf("%s: %s: volume %s is of a kind that is not allowed", from, key, v.Name)
				}
			}
		}
		if workloads != of.workloads {
			t.Errorf("%s has %d workloads", from, workloads)
		}
	}
}

// Without the component the Pods name a user, which is why it is there.
func TestUserIsNamedElsewhere(t *testing.T) {
	var users []int64
	for _, o := range kustomize(t, withComponents(t, "sweep-cronjob")) {
		if template := podOf(t, o); template != nil {
			users = append(users, userOf(template.Spec))
		}
	}
	if !slices.Equal(users, []int64{65532, 65532}) {
		t.Errorf("the users are %d", users)
	}
}

// Clusters whose provider manages the system's namespaces, or the webhooks, refuse
// whoever writes there.
func TestNothingForTheSystem(t *testing.T) {
	for from, list := range map[string]objects{
		"config/default with every component": kustomize(t, withComponents(t, components(t)...)),
		"the chart":                           chart(t),
	} {
		for key, o := range list {
			if ns := o.GetNamespace(); ns != "" && ns != lab.BrokerNamespace && ns != v1alpha1.GrantsNamespace {
				t.Errorf("%s: %s is in another namespace", from, key)
			}
			if strings.HasSuffix(o.GetKind(), "WebhookConfiguration") || o.GetKind() == "APIService" {
				t.Errorf("%s has a %s", from, key)
			}
		}
	}
}

// userOf a Pod, 0 when it names none.
func userOf(pod corev1.PodSpec) int64 {
	if pod.SecurityContext == nil || pod.SecurityContext.RunAsUser == nil {
		return 0
	}
	return *pod.SecurityContext.RunAsUser
}
