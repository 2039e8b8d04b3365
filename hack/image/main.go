// Command image builds the images of the broker and of the plugin without a
// container engine, writes what is in them and how they were made, and pushes
// them. `make image` and `make push` run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

const usage = `image build  -version VERSION [flags]  writes archives, SBOMs and provenance; see image build -h
image push   ARCHIVE REPOSITORY:TAG    pushes what is in an archive
image digest ARCHIVE                   prints the digest of what is pushed`

func run(ctx context.Context, args []string, out, warn io.Writer) error {
	if len(args) == 0 {
		return errors.New("what shall it do?\n" + usage)
	}
	switch command, args := args[0], args[1:]; {
	case command == "build":
		flags := flag.NewFlagSet("build", flag.ContinueOnError)
		flags.SetOutput(warn)
		o := order{programs: programs, platforms: platforms}
		flags.StringVar(&o.version, "version", "", "what --version of the programs says")
		flags.StringVar(&o.tag, "tag", "", "the tag of the images, if not the version")
		flags.StringVar(&o.root, "root", ".", "folder of the source")
		flags.StringVar(&o.folder, "out", "dist", "folder to write to")
		flags.Func("program", "the one program to build, if not all", func(name string) (err error) {
			o.programs, err = only(programs, name, func(p program) string { return p.name })
			return err
		})
		flags.Func("platform", "the one platform to build for, if not all", func(name string) (err error) {
			o.platforms, err = only(platforms, name, v1.Platform.String)
			return err
		})
		if err := flags.Parse(args); err != nil {
			return err
		}
		return build(ctx, o, out, warn)
	case command == "push" && len(args) == 2:
		return push(ctx, args[0], args[1], out)
	case command == "digest" && len(args) == 1:
		return withIndex(args[0], func(index *namedIndex) error {
			_, err := fmt.Fprintln(out, index.digest)
			return err
		})
	}
	return fmt.Errorf("no such command: %s\n%s", strings.Join(args, " "), usage)
}

// only is the one of a list that has a name.
func only[T any](all []T, name string, nameOf func(T) string) ([]T, error) {
	var names []string
	for _, each := range all {
		if nameOf(each) == name {
			return []T{each}, nil
		}
		names = append(names, nameOf(each))
	}
	return nil, fmt.Errorf("there is only %s", strings.Join(names, " and "))
}
