package controllers

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
)

// maxNote is what events.k8s.io/v1 allows for a note.
const maxNote = 1024

// recordEvent tells of one transition. Callers record after the write that
// made it, so that no event tells of what did not happen.
func recordEvent(recorder events.EventRecorder, regarding runtime.Object, reason, action, note string) {
	if len(note) > maxNote {
		note = note[:maxNote-3] + "..."
	}
	recorder.Eventf(regarding, nil, corev1.EventTypeNormal, reason, action, "%s", note)
}
