package usage

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The annotations in which the API server tells what the authorizer decided. Some
// shippers write _ in place of the dots.
const (
	decisionKey = "authorization.k8s.io/decision"
	reasonKey   = "authorization.k8s.io/reason"
	undotted    = "authorization_k8s_io/"
)

// event takes an Event of audit.k8s.io/v1.
func (d *decoder) event(o *object) {
	e := Event{
		ID: d.string(o[keyAuditID]), Stage: d.string(o[keyStage]), Verb: d.string(o[keyVerb]), UserAgent: d.string(o[keyUserAgent]),
		Received: moment(o[keyRequestReceivedTimestamp]), Stamped: moment(o[keyStageTimestamp]),
	}
	e.Path, _, _ = strings.Cut(d.string(o[keyRequestURI]), "?")
	if len(o[keySourceIPs]) > 0 && o[keySourceIPs][0] == '[' {
		elements(o[keySourceIPs], func(value []byte) {
			if len(e.Addresses) == maxAddresses {
				e.Addresses = e.Addresses[:maxAddresses-1]
			}
			e.Addresses = append(e.Addresses, d.string(value))
		})
	}
	e.User, e.Groups = d.user(o[keyUser])
	if o[keyImpersonatedUser] != nil {
		e.Impersonated, e.Groups = d.user(o[keyImpersonatedUser])
	}
	if body := o[keyRequestObject]; len(body) > 0 && body[0] == '{' {
		e.Object = body
	}
	d.objectRef(&e, o[keyObjectRef])
	members(o[keyResponseStatus], func(name, value []byte) bool {
		if string(name) != "code" {
			return true
		}
		e.Code, _ = strconv.Atoi(string(value))
		return false
	})
	d.decision(&e, o[keyAnnotations])
	if e.Subresource == "" && (e.Verb == "create" || e.Code == http.StatusCreated) {
		// In a request, people write what UID they like.
		e.UID = ""
		d.created(&e, o[keyResponseObject])
	}
	d.found(&e)
}

// maxAddresses bounds what a caller can add in X-Forwarded-For. The last one stays:
// the API server saw it itself.
const maxAddresses = 8

// maxGroups bounds the groups that are looked at.
const maxGroups = 1024

func (d *decoder) user(value []byte) (username string, groups []string) {
	members(value, func(name, value []byte) bool {
		switch string(name) {
		case "username":
			username = d.string(value)
		case "groups":
			if !d.filter.asksForGroups() || value[0] != '[' {
				break
			}
			elements(value, func(group []byte) {
				if len(groups) < maxGroups {
					groups = append(groups, d.string(group))
				}
			})
		}
		return true
	})
	return username, groups
}

func (d *decoder) objectRef(e *Event, ref []byte) {
	members(ref, func(name, value []byte) bool {
		switch string(name) {
		case "apiGroup":
			e.Group = d.string(value)
		case "resource":
			e.Resource = d.string(value)
		case "subresource":
			e.Subresource = d.string(value)
		case "namespace":
			e.Namespace = d.string(value)
		case "name":
			e.Name = d.string(value)
		case "uid":
			e.UID = d.string(value)
		}
		return true
	})
}

// decision reads the annotations of an event, or the labels of an entry.
func (d *decoder) decision(e *Event, annotations []byte) {
	var decision, reason []byte
	members(annotations, func(name, value []byte) bool {
		switch string(name) {
		case decisionKey:
			decision = value
		case reasonKey:
			reason = value
		case undotted + "decision":
			if decision == nil {
				decision = value
			}
		case undotted + "reason":
			if reason == nil {
				reason = value
			}
		}
		return true
	})
	e.Allowed, e.Reason = is(decision, "allow"), d.string(reason)
}

// created reads name and UID out of the object as the API server answered it. A
// Status, which tells of a failure, has neither.
func (d *decoder) created(e *Event, object []byte) {
	members(object, func(name, value []byte) bool {
		if string(name) != "metadata" {
			return true
		}
		members(value, func(name, value []byte) bool {
			switch string(name) {
			case "uid":
				e.UID = d.string(value)
			case "name":
				if e.Name == "" {
					e.Name = d.string(value)
				}
			}
			return true
		})
		return false
	})
}

// moment reads a time; the zero time stands for none.
func moment(value []byte) (t time.Time) {
	if len(value) > 2 && value[0] == '"' {
		if err := t.UnmarshalText(value[1 : len(value)-1]); err != nil {
			return time.Time{}
		}
	}
	return t.UTC()
}
