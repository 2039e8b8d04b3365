// Package credential seals the token of an issued credential to the key of its
// requester, and opens it again: HPKE (RFC 9180) with X25519, HKDF-SHA256 and
// AES-256-GCM. What is sealed is bound to one grant, by name and UID. It is pure but
// for the randomness that it takes from the system.
package credential

import (
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/base64"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
)

// keySize of an X25519 key, public or private, in bytes.
const keySize = 32

// overhead of a sealed token in bytes: the encapsulated key and the tag.
const overhead = keySize + 16

// encoding of keys and of what is sealed.
var encoding = base64.StdEncoding.Strict()

// decode takes one spelling only: the standard library skips line breaks.
func decode(text string) ([]byte, bool) {
	b, err := encoding.DecodeString(text)
	return b, err == nil && encoding.EncodeToString(b) == text
}

// ErrNotOpened means that what is sealed was not sealed to this key for this grant,
// or was changed since.
var ErrNotOpened = errors.New("the credential was sealed to another key or for another grant, or was changed since")

// Key is the private key of a requester. It has no String method, so that no log
// shows it by accident.
type Key struct{ private hpke.PrivateKey }

// NewKey makes a key for one request.
func NewKey() (*Key, error) {
	private, err := kem().GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return &Key{private}, nil
}

// ParseKey reads what Secret wrote.
func ParseKey(secret string) (*Key, error) {
	b, ok := decode(secret)
	if !ok || len(b) != keySize {
		return nil, fmt.Errorf("a private key is %d bytes in base64", keySize)
	}
	private, err := kem().NewPrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("this is no private key: %w", err)
	}
	return &Key{private}, nil
}

// Secret is the private key in base64, for the file of its owner.
func (k *Key) Secret() (string, error) {
	b, err := k.private.Bytes()
	if err != nil {
		return "", fmt.Errorf("write the key: %w", err)
	}
	return encoding.EncodeToString(b), nil
}

// Public is the key to seal to, in base64: the spec.credentialKey of a request.
func (k *Key) Public() string { return encoding.EncodeToString(k.private.PublicKey().Bytes()) }

// Grant that a credential is for.
type Grant struct {
	Name string
	UID  types.UID
}

// info binds what is sealed to its purpose and its grant. A name of Kubernetes holds
// no zero byte.
func (g Grant) info() []byte {
	return []byte("accessbroker.dev/credential/v1\x00" + g.Name + "\x00" + string(g.UID))
}

// Seal seals a token to a public key, for one grant. The error says that the public
// key is none.
func Seal(public string, g Grant, token string) (string, error) {
	key, err := parsePublic(public)
	if err != nil {
		return "", err
	}
	sealed, err := hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES256GCM(), g.info(), []byte(token))
	if err != nil {
		return "", fmt.Errorf("nothing can be sealed to this key: %w", err)
	}
	return encoding.EncodeToString(sealed), nil
}

// Open opens what was sealed for one grant. The error is ErrNotOpened when it was
// sealed to another key or for another grant.
func Open(k *Key, g Grant, sealed string) (string, error) {
	b, ok := decode(sealed)
	if !ok || len(b) < overhead {
		return "", ErrNotOpened
	}
	token, err := hpke.Open(k.private, hpke.HKDFSHA256(), hpke.AES256GCM(), g.info(), b)
	if err != nil {
		return "", ErrNotOpened
	}
	return string(token), nil
}

// CheckPublic tells what is wrong with a public key: it has another length, or is a
// point to which nothing can be sealed (RFC 7748, section 6.1).
func CheckPublic(public string) error {
	_, err := Seal(public, Grant{}, "")
	return err
}

func parsePublic(public string) (hpke.PublicKey, error) {
	b, ok := decode(public)
	if !ok || len(b) != keySize {
		return nil, fmt.Errorf("a credentialKey is an X25519 public key: %d bytes in base64", keySize)
	}
	key, err := kem().NewPublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("this is no X25519 public key: %w", err)
	}
	return key, nil
}

func kem() hpke.KEM { return hpke.DHKEM(ecdh.X25519()) }
