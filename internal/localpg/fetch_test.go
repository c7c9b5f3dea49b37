package localpg

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// repository imitates a Maven repository for one download: it serves a jar with
// an archive of three shell scripts that imitate initdb, pg_ctl and postgres
// (testdata/postgresql.txz: tar -cJ bin), and its checksum.
func repository(t *testing.T, checksum func([]byte) string) (d download, downloads *atomic.Int64) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir()) // the library leaves its logs there
	archive, err := os.ReadFile("testdata/postgresql.txz")
	if err != nil {
		t.Fatal(err)
	}
	var jar bytes.Buffer
	packed := zip.NewWriter(&jar)
	entry, err := packed.Create("postgres.txz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := entry.Write(archive); err != nil {
		t.Fatal(err)
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	downloads = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := jar.Bytes()
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			body = []byte(checksum(body))
		} else {
			downloads.Add(1)
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(func() {
		server.Close()
		http.DefaultClient.CloseIdleConnections() // the library's client
	})
	return download{cache: filepath.Join(tempDir(t), "cache"), repository: server.URL}, downloads
}

func sha256hex(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func TestFetchDownloadsOnce(t *testing.T) {
	d, downloads := repository(t, sha256hex)
	var told []string
	tell := func(what string) { told = append(told, what) }
	for range 2 {
		bin, err := d.fetch(t.Context(), 0, tell)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := inspect(t.Context(), bin); err != nil || b.major != newClusterMajor {
			t.Errorf("%s holds %+v, %v", bin, b, err)
		}
	}
	if n := downloads.Load(); n != 1 || len(told) != 1 {
		t.Errorf("%d downloads, progress %q; want one of each", n, told)
	}
	left, err := os.ReadDir(d.cache)
	if err != nil || len(left) != 1 {
		t.Errorf("the cache holds %v, %v; want only the binaries", left, err)
	}
}

func TestFetchTurnsDownWhatWasTamperedWith(t *testing.T) {
	d, _ := repository(t, func(body []byte) string { return sha256hex(append(body, 'x')) })
	_, err := d.fetch(t.Context(), 17, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "checksums do not match") {
		t.Errorf("got %v", err)
	}
}

func TestFetchFails(t *testing.T) {
	d, _ := repository(t, sha256hex)
	if _, err := d.fetch(t.Context(), 9, func(string) {}); err == nil {
		t.Error("a version that cannot be downloaded was fetched")
	}
	d.repository += "/\x00"
	if _, err := d.fetch(t.Context(), 17, func(string) {}); err == nil {
		t.Error("a download from an invalid URL succeeded")
	}
}
