package localpg

import "os"

// environment returns the variables that a Postgres program gets. The list names what is
// passed on and leaves out everything else: PGPORT and similar variables would change what the
// program does, and the user that it runs as could read this process's secrets.
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
