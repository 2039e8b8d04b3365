package record

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// NewRecorder makes a recorder of Events, which name the component. It differs from the manager's in one
// thing: it is no error when an Event cannot be written because its namespace is
// being deleted.
func NewRecorder(mgr manager.Manager, name string) (events.EventRecorder, error) {
	clients, err := kubernetes.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("client for events: %w", err)
	}
	broadcaster := events.NewBroadcaster(eventSink{&events.EventSinkImpl{Interface: clients.EventsV1()}})
	return broadcaster.NewRecorder(mgr.GetScheme(), name), mgr.Add(recording{broadcaster})
}

// recording writes Events while the reconcilers run, and the remaining ones at the
// end.
type recording struct{ events.EventBroadcaster }

// Start writes Events until the context ends, which is after the reconcilers stop.
func (r recording) Start(ctx context.Context) error {
	err := r.StartRecordingToSinkWithContext(log.IntoContext(context.WithoutCancel(ctx), log.FromContext(ctx).WithName("events")))
	if err != nil {
		return fmt.Errorf("record events: %w", err)
	}
	<-ctx.Done()
	r.Shutdown()
	return nil
}

// NeedLeaderElection is false: it has to run before the reconcilers.
func (recording) NeedLeaderElection() bool { return false }

// eventSink writes Events, unless their namespace is being deleted.
type eventSink struct{ events.EventSink }

// Create writes an Event.
func (s eventSink) Create(ctx context.Context, event *eventsv1.Event) (*eventsv1.Event, error) {
	created, err := s.EventSink.Create(ctx, event)
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		log.FromContext(ctx).V(1).Info("no event into a namespace that is being deleted", "namespace", event.Namespace, "note", event.Note)
		return event, nil
	}
	return created, err
}
