package cluster

import (
	"regexp"

	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/pkg/accessclient"
)

// Wrong is something that the API server does not accept.
type Wrong struct{ Field, Message string }

var valueNoise = regexp.MustCompile(`^(Invalid value|Required value|Too long|Too many|Unsupported value|Forbidden): ("(string|object|array)": )?`)

// Invalid lists what the API server does not accept of an object, field by field.
func Invalid(err error) []Wrong {
	var all []Wrong
	for _, cause := range accessclient.Causes(err) {
		all = append(all, Wrong{text.Visible(text.Trim(cause.Field)), text.Visible(text.Trim(valueNoise.ReplaceAllString(cause.Message, "")))})
	}
	return all
}
