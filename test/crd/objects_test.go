package crd

import (
	"context"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// Valid objects with every field set that can be set together; the other side
// of a choice is in the tables. The tests send changed copies of them.
const (
	validRequest = `
apiVersion: jit.accessbroker.dev/v1alpha1
kind: AccessRequest
metadata: {namespace: default, name: fix}
spec:
  subjects:
  - {kind: User, apiGroup: rbac.authorization.k8s.io, name: alice}
  - {kind: ServiceAccount, name: migrate, namespace: payments}
  roleRef: {kind: ClusterRole, name: edit}
  scope: {namespaces: [payments]}
  policyName: prod-edit
  duration: 30m0s
  startTime: "2026-10-01T08:00:00Z"
  reason: "INC-42: stuck consumers"
  ticket: INC-42
  task: {apiVersion: batch/v1, kind: Job, name: migrate, completeWhen: object.status.succeeded == 1}
`
	validPolicy = `
apiVersion: jit.accessbroker.dev/v1alpha1
kind: AccessPolicy
metadata: {name: prod-edit}
spec:
  requesters:
  - {kind: Group, apiGroup: rbac.authorization.k8s.io, name: dev}
  - {kind: ServiceAccount, name: robot, namespace: payments, until: "2026-12-31T22:00:00Z"}
  approvals:
  - name: sre
    from:
    - {kind: Group, apiGroup: rbac.authorization.k8s.io, name: sre}
    - {kind: ServiceAccount, name: approver, namespace: ops}
    count: 1
  - name: owners
    fromNamespaceLabel: {key: example.com/team, prefix: "oidc:", suffix: -owners}
    count: 1
  maxExtensions: 2
  reviewWithin: 24h0m0s
  reviewBy: "2026-12-31T22:00:00Z"
  roles:
  - {kind: ClusterRole, name: edit}
  rules:
  - {verbs: [get], apiGroups: [""], resources: [pods], resourceNames: [web]}
  - {verbs: [get], nonResourceURLs: [/metrics]}
  namespaces:
    names: [payments]
    selector:
      matchLabels: {team: payments}
      matchExpressions:
      - {key: env, operator: In, values: [prod]}
  clusterScope: Forbidden
  subjects: Any
  maxDuration: 8h
  defaultDuration: 1h
  pendingTimeout: 2h
  maxPendingPerRequester: 5
  task: Optional
  onRoleWidened: Revoke
  credential: Own
  idleTimeout: 30m
  suspicious:
  - {name: secrets, expression: event.resource == 'secrets', message: nobody reads Secrets with this, action: Revoke}
  onSessionsOpen: EvictPod
  conditions:
  - {name: working-hours, expression: now.getHours('Europe/Berlin') < 18, message: only before six in the evening}
`
	validGrant = `
apiVersion: jit.accessbroker.dev/v1alpha1
kind: AccessGrant
metadata: {name: fix-1a2b3c}
spec:
  requestRef: {namespace: payments, name: fix, uid: 1a2b}
  requester:
    username: alice
    uid: "7"
    groups: [dev]
    omittedGroups: 2
    extra: {example.com/team: [payments]}
    omittedExtra: [example.com/assertion]
  subjects:
  - {kind: User, apiGroup: rbac.authorization.k8s.io, name: alice}
  - {kind: ServiceAccount, name: migrate, namespace: payments, uid: 2b3c}
  roleRef: {kind: Role, name: edit}
  roleUID: 3c4d
  namespaces:
  - {name: payments, uid: 4d5e, roleUID: 5e6f}
  cluster: true
  policyRef: {name: prod-edit, uid: 6f70, generation: 3}
  decisions:
  - {username: bob, groups: [sre], omittedGroups: 1, verdict: Approve, comment: fine, maxDuration: 30m0s, notAfter: "2026-10-01T09:00:00Z", requestUID: 1a2b, rulesHash: abcdef}
  reason: "INC-42: stuck consumers"
  ticket: INC-42
  rules:
  - {verbs: [get], apiGroups: [""], resources: [pods], resourceNames: [web]}
  - {verbs: [get], nonResourceURLs: [/metrics]}
  roleRules: ["get pods web", "get /metrics"]
  rulesHash: abcdef
  notBefore: "2026-10-01T08:00:00Z"
  expirationTime: "2026-10-01T08:30:00Z"
  shortenedBy: bob
  extends: {name: fix-0a1b, uid: 0a1b, extensions: 1, first: fix-0a1b, expirationTime: "2026-10-01T08:10:00Z"}
  reviewWithin: 24h0m0s
  task: {apiVersion: batch/v1, kind: Job, name: migrate, completeWhen: object.status.succeeded == 1, uid: 708f}
  credentialKey: 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=
  summary: {subjects: "alice, sa:payments/migrate", role: Role/edit, scope: payments, approvers: bob}
`
	validCondition = `
  conditions:
  - {type: Ready, status: "True", reason: Ready, message: it is, observedGeneration: 1, lastTransitionTime: "2026-10-01T08:00:00Z"}
`
	validCredential = `
  credential: {grantUID: 1a2b, sealed: c2VhbGVk, issuedTime: "2026-10-01T08:00:00Z", expirationTime: "2026-10-01T08:30:00Z"}
`
	validRequestStatus = `
  phase: Active
  policy: {name: prod-edit, uid: 6f70, generation: 3}
  extended:
    requestUID: 1a2b
    grant: {name: fix-0a1b, uid: 0a1b}
    expirationTime: "2026-10-01T08:10:00Z"
    policyName: prod-edit
    subjects:
    - {kind: User, apiGroup: rbac.authorization.k8s.io, name: alice}
    - {kind: ServiceAccount, name: migrate, namespace: payments}
    roleRef: {kind: Role, name: edit}
    rules:
    - {verbs: [get], apiGroups: [""], resources: [pods], resourceNames: [web]}
    - {verbs: [get], nonResourceURLs: [/metrics]}
    scope: {namespaces: [payments]}
    task: {apiVersion: batch/v1, kind: Job, name: migrate, completeWhen: object.status.succeeded == 1}
  approvals:
  - name: sre
    from:
    - {kind: User, apiGroup: rbac.authorization.k8s.io, name: bob}
    - {kind: ServiceAccount, name: robot, namespace: ops}
    count: 1
    approved: [bob]
  rules: ["get pods web", "get /metrics"]
  pins:
    roleUID: 4a5b
    namespaces:
    - {name: payments, uid: 6c7d, roleUID: 8e9f}
    subjects:
    - {kind: User, apiGroup: rbac.authorization.k8s.io, name: bob}
    - {kind: ServiceAccount, name: robot, namespace: ops, uid: 1a2b}
    task: {uid: 3c4d, hashBefore: fedcba}
  rulesHash: abcdef
  risks:
  - {kind: ReadsSecrets, message: reads every Secret of the namespace}
  grantName: fix-1a2b3c
  expirationTime: "2026-10-01T08:30:00Z"
  review: AfterEnd
` + validCredential + validCondition
	validPolicyStatus = "\n  approvals: sre 1, owners 1\n  confirmed: {username: carol, uid: 819f, generation: 3}" + validCondition
	validGrantStatus  = `
  phase: Ended
  bindings:
  - {kind: RoleBinding, namespace: payments, name: fix-1a2b3c, uid: 819f}
  grantedTime: "2026-10-01T08:00:01Z"
  endedTime: "2026-10-01T08:30:00Z"
  endReason: Expired
  endedBy: bob
  usage: {calls: 41, lastCall: "2026-10-01T08:29:00Z"}
  review: Waiting
` + validCredential + validCondition
	validLock = `
apiVersion: jit.accessbroker.dev/v1alpha1
kind: AccessLock
metadata:
  name: stop
spec:
  subject: {kind: ServiceAccount, apiGroup: "", name: migrate, namespace: payments}
  until: "2026-10-01T08:00:00Z"
  reason: "INC-43: the laptop was stolen"
  by: admin
`
	validUsage = `
apiVersion: jit.accessbroker.dev/v1alpha1
kind: AccessUsage
metadata:
  name: fix-1a2b3c
  ownerReferences:
  - {apiVersion: jit.accessbroker.dev/v1alpha1, kind: AccessGrant, name: fix-1a2b3c, uid: 1a2b}
spec:
  grantRef: {name: fix-1a2b3c, uid: 1a2b}
status:
  phase: Observing
  since: "2026-10-01T08:00:01Z"
  until: "2026-10-01T08:29:30Z"
  gaps: 1
  lastGap: "2026-10-01T08:10:00Z"
  streams:
  - {name: cp-1, since: "2026-10-01T08:00:01Z", until: "2026-10-01T08:29:30Z", lost: 1, position: "2026-10-01T07:00:00Z@7", batches: [abc]}
  calls: 41
  sharedCalls: 3
  failedCalls: 2
  refusedCalls: 1
  firstCall: "2026-10-01T08:01:00Z"
  lastCall: "2026-10-01T08:29:00Z"
  callers:
  - {user: alice, as: bob, address: 10.0.0.1, claimedAddress: 192.0.2.7, userAgent: kubectl/v1.37.2, calls: 41}
  used:
  - {verb: get, group: apps, resource: deployments, subresource: scale, namespace: payments, path: "", calls: 40, shared: 3, failed: 2, names: [web], moreNames: 1}
  refused:
  - {verb: get, group: "", resource: pods, subresource: log, namespace: payments, path: /metrics, calls: 1, shared: 0, failed: 0, names: [web], moreNames: 1}
  risks:
  - {kind: Exec, count: 2}
  created:
  - {group: "", resource: pods, namespace: payments, name: debug-x, uid: 9a0b, from: "2026-10-01T08:02:00Z", to: "2026-10-01T08:02:01Z", times: 1}
  sessions:
  - {id: 1f, kind: exec, group: "", resource: pods, subresource: exec, namespace: payments, name: web, verb: create, shared: true, user: alice, as: bob, address: 10.0.0.1, claimedAddress: 192.0.2.7, userAgent: kubectl/v1.37.2, since: "2026-10-01T08:20:00Z"}
  closedSessions:
  - {kind: watch, count: 3}
  endedSessions: [2f]
  suspicious:
  - {name: secrets, action: Revoke, message: nobody reads Secrets with this, times: 1, first: "2026-10-01T08:03:00Z", last: "2026-10-01T08:03:00Z"}
  recentEvents: AAAAAAAAAAA
  more: {callers: 1, used: 1, refused: 1, created: 1, sessions: 1}
`
)

// The stored objects whose status and spec the tests try to change. The
// smallest have what is required and no more.
const (
	storedName    = "stored"
	smallestName  = "smallest"
	decidedByBob  = "decided-by-bob"
	optionalAsk   = "spec.subjects spec.scope spec.policyName spec.duration spec.startTime spec.ticket spec.task"
	optionalGrant = "spec.roleRef spec.roleUID spec.namespaces spec.cluster spec.decisions spec.ticket spec.rules spec.roleRules spec.rulesHash spec.shortenedBy spec.extends spec.reviewWithin spec.task spec.credentialKey spec.summary"
)

// object is an object as it is sent, whatever its fields hold.
type object = map[string]any

func parse(text string) object {
	var o object
	if err := yaml.Unmarshal([]byte(text), &o); err != nil {
		panic(fmt.Sprintf("a valid object of the tests is not YAML: %v\n%s", err, text))
	}
	return o
}

// store creates the objects that a status or a change of the spec needs.
func store(ctx context.Context) error {
	undecided := both(set("phase", "Pending"), unset("expirationTime"))
	for _, s := range []struct {
		spec, status target
		name         string
		edit         edit
		editStatus   edit
	}{
		{requestSpec, requestStatus, storedName, same, same},
		{requestSpec, requestStatus, decidedByBob, same, undecided},
		{requestSpec, requestStatus, smallestName, unset(strings.Fields(optionalAsk)...), same},
		{policySpec, policyStatus, storedName, same, same},
		{grantSpec, grantStatus, storedName, same, same},
		{grantSpec, grantStatus, smallestName, unset(strings.Fields(optionalGrant)...), same},
	} {
		o := parse(s.spec.valid)
		set("metadata.name", s.name)(o)
		s.edit(o)
		s.spec.dryRun, s.status.dryRun, s.status.name = false, false, s.name
		if err := s.spec.send(ctx, o).Error(); err != nil {
			return fmt.Errorf("store %s %s: %w", s.spec.kind, s.name, err)
		}
		o, err := s.status.fresh(ctx)
		if err != nil {
			return err
		}
		s.editStatus(o["status"].(object))
		if err := s.status.send(ctx, o).Error(); err != nil {
			return fmt.Errorf("store the status of %s %s: %w", s.spec.kind, s.name, err)
		}
	}
	lock := parse(validLock)
	set("metadata.name", storedName)(lock)
	writer := lockSpec
	writer.dryRun = false
	if err := writer.send(ctx, lock).Error(); err != nil {
		return fmt.Errorf("store AccessLock: %w", err)
	}
	return storeUsage(ctx)
}

// storeUsage stores the usage of the grant that is stored: without its owner it would
// be deleted.
func storeUsage(ctx context.Context) error {
	owner, err := grantSpec.stored(ctx, storedName)
	if err != nil {
		return err
	}
	o, uid := parse(validUsage), owner["metadata"].(object)["uid"]
	for _, path := range []string{"metadata", "metadata.ownerReferences.0", "spec.grantRef"} {
		set(path+".name", storedName)(o)
	}
	set("metadata.ownerReferences.0.uid", uid)(o)
	set("spec.grantRef.uid", uid)(o)
	writer := usageSpec
	writer.dryRun = false
	if err := writer.send(ctx, o).Error(); err != nil {
		return fmt.Errorf("store AccessUsage: %w", err)
	}
	return nil
}
