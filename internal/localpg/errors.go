package localpg

import "errors"

// Errors that a caller may want to distinguish. The returned error wraps one of them
// and says what to do.
var (
	// ErrInUse means that another process runs the Postgres of this folder.
	ErrInUse = errors.New("folder is in use")
	// ErrForeign means that the folder holds something that this package did not
	// make, or cannot open; nothing in it was changed.
	ErrForeign = errors.New("folder is not a culvert data folder")
	// ErrNoBinaries means that no suitable Postgres is installed and none could
	// be downloaded.
	ErrNoBinaries = errors.New("no PostgreSQL server binaries")
	// ErrUnreachable means that the unprivileged user that must run Postgres
	// cannot enter the folder.
	ErrUnreachable = errors.New("folder is out of reach")
	// ErrStopped means that the server was stopped for good.
	ErrStopped = errors.New("local postgres is stopped")
)
