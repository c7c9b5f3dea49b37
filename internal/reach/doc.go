// Package reach contains only the test that both clients work behind real
// proxies and faulty ones, each in front of two instances without sticky sessions:
// 200 events in each direction must all arrive, once and in order.
//
// With -record it also writes the figures of the run to docs/reach.md.
package reach
