package config

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestGeneratedSecrets: secrets are made once, only their owner can read them, and servers that start at once
// get the same.
func TestGeneratedSecrets(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "made", "on", "demand")
	var all sync.WaitGroup
	configs := make([]Config, 8)
	for i := range configs {
		all.Go(func() {
			configs[i].Data = folder
			if made, err := configs[i].GenerateSecrets(true); !made || err != nil {
				t.Errorf("generateSecrets: %v, %v", made, err)
			}
		})
	}
	all.Wait()
	first := configs[0]
	if len(first.JWTSecret) < 2*minSecret || len(first.APIKeys) != 1 || len(first.APIKeys[0]) < 2*minSecret || first.APIKeys[0] == first.JWTSecret {
		t.Fatalf("weak secrets: %d and %q", len(first.JWTSecret), first.APIKeys)
	}
	for _, c := range configs {
		if c.JWTSecret != first.JWTSecret || c.APIKeys[0] != first.APIKeys[0] {
			t.Error("two starts got different secrets")
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("the folder holds %v", entries)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

func TestConfiguredSecretsAreLeftAlone(t *testing.T) {
	folder := t.TempDir()
	for _, c := range []Config{{APIKeys: []string{"k"}}, {JWTSecret: "s"}, {JWTPublicKey: "p"}, {JWKSURL: "u"}} {
		c.Data = folder
		if made, err := c.GenerateSecrets(true); made || err != nil {
			t.Errorf("generateSecrets: %v, %v", made, err)
		}
	}
	if entries, _ := os.ReadDir(folder); len(entries) != 0 {
		t.Errorf("made %v", entries)
	}
}

func TestDamagedSecret(t *testing.T) {
	c := Config{Data: t.TempDir()}
	path := filepath.Join(c.Data, APIKeyFile)
	if err := os.WriteFile(path, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GenerateSecrets(true); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error is %v, want one that names %s", err, path)
	}
}
