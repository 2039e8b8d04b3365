package plugin

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/accessbroker/accessbroker/internal/usage"
)

// readEvents visits the events of log files of API servers, one JSON object a line, in
// the order in which they stand there. - is standard input. visit must not keep the
// event.
func readEvents(paths []string, visit func(*usage.Event) error) error {
	for _, path := range paths {
		if err := readLog(path, visit); err != nil {
			return fmt.Errorf("read the audit log %s: %w", path, err)
		}
	}
	return nil
}

func readLog(path string, visit func(*usage.Event) error) error {
	in := io.ReadCloser(os.Stdin)
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		in = file
	}
	defer in.Close()
	decoder := json.NewDecoder(bufio.NewReaderSize(in, 1<<20))
	for n := 1; ; n++ {
		var raw auditv1.Event
		if err := decoder.Decode(&raw); err != nil {
			// The last line may still be on its way into the file.
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil
			}
			return fmt.Errorf("event %d: %w", n, err)
		}
		if raw.Stage == auditv1.StageRequestReceived {
			continue
		}
		if err := visit(eventOf(&raw)); err != nil {
			return err
		}
	}
}

func eventOf(raw *auditv1.Event) *usage.Event {
	e := &usage.Event{
		ID: string(raw.AuditID), Stage: string(raw.Stage), Received: raw.RequestReceivedTimestamp.Time, Stamped: raw.StageTimestamp.Time,
		User: raw.User.Username, Verb: raw.Verb, Addresses: raw.SourceIPs, UserAgent: raw.UserAgent,
		Allowed: raw.Annotations["authorization.k8s.io/decision"] == "allow", Reason: raw.Annotations["authorization.k8s.io/reason"],
	}
	e.Path, _, _ = strings.Cut(raw.RequestURI, "?")
	if raw.ImpersonatedUser != nil {
		e.Impersonated = raw.ImpersonatedUser.Username
	}
	if raw.ResponseStatus != nil {
		e.Code = int(raw.ResponseStatus.Code)
	}
	if ref := raw.ObjectRef; ref != nil {
		e.Group, e.Resource, e.Subresource = ref.APIGroup, ref.Resource, ref.Subresource
		e.Namespace, e.Name, e.UID = ref.Namespace, ref.Name, string(ref.UID)
	}
	return e
}
