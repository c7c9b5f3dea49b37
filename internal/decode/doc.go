// Package decode checks events that are read from rows of Postgres: somebody may have written a row without
// Culvert, or a disk may have changed it.
package decode
