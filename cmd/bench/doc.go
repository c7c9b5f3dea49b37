// Package bench is `culvert bench`: it measures this machine, each figure beside a ceiling that is
// measured in the same run.
package bench
