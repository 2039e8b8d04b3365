package usage

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// inBase64 is a text in base64, as a string in JSON.
func inBase64(text string) string {
	return `"` + base64.StdEncoding.EncodeToString([]byte(text)) + `"`
}

// subscription is what CloudWatch delivers of a log stream.
func subscription(t testing.TB, stream string, messages ...string) string {
	var events []string
	for _, message := range messages {
		events = append(events, `{"id":"37480579458490841510417935670958911738223274529153351680","timestamp":1680687309990,"message":`+quoted(t, message)+`}`)
	}
	return `{"messageType":"DATA_MESSAGE","owner":"123456789012","logGroup":"/aws/eks/c/cluster","logStream":"` + stream + `","subscriptionFilters":["s"],"logEvents":[` + strings.Join(events, ",") + `]}`
}

// packages are the ways in which clouds pack what is in a log, with how many events
// are in it: event is one, as an API server writes it.
func packages(t *testing.T) map[string]struct {
	text string
	want int
} {
	event := encoded(t, call())
	cloudWatch := subscription(t, "kube-apiserver-audit-1f2", event, event)
	control := `{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1680683189085,"message":"CWL CONTROL MESSAGE: Checking health of destination Firehose."}]}`
	other := subscription(t, "authenticator-1", "time=\"2026-05-04T12:00:00Z\" level=info msg=\"access granted\"")
	firehose := func(records ...string) string {
		for i := range records {
			records[i] = `{"data":` + inBase64(records[i]) + `}`
		}
		return `{"requestId":"ed4acda5-034f-9f42-bba1-f29aea6d7d8f","timestamp":1578090903599,"records":[` + strings.Join(records, ",") + `]}`
	}
	push := func(data string) string {
		return `{"deliveryAttempt":5,"message":{"attributes":{"logging.googleapis.com/timestamp":"2026-05-04T12:00:00Z"},"data":` + inBase64(data) + `,"messageId":"2070443601311540","message_id":"2070443601311540","publishTime":"2021-02-26T19:13:55.749Z"},"subscription":"projects/p/subscriptions/s"}`
	}
	lambda := `{"awslogs":{"data":` + inBase64(zipped(t, cloudWatch)) + `}}`
	return map[string]struct {
		text string
		want int
	}{
		"Firehose":                          {firehose(zipped(t, cloudWatch), zipped(t, cloudWatch)), 4},
		"Firehose, records first":           {`{"records":[{"data":` + inBase64(zipped(t, cloudWatch)) + `}],"requestId":"9ec6b6f8-8b93-4734-8521-3e78a9517f5f","timestamp":1698860579000}`, 2},
		"Firehose, indented":                {indented(t, firehose(zipped(t, cloudWatch), zipped(t, cloudWatch))), 4},
		"Firehose, compressed as a whole":   {zipped(t, firehose(zipped(t, cloudWatch))), 2},
		"Firehose that decompresses":        {firehose(cloudWatch), 2},
		"Firehose that extracts messages":   {firehose(event + "\n" + event + "\n"), 2},
		"Firehose, put directly":            {firehose(event), 1},
		"Firehose, checked and other logs":  {firehose(zipped(t, control), zipped(t, other), zipped(t, cloudWatch)), 2},
		"Firehose, escaped":                 {strings.NewReplacer("+", `\u002B`, "/", `\/`).Replace(firehose(zipped(t, cloudWatch))), 2},
		"Firehose, lines in base64":         {strings.Replace(firehose(zipped(t, cloudWatch)), "H4sI", `H4sI\r\n`, 1), 2},
		"Lambda":                            {lambda, 2},
		"Lambda, in a shipper's string":     {`{"message":` + quoted(t, lambda) + `}`, 2},
		"Lambda, on the line of an event":   {event + lambda, 3},
		"Pub/Sub push":                      {push(cloudWatch), 2},
		"Pub/Sub push, compressed":          {push(zipped(t, event)), 1},
		"Pub/Sub pull":                      {indented(t, `[{"ackId":"x","message":{"data":`+inBase64(event)+`,"messageId":"1"}}]`), 1},
		"Pub/Sub by Eventarc":               {`{"specversion":"1.0","type":"google.cloud.pubsub.topic.v1.messagePublished","source":"//pubsub","id":"1","data":` + push(event) + `}`, 1},
		"CloudEvent in base64":              {`{"specversion":"1.0","type":"x","source":"y","id":"1","data_base64":` + inBase64(`{"records":[{"category":"kube-audit","properties":{"log":`+quoted(t, event+"\n")+`,"stream":"stdout"}}]}`) + `}`, 1},
		"Pub/Sub in a CloudEvent in base64": {`{"specversion":"1.0","id":"1","data_base64":` + inBase64(push(event)) + `}`, 1},
	}
}

