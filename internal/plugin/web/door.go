package web

import (
	"crypto/rand"
	"crypto/subtle"
	"html/template"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// cookieName of the cookie that a browser has after it came in.
	cookieName = "kubectl-access"
	// secretTime is how long a one-time address opens the page: enough for a browser
	// that has to start, and for somebody who copies it through ssh.
	secretTime = 10 * time.Minute
	// maxBody is many times what the longest form of the page holds.
	maxBody = 64 << 10
)

// headers are on every answer. With the referrer policy no-referrer, browsers would
// send "Origin: null" with our own forms. There is no Access-Control header, ever.
var headers = map[string]string{
	"Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	"Referrer-Policy":              "same-origin",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cache-Control":                "no-store",
	"Permissions-Policy": "accelerometer=(), autoplay=(), camera=(), clipboard-read=(), display-capture=(), encrypted-media=(), fullscreen=(), " +
		"geolocation=(), gyroscope=(), hid=(), idle-detection=(), local-fonts=(), magnetometer=(), microphone=(), midi=(), payment=(), " +
		"picture-in-picture=(), publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=()",
}

// Door lets in the browser that brings a one-time secret, and nobody else: not another
// user of the machine, who can connect as well, and not another page in the same browser.
type Door struct {
	// hosts are the values of the header Host that mean us. A name of somebody else's
	// that resolves to 127.0.0.1 is none of them.
	hosts []string
	// root is random, because cookies do not know ports: a server of another user on
	// 127.0.0.1 would be sent a cookie with the path /.
	root   string
	cookie string
	now    func() time.Time

	mu sync.Mutex
	// secrets that nobody has used yet, and until when each opens the page.
	secrets map[string]time.Time
	entered chan struct{}
}

// NewDoor is the door of a page at a host, such as "127.0.0.1:8080", as the listener has it.
func NewDoor(host string) *Door {
	hosts := []string{host}
	if name, port, err := net.SplitHostPort(host); err == nil {
		hosts = append(hosts, net.JoinHostPort("localhost", port))
		if port == "80" { // which browsers leave out
			hosts = append(hosts, strings.TrimSuffix(net.JoinHostPort(name, ""), ":"), "localhost")
		}
	}
	return &Door{
		hosts: hosts, root: "/" + rand.Text() + "/", cookie: rand.Text(), now: time.Now,
		secrets: map[string]time.Time{}, entered: make(chan struct{}),
	}
}

// Root is the path below which the page is.
func (d *Door) Root() string { return d.root }

// Address is a new address, which opens the page once at a path below the root, such as
// "requests/payments/fix".
func (d *Door) Address(path string) string {
	secret := rand.Text()
	d.mu.Lock()
	defer d.mu.Unlock()
	// The wall clock alone: the other one stands still while a laptop sleeps.
	d.secrets[secret] = d.now().Round(0).Add(secretTime)
	return "http://" + d.hosts[0] + d.root + "enter?secret=" + secret + "&to=" + below(path)
}

// Entered is closed when somebody has come in.
func (d *Door) Entered() <-chan struct{} { return d.entered }

// Guard is a page behind the door. The page sees paths without the root.
func (d *Door) Guard(page http.Handler) http.Handler {
	page = http.StripPrefix(strings.TrimSuffix(d.root, "/"), page)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		switch {
		case !slices.Contains(d.hosts, r.Host):
			refuse(w, otherHost)
		case r.URL.Path == d.root+"enter":
			d.enter(w, r)
		case !fromHere(r):
			refuse(w, otherPage)
		case r.URL.Path == doorStyle:
			http.ServeFileFS(w, r, static, "static"+doorStyle)
		case !strings.HasPrefix(r.URL.Path, d.root) || !d.knows(r):
			refuse(w, stranger)
		default:
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			page.ServeHTTP(w, r)
		}
	})
}

