package resolve

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/accessbroker/accessbroker/internal/policy"
)

// versionAge is how old the known version of the cluster may be, and versionTimeout
// how long the API server may take to tell it.
const (
	versionAge     = 5 * time.Second
	versionTimeout = 5 * time.Second
)

// +kubebuilder:rbac:urls=/version,verbs=get

// Version asks the API server for its version, for the policies that want to know.
type Version struct {
	Client rest.Interface
	Clock  clock.PassiveClock

	mu   sync.Mutex
	last policy.Version
	at   time.Time
}

// NewVersion makes a Version of the client configuration of the broker.
func NewVersion(config *rest.Config, http *http.Client, clk clock.PassiveClock) (*Version, error) {
	c, err := discovery.NewDiscoveryClientForConfigAndClient(config, http)
	if err != nil {
		return nil, fmt.Errorf("client for the version of the cluster: %w", err)
	}
	return &Version{Client: c.RESTClient(), Clock: clk}, nil
}

// Tell adds the version to what is asked for when one of the policies reads it. It is
// never more than a few seconds old: nobody should be given access by what a cluster
// was before its upgrade.
func (v *Version) Tell(ctx context.Context, ask *policy.Request, policies ...*policy.Policy) {
	if !policy.ReadVersion(policies...) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.Clock.Now()
	if age := now.Sub(v.at); v.last.Err != nil || v.last.Version == "" || age < 0 || age >= versionAge {
		v.last, v.at = v.read(ctx), now
	}
	ask.Version = v.last
}

func (v *Version) read(ctx context.Context) policy.Version {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	body, err := v.Client.Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return policy.Version{Err: fmt.Errorf("ask for /version: %w", err)}
	}
	info := &version.Info{}
	if err := json.Unmarshal(body, info); err != nil {
		return policy.Version{Err: fmt.Errorf("read /version: %w", err)}
	}
	return policy.VersionOf(info)
}
