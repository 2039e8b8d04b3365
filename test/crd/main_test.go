// Package crd sends right and wrong values to every field of the four kinds,
// to a real API server: what the schema and its CEL rules admit, what they
// refuse and with which words, and that all they admit decodes in Go.
package crd

import (
	"context"
	"encoding/json"
	"flag"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

var (
	e *kit.Cluster
	// kubeconfig of the administrator.
	kubeconfig string
	// The administrator asks and writes policies, bob approves, the broker
	// and the observer write the rest. Neither runs: nothing changes but what a test
	// sends.
	admin, bob, broker, observer rest.Interface
)

func TestMain(m *testing.M) {
	kit.Main(func(ctx context.Context, started *kit.Cluster) (int, error) {
		e = started
		return run(ctx, m)
	})
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	if err := connectAll(ctx); err != nil {
		return 1, err
	}
	if !e.Stamps {
		me, err := lab.Requester(ctx, e.Admin)
		if err != nil {
			return 1, err
		}
		text, err := json.Marshal(me)
		if err != nil {
			return 1, err
		}
		requestSpec.valid += "  requester: " + string(text) + "\n"
	}
	if err := store(ctx); err != nil {
		return 1, err
	}
	if code = m.Run(); code != 0 || !wholePackage() || !e.Stamps { // there some tests are left out
		return code, nil
	}
	return 0, everyRuleRefused(ctx)
}

// wholePackage tells whether every test was asked for.
func wholePackage() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if flag.Lookup(name).Value.String() != "" {
			return false
		}
	}
	return true
}

func connectAll(ctx context.Context) (err error) {
	kubeconfig = e.KubeconfigOf(lab.AdminName)
	if admin, err = connect(e.AdminConfig()); err != nil {
		return err
	}
	// RBAC is not the subject here: whoever the admission policies let may write.
	config, err := e.User("bob", "system:masters")
	if err != nil {
		return err
	}
	if bob, err = connect(config); err != nil {
		return err
	}
	if config, err = e.BrokerConfig(ctx); err != nil {
		return err
	}
	if broker, err = connect(config); err != nil {
		return err
	}
	if err := e.InstallObserver(ctx); err != nil {
		return err
	}
	if config, err = e.ServiceAccount(ctx, lab.BrokerNamespace, lab.ObserverServiceAccount); err != nil {
		return err
	}
	observer, err = connect(config)
	return err
}

// connect makes a client that sends what it is given, well-formed or not, and
// decodes the answer as every typed client and informer does.
func connect(config *rest.Config) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.APIPath = "/apis"
	config.GroupVersion = &v1alpha1.GroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.WarningHandlerWithContext = rest.NoWarnings{}
	return rest.RESTClientFor(config)
}
