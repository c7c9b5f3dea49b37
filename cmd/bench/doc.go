// Package bench is `culvert bench`: it measures this machine. It prints each figure with a ceiling that is
// measured in the same run.
package bench
