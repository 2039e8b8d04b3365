package plugin

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientauthenticationv1 "k8s.io/client-go/pkg/apis/clientauthentication/v1"
)

const (
	// execInfo is how client-go says in which version it takes a credential.
	execInfo = "KUBERNETES_EXEC_INFO"

	// beforeExpiry is how long before its end a credential is asked for again: a call is
	// on its way for a while, and clocks differ.
	beforeExpiry = 10 * time.Second
)

// execVersions are the versions of ExecCredential that are spoken, the newest first.
// The two are the same but for their name.
var execVersions = []string{clientauthenticationv1.SchemeGroupVersion.String(), "client.authentication.k8s.io/v1beta1"}

// execVersion reads from what client-go passes on in which version it wants the
// credential.
func execVersion(info string) (string, error) {
	if info == "" {
		return execVersions[0], nil // somebody runs it by hand
	}
	var wanted metav1.TypeMeta
	if err := json.Unmarshal([]byte(info), &wanted); err != nil {
		return "", fmt.Errorf("$%s is not what client-go writes: %w", execInfo, err)
	}
	if !slices.Contains(execVersions, wanted.APIVersion) {
		return "", hintf("Write apiVersion: "+execVersions[0]+" in the exec of the kubeconfig.",
			"the kubeconfig asks for a credential in version %q, which is not known", wanted.APIVersion)
	}
	return wanted.APIVersion, nil
}

// askAgainAt is what programs are told of an expiry: a little before it. It is never
// past, or client-go would ask before every call.
func askAgainAt(expiry, now time.Time) time.Time {
	if early := expiry.Add(-beforeExpiry); early.After(now) {
		return early
	}
	return expiry
}

// execCredential is a token for client-go, and when to ask for the next.
func execCredential(version, token string, again time.Time) clientauthenticationv1.ExecCredential {
	return clientauthenticationv1.ExecCredential{
		TypeMeta: metav1.TypeMeta{APIVersion: version, Kind: "ExecCredential"},
		Status:   &clientauthenticationv1.ExecCredentialStatus{Token: token, ExpirationTimestamp: &metav1.Time{Time: again}},
	}
}

// printExecCredential answers the program that runs us, in the version that it asks for.
func (o *options) printExecCredential(token string, expiry time.Time) error {
	version, err := execVersion(os.Getenv(execInfo))
	if err != nil {
		return err
	}
	return json.NewEncoder(o.Out).Encode(execCredential(version, token, askAgainAt(expiry, time.Now())))
}
