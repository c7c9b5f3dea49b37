// Package decode looks at events as they lie in rows of Postgres: somebody may have written one by
// another way than Culvert's, or a disk may have changed it.
package decode
