// Package reach holds no code, only the test that the clients get through: real
// proxies and faulty ones, each in front of two instances without sticky sessions,
// and 200 events each way that must all arrive, once and in order.
//
// With -record it also writes the figures of the run to docs/reach.md.
package reach
