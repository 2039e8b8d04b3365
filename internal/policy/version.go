package policy

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/version"
)

// Version of the cluster, as its API server tells it: the variable cluster of a
// condition.
type Version struct {
	// Version is the whole of it, such as v1.37.2 or v1.33.4-eks-99d6cc0.
	Version string
	// Major and Minor are its first two numbers, such as 1 and 37.
	Major, Minor int64
	// Err says why the version is not known, if it is not.
	Err error
}

// VersionOf reads what an API server answers at /version. Clouds write a minor of 37+.
func VersionOf(info *version.Info) Version {
	major, err := number(info.Major)
	if err == nil {
		var minor int64
		if minor, err = number(info.Minor); err == nil {
			return Version{Version: info.GitVersion, Major: major, Minor: minor}
		}
	}
	return Version{Err: fmt.Errorf("the API server calls itself version %q.%q: %w", info.Major, info.Minor, err)}
}

func (v Version) known() bool { return v.Err == nil && v.Version != "" }

func number(s string) (int64, error) { return strconv.ParseInt(strings.TrimSuffix(s, "+"), 10, 32) }

// seen is the version as conditions see it.
func (v Version) seen() map[string]any {
	return map[string]any{"version": v.Version, "major": v.Major, "minor": v.Minor}
}
