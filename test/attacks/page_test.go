package attacks

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// helpers run an attack under the name that is their second argument.
var helpers = []string{"attack", "alone", "refused", "double", "invisible", "never"}

// layers that may stop an attack; "nothing" is for those that succeed.
var layers = []string{"schema", "admission", "broker", "observer", "checker", "page", "RBAC", "nothing"}

// The page and the tests name the same attacks, in the same order.
func TestThreatModelListsTheAttacks(t *testing.T) {
	t.Parallel()
	tested, listed := attacksInCode(t), attacksOnPage(t)
	for function, names := range tested {
		if !slices.Equal(names, listed[function]) {
			t.Errorf("%s:\nthe tests have %q\n the page has %q", function, names, listed[function])
		}
	}
	for function := range listed {
		if tested[function] == nil {
			t.Errorf("docs/threat-model.md lists attacks of %s, which does not exist", function)
		}
	}
}

func attacksInCode(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			function, ok := decl.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(function.Name.Name, "Test") {
				continue
			}
			ast.Inspect(function, func(n ast.Node) bool {
				if name, ok := attackOf(n); ok {
					out[function.Name.Name] = append(out[function.Name.Name], name)
				}
				return true
			})
		}
	}
	return out
}

func attackOf(n ast.Node) (string, bool) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) < 2 {
		return "", false
	}
	helper, ok := call.Fun.(*ast.Ident)
	if !ok || !slices.Contains(helpers, helper.Name) {
		return "", false
	}
	name, ok := call.Args[1].(*ast.BasicLit)
	if !ok {
		return "", false
	}
	text, err := strconv.Unquote(name.Value)
	return text, err == nil
}

// attacksOnPage reads headings that end with (`TestName`) and the rows of the
// tables under them: | attack | layer | what happens |.
func attacksOnPage(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(e.Root, "docs", "threat-model.md"))
	if err != nil {
		t.Fatal(err)
	}
	heading := regexp.MustCompile("^## .*\\(`(Test\\w+)`\\)$")
	out := map[string][]string{}
	function := ""
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		switch cells := strings.Split(strings.Trim(line, "|"), "|"); {
		case strings.HasPrefix(line, "## "):
			function = ""
			if m := heading.FindStringSubmatch(line); m != nil {
				function = m[1]
			}
		case function == "" || len(cells) != 3 || strings.HasPrefix(cells[0], " ---") || strings.TrimSpace(cells[0]) == "attack":
		default:
			out[function] = append(out[function], strings.TrimSpace(cells[0]))
			if layer := strings.TrimSpace(cells[1]); !slices.Contains(layers, layer) {
				t.Errorf("%s: the layer %q is none of %q", cells[0], layer, layers)
			}
		}
	}
	return out
}
