package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/asking"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/internal/usage"
	"github.com/accessbroker/accessbroker/internal/usage/advice"
)

// advise are the flags of the command.
type advise struct {
	logs                  []string
	role, binding, user   string
	policy                string
	since, roleFile       string
	widen                 []string
	maxNames              int
	refused, policies     bool
	incomplete            bool
	name, subject, format string
}

func (o *options) newAdviseCommand() *cobra.Command {
	f := &advise{}
	cmd := &cobra.Command{
		Use:   "advise",
		Short: "Propose the least rights from what was used",
		Long: `Propose the least rights from what was used.

It reads what an observer stored of the use of grants or, with --audit-log, the audit log
of API servers, and then asks no cluster and no broker. What it proposes allows every call
that it knows and nothing more: names, namespaces and verbs stay as they were used. --widen
takes a step beyond that, and the output names each:

  generated-names  all names, where names look generated or are too many
  reads            get, list and watch together, for the same names
  writes           update and patch together, for the same names
  unknown-names    all names, where more were used than are stored
  failed-names     all names, where calls failed: for which is not stored

What is stored has some names for each right. Where calls that went well were for others,
the output says so, and -o yaml and --policy-rules refuse: with --widen unknown-names the
proposal allows all names for that right, and with --incomplete it may deny these calls.

With --role or --binding it also tells what the role allows and nobody used. The rules
of the role come from --role-file, or from the cluster if there is one. With --policy it
tells which roles and rules of the policy nobody was seen to use.

-o yaml is Roles and ClusterRoles to apply, -o json is everything there is to say.`,
		Example: `  # What was used of the role edit in all grants, by whom, and what was not
  kubectl access advise --role edit --since 90d

  # What a policy gives and nobody uses, and rules for it instead
  kubectl access advise --policy on-call
  kubectl access advise --policy on-call --policy-rules

  # The same by an audit log, of all bindings
  kubectl access advise --audit-log audit.log --role edit

  # What a pipeline needs, as roles to apply, bound to it
  kubectl access advise --audit-log audit.log --user sa:ci/deployer \
    --widen generated-names --bind sa:ci/deployer -o yaml

  # As the rules of policies
  kubectl access advise --audit-log audit.log --binding payments/fix-1 --policy-rules`,
		Annotations: map[string]string{roleAnnotation: "access-auditor"},
		Args:        noArgs,
		RunE:        func(cmd *cobra.Command, _ []string) error { return o.advise(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.logs, "audit-log", nil, "Read this log, and not what is stored; - is standard input. May be repeated.")
	flags.StringVar(&f.role, "role", "", "Only what this role allowed: NAME, Role/NAME or ClusterRole/NAME.")
	flags.StringVar(&f.policy, "policy", "", "Only grants of this policy.")
	flags.StringVar(&f.binding, "binding", "", "Only what this binding allowed: NAMESPACE/NAME, or NAME of a ClusterRoleBinding.")
	flags.StringVar(&f.user, "user", "", "Only the calls of this user: NAME or sa:NAMESPACE/NAME.")
	flags.StringVar(&f.since, "since", "", "Only calls at or after this: 24h, 90d, or a time such as 2026-05-04T10:00:00Z.")
	flags.StringVar(&f.roleFile, "role-file", "", "Read the present rules from this file, a Role or ClusterRole in YAML or JSON, not from the cluster.")
	flags.StringSliceVar(&f.widen, "widen", nil, "Steps beyond what was used: "+strings.Join(advice.Widenings, ", ")+".")
	flags.IntVar(&f.maxNames, "max-names", advice.DefaultMaxNames, "How many names of a resource are too many, for --widen generated-names.")
	flags.BoolVar(&f.refused, "with-refused", false, "Propose also what was refused.")
	flags.BoolVar(&f.policies, "policy-rules", false, "Write the rules as parts of AccessPolicies, in YAML or JSON.")
	flags.BoolVar(&f.incomplete, "incomplete", false, "Write the proposal though it may deny calls, because it is not stored what they were for.")
	flags.StringVar(&f.name, "name", "", "Name of the roles for -o yaml.")
	flags.StringVar(&f.subject, "bind", "", "With -o yaml, bind the roles to user:NAME, group:NAME or sa:NAMESPACE/NAME.")
	flags.StringVarP(&f.format, "output", "o", "", "Output format: yaml, json.")
	complete(cmd, "role", o.completeRoles)
	complete(cmd, "policy", o.completePolicies)
	complete(cmd, "since", fixed("24h", "7d", "90d"))
	complete(cmd, "widen", list(advice.Widenings))
	complete(cmd, "output", fixed("yaml", "json"))
	complete(cmd, "bind", prefixes("user:", "group:", "sa:"))
	for _, free := range []string{"binding", "user", "max-names", "name"} {
		complete(cmd, free, fixed())
	}
	return cmd
}

func (o *options) advise(cmd *cobra.Command, f *advise) error {
	now := time.Now()
	wanted, err := f.options(*o.config.Namespace, now)
	if err != nil {
		return usagef(cmd, "%w", err)
	}
	var bound *v1alpha1.Subject
	if f.subject != "" {
		subject, err := asking.Subject(f.subject)
		if err != nil {
			return usagef(cmd, "--bind: %w", err)
		}
		bound = &subject
	}
	present, err := o.presentRules(cmd.Context(), f, &wanted)
	if err != nil {
		return err
	}
	read := o.adviseLogs
	if len(f.logs) == 0 {
		read = o.adviseStored
	}
	a, err := read(cmd.Context(), f, wanted, now)
	if err != nil {
		return err
	}
	if n := a.Incomplete(); n > 0 && !f.incomplete && (f.policies || f.format == "yaml") {
		return hintf("Without -o you see which these are. --widen unknown-names proposes all names for them, --incomplete leaves them out, and an audit log has all.",
			"of %s that went well it is not stored what they were for, and the proposal would deny them", view.Plural(n, "call"))
	}
	switch {
	case f.policies:
		err = writePolicyRules(o.Out, a, f.format)
	case f.format == "json":
		out := json.NewEncoder(o.Out)
		out.SetIndent("", "  ")
		err = out.Encode(a)
	case f.format == "yaml":
		err = writeRoles(o.Out, a, f.roleName(), bound)
	default:
		o.writeAdvice(a, f.about(), present)
	}
	if err == nil && len(a.Denied) > 0 {
		return fmt.Errorf("the proposal denies %d observed rights, such as %s: please report this", len(a.Denied), a.Denied[0])
	}
	return err
}

// adviseLogs collects the calls in audit logs.
func (o *options) adviseLogs(ctx context.Context, f *advise, wanted advice.Options, _ time.Time) (*advice.Advice, error) {
	calls := advice.Collect(wanted)
	skipped, err := o.readLogs(f.logs, nil, func(e *usage.Event) error {
		calls.Add(e)
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	if n := skipped.Broken + skipped.TooLong; n > 0 {
		fmt.Fprintf(o.ErrOut, "%d events could not be read, and what they used is not proposed: %d are not whole, %d are too long.\n", n, skipped.Broken, skipped.TooLong)
	}
	a := calls.Advice()
	if a.From.IsZero() {
		return nil, hintf("Is it a log of audit.k8s.io/v1, and is --since not too late?", "there is no call in the log")
	}
	return &a, nil
}

// options are what the flags say.
func (f *advise) options(namespace string, now time.Time) (o advice.Options, err error) {
	o = advice.Options{Widen: advice.Widen{Steps: f.widen, MaxNames: f.maxNames}, Refused: f.refused}
	user, err := asking.User(f.user)
	if err != nil {
		return o, fmt.Errorf("--user: %w", err)
	}
	o.Of = advice.Of{User: user, In: namespace}
	switch {
	case len(f.logs) == 0 && f.binding != "":
		return o, fmt.Errorf("--binding looks into an audit log: name it with --audit-log; 'kubectl access usage GRANT' tells of one grant")
	case len(f.logs) > 0 && f.policy != "":
		return o, fmt.Errorf("no audit log tells which policy it was: use --policy without --audit-log")
	}
	if !slices.Contains([]string{"", "yaml", "json"}, f.format) {
		return o, fmt.Errorf("unknown output format %q: there are yaml and json", f.format)
	}
	for _, step := range f.widen {
		if !slices.Contains(advice.Widenings, step) {
			return o, fmt.Errorf("--widen: there is no %q: there are %s", step, strings.Join(advice.Widenings, ", "))
		}
	}
	if f.maxNames < 1 {
		return o, fmt.Errorf("--max-names is at least 1")
	}
	if f.since != "" {
		if o.Since, err = asking.Since(f.since, now); err != nil {
			return o, fmt.Errorf("--since: %w", err)
		}
	}
	if f.role != "" {
		role, err := asking.Role(f.role, "")
		if err != nil {
			return o, fmt.Errorf("--role: %w", err)
		}
		o.Of.RoleKind, o.Of.Role = role.Kind, role.Name
	}
	if f.binding != "" {
		if o.Of.Namespace, o.Of.Binding, err = asking.Binding(f.binding); err != nil {
			return o, fmt.Errorf("--binding: %w", err)
		}
	}
	return o, nil
}

// presentRules reads the rules in force, and says where they come from. Without a
// cluster there are none, which is no error.
func (o *options) presentRules(ctx context.Context, f *advise, wanted *advice.Options) (string, error) {
	of := wanted.Of
	if f.roleFile != "" {
		rules, err := readRole(f.roleFile, of.RoleKind, of.Role)
		wanted.Present = rules
		return f.roleFile, err
	}
	if of.Role == "" || of.RoleKind == v1alpha1.RoleKind && of.In == "" {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	c, err := cluster.Connect(o.config)
	if err == nil {
		wanted.Present, err = c.RoleRules(ctx, of.RoleKind, of.In, of.Role)
	}
	if err != nil {
		fmt.Fprintln(o.ErrOut, "What was never used is left out: the cluster does not tell the rules of "+
			text.OneLine(of.RoleKind+"/"+of.Role)+"; --role-file reads them from a file.")
		return "", nil
	}
	if wanted.Present == nil {
		wanted.Present = []rbacv1.PolicyRule{}
	}
	return of.RoleKind + "/" + of.Role + " as the cluster has it now", nil
}

// about says whose calls these are.
func (f *advise) about() string {
	var out []string
	if f.role != "" {
		out = append(out, "by the role "+f.role)
	}
	if f.policy != "" {
		out = append(out, "by the policy "+f.policy)
	}
	if f.binding != "" {
		out = append(out, "by the binding "+f.binding)
	}
	if f.user != "" {
		out = append(out, "by the user "+f.user)
	}
	return cmp.Or(strings.Join(out, " and "), "by anybody")
}

func (o *options) writeAdvice(a *advice.Advice, about, present string) {
	style := term.StyleOf(o.Out)
	style.WriteLine(o.Out, "", "What was used "+about, false)
	for _, line := range view.AdviceSummary(a) {
		style.WriteLine(o.Out, "", line, false)
	}
	for _, part := range view.Advice(a, present) {
		style.WriteHeading(o.Out, term.Clean(part.Title))
		for _, line := range part.Lines {
			style.WriteLine(o.Out, "  ", line, false)
		}
		if part.Table != nil {
			style.WriteTable(o.Out, part.Table.Header, part.Table.Rows, true)
		}
	}
}
