package usage

import "bytes"

// key is a name that is known at the top of an object.
type key int

const (
	unknown key = iota
	// Of an event.
	keyKind
	keyAPIVersion
	keyAuditID
	keyStage
	keyRequestURI
	keyVerb
	keyUser
	keyImpersonatedUser
	keySourceIPs
	keyUserAgent
	keyObjectRef
	keyResponseStatus
	keyRequestObject
	keyResponseObject
	keyRequestReceivedTimestamp
	keyStageTimestamp
	keyAnnotations
	// Of an entry of Cloud Logging.
	keyProtoPayload
	keyInsertID
	keyTimestamp
	keyLabels
	keyOperation
	keyResource
	// What says where something comes from.
	keyCategory
	keyLogStream
	keyLogStreamName
	keyLogType
	keyStream
	keyLogTag
	keyField
	// What is around events. The first that is there is gone into.
	keyItems
	keyLogEvents
	keyEvents
	keyResults
	keyRecords
	keyAWSLogs
	keyStreams
	keyValues
	keyHits
	keySource
	keyProperties
	keyKubernetes
	keyAudit
	keyMessage
	keyLog
	keyLine
	keyRaw
	keyBody
	keyResult
	keyData
	keyDataBase64
	keyEvent
	keyFieldValue
	keyCount

	firstAround, lastAround = keyItems, keyFieldValue
)

var keys = map[string]key{
	"kind": keyKind, "apiVersion": keyAPIVersion, "auditID": keyAuditID, "stage": keyStage, "requestURI": keyRequestURI, "verb": keyVerb,
	"user": keyUser, "impersonatedUser": keyImpersonatedUser, "sourceIPs": keySourceIPs, "userAgent": keyUserAgent, "objectRef": keyObjectRef,
	"responseStatus": keyResponseStatus, "requestObject": keyRequestObject, "responseObject": keyResponseObject,
	"requestReceivedTimestamp": keyRequestReceivedTimestamp, "stageTimestamp": keyStageTimestamp, "annotations": keyAnnotations,
	"protoPayload": keyProtoPayload, "insertId": keyInsertID, "timestamp": keyTimestamp, "labels": keyLabels, "operation": keyOperation, "resource": keyResource,
	"category": keyCategory, "Category": keyCategory, "logStream": keyLogStream, "logStreamName": keyLogStreamName, "log_type": keyLogType,
	"stream": keyStream, "logtag": keyLogTag, "_p": keyLogTag, "field": keyField,
	"items": keyItems, "logEvents": keyLogEvents, "events": keyEvents, "entries": keyEvents, "results": keyResults, "records": keyRecords, "awslogs": keyAWSLogs,
	"streams": keyStreams, "values": keyValues, "hits": keyHits,
	"_source": keySource, "properties": keyProperties, "kubernetes": keyKubernetes, "audit": keyAudit,
	"message": keyMessage, "@message": keyMessage, "MESSAGE": keyMessage, "log": keyLog, "log_s": keyLog, "line": keyLine, "_raw": keyRaw, "body": keyBody,
	"result": keyResult, "data": keyData, "data_base64": keyDataBase64, "event": keyEvent, "value": keyFieldValue,
}

// object has the values of the known names, each as it is written.
type object [keyCount][]byte

// read is false for an object that has a known name twice: no API server writes
// that, and readers differ in which one counts.
func (o *object) read(value []byte) bool {
	once := true
	members(value, func(text, value []byte) bool {
		if at := keys[string(text)]; at != unknown {
			once = once && o[at] == nil
			o[at] = value
		}
		return once
	})
	return once
}

// isEvent: it is of audit.k8s.io, or looks like it where a shipper left that out.
func (o *object) isEvent() bool {
	if is(o[keyKind], "Event") && hasPrefix(o[keyAPIVersion], "audit.k8s.io/") {
		return true
	}
	return o[keyKind] == nil && o[keyAuditID] != nil && o[keyStage] != nil && o[keyUser] != nil
}

// around is what the events are in, nil if it is nothing known. The name kubernetes is
// that of metadata, too.
func (o *object) around() (key, []byte) {
	for at := firstAround; at <= lastAround; at++ {
		if o[at] != nil && (at != keyKubernetes || hasAudit(o[at])) {
			return at, o[at]
		}
	}
	return unknown, nil
}