// enter takes a secret and gives the cookie for it.
func (d *Door) enter(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	switch {
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		refuse(w, notLikeThis)
		return
	case !isVisit(r):
		refuse(w, notLikeThis)
		return
	// Who is in already has come by Back or Reload.
	case fromHere(r) && d.knows(r):
	case d.burn(query.Get("secret")):
		http.SetCookie(w, &http.Cookie{Name: cookieName, Value: d.cookie, Path: d.root, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	default:
		refuse(w, usedUp)
		return
	}
	// No redirect: after one, a browser sends no Strict cookie if it came from elsewhere,
	// such as a file or a mail. From a page of ours it does.
	writeBare(w, http.StatusOK, goOn, d.root+below(query.Get("to")))
}

// isVisit tells whether somebody opens a page. A browser that looks ahead while they
// still type, and what only shows a preview, must not use a secret up.
func isVisit(r *http.Request) bool {
	for _, ahead := range []string{"Sec-Purpose", "Purpose", "X-Moz"} {
		if r.Header.Get(ahead) != "" {
			return false
		}
	}
	into := r.Header.Get("Sec-Fetch-Dest")
	return into == "" || into == "document"
}

// burn uses a secret up, and tells whether there was such a one. Wrong ones change
// nothing: whoever guesses locks nobody out.
func (d *Door) burn(secret string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, found := d.now().Round(0), ""
	for each, until := range d.secrets {
		if !now.Before(until) {
			delete(d.secrets, each)
		} else if same(each, secret) {
			found = each
		}
	}
	if found == "" {
		return false
	}
	delete(d.secrets, found)
	select {
	case <-d.entered:
	default:
		close(d.entered)
	}
	return true
}

// knows tells whether a request has the cookie. There may be others of that name: a
// server on another port may set them.
func (d *Door) knows(r *http.Request) bool {
	for _, c := range r.CookiesNamed(cookieName) {
		if same(c.Value, d.cookie) {
			return true
		}
	}
	return false
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// fromHere tells whether a page of ours, or the user, made a request. Browsers say who
// did, and no page can change what they say. Old ones say nothing when a page is only
// opened; what changes something has to come from a form of ours, and to say so.
// http.CrossOriginProtection would let through what says nothing, and any GET.
func fromHere(r *http.Request) bool {
	site, origin := r.Header.Values("Sec-Fetch-Site"), r.Header.Values("Origin")
	ours := "http://" + r.Host
	switch {
	case len(site) > 1 || len(origin) > 1,
		len(site) == 1 && site[0] != "same-origin" && site[0] != "none",
		len(origin) == 1 && origin[0] != ours:
		return false
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return true
	}
	return len(origin) == 1 || len(site) == 1 && site[0] == "same-origin"
}

// plainPath is a path below the root: names of Kubernetes and slashes between them.
var plainPath = regexp.MustCompile(`^[a-z0-9-]+([./][a-z0-9-]+)*$`)

// below is a path below the root, or the root itself for whatever else it is. It can
// lead nowhere else.
func below(path string) string {
	if plainPath.MatchString(path) {
		return path
	}
	return ""
}

// What is said to whoever is not let in.
const (
	otherHost   = "It is reached as 127.0.0.1 or localhost, with its own port, and by no other name. Through ssh -L, take the same port on both sides."
	otherPage   = "Another page sent your browser here. What it asked for was not done."
	stranger    = "It is open to the browser alone that came in with the one-time address. To come in with another, end kubectl access ui and run it again."
	usedUp      = "This address was used, or is more than ten minutes old. For a new one, end kubectl access ui and run it again."
	notLikeThis = "This address is for a browser, which opens it once."
)

var (
	notIn = template.Must(template.New("").Parse(bareHead + `<title>You are not let in</title>
<main>
<h1>You are not let in</h1>
<p>This is the page of kubectl access ui. {{.}}</p>
<p>If you came in already: <a href="">try again</a>.</p>
</main>
`))
	goOn = template.Must(template.New("").Parse(bareHead + `<title>kubectl access</title>
<meta name="referrer" content="no-referrer">
<link rel="icon" href="static/icon.svg">
<meta http-equiv="refresh" content="0;url={{.}}">
<main>
<h1>kubectl access</h1>
<p><a href="{{.}}">Go on to the page</a></p>
</main>
`))
)

// doorStyle is the one file that needs no cookie: it is how what is said at the door looks.
const doorStyle = "/door.css"

const bareHead = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<link rel="stylesheet" href="` + doorStyle + `">
`

func refuse(w http.ResponseWriter, why string) {
	status := http.StatusForbidden
	if w.Header().Get("Allow") != "" {
		status = http.StatusMethodNotAllowed
	}
	writeBare(w, status, notIn, why)
}

func writeBare(w http.ResponseWriter, status int, page *template.Template, data string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = page.Execute(w, data) // who has gone reads no error
}
