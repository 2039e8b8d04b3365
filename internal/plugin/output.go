package plugin

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

// output is what -o asks for: a format of kubectl's, or one of the command's own.
type output struct {
	*genericclioptions.PrintFlags
	own       []string
	noHeaders bool
	// printer for a format of kubectl's; nil for the command's own formats and
	// without -o.
	printer printers.ResourcePrinter
}

// newOutput adds the flags of output to a command. done is what the command
// reports, such as created.
func newOutput(cmd *cobra.Command, done string, own ...string) *output {
	out := &output{PrintFlags: genericclioptions.NewPrintFlags(done).WithTypeSetter(cluster.Scheme), own: own}
	out.AddFlags(cmd)
	cmd.Flag("output").Usage = "Output format: " + out.formats() + "."
	if own != nil {
		cmd.Flags().BoolVar(&out.noHeaders, "no-headers", false, "Leave the headers out of tables.")
	}
	complete(cmd, "output", fixed(append([]string{"json", "yaml", "name"}, own...)...))
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		out.printer, err = out.choose()
		return err
	}
	for _, rare := range []string{"allow-missing-template-keys", "show-managed-fields", "template"} {
		cmd.Flag(rare).Hidden = true
	}
	return out
}

func (o *output) format() string { return *o.OutputFormat }

// formats that help lists; the other formats of kubectl work too.
func (o *output) formats() string {
	return strings.Join(append(slices.Clone(o.own), "json", "yaml", "name", "jsonpath=…", "go-template=…"), ", ")
}

func (o *output) choose() (printers.ResourcePrinter, error) {
	unasked := !o.OutputFlagSpecified() && *o.TemplatePrinterFlags.TemplateArgument == ""
	if unasked || slices.Contains(o.own, o.format()) {
		return nil, nil
	}
	printer, err := o.ToPrinter()
	if genericclioptions.IsNoCompatiblePrinterError(err) {
		return nil, hintf("Use "+o.formats()+".", "unknown output format %q", o.format())
	}
	return printer, err
}

// printList prints a list in the format of -o or, without one, as a table. When
// there is nothing in it, a message on standard error says so.
func (o *options) printList(out *output, list runtime.Object, t view.Table, nothing string) error {
	switch {
	case out.printer != nil:
		return out.list(list, o.Out)
	case len(t.Rows) == 0:
		fmt.Fprintln(o.ErrOut, nothing)
	default:
		term.StyleOf(o.Out).WriteTable(o.Out, t.Header, t.Rows, !out.noHeaders)
	}
	return nil
}

// list prints a list; -o name prints one object a line, as kubectl does. The API
// server leaves out the kind of the objects in a list: it is filled in here.
func (o *output) list(list runtime.Object, w io.Writer) error {
	err := meta.EachListItem(list, func(item runtime.Object) error {
		gvk, err := apiutil.GVKForObject(item, cluster.Scheme)
		if err != nil {
			return err
		}
		item.GetObjectKind().SetGroupVersionKind(gvk)
		if o.format() == "name" {
			return o.printer.PrintObj(item, w)
		}
		return nil
	})
	if err != nil || o.format() == "name" {
		return err
	}
	return o.printer.PrintObj(list, w)
}
