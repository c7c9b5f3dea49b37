// Package decode checks events that were read from rows of Postgres: a row may have been written
// by another program than Culvert, or changed by a damaged disk.
package decode
