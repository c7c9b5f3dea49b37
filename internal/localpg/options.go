package localpg

import (
	"log/slog"
	"maps"
	"slices"
)

// Options says where the folder of a private Postgres is and how it is set up.
type Options struct {
	// Dir is the folder of this Postgres; it is made if absent and must hold
	// nothing else. Required by [Start], ignored by [StartTemp].
	Dir string
	// Settings are Postgres parameters (as in postgresql.conf) that override
	// this package's own, which are for a small server with durable commits.
	Settings map[string]string
	// Log receives starts, stops and recoveries; nil discards them.
	Log *slog.Logger
	// Progress is called with a short text for a person about each slow step: a
	// download, a new cluster, a wait. It may be nil. It is called
	// by the goroutine that called Start.
	Progress func(string)

	// search finds the binaries; replaced in tests.
	search *search
}

// port is only part of the name of the socket file: nothing listens on TCP.
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

// arguments returns the -c settings of a postmaster whose socket is in sockets. The
// command line overrides the files in the cluster, so that a cluster made by an
// older culvert runs with the settings of this one.
func (o Options) arguments(sockets string) []string {
	settings := map[string]string{
		"cluster_name":    "culvert",
		"max_connections": "100",
		"shared_buffers":  "128MB",
		// Enough for bursts between checkpoints, with a bound on the disk space.
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
	// The caller cannot override the settings that keep the server private.
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

// durable reports whether the cluster must survive a power cut. A throw-away
// cluster need not, and is also made faster.
func (o Options) durable() bool {
	return o.Settings["fsync"] != "off"
}
