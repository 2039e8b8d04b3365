package plugin

import (
	"testing"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// Where Access Broker is not installed, every command says so.
func TestNotInstalled(t *testing.T) {
	t.Parallel()
	bare, err := lab.StartControlPlane(t.Context(), lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bare.Stop(); err != nil {
			t.Error(err)
		}
	})
	kubeconfig, err := bare.Kubeconfig("admin", bare.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	somebody := person{kubeconfig: kubeconfig}
	for _, args := range [][]string{
		{"list"},
		{"policies"},
		{"audit"},
		{"show", "fix"},
		{"approve", "fix"},
		{"request", "edit", "--reason", "r"},
	} {
		somebody.run(t, args...).ends(t, 1, "Access Broker is not installed on this cluster", "kubectl apply -k config/default")
	}
}
