package localpg

import (
	"log/slog"
	"maps"
	"slices"
)

// Options says where a private Postgres lives and how it is set up.
type Options struct {
	// Dir is the folder of this Postgres; it is made when absent and must hold
	// nothing else. Required by [Start], ignored by [StartTemp].
	Dir string
	// Settings are Postgres parameters (as in postgresql.conf) that override
	// this package's own: a small server's, with durable commits.
	Settings map[string]string
	// Log receives starts, stops and recoveries; nil discards them.
	Log *slog.Logger
	// Progress is told, in a few words for a person, what takes long: a
	// download, a new cluster, a wait. Nil when nobody listens. It is called
	// by the goroutine that called Start.
	Progress func(string)

	// search finds the binaries; replaced in tests.
	search *search
}

// port only names the socket file: nothing listens on TCP.
const port = "5432"

// withDefaults fills in what the caller left out.
func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.search == nil {
		o.search = systemSearch()
	}
	return o
}

// arguments are the -c settings of a postmaster whose socket is in sockets. The
// command line outranks the files in the cluster, so that a cluster made by an
// older culvert runs with the settings of this one.
func (o Options) arguments(sockets string) []string {
	settings := map[string]string{
		"cluster_name":    "culvert",
		"max_connections": "100",
		"shared_buffers":  "128MB",
		// Room for bursts between checkpoints, and a bound on the disk it takes.
		"min_wal_size":                 "80MB",
		"max_wal_size":                 "1GB",
		"checkpoint_completion_target": "0.9",
		// Culvert's statements are short: compiling them costs more than it saves.
		"jit":               "off",
		"timezone":          "UTC",
		"log_timezone":      "UTC",
		"log_destination":   "stderr",
		"logging_collector": "off",
		"log_checkpoints":   "off",
	}
	maps.Copy(settings, o.Settings)
	// What keeps the server private is not up to the caller.
	maps.Copy(settings, map[string]string{
		"listen_addresses":        "",
		"port":                    port,
		"unix_socket_directories": sockets,
		"unix_socket_permissions": "0700",
	})
	var args []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// durable reports whether the cluster has to survive a power cut; a throw-away
// cluster that does not is made faster, too.
func (o Options) durable() bool {
	return o.Settings["fsync"] != "off"
}