// hasAudit tells the kubernetes of an audit event, as Elastic has it, from metadata.
func hasAudit(object []byte) (found bool) {
	members(object, func(name, _ []byte) bool {
		found = string(name) == "audit"
		return !found
	})
	return found
}

// isPiece: a container runtime cut the line, at 16 KiB. Docker then leaves the line
// break out, CRI has a tag. A piece of an event may look like another one: bodies of
// requests are in it as users sent them.
//
// Azure writes the line break or leaves it out, by the runtime of the day. There, what
// is shorter than any piece but the last is whole, or it is a last piece: that ends
// what it does not begin, and so is no JSON.
func (o *object) isPiece(azure bool) bool {
	if o[keyLogTag] != nil {
		return !is(o[keyLogTag], "F")
	}
	text := o[keyLog]
	printed := is(o[keyStream], "stdout") || is(o[keyStream], "stderr")
	if !printed || len(text) == 0 || text[0] != '"' || bytes.HasSuffix(text, []byte(`\n"`)) {
		return false
	}
	return !azure || len(text) > minPiece && len(unquoted(nil, text)) >= minPiece
}

// minPiece is the least of what runtimes have in all pieces but the last: CRI-O cuts
// at 8 KiB, Docker and containerd at 16.
const minPiece = 8 << 10

// isOther: it is an object of Kubernetes, of another kind. Its texts are anybody's.
func (o *object) isOther() bool {
	return len(o[keyKind]) > 0 && len(o[keyAPIVersion]) > 0 && !hasPrefix(o[keyAPIVersion], "audit.k8s.io/")
}

// is compares a string value with a text that is written as it is.
func is(value []byte, text string) bool {
	return len(value) == len(text)+2 && string(value[1:len(value)-1]) == text && value[0] == '"'
}

func hasPrefix(value []byte, text string) bool {
	return len(value) > len(text) && value[0] == '"' && string(value[1:1+len(text)]) == text
}

// origin is what envelopes and wrappers say of where something comes from. What a
// container printed, or another log of the same cloud, is not the audit log, however
// much it looks like it: anybody who runs a Pod can write there.
type origin struct {
	foreign bool
	// azure: within a record of Azure's diagnostic settings.
	azure bool
	// packs: the data of the next object is packed. packages are those around it.
	packs    bool
	packages int
}

// within goes into an object.
func (f origin) within(o *object) origin {
	foreign := f.foreign
	audit := is(o[keyCategory], "kube-audit") || is(o[keyCategory], "kube-audit-admin")
	f.azure = f.azure || audit
	refuse := func(value []byte, fits bool) {
		if len(value) > 0 && value[0] == '"' && !fits {
			foreign = true
		}
	}
	refuse(o[keyCategory], audit)
	refuse(o[keyLogStream], hasPrefix(o[keyLogStream], "kube-apiserver-audit"))
	refuse(o[keyLogStreamName], hasPrefix(o[keyLogStreamName], "kube-apiserver-audit"))
	refuse(o[keyLogType], is(o[keyLogType], "audit"))
	// The rows of CloudWatch Logs Insights.
	refuse(o[keyField], is(o[keyField], "@message"))
	for _, about := range [][]byte{o[keyKubernetes], o[keyLabels], o[keyStream]} {
		foreign = foreign || printed(about)
	}
	f.foreign = foreign
	return f
}

// printed tells whether the metadata is that of a container other than the API
// server's own, whose audit log may go to its standard output. A namespace alone
// says nothing of a container.
func printed(metadata []byte) bool {
	var pod, apiServer, system bool
	members(metadata, func(name, value []byte) bool {
		switch string(name) {
		case "pod", "pod_name", "pod_id", "pod_uid", "container_id", "docker_id":
			pod = true
		case "container", "container_name":
			pod, apiServer = true, apiServer || is(value, "kube-apiserver")
		case "namespace", "namespace_name", "pod_namespace":
			system = is(value, "kube-system")
		}
		return true
	})
	return pod && (!apiServer || !system)
}
