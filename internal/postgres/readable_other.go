//go:build !unix

package postgres

import "net"

// readable always returns false: this system has no way to tell without reading bytes. So a
// connection that Postgres ended less than a second ago may be used, and the request fails.
func readable(net.Conn) bool { return false }
