package resolve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/rules"
)

func (n Names) resolveRole(ctx context.Context, out *Resolved) error {
	ref := out.Ask.RoleRef
	if ref == nil {
		return n.resolveRules(out)
	}
	if ref.Kind == v1alpha1.RoleKind && out.Ask.Cluster {
		return Impossiblef(v1alpha1.ReasonInvalid, "a Role cannot be granted in the whole cluster: name a ClusterRole")
	}
	if ref.Kind == v1alpha1.ClusterRoleKind {
		role, err := n.Role(ctx, "", *ref)
		if err != nil {
			return err
		}
		out.RoleUID, out.Roles = role.UID, []Role{role}
		n.Roles.show(out, out.Roles...)
		return nil
	}
	for i, ns := range out.Namespaces {
		role, err := n.Role(ctx, ns.Name, *ref)
		if err != nil {
			return err
		}
		out.Namespaces[i].RoleUID = role.UID
		out.Roles = append(out.Roles, role)
	}
	n.Roles.show(out, out.Roles...)
	return nil
}

// resolveRules refuses rules in a request that may never be granted that way,
// whatever a policy says.
func (n Names) resolveRules(out *Resolved) error {
	own := rules.Normalize(v1alpha1.RBACRules(out.Ask.Rules))
	if findings := rules.Forbidden(own); len(findings) > 0 {
		reasons := make([]string, 0, len(findings))
		for _, f := range findings {
			if !slices.Contains(reasons, f.Reason) {
				reasons = append(reasons, f.Reason)
			}
		}
		return Impossiblef(v1alpha1.ReasonNeverGrantable, "rules: %s", strings.Join(reasons, "; "))
	}
	for _, rule := range own {
		switch {
		case len(rule.NonResourceURLs) > 0 && !out.Ask.Cluster:
			return Impossiblef(v1alpha1.ReasonInvalid, "rules: nonResourceURLs belong to no namespace: ask for scope cluster")
		case len(rule.NonResourceURLs) == 0 && (len(rule.APIGroups) == 0 || len(rule.Resources) == 0):
			return Impossiblef(v1alpha1.ReasonInvalid, "rules: a rule needs apiGroups (\"\" for the core group) and resources, or nonResourceURLs")
		case len(rule.NonResourceURLs) > 0 && len(rule.Resources) > 0:
			return Impossiblef(v1alpha1.ReasonInvalid, "rules: a rule has either resources or nonResourceURLs")
		}
	}
	out.Roles = []Role{{Rules: own}}
	n.Roles.show(out, out.Roles...)
	return nil
}

// Role reads a role; namespace is that of a Role.
func (n Names) Role(ctx context.Context, namespace string, ref v1alpha1.RoleRef) (Role, error) {
	if ref.Kind == v1alpha1.ClusterRoleKind {
		role := &rbacv1.ClusterRole{}
		if err := n.Get(ctx, client.ObjectKey{Name: ref.Name}, role); err != nil {
			return Role{}, roleError(err, "ClusterRole "+ref.Name)
		}
		return Role{role.UID, role.ResourceVersion, role.Rules}, nil
	}
	role := &rbacv1.Role{}
	if err := n.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, role); err != nil {
		return Role{}, roleError(err, "Role "+namespace+"/"+ref.Name)
	}
	return Role{role.UID, role.ResourceVersion, role.Rules}, nil
}

func roleError(err error, what string) error {
	if apierrors.IsNotFound(err) {
		return Missingf(v1alpha1.ReasonWaitingForRole, v1alpha1.ReasonRoleNotFound, "%s does not exist", what)
	}
	return fmt.Errorf("read %s: %w", what, err)
}

// Role is a role as it is now.
type Role struct {
	UID     types.UID
	Version string // resourceVersion; empty for the rules of a request
	Rules   []rbacv1.PolicyRule
}

// How many roles are remembered at a time: their hashes, and how they are shown.
const (
	maxHashes = 4096
	maxShown  = 128
)

// Roles remembers the hash of each role in its present version, and how it is shown:
// every look at a request or a grant needs them, and a role with the APIs of a
// thousand operators takes a tenth of a second.
type Roles struct {
	shown *lru.Cache // Shown, by the hash of the roles

	mu     sync.Mutex
	hashes map[types.UID]roleHash
}

type roleHash struct{ version, hash string }

// NewRoles remembers nothing yet.
func NewRoles() *Roles { return &Roles{shown: lru.New(maxShown), hashes: map[types.UID]roleHash{}} }

// Fingerprint is the rulesHash. It covers what the roles allow and the UIDs behind
// all names, so that neither a changed role nor another object of the same name
// passes for what somebody approved. A Role has one entry for each namespace, in
// their order. A task that does not exist yet counts as a value too.
func (r *Roles) Fingerprint(pins *v1alpha1.Pins, roles []Role) string {
	hash := sha256.New()
	for _, role := range roles {
		fmt.Fprintf(hash, "role %s %s\n", role.UID, r.hash(role))
	}
	for _, ns := range pins.Namespaces {
		fmt.Fprintf(hash, "namespace %s %s\n", ns.Name, ns.UID)
	}
	for _, s := range pins.Subjects {
		fmt.Fprintf(hash, "subject %s %s %s %s\n", s.Kind, s.Namespace, s.Name, s.UID)
	}
	if pins.Task != nil {
		fmt.Fprintf(hash, "task %s\n", pins.Task.UID)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

func (r *Roles) hash(role Role) string {
	r.mu.Lock()
	known := r.hashes[role.UID]
	r.mu.Unlock()
	if role.Version != "" && known.version == role.Version {
		return known.hash
	}
	hash := rules.Hash(role.Rules)
	if role.Version != "" {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.hashes) >= maxHashes {
			r.hashes = map[types.UID]roleHash{}
		}
		r.hashes[role.UID] = roleHash{role.Version, hash}
	}
	return hash
}