func TestReadPackages(t *testing.T) {
	for name, tc := range packages(t) {
		t.Run(name, func(t *testing.T) {
			for how, reader := range map[string]io.Reader{
				"at once": strings.NewReader(tc.text), "byte by byte": iotest.OneByteReader(strings.NewReader(tc.text)),
			} {
				n := 0
				skipped, err := Read(reader, nil, func(e *Event) error {
					n++
					if diff := cmp.Diff(wanted(), *e); diff != "" {
						t.Errorf("%s: event %d: %s", how, n, diff)
					}
					return nil
				})
				if err != nil || n != tc.want || skipped.Broken+skipped.TooLong > 0 {
					t.Errorf("%s: %d events, want %d; %+v, %v", how, n, tc.want, skipped, err)
				}
			}
			// Nothing of a name is to be seen in base64.
			for how, f := range map[string]*Filter{"binding": NewFilter([]string{"fix"}, nil), "user": NewFilter(nil, []string{"alice"})} {
				if found, _ := reading(t, f, tc.text); len(found) != tc.want {
					t.Errorf("by %s: %d events, want %d", how, len(found), tc.want)
				}
			}
			if found, skipped := reading(t, NewFilter([]string{"fi"}, []string{"ali"}), tc.text); len(found) > 0 || skipped.Unasked == 0 {
				t.Errorf("unasked: %d events, %+v", len(found), skipped)
			}
		})
	}
}

// Base64 is undone where envelopes have it, and where it comes from counts within, too.
func TestReadPackagesSkips(t *testing.T) {
	event := encoded(t, call())
	zip := zipped(t, subscription(t, "kube-apiserver-audit-1", event))
	packed := inBase64(zip)
	for name, tc := range map[string]struct {
		text  string
		found int
		want  Skipped
	}{
		"no envelope":                {`{"data":` + packed + `}`, 0, Skipped{Foreign: 1}},
		"another name":               {`{"records":[{"payload":` + packed + `}]}`, 0, Skipped{Foreign: 1}},
		"one object deeper":          {`{"message":{"result":{"data":` + packed + `}}}`, 0, Skipped{Foreign: 1}},
		"in the log of a shipper":    {`{"log":` + packed + `}`, 0, Skipped{Foreign: 1}},
		"a container's output":       {`{"log":` + quoted(t, `{"awslogs":{"data":`+packed+`}}`) + `,"kubernetes":{"namespace_name":"evil","pod_name":"x","container_name":"x"}}`, 0, Skipped{Foreign: 1}},
		"a container's, in Pub/Sub":  {`{"message":{"data":` + inBase64(`{"log":`+quoted(t, event)+`,"kubernetes":{"namespace_name":"evil","pod_name":"x","container_name":"x"}}`) + `}}`, 0, Skipped{Foreign: 1}},
		"another log stream":         {`{"awslogs":{"data":` + inBase64(zipped(t, subscription(t, "kube-apiserver-1", event))) + `}}`, 0, Skipped{Foreign: 1}},
		"an envelope of another":     {`{"category":"guard","records":[{"data":` + packed + `}]}`, 0, Skipped{Foreign: 1}},
		"no base64":                  {`{"awslogs":{"data":"` + strings.Repeat("x-y_", minPacked) + `"}}` + "\n" + event, 1, Skipped{Broken: 1}},
		"base64 that goes bad":       {`{"awslogs":{"data":` + inBase64(event + "\n" + event + "\n")[:1600] + `-AAA"}}` + "\n" + event, 1, Skipped{Broken: 1}},
		"half of base64":             {`{"awslogs":{"data":` + packed[:len(packed)-7] + `"}}` + "\n" + event, 1, Skipped{Broken: 1}},
		"half of gzip":               {`{"records":[{"data":` + inBase64(zip[:len(zip)-200]) + `},{"data":` + packed + `}]}`, 1, Skipped{Broken: 1}},
		"no gzip after all":          {`{"awslogs":{"data":` + inBase64("\x1f\x8b"+strings.Repeat("x", 300)) + `}}`, 0, Skipped{Broken: 1}},
		"text":                       {`{"message":{"data":` + inBase64(strings.Repeat("hello ", 100)) + `}}`, 0, Skipped{Foreign: 1}},
		"too short for an event":     {`{"records":[{"data":"SGVsbG8="}]}`, 0, Skipped{Foreign: 1}},
		"packed again and again":     {nest(event, 5), 0, Skipped{Foreign: 1}},
		"an object":                  {`{"records":[{"data":` + event + `}]}`, 1, Skipped{}},
		"JSON in a string":           {`{"records":[{"data":` + quoted(t, event) + `}]}`, 1, Skipped{}},
		"too long":                   {`{"awslogs":{"data":"` + strings.Repeat("H4sI", MaxEvent/4) + `"}}` + "\n" + event, 1, Skipped{TooLong: 1}},
		"an event in it is too long": {`{"message":{"data":` + inBase64(zipped(t, encoded(t, call(func(e *auditv1.Event) { e.UserAgent = strings.Repeat("x", MaxEvent) }))+"\n"+event)) + `}}`, 1, Skipped{TooLong: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			found, skipped := reading(t, nil, tc.text)
			if len(found) != tc.found || skipped != tc.want {
				t.Errorf("%d events, want %d; %+v, want %+v", len(found), tc.found, skipped, tc.want)
			}
		})
	}
}

