// Package examples holds the test of the examples, each of which is a program in a folder of its own.
// README.md says what they show and how to run them.
package examples
