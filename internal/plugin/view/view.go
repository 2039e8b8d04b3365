// Package view is what a request, a policy or a grant says, as data: which
// fields there are and what matters first. How that looks is not known here.
package view

// Table is a list with the same columns for each row.
type Table struct {
	Header []string
	Rows   [][]string
}

// cell is one value of a row, with the header of its column.
type cell struct{ header, value string }

// tableOf has a row for each item, all with the same columns.
func tableOf[T any](items []T, row func(*T) []cell) Table {
	var t Table
	for i := range items {
		cells := row(&items[i])
		t.Header = Each(cells, func(c cell) string { return c.header })
		t.Rows = append(t.Rows, Each(cells, func(c cell) string { return c.value }))
	}
	return t
}

// Each returns what a function makes of each item.
func Each[T, R any](items []T, f func(T) R) []R {
	var out []R
	for _, item := range items {
		out = append(out, f(item))
	}
	return out
}

// Keep returns those for which the condition holds.
func Keep[T any](items []T, holds func(*T) bool) []T {
	var kept []T
	for i := range items {
		if holds(&items[i]) {
			kept = append(kept, items[i])
		}
	}
	return kept
}

// Refs point to each item.
func Refs[T any](items []T) []*T {
	refs := make([]*T, len(items))
	for i := range items {
		refs[i] = &items[i]
	}
	return refs
}
