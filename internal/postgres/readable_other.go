//go:build !unix

package postgres

import "net"

// readable is not to be known here without reading.
func readable(net.Conn) bool { return false }
