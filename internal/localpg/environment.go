package localpg

import "os"

// environment is what a Postgres program gets of ours. The list says what it may
// have rather than what not: PGPORT and its kin would change what it does, and
// our secrets would be readable by the user it runs as.
func environment() []string {
	// macOS refuses to start a postmaster without a valid locale.
	env := []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
