// Package bench is `culvert bench`: it measures this machine. Each figure is beside a ceiling that is measured
// in the same run.
package bench
