package receive

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	authnclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authzclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
)

const (
	// allowTime and denyTime are how long an answer about a token counts. Deliveries
	// come by the second.
	allowTime, denyTime = time.Minute, 10 * time.Second
	// maxTokens are remembered, of those that are let in and of the others.
	maxTokens = 1024
	// maxAsking tokens are asked about at a time: anyone may send any.
	maxAsking = 16
	// askTime bounds one question, the wait for the turn included.
	askTime = 10 * time.Second
)

// senders tells who may send events: who has a client certificate of one of the
// authorities, and those whom the API server lets post to /audit.
//
// The questions are its own, and not the filter's that the metrics have: that tells a
// token that is not valid from an API server that does not answer by nothing. Some
// shippers throw away what was refused with 401, and send again after 503.
type senders struct {
	files *files
	authn authnclient.TokenReviewInterface
	authz authzclient.SubjectAccessReviewInterface
	log   logr.Logger

	// In one cache, tokens that were made up would drive out those that count.
	allowed, denied *cache.LRUExpireCache
	asking          chan struct{}
}

func newSenders(o Options, f *files) (senders, error) {
	s := senders{
		files: f, log: o.Log, asking: make(chan struct{}, maxAsking),
		allowed: cache.NewLRUExpireCache(maxTokens), denied: cache.NewLRUExpireCache(maxTokens),
	}
	if o.Config == nil {
		return s, nil
	}
	authn, err := authnclient.NewForConfigAndClient(o.Config, o.HTTPClient)
	if err != nil {
		return senders{}, err
	}
	authz, err := authzclient.NewForConfigAndClient(o.Config, o.HTTPClient)
	if err != nil {
		return senders{}, err
	}
	s.authn, s.authz = authn.TokenReviews(), authz.SubjectAccessReviews()
	return s, nil
}

// refuse is nil for a sender who may post.
func (s *senders) refuse(r *http.Request) *refusal {
	if s.files.knows(r.TLS) {
		return nil
	}
	token := bearer(r)
	if token == "" || s.authn == nil {
		return unknown
	}
	key := sha256.Sum256([]byte(token))
	if _, ok := s.allowed.Get(key); ok {
		return nil
	}
	if refused, ok := s.denied.Get(key); ok {
		return refused.(*refusal)
	}
	refused, err := s.ask(r.Context(), token)
	switch {
	case err != nil:
		if r.Context().Err() == nil {
			s.log.Error(err, "cannot ask who sends audit events")
		}
		return unasked
	case refused != nil:
		s.denied.Add(key, refused, denyTime)
	default:
		s.allowed.Add(key, nil, allowTime)
	}
	return refused
}

// bearer is the token. Firehose has a header of its own, and sends no other.
func bearer(r *http.Request) string {
	authorization := r.Header.Get("Authorization")
	if authorization == "" {
		return r.Header.Get(accessKeyHeader)
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// ask asks the API server who has the token, and whether they may post.
func (s *senders) ask(ctx context.Context, token string) (*refusal, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	who, err := s.authn.Create(ctx, &authnv1.TokenReview{Spec: authnv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	if !who.Status.Authenticated {
		return unknown, nil
	}
	user := who.Status.User
	review := &authzv1.SubjectAccessReview{Spec: authzv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: map[string]authzv1.ExtraValue{},
		NonResourceAttributes: &authzv1.NonResourceAttributes{Path: root, Verb: "post"},
	}}
	for key, values := range user.Extra {
		review.Spec.Extra[key] = authzv1.ExtraValue(values)
	}
	may, err := s.authz.Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	if !may.Status.Allowed {
		return forbids, nil
	}
	return nil, nil
}
