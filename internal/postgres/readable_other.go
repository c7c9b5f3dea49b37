//go:build !unix

package postgres

import "net"

// readable is always false here, because it could find out only by taking the bytes. So a connection that
// Postgres ended less than a second ago may be used, and the request fails.
func readable(net.Conn) bool { return false }
