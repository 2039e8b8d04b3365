package advice

import (
	"fmt"
	"math/rand"
	"slices"
	"time"

	"github.com/accessbroker/accessbroker/internal/usage"
)

var (
	apps       = []string{"web", "api", "worker", "db"}
	namespaces = []string{"payments", "shop", "search", "lab", "billing", "mail"}
)

// mixedLog is thirty days of an operator, a pipeline, people on call and a developer,
// as kubectl and client-go make these calls. It is the same at each run.
func mixedLog() []*usage.Event {
	r := rand.New(rand.NewSource(42))
	var log []*usage.Event
	at := day
	say := func(user, line string, more ...func(*usage.Event)) {
		at = at.Add(time.Duration(r.Intn(120)) * time.Second)
		log = append(log, call(line, append([]func(*usage.Event){by(user), func(e *usage.Event) { e.Received = at }}, more...)...))
	}
	rollout := map[string]string{} // the hash of the ReplicaSet of each app
	pod := func(namespace, app string) string {
		if app == "db" {
			return fmt.Sprintf("db-%d", r.Intn(3))
		}
		return rollout[namespace+app] + "-" + ending(r, 5)
	}
	for i := range 30 {
		at = day.Add(time.Duration(i) * 24 * time.Hour)
		for _, namespace := range namespaces {
			for _, app := range apps {
				if rollout[namespace+app] == "" || r.Intn(4) == 0 {
					rollout[namespace+app] = app + "-" + ending(r, 9)
				}
			}
		}
		operator(say, r, i)
		pipeline(say, r, i)
		onCall(say, r, pod)
		developer(say, r, pod)
	}
	slices.SortStableFunc(log, func(a, b *usage.Event) int { return a.Received.Compare(b.Received) })
	return log
}

type sayer func(user, line string, more ...func(*usage.Event))

// operator keeps its own resources in three namespaces, watches them everywhere and
// holds a lease.
func operator(say sayer, r *rand.Rand, i int) {
	const user = "system:serviceaccount:db-operator:manager"
	say(user, "get /api/v1")
	say(user, "list databases.db.example.com -")
	for range 20 {
		say(user, "watch databases.db.example.com -")
		say(user, "watch secrets -")
		say(user, "get leases.coordination.k8s.io db-operator/db-operator")
		say(user, "update leases.coordination.k8s.io db-operator/db-operator")
	}
	if i == 0 {
		say(user, "list secrets -")
	}
	for _, namespace := range namespaces[:3] {
		say(user, "patch databases.db.example.com/status "+namespace+"/db")
		say(user, "get statefulsets.apps "+namespace+"/db")
		say(user, "update statefulsets.apps "+namespace+"/db")
		if r.Intn(3) == 0 {
			say(user, "create events "+namespace+"/db."+ending(r, 5), code(201))
		}
		if r.Intn(5) == 0 {
			say(user, "patch secrets "+namespace+"/db-password")
			say(user, "create secrets "+namespace+"/db-password", code(201))
		}
	}
}

// pipeline deploys two apps in two namespaces, mostly with apply.
func pipeline(say sayer, r *rand.Rand, i int) {
	const user = "system:serviceaccount:ci:deployer"
	for _, namespace := range namespaces[:2] {
		for _, app := range apps[:2] {
			if r.Intn(3) == 0 && i > 0 {
				continue
			}
			status := code(200)
			if i == 0 {
				status = code(201)
			}
			for _, what := range []string{"deployments.apps", "services", "configmaps"} {
				say(user, "get "+what+" "+namespace+"/"+app)
				say(user, "patch "+what+" "+namespace+"/"+app, status)
			}
			say(user, "list pods "+namespace)
			say(user, "watch deployments.apps "+namespace+"/"+app)
			say(user, "get secrets "+namespace+"/sh.helm.release.v1."+app+fmt.Sprintf(".v%d", i+1))
			say(user, "create secrets "+namespace+"/sh.helm.release.v1."+app+fmt.Sprintf(".v%d", i+2), code(201))
		}
	}
}

// onCall are three people who look, restart and sometimes get into a Pod, each in the
// namespaces of the incidents of the day.
func onCall(say sayer, r *rand.Rand, pod func(namespace, app string) string) {
	for _, user := range []string{"ana", "ben", "chi"} {
		if r.Intn(3) > 0 {
			continue
		}
		namespace, app := namespaces[r.Intn(len(namespaces))], apps[r.Intn(len(apps))]
		name := pod(namespace, app)
		say(user, "create selfsubjectaccessreviews.authorization.k8s.io -", code(201))
		say(user, "list pods "+namespace)
		say(user, "get pods "+namespace+"/"+name)
		say(user, "list events "+namespace)
		say(user, "get pods/log "+namespace+"/"+name)
		switch r.Intn(5) {
		case 0:
			say(user, "get pods/exec "+namespace+"/"+name, code(101))
		case 1:
			say(user, "delete pods "+namespace+"/"+name)
		case 2:
			say(user, "get deployments.apps "+namespace+"/"+app)
			say(user, "patch deployments.apps "+namespace+"/"+app)
		case 3:
			say(user, "get configmaps "+namespace+"/"+app)
			say(user, "get secrets "+namespace+"/"+app, refused)
		}
	}
}

// developer works in one namespace with kubectl.
func developer(say sayer, r *rand.Rand, pod func(namespace, app string) string) {
	const user, namespace = "dev", "lab"
	for range 6 {
		app := apps[r.Intn(3)]
		name := pod(namespace, app)
		say(user, "list pods "+namespace)
		say(user, "get pods "+namespace+"/"+name)
		say(user, "get pods/log "+namespace+"/"+name)
		switch r.Intn(4) {
		case 0:
			say(user, "create pods/portforward "+namespace+"/"+name, code(101))
		case 1:
			say(user, "get deployments.apps "+namespace+"/"+app)
			say(user, "patch deployments.apps/scale "+namespace+"/"+app)
		case 2:
			say(user, "delete pods "+namespace+"/"+name)
		case 3:
			say(user, "get configmaps "+namespace+"/"+app)
			say(user, "update configmaps "+namespace+"/"+app)
		}
	}
}

// ending is one that a controller makes.
func ending(r *rand.Rand, n int) string {
	const letters = "bcdfghjklmnpqrstvwxz2456789"
	out := make([]byte, n)
	for i := range out {
		out[i] = letters[r.Intn(len(letters))]
	}
	return string(out)
}
