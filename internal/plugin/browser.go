package plugin

import (
	"bytes"
	"context"
	"errors"
	"html/template"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// browser is the browser of whoever is at this machine, and the file with which it is
// opened. What is on a command line, every user of the machine can read with ps; so the
// browser is told a file, which nobody else can read, and the file has the address.
type browser struct {
	program []string
	file    string
	forget  func()
}

var forward = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0;url={{.}}">
<title>kubectl access</title>
<p><a href="{{.}}">Open the page of kubectl access ui</a></p>
`))

// newBrowser prepares all that opens an address. It errs where there is no browser.
func newBrowser(address string) (*browser, error) {
	program, err := browserProgram()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(openFolder(), "kubectl-access-ui-") // which is ours alone
	if err != nil {
		return nil, err
	}
	b := &browser{program, filepath.Join(folder, "open.html"), sync.OnceFunc(func() { _ = os.RemoveAll(folder) })}
	var page bytes.Buffer
	if err = forward.Execute(&page, address); err == nil {
		err = os.WriteFile(b.file, page.Bytes(), 0o600)
	}
	if err != nil {
		b.forget()
		return nil, err
	}
	return b, nil
}

// openFolder is where the file goes: "" for temporary files. A browser that is a snap has
// a /tmp of its own, and sees neither hidden files nor the folder snap of its user.
func openFolder() string {
	home, err := os.UserHomeDir()
	if err != nil || runtime.GOOS != "linux" {
		return ""
	}
	if snaps, err := os.Stat(filepath.Join(home, "snap")); err != nil || !snaps.IsDir() {
		return ""
	}
	return home
}

// forgetAfter takes the file away when its address was used, or the page ends.
func (b *browser) forgetAfter(ctx context.Context, used <-chan struct{}) {
	select {
	case <-used:
	case <-ctx.Done():
	}
	b.forget()
}

// open opens the file, and returns when that is done or failed.
func (b *browser) open(ctx context.Context) error {
	file := b.file
	if runtime.GOOS != "windows" {
		file = "file://" + file
	}
	cmd := exec.CommandContext(ctx, b.program[0], append(b.program[1:], file)...)
	cmd.Cancel = func() error { return nil } // the browser stays when the page ends
	detach(cmd)
	if err := cmd.Run(); err != nil {
		return errors.New(filepath.Base(b.program[0]) + " failed: " + err.Error())
	}
	return nil
}

// browserProgram is what opens a file in a browser. Where nobody sees a window there is
// none: a browser for text would need the terminal.
func browserProgram() ([]string, error) {
	switch runtime.GOOS {
	case "darwin":
		return []string{"open"}, nil
	case "windows":
		return []string{"rundll32", "url.dll,FileProtocolHandler"}, nil
	}
	var programs []string
	if named := os.Getenv("BROWSER"); named != "" {
		named, _, _ = strings.Cut(named, ":")
		programs = append(programs, named)
	}
	switch {
	case os.Getenv("WSL_DISTRO_NAME") != "":
		programs = append(programs, "wslview", "xdg-open")
	case os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "":
		programs = append(programs, "xdg-open", "x-www-browser")
	case len(programs) == 0:
		return nil, errors.New("there is no display")
	}
	for _, program := range programs {
		if path, err := exec.LookPath(program); err == nil {
			return []string{path}, nil
		}
	}
	return nil, errors.New("none of " + strings.Join(programs, ", ") + " is installed")
}
