package chromium

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/accessbroker/accessbroker/test/kit"
)

var b *Browser

func TestMain(m *testing.M) {
	wanted := os.Getenv("TEST_BROWSER")
	if wanted == "" {
		fmt.Fprintln(os.Stderr, "test/browser/chromium: NOT RUN: it needs a browser; run `make test-browser`")
		os.Exit(0)
	}
	if err := Missing(); err != nil {
		fmt.Fprintf(os.Stderr, "test/browser/chromium: NOT RUN: %v\n", err)
		if wanted == "must" {
			os.Exit(1)
		}
		os.Exit(0)
	}
	var err error
	if b, err = Start(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := b.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// server serves pages by their paths.
func server(t *testing.T, policy string, pages map[string]string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if policy != "" {
			w.Header().Set("Content-Security-Policy", policy)
		}
		switch r.URL.Path {
		case "/sent":
			if r.Method == http.MethodPost {
				http.SetCookie(w, &http.Cookie{Name: "who", Value: r.FormValue("who"), Path: "/"})
				http.Redirect(w, r, "/sent?"+url.QueryEscape(r.FormValue("who")+" as "+r.FormValue("role")), http.StatusSeeOther)
				return
			}
			cookie := "none"
			if sent, err := r.Cookie("who"); err == nil {
				cookie = sent.String()
			}
			what, _ := url.QueryUnescape(r.URL.RawQuery)
			fmt.Fprintf(w, "<!DOCTYPE html><html lang=en><title>x</title><h1>Sent</h1><p>%s, cookie %s</p>", html.EscapeString(what), html.EscapeString(cookie))
			return
		case "/list.csv":
			w.Header().Set("Content-Disposition", `attachment; filename="list.csv"`)
			fmt.Fprint(w, "a,b\n")
			return
		case "/favicon.ico":
			w.WriteHeader(http.StatusNoContent)
			return
		}
		page, ok := pages[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, page)
	}))
	t.Cleanup(s.Close)
	return s
}

const form = `<!DOCTYPE html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width, initial-scale=1"><title>A form</title>
<a href="#main">Skip</a><main id=main><h1>A form</h1>
<form method=post action=/sent>
<p><label for=who>Who</label> <input id=who name=who value=nobody>
<p><label for=role>Role <small>such as edit</small></label> <select id=role name=role><option>view<option>edit</select>
<p><button>Send</button> <a href="/list.csv">CSV</a>
</form>
<details><summary>More</summary><p>Hidden at first</details>
<table><caption>Rows</caption><tr><td>one<td><button type=button onclick="this.textContent='pressed one'">Press</button><tr><td>two<td><button type=button onclick="this.textContent='pressed two'">Press</button></table>
</main>`

// TestPerson: what somebody does with a form, with a mouse, a finger, and no script.
func TestPerson(t *testing.T) {
	t.Parallel()
	for _, look := range []Look{Phone, Desktop, Wide.InTheDark()} {
		t.Run(look.Name, func(t *testing.T) {
			t.Parallel()
			s := server(t, "", map[string]string{"/": form})
			tab := b.Person(t, look)
			tab.Open(s.URL)
			tab.On("A form")
			tab.SeesNo("Hidden at first")
			tab.Click("More")
			tab.Sees("Hidden at first")
			tab.Near("two").Click("Press")
			tab.Near("two").Sees("pressed two")
			tab.Near("one").SeesNo("pressed one")
			if name, content := tab.Downloaded(func() { tab.Click("CSV") }); name != "list.csv" || string(content) != "a,b\n" {
				t.Errorf("%s: %s", name, content)
			}
			tab.Fill("Who", "ali & bob")
			tab.Choose("Role", "edit")
			if who, role := tab.Value("Who"), tab.Value("Role"); who != "ali & bob" || role != "edit" {
				t.Errorf("it holds %q and %q", who, role)
			}
			before := tab.Loads()
			tab.Click("Send")
			tab.On("Sent")
			tab.Sees("ali & bob as edit, cookie who=")
			if tab.Loads() != before+1 || tab.Posts() != 1 {
				t.Errorf("%d more pages, %d times sent", tab.Loads()-before, tab.Posts())
			}
			tab.Back()
			tab.On("A form")
			if by := tab.Overflows(); by != "" {
				t.Errorf("it is too wide %s", by)
			}
			if picture := tab.Screenshot(); !strings.HasPrefix(string(picture), "\x89PNG") {
				t.Error("no picture")
			}
			again := tab.Another()
			again.Open(s.URL + "/sent")
			again.Sees("cookie who=")
			other := b.Person(t, look)
			other.Open(s.URL + "/sent")
			other.Sees("cookie none")
		})
	}
}

