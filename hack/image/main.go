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

const usage = `image build  -version VERSION [-root FOLDER] [-out FOLDER]  writes archives, SBOMs and provenance
image push   ARCHIVE REPOSITORY:TAG                         pushes what is in an archive
image digest ARCHIVE                                        prints the digest of what is pushed`

func run(ctx context.Context, args []string, out, warn io.Writer) error {
	if len(args) == 0 {
		return errors.New("what shall it do?\n" + usage)
	}
	switch command, args := args[0], args[1:]; {
	case command == "build":
		flags := flag.NewFlagSet("build", flag.ContinueOnError)
		flags.SetOutput(warn)
		version := flags.String("version", "", "what --version of the programs says, and the tag of the images")
		root := flags.String("root", ".", "folder of the source")
		folder := flags.String("out", "dist", "folder to write to")
		if err := flags.Parse(args); err != nil {
			return err
		}
		return build(ctx, *root, *version, *folder, out, warn)
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
