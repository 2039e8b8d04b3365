package advice

import (
	"regexp"
	"strings"
)

// random are the characters of the endings that the API server and controllers make:
// no vowels, and none that looks like another.
const random = `[bcdfghjklmnpqrstvwxz2456789]`

// generated are names that change with each object, rollout or release.
var generated = []*regexp.Regexp{
	regexp.MustCompile(`-` + random + `{8,10}(-` + random + `{5})?$`),                  // a ReplicaSet and its Pods
	regexp.MustCompile(`-[0-9]{8,}(-` + random + `{5})?$`),                             // a Job of a CronJob and its Pods
	regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), // a UID
	regexp.MustCompile(`\.[0-9a-f]{16}$`),                                              // an Event
	regexp.MustCompile(`^sh\.helm\.release\.v1\..+\.v[0-9]+$`),                         // a release of Helm
	regexp.MustCompile(`-[0-9a-f]*[0-9][0-9a-f]*[a-f][0-9a-f]*$`),                      // a hash, if it is long
}

const minHash = 10

// suffixed is a name with the ending of a generateName.
var suffixed = regexp.MustCompile(`^(.*-)(` + random + `{5})$`)

// looksGenerated tells whether a name looks made by a machine. stems counts the other
// names: an ending without a digit could be a word, such as https, unless another name
// begins alike.
func looksGenerated(name string, stems map[string]int) bool {
	for i, pattern := range generated {
		found := pattern.FindString(name)
		if found != "" && (i < len(generated)-1 || len(found) > minHash) {
			return true
		}
	}
	match := suffixed.FindStringSubmatch(name)
	return len(match) > 2 && (strings.ContainsAny(match[2], "2456789") || stems[match[1]] > 1)
}

func stemsOf(names []string) map[string]int {
	stems := map[string]int{}
	for _, name := range names {
		if match := suffixed.FindStringSubmatch(name); match != nil {
			stems[match[1]]++
		}
	}
	return stems
}
