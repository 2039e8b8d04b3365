package receive

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/accessbroker/accessbroker/internal/usage"
)

// Deliveries as shippers and clouds send them, with the headers that they send: what
// their documents say, and what their users report.
func TestSenders(t *testing.T) {
	const event = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"7df19974-f894-454b-a1f2-137258598c45","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/payments/secrets/db","verb":"get","user":{"username":"alice","groups":["system:authenticated"]},"sourceIPs":["192.0.2.7"],"userAgent":"kubectl/v1.36.1","objectRef":{"resource":"secrets","namespace":"payments","name":"db","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-05-04T12:00:00.000000Z","stageTimestamp":"2026-05-04T12:00:00.004000Z","annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by RoleBinding \"fix/payments\" of ClusterRole \"edit\" to User \"alice\""}}`
	quoted := func(text string) string {
		out, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	packed := func(text string) string {
		return `"` + base64.StdEncoding.EncodeToString(zipped(t, []byte(text))) + `"`
	}
	subscription := `{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"/aws/eks/c/cluster","logStream":"kube-apiserver-audit-1f2","subscriptionFilters":["s"],"logEvents":[{"id":"1","timestamp":1,"message":` + quoted(event) + `}]}`
	check := `{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1,"message":"CWL CONTROL MESSAGE: Checking health of destination Firehose."}]}`
	var bare bytes.Buffer
	bare.WriteString(`{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[`)
	bare.WriteString(strings.Replace(event, `"kind":"Event","apiVersion":"audit.k8s.io/v1",`, "", 1) + "]}\n")

	var found int
	var skipped usage.Skipped
	b := newBench(t, nil, nil)
	b.receiver.handle = func(_ context.Context, _ string, events io.Reader) (err error) {
		found = 0
		skipped, err = usage.Read(events, usage.NewFilter([]string{"fix"}, nil), func(*usage.Event) error { found++; return nil })
		return err
	}
	c := b.client(&b.good)
	for name, tc := range map[string]struct {
		body    string
		headers []string
		want    int
	}{
		"kube-apiserver":                     {bare.String(), []string{"Content-Type", "application/json", "Accept", "application/json, */*"}, 1},
		"fluent-bit, json":                   {`[{"date":1.5,"log":` + quoted(event) + `},{"date":1.6,"log":` + quoted(event) + `}]`, []string{"Content-Type", "application/json"}, 2},
		"fluent-bit, json_lines, compressed": {string(zipped(t, []byte(`{"date":1.5,"log":`+quoted(event)+"}\n"+`{"date":1.6,"log":`+quoted(event)+"}\n"))), []string{"Content-Type", "application/x-ndjson", "Content-Encoding", "gzip"}, 2},
		"fluent-bit, json_stream":            {event + event, []string{"Content-Type", "application/x-json-stream"}, 2},
		"vector, json":                       {string(zipped(t, []byte(`[{"file":"/a","message":`+quoted(event)+`,"source_type":"file"}]`))), []string{"Content-Type", "application/json", "Content-Encoding", "gzip"}, 1},
		"vector, newline_delimited":          {event + "\n" + event + "\n", []string{"Content-Type", "application/x-ndjson"}, 2},
		"Firehose":                           {`{"requestId":"x","timestamp":1,"records":[{"data":` + packed(check) + `},{"data":` + packed(subscription) + `}]}`, []string{requestIDHeader, "x", "X-Amz-Firehose-Protocol-Version", "1.0"}, 1},
		"Firehose, compressed":               {string(zipped(t, []byte(`{"requestId":"x","timestamp":1,"records":[{"data":`+packed(subscription)+`}]}`))), []string{requestIDHeader, "x", "Content-Encoding", "gzip"}, 1},
		"CloudWatch by S3, in one line":      {subscription + subscription + check, nil, 2},
		"Lambda":                             {`{"awslogs":{"data":` + packed(subscription) + `}}`, nil, 1},
		"Pub/Sub push":                       {`{"message":{"attributes":{"k":"v"},"data":"` + base64.StdEncoding.EncodeToString([]byte(event)) + `","messageId":"1","publishTime":"2026-05-04T12:00:01Z"},"subscription":"projects/p/subscriptions/s"}`, []string{"Content-Type", "application/json", "User-Agent", "CloudPubSub-Google"}, 1},
		"AKS, with other categories":         {`{"records":[{"category":"cluster-autoscaler","properties":{"log":"I0109 21:24:54.475590       1 azure_scaling.go:1] x\n","stream":"stderr"}},{"category":"kube-audit","ccpNamespace":"5db1","operationName":"Microsoft.ContainerService/managedClusters/diagnosticLogs/Read","properties":{"log":` + quoted(event+"\n") + `,"stream":"stdout","pod":"kube-apiserver-6b497d8d5f-rb9qn"},"time":"2021-02-02T15:00:00.0000000Z"}]}`, nil, 1},
		"AKS, cut at 16 KiB":                 {`{"records":[{"category":"kube-audit","properties":{"log":` + quoted(strings.Replace(event, "kubectl", strings.Repeat("x", 16<<10), 1)[:16<<10]) + `,"stream":"stdout"}},{"category":"kube-audit","properties":{"log":` + quoted(event+"\n") + `,"stream":"stdout"}}]}`, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := post(t, c, b.url("/audit"), strings.NewReader(tc.body), tc.headers...); got.code != 200 || found != tc.want {
				t.Errorf("%d, %d events, want %d; %+v: %s", got.code, found, tc.want, skipped, got.text)
			}
		})
	}
}
