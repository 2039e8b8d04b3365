package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/usage"
	"github.com/accessbroker/accessbroker/internal/usage/attribution"
)

// callToUsage: from just before a call to the first AccessUsage that has it, with a
// webhook that sends every second; and from a suspicious call to the first answer that
// the access is gone.
func callToUsage(ctx context.Context, s *scene) ([]result, error) {
	watched := &v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: "watched"}, Spec: policySpec()}
	watched.Spec.Suspicious = []v1alpha1.SuspiciousUse{{Name: "secrets", Expression: `event.resource == "secrets"`, Action: v1alpha1.SuspiciousRevoke}}
	if err := errors.Join(s.Admin.Create(ctx, watched), s.startObserver(ctx)); err != nil {
		return nil, err
	}
	var seen, gone []time.Duration
	for range s.n.deadlines {
		request := lab.NewRequest(s.namespaces[0].Name, func(spec *v1alpha1.AccessRequestSpec) {
			spec.PolicyName, spec.Duration = "watched", &metav1.Duration{Duration: time.Hour}
		})
		if err := s.alice.Create(ctx, request); err != nil {
			return nil, err
		}
		if err := s.until(ctx, request, "a policy", func() bool { return request.Status.Policy != nil }); err != nil {
			return nil, err
		}
		if err := s.decide(ctx, request, v1alpha1.VerdictApprove); err != nil {
			return nil, err
		}
		if err := s.active(ctx, request); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := s.alice.List(ctx, &corev1.PodList{}, client.InNamespace(s.namespaces[0].Name)); err != nil {
			return nil, err
		}
		used := &v1alpha1.AccessUsage{ObjectMeta: metav1.ObjectMeta{Name: request.Status.GrantName}}
		if err := s.until(ctx, used, "the call", func() bool { return used.Status.Calls > 0 }); err != nil {
			return nil, err
		}
		seen = append(seen, time.Since(begin))
		begin = time.Now()
		if err := s.alice.List(ctx, &corev1.SecretList{}, client.InNamespace(s.namespaces[0].Name)); err != nil {
			return nil, err
		}
		at, err := answered(ctx, s.alice, s.namespaces[0].Name, false)
		if err != nil {
			return nil, err
		}
		gone = append(gone, at.Sub(begin))
		if err := s.ended(ctx, request); err != nil {
			return nil, err
		}
	}
	toUsage, toRevoked := spread("call → AccessUsage, webhook batches of 1 s", seen), spread("suspicious call → access denied", gone)
	return []result{
		toUsage.aims("p50 < 2 s", toUsage.Value < 2000),
		toRevoked.aims("p50 < 3 s: the webhook's second, and two", toRevoked.Value < 3000),
	}, nil
}

