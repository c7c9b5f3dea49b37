// Package scripts contains only the tests of the shell scripts and of the
// Makefile's targets.
package scripts
