package v1alpha1_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What is declared for messages and conditions is used: a reason that nothing
// gives would be documented for nobody.
func TestEveryReasonIsGiven(t *testing.T) {
	var product strings.Builder
	for _, room := range []string{"../../controllers", "../../internal", "../../cmd"} {
		err := filepath.WalkDir(room, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			product.Write(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	declared := regexp.MustCompile(`(?m)^\t((?:Reason|Condition|End)[A-Z]\w*) +(?:EndReason )?= "`)
	for _, file := range []string{"conditions.go", "accessgrant_types.go"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		names := declared.FindAllStringSubmatch(string(content), -1)
		if len(names) == 0 {
			t.Errorf("%s declares nothing: this shows nothing", file)
		}
		for _, name := range names {
			if !regexp.MustCompile(`v1alpha1\.` + name[1] + `\b`).MatchString(product.String()) {
				t.Errorf("%s of %s is used by nothing", name[1], file)
			}
		}
	}
}
