package usage

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// reading is all that a text holds.
func reading(t testing.TB, f *Filter, text string) ([]Event, Skipped) {
	t.Helper()
	var found []Event
	skipped, err := Read(strings.NewReader(text), f, func(e *Event) error {
		found = append(found, *e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found, skipped
}

func zipped(t testing.TB, text string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func indented(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(text), "", "  "); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// One event, in all the ways in which it may come.
func TestReadFormats(t *testing.T) {
	event := encoded(t, call())
	bare := call(func(e *auditv1.Event) { e.Kind, e.APIVersion = "", "" })
	list := encoded(t, auditv1.EventList{Items: []auditv1.Event{bare, bare}})
	list = strings.Replace(list, "{", `{"kind":"EventList","apiVersion":"audit.k8s.io/v1",`, 1)
	text := quoted(t, event+"\n")
	cloudWatch := `{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"/aws/eks/c/cluster","logStream":"kube-apiserver-audit-1f2","subscriptionFilters":["s"],"logEvents":[{"id":"1","timestamp":1,"message":` + text + `},{"id":"2","timestamp":2,"message":` + text + `}]}`
	azure := `{"records":[{"category":"kube-audit-admin","operationName":"x","properties":{"log":` + text + `,"stream":"stdout","pod":"kube-apiserver-1"}},{"category":"kube-audit","properties":{"log":` + event + `}}]}`
	for name, tc := range map[string]struct {
		text string
		want int
	}{
		"a line":                       {event + "\n", 1},
		"no line break at the end":     {event, 1},
		"Windows' line breaks":         {event + "\r\n" + event + "\r\n", 2},
		"a byte order mark":            {"\ufeff" + event, 1},
		"indented":                     {indented(t, event) + "\n" + event + "\n" + indented(t, event), 3},
		"gzip":                         {zipped(t, event+"\n"+event+"\n"), 2},
		"gzip in members":              {zipped(t, event+"\n") + zipped(t, event+"\n"), 2},
		"one after the other":          {event + event + " " + event, 3},
		"EventList of the webhook":     {list, 2},
		"EventList, indented":          {indented(t, list), 2},
		"List without kinds":           {`{"items":[` + event + `]}`, 1},
		"array":                        {"[" + event + "," + event + "]", 2},
		"array, indented":              {indented(t, "["+event+","+event+"]"), 2},
		"array, an element a line":     {"[\n" + event + ",\n" + event + "\n]\n", 2},
		"CloudWatch subscription":      {cloudWatch, 2},
		"CloudWatch in gzip, together": {zipped(t, cloudWatch+cloudWatch), 4},
		"filter-log-events":            {indented(t, `{"events":[{"logStreamName":"kube-apiserver-audit-1","timestamp":1,"message":`+text+`,"eventId":"1"}],"searchedLogStreams":[]}`), 1},
		"Logs Insights":                {indented(t, `{"results":[[{"field":"@timestamp","value":"2026"},{"field":"@message","value":`+text+`}]],"status":"Complete"}`), 1},
		"Azure":                        {azure, 2},
		"Azure, a record a line":       {`{"time":"t","category":"kube-audit","properties":{"log":` + text + `}}`, 1},
		"Azure, by containerd":         {`{"records":[{"category":"kube-audit","properties":{"log":` + quoted(t, event) + `,"stream":"stdout","pod":"kube-apiserver-1","containerID":"a64c"}}]}`, 1},
		"Azure, in a grid event":       {`[{"id":"1","eventType":"x","subject":"y","data":` + azure + `,"dataVersion":"1"}]`, 2},
		"Azure, in a CloudEvent":       {`{"specversion":"1.0","type":"x","source":"y","id":"1","data":` + azure + `}`, 2},
		"fluent-bit":                   {`{"date":1.5,"log":` + text + `}`, 1},
		"docker":                       {`{"log":` + text + `,"stream":"stdout","time":"2026-05-04T12:00:00Z"}`, 1},
		"CRI":                          {"2026-05-04T12:00:00.000000000Z stdout F " + event + "\n", 1},
		"syslog":                       {"<133>May  4 12:00:00 host k8s-audit: " + event + "\n", 1},
		"CRI, tagged":                  {`{"stream":"stdout","logtag":"F","log":` + quoted(t, event) + `}`, 1},
		"Vector":                       {`{"file":"/var/log/audit.log","host":"cp-1","message":` + text + `,"source_type":"file","timestamp":"2026-05-04T12:00:00Z"}`, 1},
		"OpenShift":                    {strings.Replace(event, "{", `{"@timestamp":"x","log_type":"audit","openshift":{"cluster_id":"1"},"hostname":"m",`, 1), 1},
		"Elastic":                      {indented(t, `{"_index":"i","_source":{"kubernetes":{"audit":`+strings.ReplaceAll(event, "authorization.k8s.io/", "authorization_k8s_io/")+`},"log":{"file":{"path":"/x"}}}}`), 1},
		"Elastic's answer":             {`{"took":1,"hits":{"total":{"value":1},"hits":[{"_source":` + event + `}]}}`, 1},
		"logcli":                       {`{"labels":{"job":"audit"},"line":` + text + `,"timestamp":"2026-05-04T12:00:00Z"}`, 1},
		"Loki push":                    {`{"streams":[{"stream":{"job":"audit"},"values":[["1",` + text + `],["2",` + text + `]]}]}`, 2},
		"Loki's answer":                {`{"status":"success","data":{"resultType":"streams","result":[{"stream":{"job":"a"},"values":[["1",` + text + `]]}]}}`, 1},
		"Splunk export":                {`{"preview":false,"result":{"_raw":` + text + `}}`, 1},
		"Splunk HEC":                   {`{"time":1,"event":` + event + `}`, 1},
		"API server in a Pod":          {`{"log":` + text + `,"kubernetes":{"namespace_name":"kube-system","pod_name":"kube-apiserver-cp","container_name":"kube-apiserver"}}`, 1},
		"all mixed":                    {event + "\n" + indented(t, list) + "\n" + cloudWatch + "\n\n" + azure + "\nnoise\n" + indented(t, "["+event+"]") + event + "\n", 9},
	} {
		t.Run(name, func(t *testing.T) {
			for how, reader := range map[string]io.Reader{
				"at once":      strings.NewReader(tc.text),
				"byte by byte": iotest.OneByteReader(strings.NewReader(tc.text)),
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
			// The first look must not lose what the filter asks for.
			for how, f := range map[string]*Filter{
				"binding": NewFilter([]string{"other", "fix"}, nil), "user": NewFilter(nil, []string{"other", "alice"}),
			} {
				if found, _ := reading(t, f, tc.text); len(found) != tc.want && !strings.HasPrefix(tc.text, "\x1f") {
					t.Errorf("by %s: %d events, want %d", how, len(found), tc.want)
				}
			}
			if found, skipped := reading(t, NewFilter([]string{"fi"}, []string{"ali"}), tc.text); len(found) > 0 || skipped.Unasked == 0 {
				t.Errorf("unasked: %d events, %+v", len(found), skipped)
			}
		})
	}
}

// What is left out is counted for what it is.
func TestReadSkips(t *testing.T) {
	event := encoded(t, call())
	half := event[:len(event)/2]
	cut, _, _ := strings.Cut(event, "kubectl")
	for name, tc := range map[string]struct {
		text  string
		found int
		want  Skipped
	}{
		"nothing":                      {"", 0, Skipped{}},
		"empty lines":                  {"\n\n \n", 0, Skipped{}},
		"text":                         {"hello\nworld\n", 0, Skipped{Foreign: 2}},
		"other JSON":                   {`{"level":"info","msg":"x"}` + "\n17\n", 0, Skipped{Foreign: 2}},
		"a last half line":             {event + "\n" + half, 1, Skipped{Broken: 1}},
		"a half line between":          {half + "\n" + event + "\n" + event + "\n", 2, Skipped{Broken: 1}},
		"cut after a comma":            {`{"kind":"Event",` + "\n" + event + "\n" + event + "\n", 2, Skipped{Broken: 1}},
		"cut after a colon":            {`{"kind":` + "\n" + event + "\n", 1, Skipped{Broken: 1}},
		"cut, then an array":           {cut + "\n[" + event + "]\n", 1, Skipped{Broken: 1}},
		"cut in an array":              {`{"sourceIPs":[` + "\n" + event + "\n", 1, Skipped{Broken: 1}},
		"the second half of a line":    {event[len(event)/2:] + "\n" + event + "\n", 1, Skipped{Broken: 1}},
		"a body in a half line":        {event + `,"requestReceivedTimestamp":"x"}` + "\n" + `"a":` + event + "}\n" + event + "}\n", 0, Skipped{Broken: 3}},
		"a body in a piece of CRI":     {"2026-05-04T12:00:00Z stdout P " + event + "\n2026-05-04T12:00:00Z stdout F }\n", 0, Skipped{Broken: 1, Foreign: 1}},
		"a body in a piece of Docker":  {`{"log":` + quoted(t, event) + `,"stream":"stdout","time":"x"}`, 0, Skipped{Broken: 1}},
		"a body in a piece of Azure":   {`{"records":[{"category":"kube-audit","properties":{"log":` + quoted(t, encoded(t, call(func(e *auditv1.Event) { e.UserAgent = strings.Repeat("x", minPiece) }))) + `,"stream":"stdout"}}]}`, 0, Skipped{Broken: 1}},
		"a last piece of Azure":        {`{"category":"kube-audit","properties":{"log":` + quoted(t, event+`,"annotations":{}}`) + `,"stream":"stdout"}}`, 0, Skipped{Broken: 1}},
		"a body in a tagged piece":     {`{"message":` + quoted(t, event) + `,"stream":"stdout","logtag":"P"}`, 0, Skipped{Broken: 1}},
		"halves in one line":           {half + event + "\n" + event + "\n", 1, Skipped{Broken: 1}},
		"cut by the shipper":           {`{"message":` + quoted(t, half) + "}\n" + event, 1, Skipped{Broken: 1}},
		"cut with a mark":              {`{"message":` + quoted(t, half+"[Truncated...]") + "}\n" + event, 1, Skipped{Foreign: 0, Broken: 1}},
		"a list cut":                   {`{"kind":"EventList","items":[` + event + "," + half, 1, Skipped{Broken: 1}},
		"other stages":                 {encoded(t, call(func(e *auditv1.Event) { e.Stage = auditv1.StageRequestReceived })), 0, Skipped{Stages: 1}},
		"no ID":                        {encoded(t, call(id(""))), 0, Skipped{Broken: 1}},
		"a name twice":                 {strings.Replace(event, `"verb":"get"`, `"verb":"get","verb":"list"`, 1), 0, Skipped{Broken: 1}},
		"too long":                     {encoded(t, call(func(e *auditv1.Event) { e.UserAgent = strings.Repeat("x", MaxEvent) })) + "\n" + event, 1, Skipped{TooLong: 1}},
		"too long, without an end":     {`{"userAgent":"` + strings.Repeat("x", 2*MaxEvent) + "\n" + event, 1, Skipped{Broken: 1}},
		"an element too long":          {`{"items":[` + strings.Repeat(event+",", 10_000) + encoded(t, call(func(e *auditv1.Event) { e.UserAgent = strings.Repeat("x", MaxEvent) })) + "," + event + "]}", 10_001, Skipped{TooLong: 1}},
		"an Event of the core":         {`{"kind":"List","apiVersion":"v1","items":[{"kind":"Event","apiVersion":"v1","message":` + quoted(t, event) + `}]}`, 0, Skipped{Foreign: 1}},
		"a container's output":         {`{"log":` + quoted(t, event) + `,"kubernetes":{"namespace_name":"evil","pod_name":"kube-apiserver","container_name":"kube-apiserver"}}`, 0, Skipped{Foreign: 1}},
		"a container's, merged":        {strings.Replace(event, "{", `{"kubernetes":{"pod_name":"evil","namespace_name":"kube-system"},`, 1), 0, Skipped{Foreign: 1}},
		"a container's, from Loki":     {`{"labels":{"namespace":"evil","container":"x"},"line":` + quoted(t, event) + `}`, 0, Skipped{Foreign: 1}},
		"a container's, of OpenShift":  {`{"log_type":"application","message":` + quoted(t, event) + `}`, 0, Skipped{Foreign: 1}},
		"another stream of CloudWatch": {`{"logStream":"authenticator-1","logEvents":[{"message":` + quoted(t, event) + `}]}`, 0, Skipped{Foreign: 1}},
		"another category of Azure":    {`{"records":[{"category":"guard","properties":{"log":` + quoted(t, event) + `}}]}`, 0, Skipped{Foreign: 1}},
		"another service of Google":    {`{"protoPayload":{"serviceName":"storage.googleapis.com","methodName":"storage.objects.get"},"insertId":"1","timestamp":"2026-05-04T12:00:00Z"}`, 0, Skipped{Foreign: 1}},
		"wrapped without end":          {strings.Repeat(`{"message":`, 30) + event + strings.Repeat("}", 30), 0, Skipped{Foreign: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			found, skipped := reading(t, nil, tc.text)
			if len(found) != tc.found || skipped != tc.want {
				t.Errorf("%d events, want %d; %+v, want %+v", len(found), tc.found, skipped, tc.want)
			}
		})
	}
}

func TestReadFails(t *testing.T) {
	event := encoded(t, call())
	if _, err := Read(strings.NewReader(zipped(t, event)[:100]), nil, func(*Event) error { return nil }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half of a gzip file: %v", err)
	}
	if _, err := Read(strings.NewReader("\x1f\x8bx"), nil, func(*Event) error { return nil }); err == nil {
		t.Error("not gzip is no error")
	}
	stop := errors.New("enough")
	for _, text := range []string{event + "\n" + event, event + event, "[" + event + "," + event + "]", indented(t, "["+event+","+event+"]")} {
		n := 0
		if _, err := Read(strings.NewReader(text), nil, func(*Event) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
			t.Errorf("%d visits after the error, %v", n, err)
		}
	}
}

// A long list is taken apart, whatever its size, and its envelope says where all of
// it comes from.
func TestReadLongEnvelopes(t *testing.T) {
	text := quoted(t, encoded(t, call()))
	const n = 10_000
	many := strings.Repeat(`,{"id":"1","message":`+text+`}`, n)[1:]
	for stream, want := range map[string]int{"kube-apiserver-audit-1": n, "kube-apiserver-1": 0} {
		found, skipped := reading(t, nil, `{"logStream":"`+stream+`","logEvents":[`+many+`]}`)
		if len(found) != want || skipped.Foreign != n-want {
			t.Errorf("%s: %d events, %+v", stream, len(found), skipped)
		}
	}
}

// The UID of what was created is the API server's, never what the request says.
func TestReadCreated(t *testing.T) {
	object := func(text string) func(*auditv1.Event) {
		return func(e *auditv1.Event) {
			e.Verb, e.ObjectRef.Name, e.ObjectRef.UID = "create", "", "stolen"
			e.ResponseObject = rawObject(text)
		}
	}
	for name, tc := range map[string]struct{ object, name, uid string }{
		"Pod":    {`{"kind":"Pod","metadata":{"name":"debug-x","uid":"u1"}}`, "debug-x", "u1"},
		"Status": {`{"kind":"Status","metadata":{},"details":{"name":"x","uid":"u2"}}`, "", ""},
		"none":   {"null", "", ""},
	} {
		found, _ := reading(t, nil, encoded(t, call(object(tc.object))))
		if len(found) != 1 || found[0].Name != tc.name || found[0].UID != tc.uid {
			t.Errorf("%s: %s", name, fmt.Sprintf("%+v", found))
		}
	}
}
