// Package notify reads what the broker tells of requests and grants, as those
// who are told: people who read Events, and sinks that get notifications over
// HTTP, the slow and the broken ones too.
package notify

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

const (
	source = "https://cluster.example.com/access-broker"
	key    = "an awfully secret key"
	// password is in the URL of a sink, where no log may show it.
	password = "hunter2"
)

var (
	e      *kit.Cluster
	broker *lab.Process
	// alice asks (group dev), bob approves (group sre), audrey reads Events.
	alice, bob, audrey client.Client
	// The sinks: all gets all events, signed; ends only the end of grants;
	// flaky does not answer well at first; chat is a chat; outage can be down;
	// hangs never answers.
	all, ends, flaky, chat, outage, hangs *sink
)

func TestMain(m *testing.M) {
	kit.Main(func(ctx context.Context, started *kit.Cluster) (int, error) {
		e = started
		return run(ctx, m)
	})
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	reader := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "test-events"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"list"}}},
	}
	if err := errors.Join(
		e.Hire("dev", lab.People{"alice": &alice}),
		e.Hire("sre", lab.People{"bob": &bob}),
		e.Hire("audit", lab.People{"audrey": &audrey}),
		e.Admin.Create(ctx, reader),
		e.Bind(ctx, "access-requester", "dev"),
		e.Bind(ctx, "access-approver", "sre"),
		e.Bind(ctx, reader.Name, "audit"),
	); err != nil {
		return 1, err
	}
	for _, s := range []struct {
		sink   **sink
		answer func(*sink, received) int
	}{{&all, nil}, {&ends, nil}, {&flaky, wellAtTheThird}, {&chat, nil}, {&outage, nil}, {&hangs, never}} {
		*s.sink = newSink(s.answer)
	}
	defer func() {
		for _, s := range []*sink{all, ends, flaky, chat, outage, hangs} {
			s.Close()
		}
	}()
	config, err := configuration()
	if err != nil {
		return 1, err
	}
	if broker, err = e.Broker(ctx, "broker", "--notification-config="+config); err != nil {
		return 1, err
	}
	return kit.Run(ctx, m, broker)
}

// configuration writes what --notification-config names.
func configuration() (string, error) {
	keyFile, chatFile := filepath.Join(e.Dir(), "key"), filepath.Join(e.Dir(), "chat-url")
	outageURL := strings.Replace(outage.URL, "://", "://broker:"+password+"@", 1) + "/" + password
	content, err := yaml.Marshal(map[string]any{"source": source, "sinks": []map[string]any{
		{"name": "all", "url": all.URL, "secretFile": keyFile},
		{"name": "ends", "url": ends.URL, "types": []string{"dev.accessbroker.grant.ended"}},
		{"name": "flaky", "url": flaky.URL},
		{"name": "chat", "urlFile": chatFile, "format": "slack"},
		{"name": "outage", "url": outageURL},
		{"name": "hangs", "url": hangs.URL},
	}})
	path := filepath.Join(e.Dir(), "notifications.yaml")
	return path, errors.Join(err,
		os.WriteFile(keyFile, []byte(key+"\n"), 0o600),
		os.WriteFile(chatFile, []byte(chat.URL+"\n"), 0o600),
		os.WriteFile(path, content, 0o600))
}
