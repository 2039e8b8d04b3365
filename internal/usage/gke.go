package usage

import (
	"strconv"
	"strings"
)

// entry takes a LogEntry of Cloud Logging, in which GKE tells of a call in the words
// of Google's AuditLog. It has one entry a call, without a stage: for an exec, it
// comes when the call is over.
func (d *decoder) entry(o *object) {
	e := Event{Stage: "ResponseComplete", Received: moment(o[keyTimestamp])}
	e.Stamped = e.Received
	var method, name string
	var permission, service string
	var response []byte
	granted := false
	members(o[keyProtoPayload], func(key, value []byte) bool {
		switch string(key) {
		case "serviceName":
			service = d.string(value)
		case "methodName":
			method = d.string(value)
		case "resourceName":
			name = d.string(value)
		case "authenticationInfo":
			d.strings(value, map[string]*string{"principalEmail": &e.User, "authoritySelector": &e.Impersonated})
		case "authorizationInfo":
			if value[0] == '[' {
				elements(value, func(info []byte) { permission, granted = d.granted(info) })
			}
		case "requestMetadata":
			var address string
			d.strings(value, map[string]*string{"callerIp": &address, "callerSuppliedUserAgent": &e.UserAgent})
			if address != "" {
				e.Addresses = []string{address}
			}
		case "status":
			e.Code = codeOf(value)
		case "response":
			response = value
		}
		return true
	})
	if service != "k8s.io" {
		d.skipped.Foreign++
		return
	}
	d.strings(o[keyOperation], map[string]*string{"id": &e.ID})
	if e.ID == "" {
		e.ID = d.string(o[keyInsertID])
	}
	d.decision(&e, o[keyLabels])
	e.Allowed = e.Allowed || granted && e.Reason == ""
	if e.Code == 0 {
		// It says no more than that there was no error.
		e.Code = 200
	}
	if method == "" {
		method = permission
	}
	locate(&e, method, name)
	if e.Verb == "create" && e.Subresource == "" {
		d.created(&e, response)
	}
	d.found(&e)
}

// strings reads some members of an object.
func (d *decoder) strings(object []byte, into map[string]*string) {
	members(object, func(name, value []byte) bool {
		if to := into[string(name)]; to != nil {
			*to = d.string(value)
		}
		return true
	})
}

func (d *decoder) granted(info []byte) (permission string, granted bool) {
	members(info, func(name, value []byte) bool {
		switch string(name) {
		case "permission":
			permission = d.string(value)
		case "granted":
			granted = string(value) == "true"
		}
		return true
	})
	return permission, granted
}

// codes are the HTTP statuses of google.rpc.Code.
var codes = map[int]int{
	0: 200, 1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401,
}

func codeOf(status []byte) (code int) {
	members(status, func(name, value []byte) bool {
		if string(name) != "code" {
			return true
		}
		code, _ = strconv.Atoi(string(value))
		return false
	})
	if http, ok := codes[code]; ok {
		return http
	}
	return code
}

// locate reads what the call was for. The method is its group backwards, version,
// resource, subresource if any, and verb, such as io.k8s.core.v1.pods.exec.create;
// the name is core/v1/namespaces/x/pods/y/exec, or a path.
func locate(e *Event, method, name string) {
	words := strings.Split(method, ".")
	e.Verb = words[len(words)-1]
	version := -1
	for i, word := range words {
		if len(word) > 1 && word[0] == 'v' && '0' <= word[1] && word[1] <= '9' {
			version = i
		}
	}
	parts := strings.SplitN(name, "/", 8)
	if version < 0 || version+2 >= len(words) || len(parts) < 3 {
		e.Path = "/" + strings.TrimPrefix(name, "/")
		return
	}
	e.Resource = words[version+1]
	if version+3 < len(words) {
		e.Subresource = words[version+2]
	}
	if e.Group = parts[0]; e.Group == "core" {
		e.Group = ""
	}
	rest := parts[2:]
	if rest[0] == "namespaces" && len(rest) > 1 {
		e.Namespace = rest[1]
		if len(rest) > 2 && e.Resource != "namespaces" {
			rest = rest[2:]
		}
	}
	if len(rest) > 1 {
		e.Name = rest[1]
	}
}