// readEvents: how many events one core reads and attributes, of which one in a hundred
// belongs to one of 500 grants, and whether memory grows with them.
func readEvents(_ context.Context, s *scene) ([]result, error) {
	grants := make([]*v1alpha1.AccessGrant, 500)
	for i := range grants {
		g := &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: grant.Name("fix", types.UID(fmt.Sprint(i)))}}
		g.Spec.Subjects = []v1alpha1.GrantSubject{{Subject: v1alpha1.Subject{Kind: v1alpha1.UserKind, Name: fmt.Sprintf("dev-%d", i)}}}
		g.Spec.RoleRef = &v1alpha1.RoleRef{Kind: v1alpha1.ClusterRoleKind, Name: "edit"}
		g.Spec.RoleRules = []string{"get,list,watch,create,delete pods"}
		g.Spec.Namespaces = []v1alpha1.GrantNamespace{{ObjectRef: v1alpha1.ObjectRef{Name: "payments"}}}
		g.Spec.NotBefore = metav1.NewTime(eventsBegin)
		grants[i] = g
	}
	index := attribution.New(grants, nil)
	filter, tallies := index.Filter("observer"), map[string]*usage.Tally{}
	var early, peak uint64
	attributed, exact, events := 0, 0, s.n.events
	begin := time.Now()
	_, err := usage.Read(&eventLog{grants: grants, left: events}, filter, func(e *usage.Event) error {
		for _, share := range index.Of(e) {
			attributed++
			if b, ok := e.Binding(); ok && b.Name == share.Grant && !share.Shared {
				exact++
			}
			if tallies[share.Grant] == nil {
				tallies[share.Grant] = usage.NewPart()
			}
			tallies[share.Grant].AddShared(e, share.Shared)
		}
		if attributed%(events/100/10+1) == 0 {
			var now runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&now)
			if early == 0 {
				early = now.HeapAlloc
			}
			peak = max(peak, now.HeapAlloc)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	rate := float64(events) / time.Since(begin).Seconds()
	return []result{
		result{What: fmt.Sprintf("events read and attributed on one core, of %d", events), Unit: "1/s", Value: rate}.aims("≥ 300,000", rate >= 300_000),
		result{What: "of calls that one binding covers, attributed to it alone", Unit: "%", Value: 100 * float64(exact) / float64(events/100)}.aims("100", exact == events/100 && attributed == exact),
		result{What: "heap after a tenth of the events, and at most", Unit: "MB", Value: float64(peak) / 1e6, Note: fmt.Sprintf("%.1f MB after a tenth", float64(early)/1e6)}.aims("flat", peak < early+early/2+8<<20),
	}, nil
}

var eventsBegin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// eventLog is a log as API servers write it: of every hundred events one is of a
// grant, the others are of controllers and kubelets.
type eventLog struct {
	grants []*v1alpha1.AccessGrant
	left   int
	n      int
	rest   string
}

// Read makes events as they are read.
func (l *eventLog) Read(p []byte) (int, error) {
	for len(l.rest) < len(p) && l.left > 0 {
		l.rest += l.block()
	}
	if l.rest == "" {
		return 0, io.EOF
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

// block is a hundred events. Ninety-nine of them are the same in each block but for
// the one of a grant: to make them must not cost more than to read them.
func (l *eventLog) block() string {
	l.n++
	l.left -= 100
	g := l.grants[l.n%len(l.grants)]
	at := eventsBegin.Add(time.Duration(l.n) * time.Second).Format(time.RFC3339Nano)
	reason := fmt.Sprintf(`RBAC: allowed by RoleBinding \"%s/payments\" of ClusterRole \"edit\" to User \"%s\"`, g.Name, g.Spec.Subjects[0].Name)
	return others + event(fmt.Sprintf("a%015d", l.n), g.Spec.Subjects[0].Name, fmt.Sprintf("api-%d", l.n%7), reason, at)
}

var others = func() string {
	var all strings.Builder
	for i := range 99 {
		controller := fmt.Sprintf("c%d", i%40)
		all.WriteString(event(fmt.Sprintf("b%015d", i), "system:serviceaccount:kube-system:"+controller, "x",
			fmt.Sprintf(`RBAC: allowed by ClusterRoleBinding \"system:controller:%s\" of ClusterRole \"system:controller:%s\" to ServiceAccount \"%s/kube-system\"`, controller, controller, controller),
			"2026-01-01T00:00:00.000001Z"))
	}
	return all.String()
}()

func event(id, user, name, reason, at string) string {
	return `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"` + id + `","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/payments/pods/` + name +
		`","verb":"get","user":{"username":"` + user + `","uid":"7c9a0b4e-0000-4000-8000-000000000000","groups":["dev","system:authenticated"],"extra":{"authentication.kubernetes.io/credential-id":["X509SHA256=0c0f0f7bb0a4c2f5ad7a1c50dd6a6b5a2cf9dbb8b1c7f5e1a1dd1a8a3e3a2c11"]}},` +
		`"sourceIPs":["10.0.0.1"],"userAgent":"kubectl/v1.37.2 (linux/amd64) kubernetes/9edcffc","objectRef":{"resource":"pods","namespace":"payments","name":"` + name +
		`","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"` + at + `","stageTimestamp":"` + at +
		`","annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"` + reason + `"}}` + "\n"
}
