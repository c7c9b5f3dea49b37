// Package trusted tells names that were checked before they were stored from those that
// somebody else made up: only this module can import it, and so make a name unchecked.
package trusted

import "github.com/jackc/pgx/v5/pgtype"

// Text is a name as the database holds it. NULL is the empty one.
type Text struct{ s string }

// Of is s, which the caller knows to be checked.
func Of(s string) Text { return Text{s} }

// String returns the name.
func (t Text) String() string { return t.s }

// ScanText lets pgx read a column into it.
func (t *Text) ScanText(v pgtype.Text) error {
	t.s = v.String
	return nil
}
