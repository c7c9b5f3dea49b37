package config

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// minSecret is the least length of an HMAC-SHA256 key, RFC 7518 section 3.2.
const minSecret = 32

// Files in the data folder.
const (
	APIKeyFile    = "api-key"
	JWTSecretFile = "jwt-secret"
	PostgresDir   = "postgres"
)

// DefaultDataFolder returns where a server keeps its data if no folder is configured; "" if the user has no
// home folder.
func DefaultDataFolder(environ []string) string {
	if os.Geteuid() == 0 {
		// Postgres refuses to run as root. The user that it runs as instead has no access to root's home.
		return "/var/lib/culvert"
	}
	if xdg := Getenv(environ, "XDG_DATA_HOME"); filepath.IsAbs(xdg) {
		return filepath.Join(xdg, "culvert")
	}
	home := Getenv(environ, "HOME")
	switch {
	case home == "":
		return ""
	case runtime.GOOS == "darwin":
		return filepath.Join(home, "Library", "Application Support", "culvert")
	default:
		return filepath.Join(home, ".local", "share", "culvert")
	}
}

// MakeDataFolder makes the folder. If root makes it, other users may pass through it, since the private
// Postgres below it runs as another user.
func MakeDataFolder(path string) error {
	if path == "" {
		return errors.New("there is no home folder for the data: name a folder with --data or CULVERT_DATA")
	}
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711
	}
	if err := os.MkdirAll(path, mode); err != nil {
		return fmt.Errorf("cannot make the data folder: %w; name another with --data or CULVERT_DATA", err)
	}
	return nil
}

// GenerateSecrets gives a configuration without any key an API key and a JWT secret, and keeps them in the data
// folder. It reports whether it did: if an API key or a key for tokens is configured, it does nothing. If
// allowed is false, it makes no new secrets, but uses those made before, so that tokens signed with them stay
// valid.
func (c *Config) GenerateSecrets(allowed bool) (bool, error) {
	if len(c.APIKeys) > 0 || c.takesTokens() || !allowed && !c.hasSecrets() {
		return false, nil
	}
	const hint = "%w; set CULVERT_API_KEYS and CULVERT_JWT_SECRET, or a folder that can be written with --data"
	if err := MakeDataFolder(c.Data); err != nil {
		return false, fmt.Errorf(hint, err)
	}
	key, err := keepSecret(filepath.Join(c.Data, APIKeyFile), "ck_")
	if err != nil {
		return false, fmt.Errorf(hint, err)
	}
	secret, err := keepSecret(filepath.Join(c.Data, JWTSecretFile), "")
	if err != nil {
		return false, fmt.Errorf(hint, err)
	}
	c.APIKeys, c.JWTSecret = []string{key}, secret
	return true, nil
}

// hasSecrets reports whether the data folder has generated secrets.
func (c *Config) hasSecrets() bool {
	_, err := os.Stat(filepath.Join(c.Data, APIKeyFile))
	return err == nil
}

// keepSecret returns the secret in the file. It makes the file if there is none.
func keepSecret(path, prefix string) (string, error) {
	if secret, err := ReadSecret(path); !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	random := make([]byte, minSecret)
	rand.Read(random)
	secret := prefix + hex.EncodeToString(random)
	// A link appears whole or not at all. If two servers start at once on one folder, only the first one makes
	// it.
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return "", fmt.Errorf("cannot keep a generated secret: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(secret + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", fmt.Errorf("cannot keep a generated secret: %w", err)
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("cannot keep a generated secret: %w", err)
	}
	return ReadSecret(path)
}

// ReadSecret reads a file made by keepSecret. The error is fs.ErrNotExist if there is none.
func ReadSecret(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(content))
	if len(secret) < minSecret {
		return "", fmt.Errorf("the secret in %s is damaged: remove the file, and a new one will be made", path)
	}
	return secret, nil
}
