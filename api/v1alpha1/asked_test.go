package v1alpha1_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// A request for more time asks for what the broker found, and only for that.
func TestAsked(t *testing.T) {
	r := &v1alpha1.AccessRequest{}
	r.Spec.RoleRef = &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "view"}
	forged := &v1alpha1.Extended{PolicyName: "p", RoleRef: &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "admin"}}
	r.Status.Extended = forged
	if got := r.Asked(); got.RoleRef.Name != "view" {
		t.Errorf("a request that extends nothing asks for %s", got.RoleRef.Name)
	}
	r.Spec = v1alpha1.AccessRequestSpec{Extends: "fix", Reason: "not done", Ticket: "INC-42", Requester: v1alpha1.UserInfo{Username: "alice"}}
	r.Status.Extended = &v1alpha1.Extended{
		PolicyName: "p", Subjects: []v1alpha1.Subject{{Kind: "User", Name: "dave"}}, RoleRef: forged.RoleRef,
		Rules: []v1alpha1.PolicyRule{{Verbs: []string{"get"}}}, Scope: &v1alpha1.Scope{Cluster: &v1alpha1.ClusterScope{}}, Task: &v1alpha1.TaskRef{Name: "migrate"},
	}
	asked, from := reflect.ValueOf(*r.Asked()), reflect.ValueOf(*r.Status.Extended)
	for i := range asked.NumField() {
		name := asked.Type().Field(i).Name
		want := reflect.ValueOf(r.Spec).Field(i)
		if found := from.FieldByName(name); found.IsValid() {
			want = found
		}
		if !reflect.DeepEqual(asked.Field(i).Interface(), want.Interface()) {
			t.Errorf("%s is %v, want %v", name, asked.Field(i), want)
		}
	}
	if r.Spec.RoleRef != nil {
		t.Error("the spec was changed")
	}
}

// askedFields are those of a spec that a request for more time leaves to the request
// that it extends.
var askedFields = map[string]bool{"Subjects": true, "RoleRef": true, "Rules": true, "Scope": true, "Task": true, "PolicyName": true}

// writers make requests, and so write their spec; none of them reads the requests of
// others by it.
var writers = map[string]bool{
	"internal/plugin/request.go": true, "internal/plugin/extend.go": true, "internal/plugin/for.go": true, "internal/lab/people.go": true,
	"hack/bench/usage.go": true, "internal/cached/intern.go": true, "pkg/accessclient/ask.go": true,
	"api/v1alpha1/accessrequest_types.go": true,
}

// Nobody reads of the spec alone what a request asks for: one that extends another has
// nothing there, and whoever looks would find neither its role nor its subjects.
// request, r, s and current are what requests are called in this tree.
func TestNobodyReadsTheSpecForWhatIsAsked(t *testing.T) {
	called := map[string]bool{"request": true, "r": true, "current": true, "named": true}
	read := 0
	for _, room := range []string{"api", "cmd", "controllers", "internal", "pkg", "hack"} {
		err := filepath.WalkDir(filepath.Join("..", "..", room), func(path string, _ fs.DirEntry, err error) error {
			name, _ := filepath.Rel(filepath.Join("..", ".."), path)
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || writers[filepath.ToSlash(name)] {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				return err
			}
			// In the rooms of a grant a step is one too.
			inRequests := strings.HasPrefix(filepath.ToSlash(name), "controllers/request/")
			ast.Inspect(file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if f, ok := call.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Asked" {
						read++
					}
				}
				if address, ok := n.(*ast.UnaryExpr); ok && address.Op == token.AND {
					n = address.X // &r.Spec hands all of it on
					if spec, ok := n.(*ast.SelectorExpr); ok && spec.Sel.Name == "Spec" && of(spec, called, inRequests) {
						t.Errorf("%s hands on the spec of a request, want Asked()", files.Position(n.Pos()))
					}
					return true
				}
				field, ok := n.(*ast.SelectorExpr)
				if !ok || !askedFields[field.Sel.Name] {
					return true
				}
				if spec, ok := field.X.(*ast.SelectorExpr); ok && spec.Sel.Name == "Spec" && of(spec, called, inRequests) {
					t.Errorf("%s reads spec.%s of a request, want Asked().%s", files.Position(n.Pos()), field.Sel.Name, field.Sel.Name)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if read < 20 {
		t.Errorf("Asked is called in %d places: this shows nothing", read)
	}
}

// of tells whether a spec is that of a request, by what the request is called.
func of(spec *ast.SelectorExpr, called map[string]bool, inRequests bool) bool {
	name, ok := spec.X.(*ast.Ident)
	return ok && (called[name.Name] || inRequests && (name.Name == "s" || name.Name == "asked"))
}