// TestWithoutScript: no script of the page runs, and all steps are possible.
func TestWithoutScript(t *testing.T) {
	t.Parallel()
	s := server(t, "", map[string]string{"/": form + `<script>document.querySelector('h1').textContent = 'Changed'</script>`})
	tab := b.Person(t, Desktop)
	tab.Without(true)
	tab.Open(s.URL)
	tab.On("A form")
	tab.Fill("Who", "alice")
	tab.Choose("Role", "edit")
	tab.Click("Send")
	tab.Sees("alice as edit, cookie who=alice")
	tab.Without(false)
	tab.Open(s.URL)
	tab.On("Changed")
}

// TestKeyboard: Tab goes around, and sees where it is.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	s := server(t, "", map[string]string{"/": form})
	tab := b.Person(t, Desktop)
	tab.Open(s.URL)
	tab.On("A form")
	var names []string
	for _, stop := range tab.Around() {
		names = append(names, stop.Name)
	}
	if want := []string{"Skip", "Who", "Role such as edit", "Send", "CSV", "More", "Press", "Press"}; !slices.Equal(names, want) {
		t.Errorf("Tab goes to %q, not to %q", names, want)
	}
	tab.Reload()
	tab.On("A form")
	tab.TabTo("Who")
	tab.Type("carol") // what was there is selected
	tab.TabTo("Role")
	tab.Keys("ed")
	tab.TabTo("More")
	tab.Press("Enter")
	tab.Sees("Hidden at first")
	tab.Press("Shift+Tab", "Shift+Tab", "Space")
	tab.Sees("carol as edit, cookie who=carol")
}

// TestProblems: what a person does not see is seen.
func TestProblems(t *testing.T) {
	t.Parallel()
	other := server(t, "", map[string]string{"/x.css": ""})
	policy := "default-src 'self'; img-src *"
	for name, c := range map[string]struct{ page, policy, want string }{
		"inline script": {"<script>1</script>", policy, "Content Security Policy"},
		"inline style":  {"<p style='color: red'>x", policy, "Content Security Policy"},
		"another host":  {"<img alt='' src='" + other.URL + "/x.css'>", policy, "a request to another host"},
		"not found":     {"<img alt='' src='/none'>", policy, "404"},
		"a warning":     {"<script>console.warn('careful')</script>", "", "careful"},
		"an error":      {"<script>undefined.x</script>", "", "a script failed"},
		"no such host":  {"<img alt='' src='http://example.com/x.png'>", "", "a request failed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := server(t, c.policy, map[string]string{"/": "<!DOCTYPE html><html lang=en><title>x</title><h1>Page</h1>" + c.page})
			tab := b.Person(t, Desktop)
			tab.Open(s.URL)
			tab.On("Page")
			kit.Eventually(t, "the problem "+c.want, func(context.Context) (bool, error) {
				if found := tab.Problems(); !strings.Contains(strings.Join(found, "\n"), c.want) {
					return false, fmt.Errorf("it has %q", found)
				}
				return true, nil
			})
			tab.Expect(".")
		})
	}
}

// TestUnseen: what is hidden or covered cannot be clicked, and a focus without a mark
// is told.
func TestUnseen(t *testing.T) {
	t.Parallel()
	s := server(t, "", map[string]string{"/": `<!DOCTYPE html><html lang=en><title>x</title><style>
		a { outline: none !important; box-shadow: none } .cover { position: fixed; inset: 0; background: white }</style><h1>Page</h1>
		<button hidden>Hidden</button><button>Covered</button><a href="#x">Marked by nothing</a><div class=cover>x</div>`})
	tab := b.Person(t, Desktop)
	tab.Open(s.URL)
	tab.On("Page")
	if tab.Offers("Hidden") {
		t.Error("what is hidden is offered")
	}
	e, err := tab.find(clickable, "Covered")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := tab.place(tab.ctx, e); err == nil || !strings.Contains(err.Error(), "is behind") {
		t.Errorf("what is covered can be clicked: %v", err)
	}
	tab.Press("Tab", "Tab")
	if f := tab.Focused(); f.Name != "Marked by nothing" || f.Seen {
		t.Errorf("%v: seen %v", f, f.Seen)
	}
}
