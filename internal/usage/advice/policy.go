package advice

// Policy is what was used of a policy.
type Policy struct {
	Name  string    `json:"name"`
	Roles []RoleUse `json:"roles,omitempty"`
	// Rules are those that people may ask for, and what of them nobody was seen to use;
	// nil for a policy without. RuleGrants is how many grants were of such rules.
	Rules      *Unused `json:"rules,omitempty"`
	RuleGrants int     `json:"ruleGrants,omitempty"`
	// Earlier grants were by another policy of the same name.
	Earlier int `json:"earlierGrants,omitempty"`
}

// RoleUse counts the grants of a role of a policy: all, those that somebody observed,
// and those that were seen to be used.
type RoleUse struct {
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Grants   int    `json:"grants"`
	Observed int    `json:"observed"`
	Used     int    `json:"used"`
}

// Count counts a grant of the role.
func (r *RoleUse) Count(g Grant) {
	r.Grants++
	if g.Usage == nil || g.Usage.Window.Since.IsZero() {
		return
	}
	r.Observed++
	if g.Usage.Calls > g.Usage.Refused {
		r.Used++
	}
}
