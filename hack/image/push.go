package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// push sends what is in an archive, with the credentials that docker or podman
// keep from `login`, and checks that the registry has the same.
func push(ctx context.Context, archive, to string, out io.Writer) error {
	tag, err := name.NewTag(to, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("push to a repository and a tag, such as registry.example.com/team/access-broker:v1.2.3: %w", err)
	}
	return withIndex(archive, func(idx *namedIndex) error {
		options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
		if err := remote.WriteIndex(tag, idx.index, options...); err != nil {
			return explain(tag, err)
		}
		there, err := remote.Head(tag, options...)
		if err != nil {
			return explain(tag, err)
		}
		if there.Digest != idx.digest {
			return fmt.Errorf("%s is %s after the push of %s: somebody else has pushed, too", tag, there.Digest, idx.digest)
		}
		_, err = fmt.Fprintf(out, "%s@%s\n", tag, idx.digest)
		return err
	})
}

// explain says what to do about a refusal, which registries word in many ways.
func explain(tag name.Tag, err error) error {
	var refused *transport.Error
	if errors.As(err, &refused) {
		switch refused.StatusCode {
		case http.StatusUnauthorized:
			return fmt.Errorf("%s does not accept your credentials; log in, for example with `docker login %s`: %w", tag.RegistryStr(), tag.RegistryStr(), err)
		case http.StatusForbidden:
			return fmt.Errorf("%s does not let you push to %s: %w", tag.RegistryStr(), tag.RepositoryStr(), err)
		}
	}
	return fmt.Errorf("push %s: %w", tag, err)
}
