package main

import (
	"time"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// The commands that come more than once.
const (
	scale   = `kubectl scale deployment checkout -n payments --replicas=3`
	approve = `kubectl patch areq fix -n payments --subresource=status --type=merge -p '{"status":{"decisions":[{"verdict":"Approve"}]}}'`
)

// story is what happens, in order.
func story(s *lab.Cluster) []act {
	return []act{
		say("PROLOGUE. The administrator sets the rules: who may ask, for what, and who decides."),
		types{who: lab.AdminName, command: `kubectl apply -f hack/demo/payments.yaml`, expect: "the namespace payments is there"},
		types{who: lab.AdminName, command: `kubectl apply -f hack/demo/policy.yaml`, expect: "there are two policies"},
		types{
			who: lab.AdminName, command: `kubectl wait --for=condition=Ready --timeout=10s accesspolicies --all`,
			expect: "the broker understands them",
		},
		do(s.Cast),

		say("ACT ONE. Alice, a developer, has to scale checkout and holds no role."),
		types{who: "alice", command: scale, expect: "alice is refused", refused: true, shows: []string{`User "alice" cannot`}},
		say("Alice asks for the role edit in payments, for 20 seconds."),
		types{who: "alice", command: `kubectl create -f hack/demo/request.yaml`, expect: "alice has asked"},
		types{
			who: "alice", command: `kubectl wait --for=condition=PolicyMatched --timeout=10s areq/fix -n payments`,
			expect: "a policy lets Alice ask, and names who decides",
		},
		types{
			who: "alice", command: approve,
			expect: "nobody can approve their own request", refused: true, shows: []string{"nobody decides on their own request"},
		},
		say("Bob is a site reliability engineer. Bob looks at it and approves."),
		types{who: "bob", command: `kubectl get areq -n payments`, expect: "bob sees who asks for what", shows: []string{"alice", "edit", "Pending"}},
		types{who: "bob", command: approve, expect: "bob has approved"},
		types{
			who: "alice", command: `kubectl wait --for=jsonpath='{.status.phase}'=Active --timeout=10s areq/fix -n payments`,
			expect: "the access is given",
		},
		types{who: "alice", command: scale, expect: "alice may", shows: []string{"scaled"}},
		say("The 20 seconds pass. Nobody does anything."),
		types{
			who: "alice", command: `kubectl wait --for=jsonpath='{.status.phase}'=Expired --timeout=40s areq/fix -n payments`,
			expect: "the access has ended by itself, not before its time", lasts: 15 * time.Second,
		},
		types{who: "alice", command: scale, expect: "alice is refused again", refused: true, shows: []string{`User "alice" cannot`}},

		say("ACT TWO. A workload, the ServiceAccount migrator, gets a role for as long as its Job runs."),
		types{
			who: "migrator", command: `kubectl create configmap schema -n payments --from-literal=version=42`,
			expect: "the migrator is refused", refused: true,
		},
		types{who: lab.AdminName, command: `kubectl create -f hack/demo/job.yaml`, expect: "its Job is there"},
		types{who: "migrator", command: `kubectl create -f hack/demo/job-request.yaml`, expect: "the migrator has asked"},
		types{
			who: "migrator", command: `kubectl wait --for=jsonpath='{.status.phase}'=Active --timeout=10s areq/migrate -n payments`,
			expect: "the access is given, and nobody had to be awake",
		},
		types{
			who: "migrator", command: `kubectl create configmap schema -n payments --from-literal=version=42`,
			expect: "the migrator may", shows: []string{"created"},
		},
		say("The Job's Pod succeeds. (There is no node here: the demo sets the Pod's phase, as a kubelet would.)"),
		finishJob(s, "payments", "migrate"),
		types{
			who: lab.AdminName, command: `kubectl wait --for=condition=Complete --timeout=20s job/migrate -n payments`,
			expect: "Kubernetes has completed the Job",
		},
		types{
			who: "migrator", command: `kubectl wait --for=jsonpath='{.status.phase}'=Completed --timeout=20s areq/migrate -n payments`,
			expect: "the access has ended with it",
		},
		types{
			who: "migrator", command: `kubectl delete configmap schema -n payments`,
			expect: "the migrator is refused again", refused: true,
		},

		say("EPILOGUE. What was given stays on record."),
		types{
			who: "bob", command: `kubectl get accessgrants`,
			expect: "the audit shows both", shows: []string{"alice", "Expired", "migrator", "TaskCompleted"},
		},
		types{
			who: lab.AdminName, command: `kubectl label accessgrants --all rewritten=true`,
			expect: "an edit is refused, the administrator's too", refused: true, shows: []string{"access-broker-grants"},
		},
	}
}
