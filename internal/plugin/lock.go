package plugin

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/asking"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/text"
)

func (o *options) newLockCommand() *cobra.Command {
	var reason, duration, until string
	var out *output
	cmd := &cobra.Command{
		Use:   "lock SUBJECT --reason WHY",
		Short: "Lock somebody out: end all access that they hold, and give them no more",
		Long: `Lock somebody out.

Every access that they asked for or hold by the broker ends at once, and nothing
new is given to them until the lock is lifted or its time is over. SUBJECT is a
user, or group:NAME, or sa:NAMESPACE/NAME. What they hold by other bindings
stays: kubectl access show of the grants names it.`,
		Example: `  kubectl access lock alice --reason "INC-43: her laptop was stolen"

  # For two hours, everybody in a group; a ServiceAccount
  kubectl access lock group:contractors --for 2h --reason "INC-44"
  kubectl access lock sa:ci/deployer --reason "INC-45: its token leaked"`,
		Annotations: map[string]string{roleAnnotation: "access-locker"},
		Args:        oneName("user, group:NAME or sa:NAMESPACE/NAME", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := lockSpec(args[0], reason, duration, until, time.Now())
			if err != nil {
				return usagef(cmd, "%w", err)
			}
			c, err := cluster.Connect(o.config)
			if err != nil {
				return err
			}
			lock := &v1alpha1.AccessLock{Spec: spec}
			lock.GenerateName = asking.NameLike(spec.Subject.Name, "lock")
			if err := c.Lock(cmd.Context(), lock); err != nil {
				return err
			}
			if out.printer != nil {
				return out.printer.PrintObj(lock, o.Out)
			}
			fmt.Fprintf(o.Out, "accesslock.%s/%s created\n", v1alpha1.GroupVersion.Group, lock.Name)
			return nil
		},
		ValidArgsFunction: prefixes("group:", "sa:"),
	}
	out = newOutput(cmd, "created")
	f := cmd.Flags()
	f.StringVar(&reason, "reason", "", "Why, in one line. Required.")
	f.StringVar(&duration, "for", "", "How long, such as 2h or 7d. By default until somebody lifts it.")
	f.StringVar(&until, "until", "", "Until when: a time such as 2026-05-04T10:00:00Z.")
	complete(cmd, "for", fixed("1h", "8h", "1d", "7d"))
	complete(cmd, "reason", fixed())
	complete(cmd, "until", fixed())
	return cmd
}

func lockSpec(word, reason, duration, until string, now time.Time) (spec v1alpha1.AccessLockSpec, err error) {
	if spec.Subject, err = parseLocked(word); err != nil {
		return spec, err
	}
	spec.Reason = reason
	switch {
	case strings.TrimSpace(reason) == "":
		return spec, errors.New("say why, with --reason")
	case duration != "" && until != "":
		return spec, errors.New("--for and --until exclude each other")
	}
	if err := asking.CheckLine("--reason", reason, asking.MaxReason); err != nil {
		return spec, err
	}
	if duration != "" {
		d, err := asking.Duration(duration)
		if err != nil {
			return spec, fmt.Errorf("--for: %w", err)
		}
		spec.Until = &metav1.Time{Time: now.Add(d)}
	}
	if until != "" {
		moment, err := asking.Moment(until, now)
		if err != nil {
			return spec, fmt.Errorf("--until: %w", err)
		}
		if !moment.After(now) {
			return spec, fmt.Errorf("--until %s is over", text.Moment(moment))
		}
		spec.Until = &metav1.Time{Time: moment}
	}
	return spec, nil
}

// parseLocked reads a subject; what names no kind is a user, whose name may have a
// colon.
func parseLocked(word string) (v1alpha1.Subject, error) {
	for _, kind := range []string{"user:", "group:", "sa:"} {
		if strings.HasPrefix(word, kind) {
			return asking.Subject(word)
		}
	}
	if word == "" {
		return v1alpha1.Subject{}, errors.New("name whom to lock out")
	}
	return v1alpha1.Subject{Kind: v1alpha1.UserKind, Name: word}, nil
}

func (o *options) newUnlockCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "unlock SUBJECT",
		Short: "Lift the locks on somebody",
		Long: `Lift all locks on somebody. Access that a lock has ended does not come back: they
ask again. Nobody lifts a lock that is on themselves.`,
		Example: `  kubectl access unlock alice
  kubectl get accesslocks`,
		Annotations: map[string]string{roleAnnotation: "access-locker"},
		Args:        oneName("user, group:NAME or sa:NAMESPACE/NAME", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			subject, err := parseLocked(args[0])
			if err != nil {
				return usagef(cmd, "%w", err)
			}
			c, err := cluster.Connect(o.config)
			if err != nil {
				return err
			}
			lifted, err := c.Unlock(cmd.Context(), subject)
			for _, name := range lifted {
				fmt.Fprintf(o.Out, "accesslock.%s/%s deleted\n", v1alpha1.GroupVersion.Group, name)
			}
			if err == nil && len(lifted) == 0 {
				return fmt.Errorf("there is no lock on %s", term.Clean(text.Subject(subject)))
			}
			return err
		},
		ValidArgsFunction: o.completeLocked,
	}
}

func (o *options) completeLocked(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := cluster.Connect(o.config)
	if err != nil || len(args) > 0 {
		return nil, noFiles
	}
	locks, err := c.Locks(cmd.Context())
	if err != nil {
		return nil, noFiles
	}
	var words []string
	for _, l := range locks {
		switch s := l.Spec.Subject; s.Kind {
		case v1alpha1.GroupKind:
			words = append(words, "group:"+s.Name)
		case v1alpha1.ServiceAccountKind:
			words = append(words, "sa:"+s.Namespace+"/"+s.Name)
		default:
			words = append(words, s.Name)
		}
	}
	return words, noFiles
}
