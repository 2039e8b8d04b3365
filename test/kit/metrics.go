package kit

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
)

// Scrape reads the metrics that the broker serves on an address, with a token
// or with none.
func Scrape(t testing.TB, address, token string) (status int, page string) {
	t.Helper()
	return ScrapeThrough(t, (&net.Dialer{}).DialContext, address, token)
}

// ScrapeThrough is Scrape through connections that dial makes.
func ScrapeThrough(t testing.TB, dial func(ctx context.Context, network, address string) (net.Conn, error), address, token string) (status int, page string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	// The broker's certificate is one that it made for itself at its start.
	scraper := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	response, err := scraper.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}
