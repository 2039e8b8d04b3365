package web

import "slices"

// field of a form, as the template "field" shows it.
type field struct {
	// ID is unique on the page; Name is what the form sends it under.
	ID, Name, Label string
	Value           string
	// Hint says how to write it, Fault what is wrong with what was written.
	Hint, Fault string
	Required    bool
	// Most characters, 0 for no bound.
	Most int
	// Type of an input, text when empty. Area is the number of lines of a larger one.
	Type string
	Area int
	// Suggest offers values; Options are the only ones.
	Suggest []string
	Options []option
}

// option of a field that has no other values.
type option struct {
	Value, Text string
	Chosen      bool
}

// fault is what is wrong with a field, by its ID; with the form when there is none.
type fault struct{ Field, Message string }

// fill puts what was written, and what is wrong with it, into the fields of a form.
func fill(fields []field, written func(string) string, faults []fault) []field {
	for i := range fields {
		f := &fields[i]
		if value := written(f.Name); value != "" {
			f.Value = value
		}
		for j := range f.Options {
			f.Options[j].Chosen = f.Options[j].Value == f.Value
		}
		if at := slices.IndexFunc(faults, func(of fault) bool { return of.Field == f.ID }); at >= 0 {
			f.Fault = faults[at].Message
		}
	}
	return fields
}
