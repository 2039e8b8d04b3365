package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Page is a running `kubectl access ui` of somebody.
type Page struct {
	// Address opens it, once.
	Address string
	cmd     *exec.Cmd
	said    *bytes.Buffer
}

// OpenPage runs `kubectl access ui` as the user of a kubeconfig, opens no browser, and
// returns when it has printed its address.
func (c *Cluster) OpenPage(kubeconfig string, args ...string) (*Page, error) {
	return StartPage(c.Kubectl(kubeconfig, append([]string{"access", "ui", "--no-browser"}, args...)...))
}

// StartPage is OpenPage for a command that is ready to run.
func StartPage(cmd *exec.Cmd) (*Page, error) {
	p := &Page{cmd: cmd, said: &bytes.Buffer{}}
	cmd.Stderr = p.said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("kubectl access ui printed no address: %w", errors.Join(err, p.Close()))
	}
	p.Address = strings.TrimSpace(line)
	return p, nil
}

// Close ends it as Ctrl-C does, once. It is an error when it does not end by itself, or
// with another status than 0.
func (p *Page) Close() error {
	if p.cmd.ProcessState != nil {
		return nil
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	late := time.AfterFunc(Patience, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("kubectl access ui: %w: %s", err, p.said)
	}
	return nil
}

// PID is the process that serves it.
func (p *Page) PID() int { return p.cmd.Process.Pid }

// Visitor has come in to a page, as a browser without a screen or a script.
type Visitor struct {
	*http.Client
	// Origin of the page, and Root the path below which it is, with a slash at its end.
	Origin, Root string
}

// Answer of a page.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	// Path below the root, and a query: of the last of the redirects.
	Path string
}

// Enter opens the address of a page, which nobody can do again.
func (p *Page) Enter(ctx context.Context) (*Visitor, error) {
	address, err := url.Parse(p.Address)
	if err != nil {
		return nil, err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	root, secret, _ := strings.Cut(address.RequestURI(), "enter")
	v := &Visitor{Client: &http.Client{Jar: jar, Timeout: Patience}, Origin: address.Scheme + "://" + address.Host, Root: root}
	entered, err := v.Get(ctx, "enter"+secret)
	if err == nil && (entered.Status != http.StatusOK || v.Cookie() == nil) {
		err = fmt.Errorf("not let in: %d\n%s", entered.Status, entered.Body)
	}
	return v, err
}

// Cookie is what lets the visitor in.
func (v *Visitor) Cookie() *http.Cookie {
	at, err := url.Parse(v.At(""))
	if err != nil {
		return nil
	}
	for _, cookie := range v.Jar.Cookies(at) {
		return cookie
	}
	return nil
}

// At is the URL of a page below the root.
func (v *Visitor) At(path string) string { return v.Origin + v.Root + path }

// Get reads a page.
func (v *Visitor) Get(ctx context.Context, path string) (Answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.At(path), http.NoBody)
	if err != nil {
		return Answer{}, err
	}
	return v.send(r)
}

// Post sends a form as the page itself does, and reads what is shown in the end.
func (v *Visitor) Post(ctx context.Context, path string, form url.Values) (Answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, v.At(path), strings.NewReader(form.Encode()))
	if err != nil {
		return Answer{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", v.Origin)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return v.send(r)
}

func (v *Visitor) send(r *http.Request) (Answer, error) {
	answer, err := v.Do(r)
	if err != nil {
		return Answer{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return Answer{
		Status: answer.StatusCode, Header: answer.Header, Body: string(body),
		Path: strings.TrimPrefix(answer.Request.URL.RequestURI(), v.Root),
	}, err
}
