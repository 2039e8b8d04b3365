package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// SetStage is a cluster for people to look at: the broker runs on it as it does
// on a cluster of theirs. It tells the output what it does.
func SetStage(ctx context.Context, output io.Writer) (c *Cluster, broker *Process, err error) {
	fmt.Fprintln(output, "Starting etcd, kube-apiserver and kube-controller-manager, installing with kubectl apply -k config/default ...")
	if c, err = Start(ctx, Options{}); err != nil {
		return nil, nil, err
	}
	c.settles = true
	fmt.Fprintf(output, "Running the broker as ServiceAccount %s/%s ...\n", BrokerNamespace, BrokerServiceAccount)
	broker, err = c.Broker(ctx, "access-broker", "--leader-elect")
	if err == nil {
		err = broker.Start(ctx)
	}
	if err != nil {
		return nil, nil, errors.Join(err, c.Stop())
	}
	return c, broker, nil
}

// Cast gives every person of the demo a client certificate, and the workload
// its token, to run commands with. The namespace with the workload's
// ServiceAccount must be there.
func (c *Cluster) Cast(ctx context.Context) error {
	people := map[string]string{"alice": "dev", "bob": "sre", "carol": "sre"}
	for _, name := range slices.Sorted(maps.Keys(people)) {
		config, err := c.User(name, people[name])
		if err != nil {
			return err
		}
		if _, err := c.Kubeconfig(name, config); err != nil {
			return err
		}
	}
	config, err := c.ServiceAccount(ctx, "payments", "migrator")
	if err != nil {
		return err
	}
	_, err = c.Kubeconfig("migrator", config)
	return err
}
