package asking

import (
	"cmp"
	"slices"
	"strings"
)

// Fault is what is wrong with one field of a form.
type Fault struct {
	// Field is called as its flag is.
	Field string
	// Says is what is wrong, next to the field.
	Says string
	// flag is what is wrong, on a command line; "--FIELD: SAYS" without.
	flag string
	// err is the reason, where there is one.
	err error
}

func (f *Fault) Error() string { return cmp.Or(f.flag, "--"+f.Field+": "+f.Says) }
func (f *Fault) Unwrap() error { return f.err }

// Faults are all that is wrong with a form, each for a field.
type Faults []*Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

func (f Faults) Unwrap() []error {
	errs := make([]error, len(f))
	for i, fault := range f {
		errs[i] = fault
	}
	return errs
}

// Of finds what is wrong with a field, "" for nothing.
func (f Faults) Of(field string) string {
	at := slices.IndexFunc(f, func(fault *Fault) bool { return fault.Field == field })
	if at < 0 {
		return ""
	}
	return f[at].Says
}

// add notes what is wrong with a field, if anything is.
func (f *Faults) add(field string, err error) {
	if err != nil {
		*f = append(*f, &Fault{Field: field, Says: err.Error(), err: err})
	}
}

// refuse notes what is wrong with a field, in words for a form and for a command line.
func (f *Faults) refuse(field, says, flag string) {
	*f = append(*f, &Fault{Field: field, Says: says, flag: flag})
}

// line notes why a field is no line that people can read.
func (f *Faults) line(field, value string, most int) {
	if err := CheckLine("--"+field, value, most); err != nil {
		f.refuse(field, CheckLine("it", value, most).Error(), err.Error())
	}
}

// orNil is no error where nothing is wrong.
func (f Faults) orNil() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// advised is an error with advice.
type advised struct {
	error
	advice string
}

// Advice says what to do about it.
func (e *advised) Advice() string { return e.advice }
func (e *advised) Unwrap() error  { return e.error }
