package asking

import (
	"regexp"
	"strings"

	"github.com/accessbroker/accessbroker/internal/text"
)

// Command is the form as somebody would type it into a shell, for a request in this
// namespace. A form without a reason has the word WHY in its place.
func (f Form) Command(namespace string) string {
	words := []string{"kubectl access request"}
	if f.Role != "" {
		words = append(words, Bare(f.role()))
	}
	flag := func(name, value string) {
		if value != "" {
			words = append(words, "--"+name+" "+value)
		}
	}
	for _, rule := range f.Rules {
		flag("rules", Quoted(rule))
	}
	words = append(words, "-n "+Bare(namespace))
	if len(f.Namespaces) > 0 {
		flag("namespaces", Bare(strings.Join(f.Namespaces, ",")))
	}
	if f.Cluster {
		words = append(words, "--cluster")
	}
	for _, subject := range f.Subjects {
		flag("subject", Quoted(subject))
	}
	for _, optional := range [][2]string{
		{"selector", f.Selector},
		{"task", f.Task},
		{"complete-when", f.CompleteWhen},
		{"for", f.Duration},
		{"start", f.Start},
		{"ticket", f.Ticket},
		{"policy", f.Policy},
		{"name", f.Name},
	} {
		if optional[1] != "" {
			flag(optional[0], Quoted(optional[1]))
		}
	}
	if f.Credential {
		words = append(words, "--credential")
	}
	reason := f.Reason
	if strings.TrimSpace(reason) == "" {
		reason = "WHY"
	}
	flag("reason", Quoted(reason))
	return strings.Join(words, " ")
}

// role with its kind, where that is not plain or the name would be taken for a flag.
func (f Form) role() string {
	ref, err := Role(f.Role, f.RoleKind)
	if err != nil || f.RoleKind == "" && !strings.HasPrefix(f.Role, "-") {
		return f.Role
	}
	return ref.Kind + "/" + ref.Name
}

// simple words mean themselves in a shell.
var simple = regexp.MustCompile(`^[A-Za-z0-9_./:@%+=,-]+$`)

// Bare is a word for a shell, quoted where it has to be.
func Bare(word string) string {
	if simple.MatchString(word) {
		return word
	}
	return Quoted(word)
}

// Quoted is a word for a shell, as one line.
func Quoted(word string) string {
	return "'" + strings.ReplaceAll(text.Visible(text.Trim(word)), "'", `'\''`) + "'"
}