func nest(text string, times int) string {
	for range times {
		text = `{"message":{"data":` + inBase64(text) + `}}`
	}
	return text
}

// bomb is much in little: gzip of very many spaces.
func bomb(t *testing.T, size int) string {
	t.Helper()
	return zipped(t, strings.Repeat(" ", size))
}

// Bombs cost little: what comes out of all of them is bounded, and no more of it is in
// memory than of any log.
func TestReadBombs(t *testing.T) {
	const size = 1 << 28
	one := `{"data":` + inBase64(bomb(t, size)) + `}`
	event := encoded(t, call())
	text := `{"records":[` + strings.Repeat(one+",", 5) + `{"data":` + inBase64(event) + `}]}` + "\n" + event
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d := &decoder{visit: func(*Event) error { return nil }, expandable: freeExpanded}
	if err := d.read(strings.NewReader(text), origin{}, 0); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if d.skipped.TooLong == 0 || d.skipped.TooLong > 6 {
		t.Errorf("%+v", d.skipped)
	}
	expanded := int64(freeExpanded) + maxExpanded*int64(len(text)) - d.expandable
	if most := int64(freeExpanded + maxExpanded*len(text)); expanded > most || expanded > 2*size {
		t.Errorf("%d bytes came out of %d", expanded, len(text))
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 8*MaxEvent {
		t.Errorf("%d bytes of memory for %d", used, len(text))
	}
}

// A log may be packed well, and is read as a whole: here, gzip makes 1 of 30.
func TestReadMuchPacked(t *testing.T) {
	const n = 50_000
	var log strings.Builder
	for i := range n {
		log.WriteString(encoded(t, call(id(fmt.Sprintf("7c9a0b4e-%016x", uint64(i)*0x9e3779b97f4a7c15)))) + "\n")
	}
	packed := inBase64(zipped(t, log.String()))
	t.Logf("1 of %d", log.Len()/len(packed))
	found, skipped := reading(t, nil, strings.Repeat(`{"awslogs":{"data":`+packed+`}}`+"\n", 4))
	if len(found) != 4*n || skipped != (Skipped{}) {
		t.Errorf("%d events, %+v", len(found), skipped)
	}
}

// An error of the visit ends the reading within a package as well.
func TestReadPackagesStops(t *testing.T) {
	n := 0
	packed := `{"awslogs":{"data":` + inBase64(encoded(t, call())+"\n"+encoded(t, call())) + `}}` + "\n"
	skipped, err := Read(strings.NewReader(packed+packed), nil, func(*Event) error { n++; return io.ErrClosedPipe })
	if !errors.Is(err, io.ErrClosedPipe) || n != 1 || skipped != (Skipped{}) {
		t.Errorf("%d visits, %v, %+v", n, err, skipped)
	}
}

func BenchmarkReadFirehose(b *testing.B) {
	var events []string
	for i := range 200 {
		events = append(events, encoded(b, call(id(fmt.Sprintf("7c9a0b4e-%d", i)))))
	}
	record := `{"data":` + inBase64(zipped(b, subscription(b, "kube-apiserver-audit-1", events...))) + `}`
	text := `{"records":[` + record + strings.Repeat(","+record, 9) + `]}`
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(strings.NewReader(text), NewFilter([]string{"other"}, nil), func(*Event) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(2000*b.N)/b.Elapsed().Seconds(), "events/s")
}
