package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The page has every room of the tree, and no other.
func TestArchitectureHasEveryRoom(t *testing.T) {
	page := read(t, "docs/architecture.md")
	tree, _, _ := strings.Cut(page[strings.Index(page, "```\n")+4:], "```")
	var listed []string
	for line := range strings.Lines(tree) {
		room := strings.Fields(line)[0]
		listed = append(listed, room)
		if _, err := os.Stat(filepath.Join(root, room)); err != nil {
			t.Errorf("%s is not there", room)
		}
	}
	for _, parent := range []string{"cmd", "controllers", "internal", "pkg"} {
		for _, room := range rooms(t, parent) {
			if !slices.Contains(listed, room) {
				t.Errorf("the page does not tell what %s is for", room)
			}
		}
	}
}

// rooms are the folders of a folder.
func rooms(t *testing.T, parent string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, parent))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, entry := range entries {
		if entry.IsDir() {
			out = append(out, parent+"/"+entry.Name())
		}
	}
	return out
}

// Whatever is locked is a memory of a process, and the page says what is lost
// with it.
func TestArchitectureHasEveryMemory(t *testing.T) {
	page := read(t, "docs/architecture.md")
	found := 0
	for _, room := range slices.Concat([]string{"controllers"}, rooms(t, "controllers"), rooms(t, "internal")) {
		if room == "internal/lab" { // it is no part of the product
			continue
		}
		for _, path := range files(t, room, "*.go") {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				declared, ok := n.(*ast.TypeSpec)
				if !ok || !remembers(declared) {
					return true
				}
				found++
				if memory := file.Name.Name + "." + declared.Name.Name; !regexp.MustCompile("\\| .*`" + regexp.QuoteMeta(memory) + "`").MatchString(page) {
					t.Errorf("the page does not tell what %s remembers", memory)
				}
				return true
			})
		}
	}
	if found == 0 {
		t.Error("no memory was found: this shows nothing")
	}
}

// remembers tells whether a struct has a lock, or a map with one.
func remembers(declared *ast.TypeSpec) bool {
	fields, ok := declared.Type.(*ast.StructType)
	return ok && slices.ContainsFunc(fields.Fields.List, func(f *ast.Field) bool {
		of, ok := f.Type.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		from, ok := of.X.(*ast.Ident)
		return ok && from.Name == "sync" && slices.Contains([]string{"Mutex", "RWMutex", "Map"}, of.Sel.Name)
	})
}
